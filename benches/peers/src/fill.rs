//! Databases with many sessions, whose ids are made of their numbers: nobody has to keep them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rocket::futures::{StreamExt, stream};
use rocket::tokio::runtime::Runtime;
use session_rocket::store::{self, Create, Options};
use session_rocket::{Key, Record, Timestamp, Version};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use crate::places::{Place, Store, runtime};
use crate::random::mix;
use crate::sites::{Server, Site};
use crate::visitors::{Cookies, Visitors};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// So many sessions are made at once.
const CALLS: usize = 512;
const ROWS: usize = 1000;
/// The scope of the sessions of `servers/session_rocket.rs`.
const SCOPE: &str = concat!(env!("CARGO_PKG_NAME"), "::Visits");
/// The number of the first session that is expired.
const EXPIRED: u64 = 1 << 40;

/// Whether this can be filled.
pub fn can(store: Store) -> bool {
    matches!(store, Store::SqliteFull | Store::SqliteNormal | Store::Postgres)
}

/// Visitors with these sessions; none yet.
pub fn visitors() -> Visitors {
    Visitors::known(Cookies::Derived(put_cookie), 0)
}

/// The sessions of one server.
pub struct Filled {
    server: Server,
    pub store: Store,
    pub payload: usize,
    url: String,
    sessions: usize,
    runtime: Runtime,
}

impl Filled {
    /// None yet, in the tables that the server makes. Their payloads have so many bytes.
    pub fn new(server: Server, store: Store, place: &Place, payload: usize) -> Self {
        drop(Site::start(server, &place.url));
        Self { server, store, payload, url: place.url.clone(), sessions: 0, runtime: runtime() }
    }

    /// Adds sessions until there are so many, in the order of their keys.
    pub fn grow(&mut self, sessions: usize) {
        let added = self.sessions as u64..sessions as u64;
        self.add(added, 14 * i64::try_from(DAY.as_millis()).unwrap_or_default());
        self.sessions = sessions.max(self.sessions);
    }

    /// Adds sessions that have expired.
    pub fn add_expired(&self, sessions: usize) {
        self.add(EXPIRED..EXPIRED + sessions as u64, -1000);
    }

    fn add(&self, numbers: std::ops::Range<u64>, lifetime: i64) {
        let order = |number: u64| match self.server {
            Server::HandWritten => first(text(number).as_bytes()),
            _ => first(key(number).as_bytes()),
        };
        let mut sorted: Vec<(u64, u64)> = numbers.map(|number| (order(number), number)).collect();
        sorted.sort_unstable();
        let end = now() + lifetime;
        match (self.server, self.store) {
            (Server::HandWritten, Store::Postgres) => self.runtime.block_on(self.add_to_postgres(&sorted, end)),
            (Server::HandWritten, _) => self.runtime.block_on(self.add_to_sqlite(&sorted, end)),
            _ => self.runtime.block_on(self.add_to_store(&sorted, end)),
        }
        if self.store == Store::Postgres {
            self.runtime.block_on(self.settle());
        }
    }

    /// Through the store that the library has for it.
    async fn add_to_store(&self, sorted: &[(u64, u64)], end: i64) {
        // What is on its way in a power cut does not matter here.
        let url = self.url.replace("=full", "=normal");
        let store = store::open(&Options::new(url).max_connections(8).timeout(DAY)).await.expect("the store opens");
        let payload = Arc::<[u8]>::from(format!("j{}", self.json()).into_bytes());
        let add = async |number: u64| {
            let [now, end] = [now(), end].map(Timestamp::from_millis);
            let version = Version::from_bits(mix(number));
            let record = Record::new(version, end).with_scope(SCOPE).with_payload(payload.to_vec()).with_times(now, now);
            let created = store.create(&key(number), &record).await.expect("the store takes a session");
            assert_eq!(created, Create::Created, "a session that is there already");
        };
        stream::iter(sorted).for_each_concurrent(CALLS, |(_, number)| add(*number)).await;
    }

    async fn add_to_sqlite(&self, sorted: &[(u64, u64)], end: i64) {
        let mut connection = self.sqlite().await;
        for rows in sorted.chunks(ROWS) {
            let ids = serde_json::to_string(&texts(rows)).expect("texts have a form in JSON");
            let sql = "INSERT INTO session SELECT value, ?, ? FROM json_each(?)";
            let query = sqlx::query(sql).bind(self.json()).bind(end).bind(ids);
            query.execute(&mut connection).await.expect("SQLite takes sessions");
        }
        connection.close().await.expect("SQLite closes");
    }

