//! What the stores in PostgreSQL and MySQL do beyond the contract: migrations, names, settings, locks.
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

/// How long the tests wait for something that a busy machine does late.
const PATIENCE: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(5);

fn options(url: String) -> Options {
    Options::new(url).timeout(PATIENCE)
}

fn record(bits: u64) -> Record {
    let now = ManualClock::default().now();
    Record::new(Version::from_bits(bits), now.plus(Duration::from_secs(3600)))
        .with_scope("session")
        .with_payload("payload")
        .with_times(now, now)
}

async fn works(store: &dyn Store, key: u8) {
    let (key, record) = (Key::from_bytes([key; 32]), record(1).with_identity("ada"));
    assert_eq!(store.create(&key, &record).await.expect("a create"), Create::Created);
    assert_eq!(store.load(&key).await.expect("a load"), Lookup::Found(record));
}

/// Ten sites start on an empty database, all at once.
async fn ten_at_once(url: &str) {
    let sites = (0..10).map(|key| {
        let options = options(url.to_owned());
        tokio::spawn(async move { works(&*open(&options).await.expect("a store"), key).await })
    });
    for site in join_all(sites).await {
        site.expect("it starts and works");
    }
}

async fn names(url: &str, names: &[&str]) {
    for name in names {
        let store = open(&options(url.to_owned()).table(*name)).await.expect("a store");
        works(&*store, 1).await;
        // A second launch finds the table.
        let again = open(&options(url.to_owned()).table(*name)).await.expect("the same store");
        works(&*again, 2).await;
    }
}

/// The number of calls of [`saves_at_once`].
const SAVES: u8 = 64;

/// Saves that go together. Were the group's statement refused, each call would be made alone, and nobody would notice.
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

async fn dead_servers_give_no_answers(store: Arc<dyn Store>, kill: impl FnOnce()) {
    works(&*store, 77).await;
    kill();
    conformance::errors_are_not_answers(&*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    if !is_wanted("postgres") {
        return;
    }
    let mut server = Postgres::start();
    ten_at_once(&server.url()).await;
    server.run("CREATE SCHEMA app; CREATE TABLE x (id INTEGER)").await;
    names(&server.url(), &NAMES).await;
    names(&server.url(), &["app.sessions", "app.a\"b; drop table x"]).await;
    let pool = server.pool().await;
    let count = |sql: &'static str| {
        let pool = pool.clone();
        async move { sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await.expect("a count") }
    };
    assert_eq!(count("SELECT count(*) FROM app.sessions").await, 2);
    assert_eq!(count("SELECT count(*) FROM app.sessions_migrations").await, 1);
    assert_eq!(count("SELECT count(*) FROM pg_indexes WHERE schemaname = 'app' AND tablename = 'sessions'").await, 3);
    assert_eq!(count("SELECT count(*) FROM x").await, 0, "the other table is gone");
    saves_at_once(server.url()).await;
    let statements = count("SELECT count(DISTINCT xmin::text) FROM together").await;
    assert!(statements < i64::from(SAVES) / 2, "{statements} statements");
    let error = open(&options(server.url()).table("app.")).await.err().expect("a schema is no table");
    assert_eq!(error.kind(), ErrorKind::Config);

    a_silent_connection_is_given_up(&server.url(), server.port()).await;
    silent_idle_connections_fail_no_call(&server.url(), server.port()).await;
    an_applications_pool(&pool).await;
    a_server_that_became_read_only_is_left(&server).await;
    postgres_locks_are_waited_for(&server, &pool).await;
    a_broken_connection_fails_one_load(&server, &pool).await;
    let store = open(&options(server.url()).timeout(TIMEOUT)).await.expect("a store");
    drop(pool);
    dead_servers_give_no_answers(store, || server.kill()).await;
}

