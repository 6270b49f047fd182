//! Tests of the SQLite store that go beyond the contract: migrations, table names, settings, locks.

use std::future::poll_fn;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use rocket::tokio::runtime::Runtime;
use rocket::tokio::task::JoinSet;
use session_rocket::sqlx::sqlite::SqliteConnectOptions;
use session_rocket::sqlx::{AssertSqlSafe, SqlSafeStr, SqlitePool, query, query_scalar};
use session_rocket::store::sql::sqlite::SqliteStore;
use session_rocket::store::{Create, Lookup, Migrate, Options, Store, Touch, Update};
use session_rocket::{Clock, Error, ErrorKind, Key, ManualClock, Record, Version};
use sqlx::migrate::{Migration, MigrationType, Migrator};

fn options(path: &Path) -> Options {
    Options::new(format!("sqlite://{}", path.display())).timeout(Duration::from_secs(60))
}

fn record(bits: u64) -> Record {
    let now = ManualClock::default().now();
    Record::new(Version::from_bits(bits), now.plus(Duration::from_secs(3600)))
        .with_scope("session")
        .with_payload("payload")
        .with_times(now, now)
}

/// Opens a pool that does not belong to the store.
async fn other_pool(path: &Path) -> SqlitePool {
    let connect = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqlitePool::connect_with(connect).await.expect("the database opens")
}

async fn query_numbers(pool: &SqlitePool, sql: &'static str) -> Vec<i64> {
    query_scalar(sql).fetch_all(pool).await.expect("the table can be read")
}

/// Asserts that the store can create and load a record.
async fn assert_works(store: &SqliteStore, key: u8) {
    let (key, record) = (Key::from_bytes([key; 32]), record(1));
    assert_eq!(store.create(&key, &record).await.expect("the record is created"), Create::Created);
    assert_eq!(store.load(&key).await.expect("the load succeeds"), Lookup::Found(record));
}

async fn open_error(options: &Options) -> Error {
    SqliteStore::open(options).await.expect_err("opening the store must fail")
}

/// Returns the migrations of an application.
fn application_migrations(versions: &[i64]) -> Migrator {
    let migrations = versions.iter().map(|version| {
        let sql = AssertSqlSafe(format!("CREATE TABLE application_{version} (id INTEGER)")).into_sql_str();
        Migration::new(*version, "application".into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}

#[tokio::test]
async fn an_application_can_migrate_the_same_database_before_and_after_the_store() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let path = directory.path().join("both.db");
    let app_pool = other_pool(&path).await;
    application_migrations(&[1]).run(&app_pool).await.expect("the first migration succeeds");
    assert_works(&SqliteStore::open(&options(&path)).await.expect("the store opens"), 1).await;
    application_migrations(&[1, 2]).run(&app_pool).await.expect("the second migration succeeds");
    assert_works(&SqliteStore::from_pool(app_pool.clone(), &options(&path)).await.expect("the store opens"), 2).await;
    application_migrations(&[1, 2, 3]).run(&app_pool).await.expect("the third migration succeeds");
    assert_eq!(query_numbers(&app_pool, "SELECT version FROM _sqlx_migrations").await, [1, 2, 3]);
    assert_eq!(query_numbers(&app_pool, "SELECT version FROM rocket_session_migrations").await, [1]);
}

#[tokio::test]
async fn migrate_check_and_off_require_the_table_and_do_not_create_it() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let path = directory.path().join("sessions.db");
    for migrate in [Migrate::Check, Migrate::Off] {
        let error = open_error(&options(&path).migrate(migrate)).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("sessions.db` is missing: run `session-rocket migrate`"), "{error}");
        assert!(!path.exists(), "a file was created");
    }
    other_pool(&path).await;
    for migrate in [Migrate::Check, Migrate::Off] {
        let error = open_error(&options(&path).migrate(migrate)).await;
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("session-rocket migrate"), "{error}");
    }
    let tables = "SELECT count(*) FROM sqlite_schema";
    assert_eq!(query_numbers(&other_pool(&path).await, tables).await, [0], "a table was created");
    SqliteStore::open(&options(&path)).await.expect("the store creates its table");
    for (key, migrate) in [(1, Migrate::Check), (2, Migrate::Off)] {
        let store = SqliteStore::open(&options(&path).migrate(migrate)).await.expect("the store opens");
        assert_works(&store, key).await;
    }
    query("DROP TABLE rocket_session").execute(&other_pool(&path).await).await.expect("the table can be dropped");
    for migrate in [Migrate::Check, Migrate::Off, Migrate::Auto] {
        let error = open_error(&options(&path).migrate(migrate)).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let text = error.to_string();
        assert!(text.contains("cannot use the table `rocket_session`") && text.contains("is missing"), "{error}");
    }
}

