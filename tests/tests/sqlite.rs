//! What the SQLite store does beyond the contract: migrations, names, settings, locks.

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

/// A connection of somebody else.
async fn pool(path: &Path) -> SqlitePool {
    let connect = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqlitePool::connect_with(connect).await.expect("a database")
}

async fn numbers(pool: &SqlitePool, sql: &'static str) -> Vec<i64> {
    query_scalar(sql).fetch_all(pool).await.expect("a readable table")
}

async fn works(store: &SqliteStore, key: u8) {
    let (key, record) = (Key::from_bytes([key; 32]), record(1));
    assert_eq!(store.create(&key, &record).await.expect("a create"), Create::Created);
    assert_eq!(store.load(&key).await.expect("a load"), Lookup::Found(record));
}

async fn refused(options: &Options) -> Error {
    SqliteStore::open(options).await.expect_err("it must not open")
}

fn application(versions: &[i64]) -> Migrator {
    let migrations = versions.iter().map(|version| {
        let sql = AssertSqlSafe(format!("CREATE TABLE application_{version} (id INTEGER)")).into_sql_str();
        Migration::new(*version, "application".into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}

#[tokio::test]
async fn an_application_migrates_the_same_database_before_and_after() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("both.db");
    let theirs = pool(&path).await;
    application(&[1]).run(&theirs).await.expect("the application's first migration");
    works(&SqliteStore::open(&options(&path)).await.expect("a store"), 1).await;
    application(&[1, 2]).run(&theirs).await.expect("the application's second migration");
    works(&SqliteStore::from_pool(theirs.clone(), &options(&path)).await.expect("a store"), 2).await;
    application(&[1, 2, 3]).run(&theirs).await.expect("the application's third migration");
    assert_eq!(numbers(&theirs, "SELECT version FROM _sqlx_migrations").await, [1, 2, 3]);
    assert_eq!(numbers(&theirs, "SELECT version FROM rocket_session_migrations").await, [1]);
}

#[tokio::test]
async fn check_and_off_want_the_table_and_make_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sessions.db");
    for migrate in [Migrate::Check, Migrate::Off] {
        let error = refused(&options(&path).migrate(migrate)).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("sessions.db` is missing: create it with"), "{error}");
        assert!(!path.exists(), "a file was made");
    }
    pool(&path).await;
    for migrate in [Migrate::Check, Migrate::Off] {
        let error = refused(&options(&path).migrate(migrate)).await;
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("session-rocket migrate"), "{error}");
    }
    let tables = "SELECT count(*) FROM sqlite_schema";
    assert_eq!(numbers(&pool(&path).await, tables).await, [0], "something was made");
    SqliteStore::open(&options(&path)).await.expect("a store that makes its table");
    for (key, migrate) in [(1, Migrate::Check), (2, Migrate::Off)] {
        let store = SqliteStore::open(&options(&path).migrate(migrate)).await.expect("a store");
        works(&store, key).await;
    }
    query("DROP TABLE rocket_session").execute(&pool(&path).await).await.expect("a table to drop");
    for migrate in [Migrate::Check, Migrate::Off, Migrate::Auto] {
        let error = refused(&options(&path).migrate(migrate)).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let text = error.to_string();
        assert!(text.contains("cannot use the table `rocket_session`") && text.contains("is missing"), "{error}");
    }
}

#[tokio::test]
async fn a_tables_name_is_a_name_whatever_it_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sessions.db");
    let theirs = pool(&path).await;
    query("CREATE TABLE x (id INTEGER)").execute(&theirs).await.expect("a table");
    for name in ["visitors", "a\"b; drop table x", "select", "with space", "Größe", "'", "{table}", "`;--"] {
        let store = SqliteStore::open(&options(&path).table(name)).await.expect("a store");
        works(&store, 1).await;
        let found: i64 = query_scalar("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1")
            .bind(name)
            .fetch_one(&theirs)
            .await
            .expect("a count");
        assert_eq!(found, 1, "{name}");
    }
    assert_eq!(numbers(&theirs, "SELECT count(*) FROM x").await, [0], "the other table is gone");
    for name in [String::new(), "n".repeat(49), "a\0b".to_owned()] {
        let error = refused(&options(&path).table(name)).await;
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`table`"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_open_a_new_file_at_once() {
    for _ in 0..5 {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("sessions.db");
        let mut tasks = JoinSet::new();
        for key in 0..8 {
            let options = options(&path);
            tasks.spawn(async move { works(&SqliteStore::open(&options).await.expect("a store"), key).await });
        }
        tasks.join_all().await;
        let theirs = pool(&path).await;
        assert_eq!(numbers(&theirs, "SELECT version FROM rocket_session_migrations").await, [1]);
        assert_eq!(numbers(&theirs, "SELECT count(*) FROM rocket_session").await, [8]);
    }
}

const DATABASE: &str = "SESSION_ROCKET_TEST_DATABASE";
const KEY: &str = "SESSION_ROCKET_TEST_KEY";

/// Does nothing by itself: it is what the processes of the next test run.
#[tokio::test]
async fn opens_the_database_it_is_told() {
    let Some(path) = std::env::var_os(DATABASE) else { return };
    let store = SqliteStore::open(&options(Path::new(&path))).await.expect("a store");
    let key = std::env::var(KEY).expect("a key beside the database");
    works(&store, key.parse().expect("a number")).await;
}

