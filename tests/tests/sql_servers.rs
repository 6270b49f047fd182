//! Tests of the PostgreSQL and MySQL stores that go beyond the contract: migrations, table names, settings, locks.
#![cfg(unix)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use session_rocket::sqlx::{self, AssertSqlSafe, PgPool};
use session_rocket::store::sql::IntoPool;
use session_rocket::store::{Create, Lookup, Options, Store, Update, conformance, open};
use session_rocket::{Clock, ErrorKind, Key, ManualClock, Record, Version};
use session_rocket_tests::proxy::Proxy;
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::{MySql, Postgres};
use tokio::task::{JoinHandle, JoinSet};

/// How long an operation may take on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(5);

fn options(url: String) -> Options {
    Options::new(url).timeout(TIME_LIMIT)
}

fn record(bits: u64) -> Record {
    let now = ManualClock::default().now();
    Record::new(Version::from_bits(bits), now.plus(Duration::from_secs(3600)))
        .with_scope("session")
        .with_payload("payload")
        .with_times(now, now)
}

/// Asserts that the store can create and load a record.
async fn assert_works(store: &dyn Store, key: u8) {
    let (key, record) = (Key::from_bytes([key; 32]), record(1).with_identity("ada"));
    assert_eq!(store.create(&key, &record).await.expect("the record is created"), Create::Created);
    assert_eq!(store.load(&key).await.expect("the load succeeds"), Lookup::Found(record));
}

/// Opens ten stores on an empty database concurrently.
async fn ten_stores_can_start_concurrently(url: &str) {
    let sites = (0..10).map(|key| {
        let options = options(url.to_owned());
        tokio::spawn(async move { assert_works(&*open(&options).await.expect("the store opens"), key).await })
    });
    for site in join_all(sites).await {
        site.expect("the store opens and works");
    }
}

/// Opens stores with these table names.
async fn table_names_can_contain_any_characters(url: &str, names: &[&str]) {
    for name in names {
        let store = open(&options(url.to_owned()).table(*name)).await.expect("the store opens");
        assert_works(&*store, 1).await;
        // A second launch uses the same table.
        let again = open(&options(url.to_owned()).table(*name)).await.expect("the store opens again");
        assert_works(&*again, 2).await;
    }
}

/// The number of calls of [`saves_at_once`].
const SAVES: u8 = 64;

/// Sends saves that the store groups. If a database refuses the statement of a group, the store sends each call alone, which
/// no other test would notice.
async fn saves_at_once(url: String) {
    let store = open(&options(url).table("together")).await.expect("a store");
    let keys: Vec<Key> = (0..SAVES).map(|number| Key::from_bytes([number; 32])).collect();
    let (first, second) = (&record(1).with_identity("ada"), &record(2).with_identity("ada"));
    let created = join_all(keys.iter().map(|key| store.create(key, first))).await;
    assert!(created.iter().all(|created| matches!(created, Ok(Create::Created))), "{created:?}");
    let saved = join_all(keys.iter().map(|key| store.update(key, first.version, second))).await;
    assert!(saved.iter().all(|saved| matches!(saved, Ok(Update::Updated))), "{saved:?}");
    for loaded in join_all(keys.iter().map(|key| store.load(key))).await {
        assert_eq!(loaded.expect("a load"), Lookup::Found(second.clone()));
    }
}

const NAMES: [&str; 7] = ["visitors", "a\"b; drop table x", "select", "with space", "Größe", "`;--", "{table}"];