/// The application's settings stay as they are, and its own migrations are not disturbed.
async fn an_applications_pool(pool: &PgPool) {
    let before: String = sqlx::query_scalar("SHOW statement_timeout").fetch_one(pool).await.expect("a setting");
    let store = pool.clone().into_pool().share(&Options::default().table("pooled")).await.expect("a store");
    works(&*store, 1).await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(pool.acquire().await.expect("a connection"));
    }
    for connection in &mut connections {
        let after: String =
            sqlx::query_scalar("SHOW statement_timeout").fetch_one(&mut **connection).await.expect("a setting");
        assert_eq!(after, before);
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
        let locks: i64 = sqlx::query_scalar(locks).fetch_one(&mut **connection).await.expect("a count");
        assert_eq!(locks, 0, "the lock of the migration was not released");
    }
}

/// A row that somebody else has locked is waited for, but not for ever; nor does the statement go on in the server.
async fn postgres_locks_are_waited_for(server: &Postgres, pool: &PgPool) {
    let store = open(&options(server.url()).timeout(TIMEOUT)).await.expect("a store");
    let (key, first, second) = (Key::from_bytes([9; 32]), record(1), record(2));
    store.delete(&key).await.expect("a delete");
    store.create(&key, &first).await.expect("a create");
    let mut other = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT 1 FROM rocket_session WHERE key = $1 FOR UPDATE")
        .bind(key.as_bytes().as_slice())
        .execute(&mut *other)
        .await
        .expect("a lock");
    let started = Instant::now();
    let error = store.update(&key, first.version, &second).await.expect_err("a locked row");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let took = started.elapsed();
    assert!(took >= TIMEOUT / 2 && took < TIMEOUT * 4, "{took:?} with a timeout of {TIMEOUT:?}");
    assert_eq!(store.load(&key).await.expect("readers do not wait"), Lookup::Found(first.clone()));
    neighbours_of_a_locked_row(&store, &key, TIMEOUT).await;
    other.rollback().await.expect("a release");
    // One that was given up may have been done all the same.
    let updated = store.update(&key, first.version, &second).await.expect("an update");
    assert!(
        matches!(&updated, Update::Updated)
            || matches!(&updated, Update::Conflict(held) if held.version == second.version)
    );
}

/// Changes that go to the server together with one of a row that somebody else has locked: that one waits in vain, and the
/// others are not held up by it.
async fn neighbours_of_a_locked_row(store: &Arc<dyn Store>, locked: &Key, timeout: Duration) {
    let first = record(1);
    for key in 100..200 {
        store.create(&Key::from_bytes([key; 32]), &first).await.expect("a create");
    }
    let calls = (100..200_u8).map(|key| {
        let (store, locked, first) = (store.clone(), *locked, first.clone());
        let key = Key::from_bytes([key; 32]);
        tokio::spawn(async move {
            let started = Instant::now();
            let expected = first.version;
            // Each of these takes a connection for as long as it waits.
            if key.as_bytes()[0].is_multiple_of(40) {
                let error = store.update(&locked, expected, &record(2)).await.expect_err("a locked row");
                assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
                return Duration::ZERO;
            }
            assert_eq!(store.update(&key, expected, &record(2)).await.expect("an update"), Update::Updated);
            started.elapsed()
        })
    });
    for call in join_all(calls).await {
        let took = call.expect("a call");
        assert!(took < timeout / 2, "a neighbour of a locked row took {took:?} with a timeout of {timeout:?}");
    }
}

/// After a failover, connections to the old primary are read-only. The setting of a user stands for that.
async fn a_server_that_became_read_only_is_left(server: &Postgres) {
    server.run("CREATE USER demoted PASSWORD 'demoted'; GRANT ALL ON SCHEMA public TO demoted").await;
    let options = options(server.url_of("demoted", "demoted")).table("demoted");
    let store = open(&options).await.expect("a store");
    server.run("ALTER USER demoted SET default_transaction_read_only = on").await;
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'demoted'").await;
    let (key, record) = (Key::from_bytes([5; 32]), record(1));
    let started = Instant::now();
    while !format!("{:?}", store.create(&key, &record).await).contains("read-only transaction") {
        assert!(started.elapsed() < PATIENCE, "the store does not connect to the read-only server");
    }
    // Several connections read from the old primary.
    for list in join_all((0..4).map(|_| store.list("session", "ada"))).await {
        list.expect("a list");
    }
    server.run("ALTER USER demoted RESET default_transaction_read_only").await;
    store.create(&key, &record).await.expect_err("an old connection");
    works(&*store, 1).await;
}

