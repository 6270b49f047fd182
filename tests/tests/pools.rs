//! Sessions in the database of an application's pool.
#![cfg(unix)]

use std::any::Any;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use rocket::http::Header;
use rocket::local::asynchronous::Client;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::{State, get, routes};
use session_rocket::sqlx::pool::PoolOptions;
use session_rocket::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use session_rocket::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use session_rocket::sqlx::{self, ConnectOptions, Database, Executor, PgPool, Pool, Sqlite, SqlitePool};
use session_rocket::store::sql::IntoPool;
use session_rocket::{Config, Result, Session, SessionFairing};
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::{MySql, Postgres};

/// The connections of the application's pool, and how many requests come at once.
const CONNECTIONS: u32 = 3;
const REQUESTS: usize = 8;

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Session)]
struct Visitor {
    count: u32,
}

/// Lends a connection of the application's pool, whatever its database is.
struct Lender(Box<dyn Fn() -> BoxFuture<'static, Box<dyn Any + Send>> + Send + Sync>);

impl Lender {
    fn of<DB: Database>(pool: Pool<DB>) -> Self {
        Self(Box::new(move || {
            let acquired = pool.acquire();
            Box::pin(async { Box::new(acquired.await.expect("a free connection")) as _ })
        }))
    }
}

/// A connection of the application's pool, held until the handler returns.
struct Db(#[expect(dead_code, reason = "it is held, not used")] Box<dyn Any + Send>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Db {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let lender = request.guard::<&State<Lender>>().await.expect("a managed lender");
        Outcome::Success(Db((lender.0)().await))
    }
}

#[get("/count")]
fn count(session: Session<Visitor>) -> String {
    session.update_count(|count| *count += 1);
    session.count().to_string()
}

#[get("/db-session")]
fn db_session(_db: Db, session: Session<Visitor>) {
    session.update_count(|count| *count += 1);
}

#[get("/session-db")]
fn session_db(session: Session<Visitor>, _db: Db) {
    session.update_count(|count| *count += 1);
}

#[get("/db-session-save")]
async fn db_session_save(_db: Db, session: Session<Visitor>) -> Result<()> {
    session.update_count(|count| *count += 1);
    session.save().await
}

#[get("/session-db-save")]
async fn session_db_save(session: Session<Visitor>, _db: Db) -> Result<()> {
    session.update_count(|count| *count += 1);
    session.save().await
}

async fn launch<DB: Database>(pool: &Pool<DB>, fairing: SessionFairing<Visitor>) -> Client {
    let rocket = rocket::custom(rocket::Config::figment().merge(("log_level", "off")))
        .manage(Lender::of(pool.clone()))
        .mount("/", routes![count, db_session, session_db, db_session_save, session_db_save])
        .attach(fairing);
    Client::untracked(rocket).await.expect("the site launches")
}

fn fairing() -> SessionFairing<Visitor> {
    Session::<Visitor>::fairing().config(Config::new().timeout(TIMEOUT))
}

/// Starts a session and returns its cookie.
async fn visit(client: &Client) -> Header<'static> {
    let response = client.get("/count").dispatch().await;
    let cookie = response.headers().get_one("set-cookie").expect("a session cookie");
    Header::new("Cookie", cookie.split(';').next().expect("a pair").to_owned())
}

/// Sends many requests at once and returns their status codes.
async fn at_once(client: &Client, path: &'static str, cookie: &Header<'static>) -> Vec<u16> {
    let request = || async { client.get(path).header(cookie.clone()).dispatch().await.status().code };
    join_all((0..REQUESTS).map(|_| request())).await
}

/// More requests than the pool has connections, each of which holds one while its session loads and is saved.
async fn handlers_may_hold_a_connection<DB: Database>(pool: Pool<DB>)
where
    Pool<DB>: IntoPool,
{
    let client = launch(&pool, fairing().pool(pool.clone())).await;
    for path in ["/db-session", "/session-db", "/db-session-save", "/session-db-save"] {
        let cookie = visit(&client).await;
        assert_eq!(at_once(&client, path, &cookie).await, [200; REQUESTS], "{path}");
        let counted = client.get("/count").header(cookie).dispatch().await.into_string().await;
        assert_eq!(counted, Some((REQUESTS + 2).to_string()), "{path}");
    }
}