async fn calls_to_a_killed_server_are_errors(store: Arc<dyn Store>, kill: impl FnOnce()) {
    assert_works(&*store, 77).await;
    kill();
    conformance::failures_are_errors(&*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_postgresql_store_handles_migrations_names_locks_and_broken_connections() {
    if !is_wanted("postgres") {
        return;
    }
    let mut server = Postgres::start();
    ten_stores_can_start_concurrently(&server.url()).await;
    server.run("CREATE SCHEMA app; CREATE TABLE x (id INTEGER)").await;
    table_names_can_contain_any_characters(&server.url(), &NAMES).await;
    table_names_can_contain_any_characters(&server.url(), &["app.sessions", "app.a\"b; drop table x"]).await;
    let pool = server.pool().await;
    let count = |sql: &'static str| {
        let pool = pool.clone();
        async move { sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await.expect("the query returns a count") }
    };
    assert_eq!(count("SELECT count(*) FROM app.sessions").await, 2);
    assert_eq!(count("SELECT count(*) FROM app.sessions_migrations").await, 1);
    assert_eq!(count("SELECT count(*) FROM pg_indexes WHERE schemaname = 'app' AND tablename = 'sessions'").await, 3);
    assert_eq!(count("SELECT count(*) FROM x").await, 0, "another table was changed");
    saves_at_once(server.url()).await;
    let statements = count("SELECT count(DISTINCT xmin::text) FROM together").await;
    assert!(statements < i64::from(SAVES) / 2, "{statements} statements");
    let error = open(&options(server.url()).table("app.")).await.err().expect("the table name is missing");
    assert_eq!(error.kind(), ErrorKind::Config);

    a_silent_connection_is_replaced(&server.url(), server.port()).await;
    silent_idle_connections_do_not_fail_a_call(&server.url(), server.port()).await;
    a_shared_pool_keeps_the_applications_settings(&pool).await;
    connections_to_a_read_only_server_are_replaced(&server).await;
    an_update_of_a_locked_row_times_out_in_postgresql(&server, &pool).await;
    loads_continue_while_a_table_lock_blocks_all_writes(&server, &pool).await;
    a_broken_connection_fails_only_the_load_that_was_sent_alone(&server, &pool).await;
    let store = open(&options(server.url()).timeout(TIMEOUT)).await.expect("the store opens");
    drop(pool);
    calls_to_a_killed_server_are_errors(store, || server.kill()).await;
}

/// The store changes no setting of the application's connections, and releases the lock of its migration.
async fn a_shared_pool_keeps_the_applications_settings(pool: &PgPool) {
    let before: String =
        sqlx::query_scalar("SHOW statement_timeout").fetch_one(pool).await.expect("the setting can be read");
    let store = pool.clone().into_pool().share(&Options::default().table("pooled")).await.expect("the store opens");
    assert_works(&*store, 1).await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(pool.acquire().await.expect("a connection is free"));
    }
    for connection in &mut connections {
        let after: String = sqlx::query_scalar("SHOW statement_timeout")
            .fetch_one(&mut **connection)
            .await
            .expect("the setting can be read");
        assert_eq!(after, before);
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
        let locks: i64 =
            sqlx::query_scalar(locks).fetch_one(&mut **connection).await.expect("the query returns a count");
        assert_eq!(locks, 0, "the lock of the migration was not released");
    }
}

/// An update of a row that another transaction has locked waits, and then fails with a timeout. The statement does not
/// continue in the server.
async fn an_update_of_a_locked_row_times_out_in_postgresql(server: &Postgres, pool: &PgPool) {
    let store = open(&options(server.url()).timeout(TIMEOUT)).await.expect("the store opens");
    let (key, first, second) = (Key::from_bytes([9; 32]), record(1), record(2));
    store.delete(&key).await.expect("the delete succeeds");
    store.create(&key, &first).await.expect("the record is created");
    let mut other = pool.begin().await.expect("the transaction starts");
    sqlx::query("SELECT 1 FROM rocket_session WHERE key = $1 FOR UPDATE")
        .bind(key.as_bytes().as_slice())
        .execute(&mut *other)
        .await
        .expect("the row is locked");
    let started = Instant::now();
    let error = store.update(&key, first.version, &second).await.expect_err("the row is locked");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let took = started.elapsed();
    assert!(took >= TIMEOUT / 2 && took < TIMEOUT * 4, "{took:?} with a timeout of {TIMEOUT:?}");
    assert_eq!(store.load(&key).await.expect("a load does not wait for the lock"), Lookup::Found(first.clone()));
    a_locked_row_delays_only_its_own_updates(server.url(), &key, async || {
        other.rollback().await.expect("the lock is released");
    })
    .await;
    // An update that timed out may have been executed.
    let updated = store.update(&key, first.version, &second).await.expect("the update succeeds");
    assert!(
        matches!(&updated, Update::Updated)
            || matches!(&updated, Update::Conflict(stored) if stored.version == second.version)
    );
}

