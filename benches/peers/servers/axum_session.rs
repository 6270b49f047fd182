//! The site on `axum_session` and axum: `axum-session PORT STORE`. Only the comparison in `benches/comparison` uses it.

#[path = "../allocator.rs"]
mod allocator;
#[path = "../barrier.rs"]
mod barrier;

use std::env;
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::str::FromStr;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use axum_session::{DatabasePool, Session, SessionConfig, SessionLayer, SessionStore};
use axum_session_redispool::SessionRedisPool;
use axum_session_sqlx::{SessionPgPool, SessionSqlitePool};
use redis_pool::RedisPool;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::net::TcpListener;

const CONNECTIONS: u32 = 8;
const NUMBER: &str = "num_visits";

trait Pool: DatabasePool + Clone + Debug + Send + Sync + 'static {}
impl<T: DatabasePool + Clone + Debug + Send + Sync + 'static> Pool for T {}

async fn read<P: Pool>(session: Session<P>) -> String {
    session.get(NUMBER).unwrap_or(0).to_string()
}

async fn count<P: Pool>(session: Session<P>) -> String {
    let number = session.get(NUMBER).unwrap_or(0) + 1;
    session.set(NUMBER, number);
    number.to_string()
}

async fn logout<P: Pool>(session: Session<P>) {
    session.destroy();
}

async fn slow<P: Pool>(session: Session<P>, Path(port): Path<u16>) -> String {
    let number = session.get(NUMBER).unwrap_or(0) + 1;
    barrier::wait(port).await;
    session.set(NUMBER, number);
    number.to_string()
}

async fn site<P: Pool>(pool: P) -> Router {
    let store = SessionStore::new(Some(pool), SessionConfig::default()).await.expect("cannot open STORE");
    Router::new()
        .route("/get", get(read::<P>))
        .route("/count", get(count::<P>))
        .route("/logout", get(logout::<P>))
        .route("/slow/{port}", get(slow::<P>))
        .layer(SessionLayer::new(store))
}

async fn site_on(store: &str) -> Router {
    match store.split(':').next() {
        Some("sqlite") => {
            let (file, synchronous) = store.split_once("?synchronous=").expect("STORE has `synchronous`");
            let options = SqliteConnectOptions::from_str(file)
                .expect("STORE must be a URL")
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::from_str(synchronous).expect("invalid `synchronous`"));
            let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await;
            site(SessionSqlitePool::from(pool.expect("cannot open STORE"))).await
        }
        Some("postgres") => {
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(store).await;
            site(SessionPgPool::from(pool.expect("cannot open STORE"))).await
        }
        _ => {
            let client = redis::Client::open(store).expect("STORE must be a URL");
            site(SessionRedisPool::from(RedisPool::from(client))).await
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [port, store] = args.as_slice() else { panic!("usage: axum-session PORT STORE") };
    let port: u16 = port.parse().expect("PORT must be a number");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("cannot listen on PORT");
    axum::serve(listener, site_on(store).await).await.expect("cannot serve");
}
