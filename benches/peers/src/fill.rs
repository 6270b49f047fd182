//! Fills databases with many sessions. A session's id is derived from its number, so the ids need not be stored.

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

use crate::random::hash_number;
use crate::sites::{Server, Site};
use crate::stores::{Instance, Store, runtime};
use crate::visitors::{Cookies, Visitors};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const CONCURRENT_CALLS: usize = 512;
/// The number of rows that one statement inserts.
const ROWS: usize = 1000;
/// The scope of the sessions of `servers/session_rocket.rs`.
const SCOPE: &str = concat!(env!("CARGO_PKG_NAME"), "::Visits");
/// The number of the first expired session.
const FIRST_EXPIRED: u64 = 1 << 40;

/// Whether this module can fill a store.
pub fn is_supported(store: Store) -> bool {
    matches!(store, Store::SqliteFull | Store::SqliteNormal | Store::Postgres)
}

/// The visitors of the filled sessions. Empty at first.
pub fn visitors() -> Visitors {
    Visitors::with_cookies(Cookies::Derived(put_cookie), 0)
}

/// The stored sessions of one server.
pub struct Sessions {
    server: Server,
    pub store: Store,
    pub payload: usize,
    url: String,
    number: usize,
    runtime: Runtime,
}

impl Sessions {
    /// Starts the server once, so that it creates its table. `payload` is the size of a session's payload in bytes.
    pub fn new(server: Server, store: Store, instance: &Instance, payload: usize) -> Self {
        drop(Site::start(server, &instance.url));
        Self { server, store, payload, url: instance.url.clone(), number: 0, runtime: runtime() }
    }

    /// Adds sessions up to a total, in the order of their keys.
    pub fn grow(&mut self, number: usize) {
        let added = self.number as u64..number as u64;
        self.add(added, 14 * i64::try_from(DAY.as_millis()).unwrap_or_default());
        self.number = number.max(self.number);
    }

    pub fn add_expired(&self, number: usize) {
        self.add(FIRST_EXPIRED..FIRST_EXPIRED + number as u64, -1000);
    }

    fn add(&self, numbers: std::ops::Range<u64>, lifetime: i64) {
        let order = |number: u64| match self.server {
            Server::HandWritten => prefix(encoded_id(number).as_bytes()),
            _ => prefix(key(number).as_bytes()),
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
            self.runtime.block_on(self.run_maintenance());
        }
    }

    /// Adds sessions through the library's store.
    async fn add_to_store(&self, sorted: &[(u64, u64)], end: i64) {
        // These sessions need not survive a power cut.
        let url = self.url.replace("=full", "=normal");
        let store =
            store::open(&Options::new(url).max_connections(8).timeout(DAY)).await.expect("cannot open the store");
        let payload = Arc::<[u8]>::from(format!("j{}", self.json()).into_bytes());
        let add = async |number: u64| {
            let [now, end] = [now(), end].map(Timestamp::from_millis);
            let version = Version::from_bits(hash_number(number));
            let record =
                Record::new(version, end).with_scope(SCOPE).with_payload(payload.to_vec()).with_times(now, now);
            let created = store.create(&key(number), &record).await.expect("cannot create a session");
            assert_eq!(created, Create::Created, "the session already exists");
        };
        stream::iter(sorted).for_each_concurrent(CONCURRENT_CALLS, |(_, number)| add(*number)).await;
    }

    async fn add_to_sqlite(&self, sorted: &[(u64, u64)], end: i64) {
        let mut connection = self.sqlite().await;
        for rows in sorted.chunks(ROWS) {
            let ids = serde_json::to_string(&encoded_ids(rows)).expect("strings can be serialized");
            let sql = "INSERT INTO session SELECT value, ?, ? FROM json_each(?)";
            let query = sqlx::query(sql).bind(self.json()).bind(end).bind(ids);
            query.execute(&mut connection).await.expect("cannot insert into SQLite");
        }
        connection.close().await.expect("cannot close SQLite");
    }

    async fn add_to_postgres(&self, sorted: &[(u64, u64)], end: i64) {
        let mut connection = PgConnection::connect(&self.url).await.expect("cannot connect to PostgreSQL");
        for rows in sorted.chunks(ROWS) {
            let sql = "INSERT INTO session SELECT unnest($1::text[]), $2::jsonb, $3";
            let query = sqlx::query(sql).bind(encoded_ids(rows)).bind(self.json()).bind(end);
            query.execute(&mut connection).await.expect("cannot insert into PostgreSQL");
        }
    }