#[tokio::test]
async fn processes_open_a_new_file_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sessions.db");
    let start = |key: u8| {
        Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "opens_the_database_it_is_told"])
            .env(DATABASE, &path)
            .env(KEY, key.to_string())
            .spawn()
            .expect("a process")
    };
    let processes: Vec<_> = (0..4).map(start).collect();
    for mut process in processes {
        assert!(process.wait().expect("an end").success());
    }
    assert_eq!(numbers(&pool(&path).await, "SELECT count(*) FROM rocket_session").await, [4]);
}

#[tokio::test]
async fn a_url_that_sqlite_does_not_know_is_a_wrong_configuration() {
    for query in ["?nonsense=1", "?synchronous=off", "?synchronous", "?mode=maybe"] {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("{}{query}", options(&directory.path().join("sessions.db")).url);
        assert_eq!(refused(&Options::new(url)).await.kind(), ErrorKind::Config, "{query}");
    }
}

#[tokio::test]
async fn a_lock_that_is_not_released_is_a_timeout() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sessions.db");
    let timeout = Duration::from_secs(1);
    let store = SqliteStore::open(&options(&path).timeout(timeout)).await.expect("a store");
    let (key, first, second) = (Key::from_bytes([1; 32]), record(1), record(2));
    store.create(&key, &first).await.expect("a create");
    let theirs = pool(&path).await;
    let mut other = theirs.acquire().await.expect("a connection");
    for lock in ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"] {
        query(lock).execute(&mut *other).await.expect("a lock");
        let started = Instant::now();
        let error = store.update(&key, first.version, &second).await.expect_err("a locked database");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        let took = started.elapsed();
        assert!(took >= timeout / 2 && took < timeout * 4, "{took:?} with a timeout of {timeout:?}");
        // Many at once wait side by side, not one after the other.
        let calls = [(); 8].map(|()| store.update(&key, first.version, &second));
        let started = Instant::now();
        for answer in futures::future::join_all(calls).await {
            assert_eq!(answer.expect_err("a locked database").kind(), ErrorKind::Timeout);
        }
        assert!(started.elapsed() < timeout * 4, "eight took {:?}", started.elapsed());
        assert_eq!(store.load(&key).await.expect("readers do not wait"), Lookup::Found(first.clone()));
        query("ROLLBACK").execute(&mut *other).await.expect("a release");
    }
    assert_eq!(store.update(&key, first.version, &second).await.expect("an update"), Update::Updated);
}

/// What one call cannot do, those that are sent to the database with it can.
#[tokio::test(flavor = "multi_thread")]
async fn neighbours_of_a_poisoned_row() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sessions.db");
    let store = Arc::new(SqliteStore::open(&options(&path)).await.expect("a store"));
    for key in 0..60 {
        works(&store, key).await;
    }
    let theirs = pool(&path).await;
    // A version that is no number, a row that cannot be changed, and a key that cannot be inserted.
    for sql in [
        "UPDATE rocket_session SET version = 'x' WHERE substr(key, 1, 1) = x'07'",
        "CREATE TRIGGER frozen BEFORE UPDATE ON rocket_session WHEN substr(OLD.key, 1, 1) = x'08' \
         BEGIN SELECT RAISE(ABORT, 'poisoned'); END",
        "CREATE TRIGGER barred BEFORE INSERT ON rocket_session WHEN substr(NEW.key, 1, 1) = x'89' \
         BEGIN SELECT RAISE(ABORT, 'poisoned'); END",
    ] {
        query(sql).execute(&theirs).await.expect("a statement");
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
                assert!(byte == 8 || updated.expect("an update") == Update::Updated);
            }
            let created = store.create(&new, &record(1)).await;
            poisoned(9, created.is_err());
            assert!(byte == 9 || created.expect("a create") == Create::Created);
        });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("a call");
    }
}

/// Sites drop their stores after the runtime has ended.
#[test]
fn a_store_outlives_its_runtime() {
    let directory = tempfile::tempdir().expect("a directory");
    for options in [Options::new("sqlite::memory:"), options(&directory.path().join("sessions.db"))] {
        let runtime = Runtime::new().expect("a runtime");
        let store = runtime.block_on(async {
            let store = SqliteStore::open(&options).await.expect("a store");
            works(&store, 1).await;
            store
        });
        let key = Key::from_bytes([1; 32]);
        let mut cut_off = store.load(&key);
        // Begun, and as a rule not at its end.
        runtime.block_on(poll_fn(|context| {
            let _ = cut_off.as_mut().poll(context);
            Poll::Ready(())
        }));
        drop(runtime);
        drop(cut_off);
        drop(store);
    }
}

#[tokio::test]
async fn a_sweep_finds_what_expired_behind_what_was_prolonged() {
    const TICK: Duration = Duration::from_millis(1);
    let folder = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(ManualClock::default());
    let store = SqliteStore::open(&options(&folder.path().join("a.db")).clock(clock.clone())).await.expect("a store");
    let (now, later) = (clock.now(), clock.now().plus(Duration::from_secs(60)));
    for number in 0..15 {
        let (key, mut brief) = (Key::from_bytes([number; 32]), record(1));
        brief.expires_at = now.plus(TICK * (1 + u32::from(number) / 10));
        assert_eq!(store.create(&key, &brief).await.expect("a create"), Create::Created);
        if number < 10 {
            assert_eq!(store.touch(&key, brief.version, later).await.expect("a touch"), Touch::Touched);
        }
    }
    clock.advance(TICK * 2);
    let mut removed = Vec::new();
    for _ in 0..4 {
        removed.push(store.delete_expired(2).await.expect("a sweep"));
    }
    assert_eq!(removed, [2, 2, 1, 0]);
    clock.advance(Duration::from_secs(60));
    assert_eq!(store.delete_expired(100).await.expect("a sweep"), 10);
}
