//! Sessions in the database of an application's connection pool.
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

/// The size of the application's pool.
const CONNECTIONS: u32 = 3;
/// The number of concurrent requests.
const REQUESTS: usize = 8;

/// How long a call may take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Session)]
struct Visitor {
    count: u32,
}

/// Takes a connection from the application's pool, for any database.
struct AcquireConnection(Box<dyn Fn() -> BoxFuture<'static, Box<dyn Any + Send>> + Send + Sync>);

impl AcquireConnection {
    fn of<DB: Database>(pool: Pool<DB>) -> Self {
        Self(Box::new(move || {
            let acquired = pool.acquire();
            Box::pin(async { Box::new(acquired.await.expect("a connection is free")) as _ })
        }))
    }
}

/// A connection of the application's pool. The handler keeps it until it returns.
struct Db(#[expect(dead_code, reason = "the connection is only kept")] Box<dyn Any + Send>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Db {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let acquire = request.guard::<&State<AcquireConnection>>().await.expect("the site manages this state");
        Outcome::Success(Db((acquire.0)().await))
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
        .manage(AcquireConnection::of(pool.clone()))
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
    let cookie = response.headers().get_one("set-cookie").expect("the response sets a session cookie");
    Header::new("Cookie", cookie.split(';').next().expect("`split` returns at least one part").to_owned())
}

/// Sends [`REQUESTS`] concurrent requests and returns their status codes.
async fn send_concurrently(client: &Client, path: &'static str, cookie: &Header<'static>) -> Vec<u16> {
    let request = || async { client.get(path).header(cookie.clone()).dispatch().await.status().code };
    join_all((0..REQUESTS).map(|_| request())).await
}

/// Sends more requests than the pool has connections. Each handler keeps a connection while its session is loaded and
/// saved.
async fn assert_handlers_can_keep_a_connection<DB: Database>(pool: Pool<DB>)
where
    Pool<DB>: IntoPool,
{
    let client = launch(&pool, fairing().pool(pool.clone())).await;
    for path in ["/db-session", "/session-db", "/db-session-save", "/session-db-save"] {
        let cookie = visit(&client).await;
        assert_eq!(send_concurrently(&client, path, &cookie).await, [200; REQUESTS], "{path}");
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
async fn handlers_that_keep_a_connection_can_load_and_save_their_sessions() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    for mode in [SqliteJournalMode::Delete, SqliteJournalMode::Wal] {
        let connect = file(&directory.path().join("application.db")).journal_mode(mode);
        assert_handlers_can_keep_a_connection(
            pool_options::<Sqlite>().connect_with(connect).await.expect("the pool opens"),
        )
        .await;
    }
}

#[rocket::async_test]
async fn eight_concurrent_requests_can_share_a_pool_of_two_connections() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let options = SqlitePoolOptions::new().max_connections(2);
    let pool = options.connect_with(file(&directory.path().join("application.db"))).await.expect("the pool opens");
    assert_handlers_can_keep_a_connection(pool).await;
}

#[rocket::async_test]
async fn the_journal_mode_of_an_application_is_not_changed() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    for mode in ["delete", "wal"] {
        let path = directory.path().join(format!("{mode}.db"));
        let connect = file(&path).pragma("journal_mode", mode);
        let pool = SqlitePool::connect_with(connect).await.expect("the pool opens");
        let client = launch(&pool, fairing().pool(pool.clone())).await;
        visit(&client).await;
        let actual: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pool).await.expect("the mode can be set");
        assert_eq!(actual, mode);
        // This connection does not set the mode, so it reads the mode of the file.
        let mut other = SqliteConnectOptions::new().filename(&path).connect().await.expect("a connection is free");
        let actual: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut other).await.expect("the mode can be set");
        assert_eq!(actual, mode);
    }
}

async fn count_sessions<'e>(database: impl Executor<'e, Database = Sqlite>) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM rocket_session")
        .fetch_one(database)
        .await
        .expect("the session table exists")
}

#[rocket::async_test]
async fn a_pool_of_a_database_in_memory_is_shared() {
    let private = SqlitePoolOptions::new().max_connections(1).connect_with(SqliteConnectOptions::new());
    let cached = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:");
    for pool in [private.await, cached.await] {
        let pool = pool.expect("the pool opens");
        let client = launch(&pool, fairing().pool(pool.clone())).await;
        visit(&client).await;
        assert_eq!(count_sessions(&pool).await, 1);
    }
}

/// SQLite treats a name that begins with `file:` as a URI.
#[rocket::async_test]
async fn a_uri_can_name_a_file_or_a_database_in_memory() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let path = directory.path().join("application.db");
    for name in [format!("file:{}", path.display()), "file:named?mode=memory&cache=shared".to_owned()] {
        let pool = pool_options::<Sqlite>().connect_with(file(Path::new(&name))).await.expect("the pool opens");
        let client = launch(&pool, fairing().pool(pool.clone())).await;
        visit(&client).await;
        assert_eq!(count_sessions(&pool).await, 1, "{name}");
    }
    assert!(path.is_file());
}