/// Sends updates together with updates of a row that another transaction has locked. Only the latter wait for `release`.
async fn a_locked_row_delays_only_its_own_updates(url: String, locked: &Key, release: impl AsyncFnOnce()) {
    let store = open(&options(url)).await.expect("the store opens");
    let first = record(1);
    for key in 100..200 {
        store.create(&Key::from_bytes([key; 32]), &first).await.expect("the record is created");
    }
    let (mut waiting, mut others) = (Vec::new(), Vec::new());
    for key in 100..200_u8 {
        // Each update of the locked row occupies a connection while it waits.
        let is_locked = key.is_multiple_of(40);
        let key = if is_locked { *locked } else { Key::from_bytes([key; 32]) };
        let (store, expected) = (store.clone(), first.version);
        let update = tokio::spawn(async move { store.update(&key, expected, &record(2)).await });
        if is_locked { waiting.push(update) } else { others.push(update) }
    }
    for update in join_all(others).await {
        let updated = update.expect("the call does not panic");
        assert_eq!(updated.expect("an update beside that of a locked row succeeds"), Update::Updated);
    }
    assert!(!waiting.iter().any(JoinHandle::is_finished), "the row is not locked");
    release().await;
    for update in join_all(waiting).await {
        update.expect("the call does not panic").expect("the update succeeds after the lock was released");
    }
}

/// A statement such as `CREATE INDEX` blocks all writes to the table, but no loads.
async fn loads_continue_while_a_table_lock_blocks_all_writes(server: &Postgres, pool: &PgPool) {
    let store = open(&options(server.url())).await.expect("the store opens");
    let (key, first) = (Key::from_bytes([10; 32]), record(1));
    store.create(&key, &first).await.expect("the record is created");
    let mut other = pool.begin().await.expect("the transaction starts");
    sqlx::query("LOCK TABLE rocket_session IN SHARE MODE").execute(&mut *other).await.expect("the table is locked");
    let mut updates = JoinSet::new();
    for _ in 0..50 {
        let (writer, expected) = (store.clone(), first.version);
        updates.spawn(async move { writer.update(&key, expected, &record(2)).await });
        // After 50 ms, the waiting updates get one more connection.
        tokio::time::sleep(Duration::from_millis(25)).await;
        let loaded = tokio::time::timeout(TIME_LIMIT / 4, store.load(&key)).await.expect("a load has a connection");
        assert_eq!(loaded.expect("the load succeeds"), Lookup::Found(first.clone()));
    }
    other.rollback().await.expect("the lock is released");
}

/// After a failover, connections to the old primary are read-only. The test simulates this with a setting of the user.
async fn connections_to_a_read_only_server_are_replaced(server: &Postgres) {
    server.run("CREATE USER demoted PASSWORD 'demoted'; GRANT ALL ON SCHEMA public TO demoted").await;
    let options = options(server.url_for("demoted", "demoted")).table("demoted");
    let store = open(&options).await.expect("the store opens");
    server.run("ALTER USER demoted SET default_transaction_read_only = on").await;
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'demoted'").await;
    let (key, record) = (Key::from_bytes([5; 32]), record(1));
    let started = Instant::now();
    while !format!("{:?}", store.create(&key, &record).await).contains("read-only transaction") {
        assert!(started.elapsed() < TIME_LIMIT, "the store does not connect to the read-only server");
    }
    // These loads open several connections to the old primary.
    for list in join_all((0..4).map(|_| store.list("session", "ada"))).await {
        list.expect("the list succeeds");
    }
    server.run("ALTER USER demoted RESET default_transaction_read_only").await;
    store.create(&key, &record).await.expect_err("the connection is read-only");
    assert_works(&*store, 1).await;
}