fn pool_options<DB: Database>() -> PoolOptions<DB> {
    PoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(TIMEOUT * 2)
}

fn file(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).create_if_missing(true)
}

#[rocket::async_test]
async fn handlers_that_hold_a_connection_do_not_starve_their_sessions_in_sqlite() {
    let directory = tempfile::tempdir().expect("a directory");
    for mode in [SqliteJournalMode::Delete, SqliteJournalMode::Wal] {
        let connect = file(&directory.path().join("application.db")).journal_mode(mode);
        handlers_may_hold_a_connection(pool_options::<Sqlite>().connect_with(connect).await.expect("a pool")).await;
    }
}

#[rocket::async_test]
async fn a_pool_of_two_serves_six_requests_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = SqlitePoolOptions::new().max_connections(2);
    let pool = options.connect_with(file(&directory.path().join("application.db"))).await.expect("a pool");
    handlers_may_hold_a_connection(pool).await;
}

#[rocket::async_test]
async fn the_journal_mode_of_an_application_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    for mode in ["delete", "wal"] {
        let path = directory.path().join(format!("{mode}.db"));
        let connect = file(&path).pragma("journal_mode", mode);
        let pool = SqlitePool::connect_with(connect).await.expect("a pool");
        let client = launch(&pool, fairing().pool(pool.clone())).await;
        visit(&client).await;
        let found: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pool).await.expect("a mode");
        assert_eq!(found, mode);
        // Without a connection that sets the mode.
        let mut other = SqliteConnectOptions::new().filename(&path).connect().await.expect("a connection");
        let found: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut other).await.expect("a mode");
        assert_eq!(found, mode);
    }
}

async fn sessions<'e>(database: impl Executor<'e, Database = Sqlite>) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM rocket_session").fetch_one(database).await.expect("a session table")
}

#[rocket::async_test]
async fn a_pool_in_memory_is_shared() {
    let private = SqlitePoolOptions::new().max_connections(1).connect_with(SqliteConnectOptions::new());
    let cached = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:");
    for pool in [private.await, cached.await] {
        let pool = pool.expect("a pool");
        let client = launch(&pool, fairing().pool(pool.clone())).await;
        visit(&client).await;
        assert_eq!(sessions(&pool).await, 1);
    }
}

/// SQLite takes a name that begins with `file:` for a URI, which may name a file or a database in memory.
#[rocket::async_test]
async fn a_uri_names_a_file_or_a_database_in_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("application.db");
    for name in [format!("file:{}", path.display()), "file:named?mode=memory&cache=shared".to_owned()] {
        let pool = pool_options::<Sqlite>().connect_with(file(Path::new(&name))).await.expect("a pool");
        let client = launch(&pool, fairing().pool(pool.clone())).await;
        visit(&client).await;
        assert_eq!(sessions(&pool).await, 1, "{name}");
    }
    assert!(path.is_file());
}

#[rocket::async_test]
async fn a_shared_pool_lends_its_connections() {
    let directory = tempfile::tempdir().expect("a directory");
    let connect = file(&directory.path().join("application.db"));
    // What only a connection that ran the hook has.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| {
            Box::pin(async { connection.execute("ATTACH ':memory:' AS extra").await.map(|_| ()) })
        })
        .connect_with(connect)
        .await
        .expect("a pool");
    let client = launch(&pool, fairing().shared_pool(pool.clone())).await;
    visit(&client).await;
    assert_eq!((sessions(&pool).await, pool.size()), (1, 1));
}

#[rocket::async_test]
async fn a_launch_does_not_wait_for_a_shared_pool_without_a_free_connection() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = SqlitePoolOptions::new().max_connections(1);
    let pool = options.connect_with(file(&directory.path().join("application.db"))).await.expect("a pool");
    let held = pool.acquire().await.expect("a connection");
    let fairing = Session::<Visitor>::fairing().config(Config::new().timeout(Duration::from_millis(300)));
    let started = Instant::now();
    let rocket = rocket::custom(rocket::Config::figment().merge(("log_level", "off")));
    let error = rocket.attach(fairing.shared_pool(pool.clone())).ignite().await.expect_err("a launch that fails");
    assert!(matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)), "{error}");
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
    drop(held);
}