    async fn add_to_postgres(&self, sorted: &[(u64, u64)], end: i64) {
        let mut connection = PgConnection::connect(&self.url).await.expect("PostgreSQL opens");
        for rows in sorted.chunks(ROWS) {
            let sql = "INSERT INTO session SELECT unnest($1::text[]), $2::jsonb, $3";
            let query = sqlx::query(sql).bind(texts(rows)).bind(self.json()).bind(end);
            query.execute(&mut connection).await.expect("PostgreSQL takes sessions");
        }
    }

    /// Does what PostgreSQL would do by itself some time later.
    async fn settle(&self) {
        let mut connection = PgConnection::connect(&self.url).await.expect("PostgreSQL opens");
        for sql in ["VACUUM ANALYZE", "CHECKPOINT"] {
            sqlx::raw_sql(sql).execute(&mut connection).await.expect("PostgreSQL tidies up");
        }
    }

    /// Whether expired sessions are left, of this library's.
    pub fn has_expired(&self) -> bool {
        let postgres = "SELECT EXISTS (SELECT FROM rocket_session WHERE sweep_at <= $1 AND expires_at <= $1)";
        let sqlite = "SELECT EXISTS (SELECT 1 FROM rocket_session WHERE sweep_at <= ?1 AND expires_at <= ?1)";
        let found: Result<bool, sqlx::Error> = self.runtime.block_on(async {
            if self.store == Store::Postgres {
                let mut connection = PgConnection::connect(&self.url).await?;
                sqlx::query_scalar(postgres).bind(now()).fetch_one(&mut connection).await
            } else {
                let mut connection = self.sqlite().await;
                sqlx::query_scalar(sqlite).bind(now()).fetch_one(&mut connection).await
            }
        });
        found.expect("the database says what it holds")
    }

    /// Reads the files of the database once: a system that was given other things to do may have forgotten them.
    pub fn remind(&self) {
        let files = if self.store == Store::Postgres {
            self.runtime.block_on(self.relations())
        } else {
            vec![self.file().into()]
        };
        for file in files {
            match File::open(file).and_then(|mut file| io::copy(&mut file, &mut io::sink())) {
                // The database itself removes some.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => drop(read.expect("the files of the database can be read")),
            }
        }
    }

    /// All files of its PostgreSQL database.
    async fn relations(&self) -> Vec<PathBuf> {
        let sql = "SELECT current_setting('data_directory') || '/' || pg_relation_filepath('pg_class')";
        let mut connection = PgConnection::connect(&self.url).await.expect("PostgreSQL opens");
        let one: String = sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("PostgreSQL tells its files");
        let folder = Path::new(&one).parent().expect("a file in a folder");
        let entries = folder.read_dir().expect("the folder of a database");
        entries.map(|entry| entry.expect("the folder of a database").path()).collect()
    }

    /// The file of its SQLite database.
    fn file(&self) -> &str {
        let file = self.url.split('?').next().unwrap_or_default();
        file.strip_prefix("sqlite:").unwrap_or(file)
    }

    async fn sqlite(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::from_str(self.file()).expect("a URL of SQLite");
        let options = options.synchronous(SqliteSynchronous::Normal).busy_timeout(Duration::from_secs(5));
        options.connect().await.expect("SQLite opens")
    }

    /// The payload: one visit, and as much as is missing of its size.
    fn json(&self) -> String {
        const EMPTY: &str = r#"{"num_visits":1,"rest":""}"#;
        EMPTY.replace(r#""}"#, &format!(r#"{}"}}"#, "x".repeat(self.payload - EMPTY.len())))
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// The id of a session, as the library makes them.
fn id(number: u64) -> [u8; 32] {
    let mut id = [0; 32];
    for (part, bytes) in (4 * number + 1..).zip(id.chunks_mut(8)) {
        bytes.copy_from_slice(&mix(part).to_be_bytes());
    }
    id
}

fn text(number: u64) -> String {
    URL_SAFE_NO_PAD.encode(id(number))
}

fn texts(rows: &[(u64, u64)]) -> Vec<String> {
    rows.iter().map(|(_, number)| text(*number)).collect()
}

/// The library's key of an id: its digest with the scope, which is padded to a block of 64 bytes.
fn key(number: u64) -> Key {
    let mut scope = [(SCOPE.len() as u64).to_be_bytes().as_slice(), SCOPE.as_bytes()].concat();
    scope.resize(scope.len().next_multiple_of(64), 0);
    Key::from_bytes(Sha256::new().chain_update(scope).chain_update(id(number)).finalize().into())
}

/// What sorts by the first bytes.
fn first(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn put_cookie(number: usize, request: &mut Vec<u8>) {
    request.extend_from_slice(b"__Host-sessionid=");
    let start = request.len();
    request.resize(start + 43, 0);
    let written = URL_SAFE_NO_PAD.encode_slice(id(number as u64), &mut request[start..]);
    assert_eq!(written, Ok(43), "an id has 43 characters");
}