#[tokio::test]
async fn a_table_name_can_contain_any_characters_except_nul() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let path = directory.path().join("sessions.db");
    let app_pool = other_pool(&path).await;
    query("CREATE TABLE x (id INTEGER)").execute(&app_pool).await.expect("the table exists");
    for name in ["visitors", "a\"b; drop table x", "select", "with space", "Größe", "'", "{table}", "`;--"] {
        let store = SqliteStore::open(&options(&path).table(name)).await.expect("the store opens");
        assert_works(&store, 1).await;
        let tables: i64 = query_scalar("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1")
            .bind(name)
            .fetch_one(&app_pool)
            .await
            .expect("the query returns a count");
        assert_eq!(tables, 1, "{name}");
    }
    assert_eq!(query_numbers(&app_pool, "SELECT count(*) FROM x").await, [0], "another table was changed");
    for name in [String::new(), "n".repeat(49), "a\0b".to_owned()] {
        let error = open_error(&options(&path).table(name)).await;
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`table`"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_stores_can_open_a_new_file_concurrently() {
    for _ in 0..5 {
        let directory = tempfile::tempdir().expect("a directory can be created");
        let path = directory.path().join("sessions.db");
        let mut tasks = JoinSet::new();
        for key in 0..8 {
            let options = options(&path);
            tasks.spawn(async move {
                assert_works(&SqliteStore::open(&options).await.expect("the store opens"), key).await;
            });
        }
        tasks.join_all().await;
        let app_pool = other_pool(&path).await;
        assert_eq!(query_numbers(&app_pool, "SELECT version FROM rocket_session_migrations").await, [1]);
        assert_eq!(query_numbers(&app_pool, "SELECT count(*) FROM rocket_session").await, [8]);
    }
}

const DATABASE: &str = "SESSION_ROCKET_TEST_DATABASE";
const KEY: &str = "SESSION_ROCKET_TEST_KEY";

/// The next test runs this test in other processes. Without the environment variable, it does nothing.
#[tokio::test]
async fn uses_the_database_of_the_environment() {
    let Some(path) = std::env::var_os(DATABASE) else { return };
    let store = SqliteStore::open(&options(Path::new(&path))).await.expect("the store opens");
    let key = std::env::var(KEY).expect("the environment has a key");
    assert_works(&store, key.parse().expect("the value is a number")).await;
}

#[tokio::test]
async fn four_processes_can_open_a_new_file_concurrently() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let path = directory.path().join("sessions.db");
    let start = |key: u8| {
        Command::new(std::env::current_exe().expect("the path of this program is known"))
            .args(["--exact", "uses_the_database_of_the_environment"])
            .env(DATABASE, &path)
            .env(KEY, key.to_string())
            .spawn()
            .expect("the process starts")
    };
    let processes: Vec<_> = (0..4).map(start).collect();
    for mut process in processes {
        assert!(process.wait().expect("the process ends").success());
    }
    assert_eq!(query_numbers(&other_pool(&path).await, "SELECT count(*) FROM rocket_session").await, [4]);
}

#[tokio::test]
async fn an_unknown_or_invalid_url_parameter_is_a_configuration_error() {
    for query in ["?nonsense=1", "?synchronous=off", "?synchronous", "?mode=maybe"] {
        let directory = tempfile::tempdir().expect("a directory can be created");
        let url = format!("{}{query}", options(&directory.path().join("sessions.db")).url);
        assert_eq!(open_error(&Options::new(url)).await.kind(), ErrorKind::Config, "{query}");
    }
}

#[tokio::test]
async fn a_write_that_waits_too_long_for_a_lock_is_a_timeout() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let path = directory.path().join("sessions.db");
    let timeout = Duration::from_secs(3);
    let store = SqliteStore::open(&options(&path).timeout(timeout)).await.expect("the store opens");
    let patient = SqliteStore::open(&options(&path)).await.expect("the store opens");
    let (key, first, second) = (Key::from_bytes([1; 32]), record(1), record(2));
    patient.create(&key, &first).await.expect("the record is created");
    let app_pool = other_pool(&path).await;
    let mut other = app_pool.acquire().await.expect("a connection is free");
    for lock in ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"] {
        query(lock).execute(&mut *other).await.expect("the lock is taken");
        let started = Instant::now();
        let error = store.update(&key, first.version, &second).await.expect_err("the database is locked");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        let took = started.elapsed();
        assert!(took >= timeout / 2 && took < timeout * 6, "{took:?} with a timeout of {timeout:?}");
        // Concurrent calls wait at the same time, not one after the other.
        let calls = [(); 8].map(|()| store.update(&key, first.version, &second));
        let started = Instant::now();
        for result in futures::future::join_all(calls).await {
            assert_eq!(result.expect_err("the database is locked").kind(), ErrorKind::Timeout);
        }
        assert!(started.elapsed() < timeout * 6, "eight calls took {:?}", started.elapsed());
        assert_eq!(store.load(&key).await.expect("a load does not wait for the lock"), Lookup::Found(first.clone()));
        query("ROLLBACK").execute(&mut *other).await.expect("the lock is released");
    }
    assert_eq!(patient.update(&key, first.version, &second).await.expect("the update succeeds"), Update::Updated);
}