/// Loads that were under way together on a connection that broke are made again: none of them is worse off for it.
async fn a_broken_connection_fails_one_load(server: &Postgres, pool: &PgPool) {
    const STUCK: &str = "FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let store = open(&options(server.url()).table("cut_off").timeout(PATIENCE)).await.expect("a store");
    works(&*store, 1).await;
    let mut other = pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE cut_off IN ACCESS EXCLUSIVE MODE").execute(&mut *other).await.expect("a lock");
    let loads = (0..17).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.load(&Key::from_bytes([1; 32])).await })
    });
    let loads: Vec<_> = loads.collect();
    let number = |what: &str| {
        let sql = format!("SELECT count({what}) {STUCK}");
        async move { sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql)).fetch_one(pool).await.expect("a count") }
    };
    let started = Instant::now();
    // The first goes alone, and the others together: on a busy machine, in more than one group.
    while number("pid").await < 2 {
        assert!(started.elapsed() < PATIENCE, "they do not wait for the lock");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(number("pg_terminate_backend(pid)").await >= 2, "they waited for the lock");
    other.rollback().await.expect("a release");
    let answers = join_all(loads).await.into_iter().map(|load| load.expect("a load"));
    assert_eq!(answers.filter(Result::is_err).count(), 1, "the one that was alone on its connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mysql() {
    if !is_wanted("mysql") {
        return;
    }
    // As old and as lax as servers come: nothing of that may reach a session.
    let settings =
        ["--character-set-server=latin1", "--sql-mode=", "--max-allowed-packet=1M", "--lower-case-table-names=0"];
    let settings: &'static [&'static str] = Box::leak(Box::new(settings));
    let mut server = MySql::with(settings);
    ten_at_once(&server.url()).await;
    server.run("CREATE TABLE x (id INTEGER)").await;
    names(&server.url(), &NAMES).await;
    conformance::run(async |clock: Arc<ManualClock>| {
        open(&options(server.url()).table("lax").clock(clock)).await.expect("a store")
    })
    .await;

    mysql_commits_groups(&server).await;
    let store = open(&options(server.url())).await.expect("a store");
    let (key, mut large) = (Key::from_bytes([88; 32]), record(1));
    store.create(&key, &large).await.expect("a create");
    let kept = large.clone();
    large.payload = vec![7; 1024 * 1024].into();
    let error = store.update(&key, kept.version, &large).await.expect_err("more than a packet holds");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("`max_size`"), "{error}");
    assert_eq!(store.load(&key).await.expect("a load"), Lookup::Found(kept));

    a_silent_connection_is_given_up(&server.url(), server.port()).await;
    silent_idle_connections_fail_no_call(&server.url(), server.port()).await;
    mysql_runs_an_interrupted_migration_again(&server).await;
    mysql_locks_are_waited_for(&server).await;
    let pool = server.pool().await;
    conformance::run(async |clock: Arc<ManualClock>| {
        let options = Options::default().table("pooled").clock(clock);
        pool.clone().into_pool().open(&options).await.expect("a store")
    })
    .await;
    drop(pool);
    let store = open(&options(server.url()).timeout(TIMEOUT)).await.expect("a store");
    dead_servers_give_no_answers(store, || server.kill()).await;
}

