//! The site as a careful developer writes it without a session library: the id is in a cookie, one statement reads the
//! number, and one statement adds to it in the database, so that no update is lost.
//!
//! `hand-written PORT STORE`: STORE is `sqlite:PATH?synchronous=full`, `postgres://…` or `redis://…`.

#[path = "../../allocator.rs"]
mod allocator;
mod postgres;
mod redis;
mod sqlite;

use std::env;
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rocket::http::{Cookie, CookieJar};
use rocket::response::Debug;
use rocket::{State, get, launch, routes};
use serde::{Deserialize, Serialize};

const COOKIE: &str = "__Host-sessionid";
const LIFETIME: Duration = Duration::from_secs(14 * 24 * 60 * 60);
const CONNECTIONS: u32 = 8;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;
type Response<T> = Result<T, Debug<Box<dyn Error + Send + Sync>>>;

/// The stored JSON. A save keeps unknown keys.
#[derive(Serialize, Deserialize)]
struct Payload {
    num_visits: u32,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// The part of the payload that `/get` reads.
#[derive(Deserialize)]
struct Visits {
    num_visits: u32,
}

enum Db {
    Sqlite(sqlite::Db),
    Postgres(postgres::Db),
    Redis(redis::Db),
}

impl Db {
    async fn open(store: &str) -> Result<Self> {
        Ok(match store.split(':').next() {
            Some("sqlite") => Self::Sqlite(sqlite::Db::open(store).await?),
            Some("postgres") => Self::Postgres(postgres::Db::open(store).await?),
            _ => Self::Redis(redis::Db::open(store).await?),
        })
    }

    /// Reads the number, if the session exists.
    async fn get(&self, id: &str) -> Result<Option<u32>> {
        match self {
            Self::Sqlite(db) => db.get(id).await,
            Self::Postgres(db) => db.get(id).await,
            Self::Redis(db) => db.get(id).await,
        }
    }

    /// Adds one and returns the new number, if the session exists.
    async fn count(&self, id: &str) -> Result<Option<u32>> {
        match self {
            Self::Sqlite(db) => db.count(id).await,
            Self::Postgres(db) => db.count(id).await,
            Self::Redis(db) => db.count(id).await,
        }
    }

    /// Like `count`, with a load and a save, as for values that the database cannot compute. In SQL, this can lose updates.
    async fn load_and_save(&self, id: &str) -> Result<Option<u32>> {
        match self {
            Self::Sqlite(db) => db.load_and_save(id).await,
            Self::Postgres(db) => db.load_and_save(id).await,
            Self::Redis(db) => db.count(id).await,
        }
    }

    /// Creates a session with one visit.
    async fn create(&self, id: &str) -> Result<()> {
        let payload = Payload { num_visits: 1, rest: Default::default() };
        match self {
            Self::Sqlite(db) => db.create(id, &payload).await,
            Self::Postgres(db) => db.create(id, &payload).await,
            Self::Redis(db) => db.create(id, &payload).await,
        }
    }
}

/// The current time, and the expiry of a session that is saved now, in milliseconds since the Unix epoch.
fn now_and_end() -> (i64, i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    (millis(now), millis(now + LIFETIME))
}

#[get("/plain")]
fn plain() -> &'static str {
    "hello"
}

#[get("/get")]
async fn get(cookies: &CookieJar<'_>, db: &State<Db>) -> Response<String> {
    let number = match cookies.get(COOKIE) {
        Some(cookie) => db.get(cookie.value()).await.map_err(Debug)?,
        None => None,
    };
    Ok(number.unwrap_or_default().to_string())
}

#[get("/count")]
async fn count(cookies: &CookieJar<'_>, db: &State<Db>) -> Response<String> {
    let number = match cookies.get(COOKIE) {
        Some(cookie) => db.count(cookie.value()).await.map_err(Debug)?,
        None => None,
    };
    or_first_visit(number, cookies, db).await.map_err(Debug)
}

#[get("/load_and_save")]
async fn load_and_save(cookies: &CookieJar<'_>, db: &State<Db>) -> Response<String> {
    let number = match cookies.get(COOKIE) {
        Some(cookie) => db.load_and_save(cookie.value()).await.map_err(Debug)?,
        None => None,
    };
    or_first_visit(number, cookies, db).await.map_err(Debug)
}

/// Formats the number, or creates a session if there is none.
async fn or_first_visit(number: Option<u32>, cookies: &CookieJar<'_>, db: &Db) -> Result<String> {
    if let Some(number) = number {
        return Ok(number.to_string());
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let id = URL_SAFE_NO_PAD.encode(bytes);
    db.create(&id).await?;
    let max_age = rocket::time::Duration::try_from(LIFETIME)?;
    cookies.add(Cookie::build((COOKIE, id)).path("/").secure(true).http_only(true).max_age(max_age));
    Ok("1".to_owned())
}

#[launch]
async fn rocket() -> _ {
    let args: Vec<String> = env::args().skip(1).collect();
    let [port, store] = args.as_slice() else { panic!("usage: hand-written PORT STORE") };
    let port: u16 = port.parse().expect("PORT must be a number");
    let db = Db::open(store).await.expect("cannot open STORE");
    rocket::custom(rocket::Config::figment().merge(("port", port)))
        .manage(db)
        .mount("/", routes![plain, get, count, load_and_save])
}