/// The store sends concurrent calls to the database together.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_does_not_fail_the_calls_in_its_group() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let path = directory.path().join("sessions.db");
    let store = Arc::new(SqliteStore::open(&options(&path)).await.expect("the store opens"));
    for key in 0..60 {
        assert_works(&store, key).await;
    }
    let app_pool = other_pool(&path).await;
    // A row with an invalid version, a row that cannot be updated, and a key that cannot be inserted.
    for sql in [
        "UPDATE rocket_session SET version = 'x' WHERE substr(key, 1, 1) = x'07'",
        "CREATE TRIGGER frozen BEFORE UPDATE ON rocket_session WHEN substr(OLD.key, 1, 1) = x'08' \
         BEGIN SELECT RAISE(ABORT, 'poisoned'); END",
        "CREATE TRIGGER barred BEFORE INSERT ON rocket_session WHEN substr(NEW.key, 1, 1) = x'89' \
         BEGIN SELECT RAISE(ABORT, 'poisoned'); END",
    ] {
        query(sql).execute(&app_pool).await.expect("the statement succeeds");
    }
    let mut calls = JoinSet::new();
    for byte in 0..60_u8 {
        let store = store.clone();
        calls.spawn(async move {
            let (key, new) = (Key::from_bytes([byte; 32]), Key::from_bytes([byte + 128; 32]));
            let poisoned = |poison: u8, failed: bool| assert_eq!(failed, byte == poison, "call {byte}");
            let loaded = store.load(&key).await;
            poisoned(7, loaded.is_err());
            if byte != 7 {
                assert!(matches!(loaded, Ok(Lookup::Found(found)) if found.version == Version::from_bits(1)));
                let updated = store.update(&key, Version::from_bits(1), &record(2)).await;
                poisoned(8, updated.is_err());
                assert!(byte == 8 || updated.expect("the update succeeds") == Update::Updated);
            }
            let created = store.create(&new, &record(1)).await;
            poisoned(9, created.is_err());
            assert!(byte == 9 || created.expect("the record is created") == Create::Created);
        });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("the call does not panic");
    }
}

/// Sites drop their stores after the runtime has shut down.
#[test]
fn a_store_can_be_dropped_after_its_runtime() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    for options in [Options::new("sqlite::memory:"), options(&directory.path().join("sessions.db"))] {
        let runtime = Runtime::new().expect("the runtime starts");
        let store = runtime.block_on(async {
            let store = SqliteStore::open(&options).await.expect("the store opens");
            assert_works(&store, 1).await;
            store
        });
        let key = Key::from_bytes([1; 32]);
        let mut call = store.load(&key);
        // Polls the call once, so it usually is not complete.
        runtime.block_on(poll_fn(|context| {
            let _ = call.as_mut().poll(context);
            Poll::Ready(())
        }));
        drop(runtime);
        drop(call);
        drop(store);
    }
}

#[tokio::test]
async fn a_sweep_removes_expired_sessions_although_many_others_were_prolonged() {
    const TICK: Duration = Duration::from_millis(1);
    let folder = tempfile::tempdir().expect("a directory can be created");
    let clock = Arc::new(ManualClock::default());
    let store =
        SqliteStore::open(&options(&folder.path().join("a.db")).clock(clock.clone())).await.expect("the store opens");
    let (now, later) = (clock.now(), clock.now().plus(Duration::from_secs(60)));
    for number in 0..15 {
        let (key, mut brief) = (Key::from_bytes([number; 32]), record(1));
        brief.expires_at = now.plus(TICK * (1 + u32::from(number) / 10));
        assert_eq!(store.create(&key, &brief).await.expect("the record is created"), Create::Created);
        if number < 10 {
            assert_eq!(store.touch(&key, brief.version, later).await.expect("the touch succeeds"), Touch::Touched);
        }
    }
    clock.advance(TICK * 2);
    let mut removed = Vec::new();
    for _ in 0..4 {
        removed.push(store.delete_expired(2).await.expect("the sweep succeeds"));
    }
    assert_eq!(removed, [2, 2, 1, 0]);
    clock.advance(Duration::from_secs(60));
    assert_eq!(store.delete_expired(100).await.expect("the sweep succeeds"), 10);
}
