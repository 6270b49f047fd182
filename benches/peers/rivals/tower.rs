//! The site on `tower-sessions` and axum: `tower PORT STORE`.

#[path = "../allocator.rs"]
mod allocator;
#[path = "../barrier.rs"]
mod barrier;

use std::env;
use std::net::Ipv4Addr;
use std::str::FromStr;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use fred::prelude::{ClientLike, Config, Pool};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::net::TcpListener;
use tower_sessions::cookie::time::Duration;
use tower_sessions::session::Error;
use tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_sqlx_store::{PostgresStore, SqliteStore};

const CONNECTIONS: u32 = 8;
const WORKERS: usize = 2;
const NUMBER: &str = "num_visits";

async fn plain() -> &'static str {
    "hello"
}

async fn read(session: Session) -> Result<String, StatusCode> {
    let number: Option<u32> = session.get(NUMBER).await.map_err(internal_server_error)?;
    Ok(number.unwrap_or_default().to_string())
}

async fn count(session: Session) -> Result<String, StatusCode> {
    let number: Option<u32> = session.get(NUMBER).await.map_err(internal_server_error)?;
    let number = number.unwrap_or_default() + 1;
    session.insert(NUMBER, number).await.map_err(internal_server_error)?;
    Ok(number.to_string())
}

async fn logout(session: Session) -> Result<(), StatusCode> {
    session.flush().await.map_err(internal_server_error)
}

async fn slow(session: Session, Path(port): Path<u16>) -> Result<String, StatusCode> {
    let number: Option<u32> = session.get(NUMBER).await.map_err(internal_server_error)?;
    let number = number.unwrap_or_default() + 1;
    barrier::wait(port).await;
    session.insert(NUMBER, number).await.map_err(internal_server_error)?;
    Ok(number.to_string())
}

fn internal_server_error(_: Error) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

fn site<S: SessionStore + Clone>(store: S) -> Router {
    let sessions = SessionManagerLayer::new(store).with_expiry(Expiry::OnInactivity(Duration::days(14)));
    Router::new()
        .route("/plain", get(plain))
        .route("/get", get(read))
        .route("/count", get(count))
        .route("/logout", get(logout))
        .route("/slow/{port}", get(slow))
        .layer(sessions)
}

async fn site_on(store: &str) -> Router {
    match store.split(':').next() {
        Some("sqlite") => {
            let (file, synchronous) = store.split_once("?synchronous=").expect("STORE has `synchronous`");
            let options = SqliteConnectOptions::from_str(file)
                .expect("STORE must be a URL")
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::from_str(synchronous).expect("invalid `synchronous`"))
                .busy_timeout(std::time::Duration::from_secs(5));
            let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS);
            let store = SqliteStore::new(pool.connect_with(options).await.expect("cannot open STORE"));
            store.migrate().await.expect("cannot create the table");
            site(store)
        }
        Some("postgres") => {
            let pool =
                PgPoolOptions::new().max_connections(CONNECTIONS).connect(store).await.expect("cannot open STORE");
            let store = PostgresStore::new(pool);
            store.migrate().await.expect("cannot create the table");
            site(store)
        }
        Some("redis") => {
            let config = Config::from_url(store).expect("STORE must be a URL");
            let pool = Pool::new(config, None, None, None, CONNECTIONS as usize).expect("cannot create a pool");
            pool.init().await.expect("cannot open STORE");
            site(RedisStore::new(pool))
        }
        _ => site(MemoryStore::default()),
    }
}

async fn serve(port: u16, store: &str) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("cannot listen on PORT");
    axum::serve(listener, site_on(store).await).await.expect("cannot serve");
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [port, store] = args.as_slice() else { panic!("usage: tower PORT STORE") };
    let port: u16 = port.parse().expect("PORT must be a number");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    runtime.expect("cannot start a runtime").block_on(serve(port, store));
}
