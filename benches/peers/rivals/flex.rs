//! The site on `rocket_flex_session`: `flex PORT STORE`.

#[path = "../allocator.rs"]
mod allocator;
#[path = "../barrier.rs"]
mod barrier;

use std::env;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use fred::prelude::{ClientLike, Config, Pool};
use rocket::figment::Figment;
use rocket::{Build, Rocket, get, launch, routes};
use rocket_flex_session::error::SessionError;
use rocket_flex_session::storage::cookie::CookieStorage;
use rocket_flex_session::storage::redis::{RedisFormat, RedisFredStorage, RedisValue, SessionRedis};
use rocket_flex_session::storage::sqlx::{SessionSqlx, SqlxPostgresStorage, SqlxSqliteStorage};
use rocket_flex_session::{RocketFlexSession, Session, SessionIdentifier};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

const CONNECTIONS: u32 = 8;
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[derive(Clone, Default, Serialize, Deserialize)]
struct Visits {
    num_visits: u32,
}

impl SessionIdentifier for Visits {
    type Id = String;

    fn identifier(&self) -> Option<String> {
        None
    }
}

/// Stores the number as a string, the most compact form.
macro_rules! impl_session_sqlx {
    ($database:ty) => {
        impl SessionSqlx<$database> for Visits {
            type Error = ParseIntError;
            type Data = String;

            fn into_sql(self) -> Result<String, ParseIntError> {
                Ok(self.num_visits.to_string())
            }

            fn from_sql(text: String) -> Result<Self, ParseIntError> {
                Ok(Self { num_visits: text.parse()? })
            }
        }
    };
}

impl_session_sqlx!(sqlx::Sqlite);
impl_session_sqlx!(sqlx::Postgres);

impl SessionRedis for Visits {
    const REDIS_FORMAT: RedisFormat = RedisFormat::String;

    type Error = SessionError;

    fn into_redis(self) -> Result<RedisValue, SessionError> {
        Ok(RedisValue::String(self.num_visits.to_string()))
    }

    fn from_redis(value: RedisValue) -> Result<Self, SessionError> {
        let text = value.into_string().map_err(|_| SessionError::InvalidData)?;
        Ok(Self { num_visits: text.parse().map_err(|_| SessionError::InvalidData)? })
    }
}

#[get("/plain")]
fn plain() -> &'static str {
    "hello"
}

#[get("/get")]
fn get(session: Session<'_, Visits>) -> String {
    session.tap(|visits| visits.map_or(0, |visits| visits.num_visits)).to_string()
}

#[get("/count")]
fn count(mut session: Session<'_, Visits>) -> String {
    let number = session.tap_mut(|visits| {
        let visits = visits.get_or_insert_default();
        visits.num_visits += 1;
        visits.num_visits
    });
    number.to_string()
}

#[get("/logout")]
fn logout(mut session: Session<'_, Visits>) {
    session.delete();
}

#[get("/slow/<port>")]
async fn slow(session: Session<'_, Visits>, port: u16) -> String {
    session.tap(|_| ());
    barrier::wait(port).await;
    count(session)
}

async fn with_sessions(site: Rocket<Build>, store: &str) -> Rocket<Build> {
    let sessions = RocketFlexSession::<Visits>::builder();
    match store.split(':').next() {
        Some("sqlite") => {
            let (file, synchronous) = store.split_once("?synchronous=").expect("STORE has `synchronous`");
            let options = SqliteConnectOptions::from_str(file)
                .expect("STORE must be a URL")
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::from_str(synchronous).expect("invalid `synchronous`"))
                .busy_timeout(Duration::from_secs(5));
            let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS);
            let pool = pool.connect_with(options).await.expect("cannot open STORE");
            let table = "CREATE TABLE IF NOT EXISTS sessions (id TEXT NOT NULL PRIMARY KEY, data TEXT NOT NULL, \
                         user_id TEXT, expires TEXT NOT NULL)";
            sqlx::query(table).execute(&pool).await.expect("cannot create the table");
            let storage = SqlxSqliteStorage::builder().pool(pool).table_name("sessions").build();
            site.attach(sessions.storage(storage).build())
        }
        Some("postgres") => {
            let pool =
                PgPoolOptions::new().max_connections(CONNECTIONS).connect(store).await.expect("cannot open STORE");
            let table = "CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, data TEXT NOT NULL, user_id TEXT, \
                         expires TIMESTAMPTZ NOT NULL)";
            sqlx::query(table).execute(&pool).await.expect("cannot create the table");
            let storage = SqlxPostgresStorage::builder().pool(pool).table_name("sessions").build();
            site.attach(sessions.storage(storage).build())
        }
        Some("redis") => {
            let config = Config::from_url(store).expect("STORE must be a URL");
            let pool = Pool::new(config, None, None, None, CONNECTIONS as usize).expect("cannot create a pool");
            pool.init().await.expect("cannot open STORE");
            site.attach(sessions.storage(RedisFredStorage::builder().pool(pool).build()).build())
        }
        Some("memory") => site.attach(RocketFlexSession::<Visits>::default()),
        _ => site.attach(sessions.storage(CookieStorage::default()).build()),
    }
}

#[launch]
async fn rocket() -> _ {
    let args: Vec<String> = env::args().skip(1).collect();
    let [port, store] = args.as_slice() else { panic!("usage: flex PORT STORE") };
    let port: u16 = port.parse().expect("PORT must be a number");
    let config: Figment = rocket::Config::figment().merge(("port", port)).merge(("secret_key", SECRET));
    with_sessions(rocket::custom(config), store).await.mount("/", routes![plain, get, count, logout, slow])
}