#[rocket::async_test]
async fn a_shared_pool_is_used_for_all_session_queries() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let connect = file(&directory.path().join("application.db"));
    // Only the connections of the pool run this hook.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| {
            Box::pin(async { connection.execute("ATTACH ':memory:' AS extra").await.map(|_| ()) })
        })
        .connect_with(connect)
        .await
        .expect("the pool opens");
    let client = launch(&pool, fairing().shared_pool(pool.clone())).await;
    visit(&client).await;
    assert_eq!((count_sessions(&pool).await, pool.size()), (1, 1));
}

#[rocket::async_test]
async fn a_launch_fails_in_time_if_a_shared_pool_has_no_free_connection() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    // The launch must not wait as long as the application does.
    let options = SqlitePoolOptions::new().max_connections(1).acquire_timeout(TIMEOUT * 2);
    let pool = options.connect_with(file(&directory.path().join("application.db"))).await.expect("the pool opens");
    let connection = pool.acquire().await.expect("a connection is free");
    let fairing = Session::<Visitor>::fairing().config(Config::new().timeout(Duration::from_millis(300)));
    let started = Instant::now();
    let rocket = rocket::custom(rocket::Config::figment().merge(("log_level", "off")));
    let error = rocket.attach(fairing.shared_pool(pool.clone())).ignite().await.expect_err("the launch fails");
    assert!(matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)), "{error}");
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
    drop(connection);
}

/// Opens a pool whose hook sets the schema of unqualified names.
async fn pool_with_schema(server: &Postgres) -> PgPool {
    server.run("CREATE SCHEMA IF NOT EXISTS app").await;
    let options = PgPoolOptions::new().max_connections(2).after_connect(|connection, _| {
        Box::pin(async { connection.execute("SET search_path TO app").await.map(|_| ()) })
    });
    options.connect(&server.url()).await.expect("the pool opens")
}

/// Counts the connections with this application name.
async fn count_connections(pool: &PgPool, name: &str) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    sqlx::query_scalar(sql).bind(name).fetch_one(pool).await.expect("the query returns a count")
}

/// The store's own connections have the pool's connect options.
async fn max_connections_limits_the_stores_own_connections(server: &Postgres) {
    let pool = server.pool().await;
    let connect: PgConnectOptions = server.url().parse().expect("the URL is valid");
    let named = PgPoolOptions::new().connect_lazy_with(connect.application_name("named"));
    let fairing = Session::<Visitor>::fairing().config(Config::new().timeout(TIMEOUT).max_connections(2));
    let client = launch(&named, fairing.pool(named.clone())).await;
    let cookie = visit(&client).await;
    assert_eq!(send_concurrently(&client, "/count", &cookie).await, [200; REQUESTS]);
    let visitors = join_all((0..REQUESTS).map(|_| visit(&client))).await;
    assert_eq!((visitors.len(), named.size()), (REQUESTS, 0));
    let connections = count_connections(&pool, "named").await;
    assert!((1..=2).contains(&connections), "{connections} connections");
}

/// The hook sets the schema of unqualified names, so the session table is in that schema.
async fn hooks_of_a_shared_pool_run(server: &Postgres) {
    let pool = pool_with_schema(server).await;
    let client = launch(&pool, fairing().shared_pool(pool.clone())).await;
    visit(&client).await;
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM app.rocket_session").fetch_one(&pool).await.expect("the table exists");
    assert_eq!((count, pool.size() <= 2), (1, true));
}

/// The application changes its password and the connect options of its pool, and the server ends all connections.
async fn the_store_uses_the_new_password_of_the_pool(server: &Postgres) {
    server.run("CREATE USER rotating PASSWORD 'first'; GRANT ALL ON SCHEMA public TO rotating").await;
    let connect = |password: &str| -> PgConnectOptions {
        let options: PgConnectOptions = server.url_for("rotating", password).parse().expect("the URL is valid");
        options.application_name("rotating")
    };
    let pool = PgPoolOptions::new().connect_lazy_with(connect("first"));
    let config = Config::new().timeout(TIMEOUT).table("rotating");
    let client = launch(&pool, Session::<Visitor>::fairing().config(config).pool(pool.clone())).await;
    let cookie = visit(&client).await;
    pool.set_connect_options(connect("second"));
    server.run("ALTER USER rotating PASSWORD 'second'").await;
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rotating'").await;
    // Each connection that the server ended fails one call.
    let started = Instant::now();
    let mut status = 0;
    while status != 200 && started.elapsed() < TIMEOUT * 2 {
        status = client.get("/count").header(cookie.clone()).dispatch().await.status().code;
    }
    assert_eq!(status, 200);
}

#[rocket::async_test]
async fn a_postgresql_pool_can_serve_sessions() {
    if !is_wanted("postgres") {
        return;
    }
    let server = Postgres::start();
    max_connections_limits_the_stores_own_connections(&server).await;
    hooks_of_a_shared_pool_run(&server).await;
    the_store_uses_the_new_password_of_the_pool(&server).await;
    assert_handlers_can_keep_a_connection(
        pool_options::<sqlx::Postgres>().connect(&server.url()).await.expect("the pool opens"),
    )
    .await;
}

#[rocket::async_test]
async fn handlers_that_keep_a_mysql_connection_can_load_and_save_their_sessions() {
    if !is_wanted("mysql") {
        return;
    }
    let server = MySql::start();
    assert_handlers_can_keep_a_connection(
        pool_options::<sqlx::MySql>().connect(&server.url()).await.expect("the pool opens"),
    )
    .await;
}