/// Loads that were sent together on a connection that broke are repeated. A load that was sent alone fails.
async fn a_broken_connection_fails_only_the_load_that_was_sent_alone(server: &Postgres, pool: &PgPool) {
    const WAITING: &str = "FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let store = open(&options(server.url()).table("cut_off").timeout(TIME_LIMIT)).await.expect("the store opens");
    assert_works(&*store, 1).await;
    let mut other = pool.begin().await.expect("the transaction starts");
    sqlx::query("LOCK TABLE cut_off IN ACCESS EXCLUSIVE MODE").execute(&mut *other).await.expect("the row is locked");
    let loads = (0..17).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.load(&Key::from_bytes([1; 32])).await })
    });
    let loads: Vec<_> = loads.collect();
    let waiting = |what: &str| {
        let sql = format!("SELECT count({what}) {WAITING}");
        async move {
            sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql)).fetch_one(pool).await.expect("the query returns a count")
        }
    };
    let started = Instant::now();
    // The first load is sent alone, and the others in groups: on a busy machine, in several groups.
    while waiting("pid").await < 2 {
        assert!(started.elapsed() < TIME_LIMIT, "the loads do not wait for the lock");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(waiting("pg_terminate_backend(pid)").await >= 2, "the loads no longer wait for the lock");
    other.rollback().await.expect("the lock is released");
    let results = join_all(loads).await.into_iter().map(|load| load.expect("the load does not panic"));
    assert_eq!(results.filter(Result::is_err).count(), 1, "only the load that was sent alone fails");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mysql_store_handles_migrations_names_locks_and_broken_connections() {
    if !is_wanted("mysql") {
        return;
    }
    // Old and lax settings, which must not affect sessions.
    let settings =
        ["--character-set-server=latin1", "--sql-mode=", "--max-allowed-packet=1M", "--lower-case-table-names=0"];
    let settings: &'static [&'static str] = Box::leak(Box::new(settings));
    let mut server = MySql::with_settings(settings);
    ten_stores_can_start_concurrently(&server.url()).await;
    server.run("CREATE TABLE x (id INTEGER)").await;
    table_names_can_contain_any_characters(&server.url(), &NAMES).await;
    conformance::run(async |clock: Arc<ManualClock>| {
        open(&options(server.url()).table("lax").clock(clock)).await.expect("the store opens")
    })
    .await;

    mysql_commits_saves_in_groups(&server).await;
    let store = open(&options(server.url())).await.expect("a store");
    let (key, mut large) = (Key::from_bytes([88; 32]), record(1));
    store.create(&key, &large).await.expect("the record is created");
    let stored = large.clone();
    large.payload = vec![7; 1024 * 1024].into();
    let error = store.update(&key, stored.version, &large).await.expect_err("the record exceeds the packet limit");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("`max_size`"), "{error}");
    assert_eq!(store.load(&key).await.expect("the load succeeds"), Lookup::Found(stored));

    a_silent_connection_is_replaced(&server.url(), server.port()).await;
    silent_idle_connections_do_not_fail_a_call(&server.url(), server.port()).await;
    an_interrupted_migration_runs_again_in_mysql(&server).await;
    an_update_of_a_locked_row_times_out_in_mysql(&server).await;
    let pool = server.pool().await;
    conformance::run(async |clock: Arc<ManualClock>| {
        let options = Options::default().table("pooled").clock(clock);
        pool.clone().into_pool().open(&options).await.expect("the store opens")
    })
    .await;
    drop(pool);
    let store = open(&options(server.url()).timeout(TIMEOUT)).await.expect("the store opens");
    calls_to_a_killed_server_are_errors(store, || server.kill()).await;
}

async fn mysql_commits_saves_in_groups(server: &MySql) {
    let pool = server.pool().await;
    let commits = async || {
        let commits: (String, String) =
            sqlx::query_as("SHOW GLOBAL STATUS LIKE 'Com_commit'").fetch_one(&pool).await.expect("a count");
        commits.1.parse::<u64>().expect("a number")
    };
    let before = commits().await;
    saves_at_once(server.url()).await;
    assert!(commits().await > before, "no group of saves was committed");
}

/// MySQL commits each statement of a migration immediately. So a launch that is killed before it records the migration
/// leaves a table without the record.
async fn an_interrupted_migration_runs_again_in_mysql(server: &MySql) {
    let options = options(server.url()).table("interrupted");
    open(&options).await.expect("the store opens");
    server.run("DELETE FROM interrupted_migrations").await;
    assert_works(&*open(&options).await.expect("the migration runs again"), 1).await;
    let pool = server.pool().await;
    let recorded = sqlx::query_scalar::<_, i64>("SELECT version FROM interrupted_migrations").fetch_all(&pool).await;
    assert_eq!(recorded.expect("the table can be read"), [1]);
}