async fn mysql_commits_groups(server: &MySql) {
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

/// MySQL commits each statement of a migration at once: a launch that is killed before it records the migration leaves the
/// table without the record.
async fn mysql_runs_an_interrupted_migration_again(server: &MySql) {
    let options = options(server.url()).table("interrupted");
    open(&options).await.expect("a store");
    server.run("DELETE FROM interrupted_migrations").await;
    works(&*open(&options).await.expect("a store whose migration runs again"), 1).await;
    let pool = server.pool().await;
    let recorded = sqlx::query_scalar::<_, i64>("SELECT version FROM interrupted_migrations").fetch_all(&pool).await;
    assert_eq!(recorded.expect("a readable table"), [1]);
}

async fn mysql_locks_are_waited_for(server: &MySql) {
    let timeout = TIMEOUT;
    let store = open(&options(server.url()).timeout(timeout)).await.expect("a store");
    let (key, first, second) = (Key::from_bytes([9; 32]), record(1), record(2));
    store.delete(&key).await.expect("a delete");
    store.create(&key, &first).await.expect("a create");
    let pool = server.pool().await;
    let mut other = pool.begin().await.expect("a transaction");
    sqlx::query(AssertSqlSafe("SELECT 1 FROM rocket_session WHERE `key` = ? FOR UPDATE"))
        .bind(key.as_bytes().as_slice())
        .execute(&mut *other)
        .await
        .expect("a lock");
    let started = Instant::now();
    let error = store.update(&key, first.version, &second).await.expect_err("a locked row");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(started.elapsed() < timeout * 3, "{:?} with a timeout of {timeout:?}", started.elapsed());
    assert_eq!(store.load(&key).await.expect("readers do not wait"), Lookup::Found(first.clone()));
    neighbours_of_a_locked_row(&store, &key, timeout).await;
    other.rollback().await.expect("a release");
    // One that was given up may have been done all the same.
    let updated = store.update(&key, first.version, &second).await.expect("an update");
    assert!(
        matches!(&updated, Update::Updated)
            || matches!(&updated, Update::Conflict(held) if held.version == second.version)
    );
}

/// Nothing comes back any more on the connections there are, and nobody says so: behind a firewall that forgot them. Calls
/// end in time, no place in the pool is lost, and new connections serve.
async fn a_silent_connection_is_given_up(url: &str, port: u16) {
    let timeout = Duration::from_secs(2);
    let proxy = Proxy::to(port).await;
    let url = url.replace(&format!(":{port}"), &format!(":{}", proxy.port()));
    let store = open(&options(url).timeout(timeout).max_connections(1)).await.expect("a store");
    let (key, first) = (Key::from_bytes([66; 32]), record(1));
    store.delete(&key).await.expect("a delete");
    store.create(&key, &first).await.expect("a create");
    for _ in 0..3 {
        store.load(&key).await.expect("a load");
        // The pool may be asking the connection whether it stands.
        proxy.swallow();
        let started = Instant::now();
        while store.load(&key).await.is_err() {
            assert!(started.elapsed() < timeout * 10, "the store does not recover");
        }
        proxy.swallow();
        let started = Instant::now();
        let _ = store.delete_expired(10).await;
        assert!(started.elapsed() < timeout * 3, "a sweep took {:?}", started.elapsed());
        while store.load(&key).await.is_err() {
            assert!(started.elapsed() < timeout * 10, "the store does not recover");
        }
    }
}

/// A firewall dropped several idle connections. The next call tests one of them and opens a new one, all within its time.
async fn silent_idle_connections_fail_no_call(url: &str, port: u16) {
    let proxy = Proxy::to(port).await;
    let url = url.replace(&format!(":{port}"), &format!(":{}", proxy.port()));
    let store = open(&options(url).timeout(TIMEOUT * 4)).await.expect("a store");
    for list in join_all((0..6).map(|_| store.list("session", "ada"))).await {
        list.expect("a list");
    }
    let connections = proxy.connections();
    assert!(connections > 4, "{connections} connections");
    // Connections that were just in use are not tested.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    proxy.swallow();
    store.load(&Key::from_bytes([66; 32])).await.expect("a load on a new connection");
    assert_eq!(proxy.connections(), connections + 1);
}
