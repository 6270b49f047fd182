//! Where the servers keep sessions: a new, empty place for each.

use rocket::tokio::runtime::Runtime;
use serde::{Deserialize, Serialize};
use session_rocket_tests::servers::{Postgres, Redis};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    SqliteFull,
    SqliteNormal,
    Postgres,
    Redis,
    Memory,
    Signed,
    Encrypted,
}

impl Store {
    pub const ALL: [Self; 7] = [
        Self::SqliteFull,
        Self::SqliteNormal,
        Self::Postgres,
        Self::Redis,
        Self::Memory,
        Self::Signed,
        Self::Encrypted,
    ];

    /// Its name in arguments and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::SqliteFull => "sqlite-full",
            Self::SqliteNormal => "sqlite-normal",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Memory => "memory",
            Self::Signed => "signed",
            Self::Encrypted => "encrypted",
        }
    }

    /// The name readers know it by.
    pub fn title(self) -> &'static str {
        match self {
            Self::SqliteFull => "SQLite, `synchronous = FULL`",
            Self::SqliteNormal => "SQLite, `synchronous = NORMAL`",
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
            Self::Memory => "Memory",
            Self::Signed => "Signed cookie",
            Self::Encrypted => "Encrypted cookie",
        }
    }

    /// Whether a session is its cookie.
    pub fn is_cookie(self) -> bool {
        matches!(self, Self::Signed | Self::Encrypted)
    }
}

/// The database servers, each started when it is first needed.
#[derive(Default)]
pub struct Databases {
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    places: u32,
}

/// A place of one server.
pub struct Place {
    /// As the servers take it.
    pub url: String,
    /// The database server's first process.
    pub database: Option<u32>,
    /// Removed with the place.
    _directory: Option<TempDir>,
}

impl Databases {
    /// A new place.
    ///
    /// # Panics
    /// When there is none to be had.
    pub fn place(&mut self, store: Store) -> Place {
        self.places += 1;
        match store {
            Store::Memory => Place::without_database("memory:".to_owned()),
            Store::Signed => Place::without_database("cookie+signed:".to_owned()),
            Store::Encrypted => Place::without_database("cookie+encrypted:".to_owned()),
            Store::SqliteFull => sqlite("full"),
            Store::SqliteNormal => sqlite("normal"),
            Store::Postgres => {
                let server = self.postgres.get_or_insert_with(Postgres::start);
                let name = format!("place_{}", self.places);
                // Otherwise what was written before is still being written.
                let sql = format!("CREATE DATABASE {name}; CHECKPOINT");
                for sql in sql.split("; ") {
                    runtime().block_on(server.run(sql));
                }
                let url = server.url().replace("/postgres", &format!("/{name}"));
                Place { url, database: Some(server.id()), _directory: None }
            }
            Store::Redis => {
                let server = self.redis.get_or_insert_with(Redis::start);
                assert_eq!(server.ask(&["FLUSHALL"]), "OK", "Redis can be emptied");
                Place { url: server.url(), database: Some(server.id()), _directory: None }
            }
        }
    }

    /// Lets go of what `place` holds in a database.
    ///
    /// # Panics
    /// When somebody still uses it.
    pub fn remove(&mut self, place: Place) {
        if let (Some(server), Some((_, name))) = (&self.postgres, place.url.rsplit_once("/place_")) {
            runtime().block_on(server.run(&format!("DROP DATABASE place_{name} WITH (FORCE)")));
        }
    }
}

impl Place {
    fn without_database(url: String) -> Self {
        Self { url, database: None, _directory: None }
    }
}

fn sqlite(synchronous: &str) -> Place {
    let directory = tempfile::tempdir().expect("a directory for a database");
    let url = format!("sqlite:{}?synchronous={synchronous}", directory.path().join("sessions.db").display());
    Place { url, database: None, _directory: Some(directory) }
}

pub fn runtime() -> Runtime {
    Runtime::new().expect("a runtime can be started")
}