    /// Runs the maintenance that PostgreSQL would otherwise do during a measurement.
    async fn run_maintenance(&self) {
        let mut connection = PgConnection::connect(&self.url).await.expect("cannot connect to PostgreSQL");
        for sql in ["VACUUM ANALYZE", "CHECKPOINT"] {
            sqlx::raw_sql(sql).execute(&mut connection).await.expect("cannot run maintenance");
        }
    }

    /// Whether this library's table still has expired sessions.
    pub fn has_expired(&self) -> bool {
        let postgres = "SELECT EXISTS (SELECT FROM rocket_session WHERE sweep_at <= $1 AND expires_at <= $1)";
        let sqlite = "SELECT EXISTS (SELECT 1 FROM rocket_session WHERE sweep_at <= ?1 AND expires_at <= ?1)";
        let exists: Result<bool, sqlx::Error> = self.runtime.block_on(async {
            if self.store == Store::Postgres {
                let mut connection = PgConnection::connect(&self.url).await?;
                sqlx::query_scalar(postgres).bind(now()).fetch_one(&mut connection).await
            } else {
                let mut connection = self.sqlite().await;
                sqlx::query_scalar(sqlite).bind(now()).fetch_one(&mut connection).await
            }
        });
        exists.expect("cannot query the database")
    }

    /// Reads the files of the database once, so that they are in the page cache.
    pub fn warm_page_cache(&self) {
        let files = if self.store == Store::Postgres {
            self.runtime.block_on(self.postgres_files())
        } else {
            vec![self.file().into()]
        };
        for file in files {
            match File::open(file).and_then(|mut file| io::copy(&mut file, &mut io::sink())) {
                // The database may have removed a file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => drop(read.expect("cannot read a file of the database")),
            }
        }
    }

    async fn postgres_files(&self) -> Vec<PathBuf> {
        let sql = "SELECT current_setting('data_directory') || '/' || pg_relation_filepath('pg_class')";
        let mut connection = PgConnection::connect(&self.url).await.expect("cannot connect to PostgreSQL");
        let file: String =
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("cannot query the path of a table");
        let folder = Path::new(&file).parent().expect("a path with a folder");
        let entries = folder.read_dir().expect("cannot list the folder of the database");
        entries.map(|entry| entry.expect("cannot list the folder of the database").path()).collect()
    }

    /// The path of the SQLite database.
    fn file(&self) -> &str {
        let file = self.url.split('?').next().unwrap_or_default();
        file.strip_prefix("sqlite:").unwrap_or(file)
    }

    async fn sqlite(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::from_str(self.file()).expect("a valid SQLite URL");
        let options = options.synchronous(SqliteSynchronous::Normal).busy_timeout(Duration::from_secs(5));
        options.connect().await.expect("cannot open SQLite")
    }

    /// The payload: one visit, padded to the size.
    fn json(&self) -> String {
        const EMPTY: &str = r#"{"num_visits":1,"rest":""}"#;
        EMPTY.replace(r#""}"#, &format!(r#"{}"}}"#, "x".repeat(self.payload - EMPTY.len())))
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// The id of a session, in the format of the library.
fn id(number: u64) -> [u8; 32] {
    let mut id = [0; 32];
    for (part, bytes) in (4 * number + 1..).zip(id.chunks_mut(8)) {
        bytes.copy_from_slice(&hash_number(part).to_be_bytes());
    }
    id
}

fn encoded_id(number: u64) -> String {
    URL_SAFE_NO_PAD.encode(id(number))
}

fn encoded_ids(rows: &[(u64, u64)]) -> Vec<String> {
    rows.iter().map(|(_, number)| encoded_id(*number)).collect()
}

/// The library's key of a session: the digest of the scope, padded to blocks of 64 bytes, and the id.
fn key(number: u64) -> Key {
    let mut scope = [(SCOPE.len() as u64).to_be_bytes().as_slice(), SCOPE.as_bytes()].concat();
    scope.resize(scope.len().next_multiple_of(64), 0);
    Key::from_bytes(Sha256::new().chain_update(scope).chain_update(id(number)).finalize().into())
}

/// The first eight bytes as a number, to sort by.
fn prefix(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn put_cookie(number: usize, request: &mut Vec<u8>) {
    request.extend_from_slice(b"__Host-sessionid=");
    let start = request.len();
    request.resize(start + 43, 0);
    let written = URL_SAFE_NO_PAD.encode_slice(id(number as u64), &mut request[start..]);
    assert_eq!(written, Ok(43), "an id has 43 characters");
}