/// A pool whose hook sets the schema of unqualified names.
async fn in_schema(server: &Postgres) -> PgPool {
    server.run("CREATE SCHEMA IF NOT EXISTS app").await;
    let options = PgPoolOptions::new().max_connections(2).after_connect(|connection, _| {
        Box::pin(async { connection.execute("SET search_path TO app").await.map(|_| ()) })
    });
    options.connect(&server.url()).await.expect("a pool")
}

async fn backends(pool: &PgPool, name: &str) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    sqlx::query_scalar(sql).bind(name).fetch_one(pool).await.expect("a count")
}

/// The connections have the pool's connect options, and `max_connections` limits them.
async fn own_connections_are_limited(server: &Postgres) {
    let pool = server.pool().await;
    let connect: PgConnectOptions = server.url().parse().expect("a URL");
    let named = PgPoolOptions::new().connect_lazy_with(connect.application_name("named"));
    let fairing = Session::<Visitor>::fairing().config(Config::new().timeout(TIMEOUT).max_connections(2));
    let client = launch(&named, fairing.pool(named.clone())).await;
    let cookie = visit(&client).await;
    assert_eq!(at_once(&client, "/count", &cookie).await, [200; REQUESTS]);
    let visitors = join_all((0..REQUESTS).map(|_| visit(&client))).await;
    assert_eq!((visitors.len(), named.size()), (REQUESTS, 0));
    let backends = backends(&pool, "named").await;
    assert!((1..=2).contains(&backends), "{backends} connections");
}

/// Unqualified names are in the hook's schema, so the session table is there.
async fn hooks_run_on_shared_connections(server: &Postgres) {
    let pool = in_schema(server).await;
    let client = launch(&pool, fairing().shared_pool(pool.clone())).await;
    visit(&client).await;
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM app.rocket_session").fetch_one(&pool).await.expect("a table");
    assert_eq!((count, pool.size() <= 2), (1, true));
}

/// The application changes its password, tells its pool, and the server ends all connections.
async fn a_rotated_password_is_followed(server: &Postgres) {
    server.run("CREATE USER rotating PASSWORD 'first'; GRANT ALL ON SCHEMA public TO rotating").await;
    let connect = |password: &str| -> PgConnectOptions {
        let options: PgConnectOptions = server.url_of("rotating", password).parse().expect("a URL");
        options.application_name("rotating")
    };
    let pool = PgPoolOptions::new().connect_lazy_with(connect("first"));
    let config = Config::new().timeout(TIMEOUT).table("rotating");
    let client = launch(&pool, Session::<Visitor>::fairing().config(config).pool(pool.clone())).await;
    let cookie = visit(&client).await;
    pool.set_connect_options(connect("second"));
    server.run("ALTER USER rotating PASSWORD 'second'").await;
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rotating'").await;
    // Each connection that the server ended fails the call that meets it.
    let started = Instant::now();
    let mut status = 0;
    while status != 200 && started.elapsed() < TIMEOUT * 2 {
        status = client.get("/count").header(cookie.clone()).dispatch().await.status().code;
    }
    assert_eq!(status, 200);
}

#[rocket::async_test]
async fn on_postgres() {
    if !is_wanted("postgres") {
        return;
    }
    let server = Postgres::start();
    own_connections_are_limited(&server).await;
    hooks_run_on_shared_connections(&server).await;
    a_rotated_password_is_followed(&server).await;
    handlers_may_hold_a_connection(pool_options::<sqlx::Postgres>().connect(&server.url()).await.expect("a pool"))
        .await;
}

#[rocket::async_test]
async fn on_mysql() {
    if !is_wanted("mysql") {
        return;
    }
    let server = MySql::start();
    handlers_may_hold_a_connection(pool_options::<sqlx::MySql>().connect(&server.url()).await.expect("a pool")).await;
}