async fn an_update_of_a_locked_row_times_out_in_mysql(server: &MySql) {
    let timeout = TIMEOUT;
    let store = open(&options(server.url()).timeout(timeout)).await.expect("the store opens");
    let (key, first, second) = (Key::from_bytes([9; 32]), record(1), record(2));
    store.delete(&key).await.expect("the delete succeeds");
    store.create(&key, &first).await.expect("the record is created");
    let pool = server.pool().await;
    let mut other = pool.begin().await.expect("the transaction starts");
    sqlx::query(AssertSqlSafe("SELECT 1 FROM rocket_session WHERE `key` = ? FOR UPDATE"))
        .bind(key.as_bytes().as_slice())
        .execute(&mut *other)
        .await
        .expect("the row is locked");
    let started = Instant::now();
    let error = store.update(&key, first.version, &second).await.expect_err("the row is locked");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(started.elapsed() < timeout * 3, "{:?} with a timeout of {timeout:?}", started.elapsed());
    assert_eq!(store.load(&key).await.expect("a load does not wait for the lock"), Lookup::Found(first.clone()));
    a_locked_row_delays_only_its_own_updates(server.url(), &key, async || {
        other.rollback().await.expect("the lock is released");
    })
    .await;
    // An update that timed out may have been executed.
    let updated = store.update(&key, first.version, &second).await.expect("the update succeeds");
    assert!(
        matches!(&updated, Update::Updated)
            || matches!(&updated, Update::Conflict(stored) if stored.version == second.version)
    );
}

/// A firewall can drop connections silently. Calls on them time out, and new connections replace them in the pool.
async fn a_silent_connection_is_replaced(url: &str, port: u16) {
    let timeout = Duration::from_secs(4);
    let proxy = Proxy::to(port).await;
    let url = url.replace(&format!(":{port}"), &format!(":{}", proxy.port()));
    let store = open(&options(url).timeout(timeout).max_connections(1)).await.expect("the store opens");
    let (key, first) = (Key::from_bytes([66; 32]), record(1));
    store.delete(&key).await.expect("the delete succeeds");
    store.create(&key, &first).await.expect("the record is created");
    for _ in 0..3 {
        store.load(&key).await.expect("the load succeeds");
        // The pool may be testing the connection at this moment.
        proxy.silence_connections();
        let started = Instant::now();
        while store.load(&key).await.is_err() {
            assert!(started.elapsed() < timeout * 10, "the store does not recover");
        }
        proxy.silence_connections();
        let started = Instant::now();
        let _ = store.delete_expired(10).await;
        assert!(started.elapsed() < timeout * 3, "a sweep took {:?}", started.elapsed());
        while store.load(&key).await.is_err() {
            assert!(started.elapsed() < timeout * 10, "the store does not recover");
        }
    }
}

/// If a firewall dropped several idle connections, the next call tests one of them and opens a new one within its
/// timeout.
async fn silent_idle_connections_do_not_fail_a_call(url: &str, port: u16) {
    let proxy = Proxy::to(port).await;
    let url = url.replace(&format!(":{port}"), &format!(":{}", proxy.port()));
    let store = open(&options(url).timeout(TIMEOUT * 4)).await.expect("the store opens");
    // Without replies, none of the calls can use the connection of another one.
    const CONNECTIONS: usize = 6;
    proxy.hold_replies_after(0);
    let lists = join_all((0..CONNECTIONS).map(|_| store.list("session", "ada")));
    let release = async {
        while proxy.connections() < CONNECTIONS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        proxy.release_replies();
    };
    let both = async { tokio::join!(lists, release).0 };
    for list in tokio::time::timeout(TIME_LIMIT, both).await.expect("each call opens a connection") {
        list.expect("the list succeeds");
    }
    // The store does not test connections that were used within the last second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    proxy.silence_connections();
    store.load(&Key::from_bytes([66; 32])).await.expect("the load succeeds on a new connection");
    assert_eq!(proxy.connections(), CONNECTIONS + 1);
}
