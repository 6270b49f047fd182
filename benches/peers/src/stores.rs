//! The stores: creates a new, empty instance for each server.

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

    /// The name in arguments and in results.json.
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

    /// The name on the page.
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

    /// Whether the session is in the cookie.
    pub fn is_cookie(self) -> bool {
        matches!(self, Self::Signed | Self::Encrypted)
    }
}

/// The database servers. Each is started when it is first needed.
#[derive(Default)]
pub struct DatabaseServers {
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    instances: u32,
}

/// An instance of a store, for one server.
pub struct Instance {
    /// The argument `STORE` of the servers.
    pub url: String,
    /// The id of the database server's main process.
    pub database: Option<u32>,
    /// Removed together with the instance.
    _directory: Option<TempDir>,
}

impl DatabaseServers {
    /// Creates an instance.
    ///
    /// # Panics
    /// If that fails.
    pub fn create(&mut self, store: Store) -> Instance {
        self.instances += 1;
        match store {
            Store::Memory => Instance::without_database("memory:".to_owned()),
            Store::Signed => Instance::without_database("cookie+signed:".to_owned()),
            Store::Encrypted => Instance::without_database("cookie+encrypted:".to_owned()),
            Store::SqliteFull => sqlite("full"),
            Store::SqliteNormal => sqlite("normal"),
            Store::Postgres => {
                let server = self.postgres.get_or_insert_with(Postgres::start);
                let name = format!("instance_{}", self.instances);
                // Without a checkpoint, PostgreSQL may still be writing earlier data.
                let sql = format!("CREATE DATABASE {name}; CHECKPOINT");
                for sql in sql.split("; ") {
                    runtime().block_on(server.run(sql));
                }
                let url = server.url().replace("/postgres", &format!("/{name}"));
                Instance { url, database: Some(server.id()), _directory: None }
            }
            Store::Redis => {
                let server = self.redis.get_or_insert_with(Redis::start);
                assert_eq!(server.ask(&["FLUSHALL"]), "OK", "Redis can be flushed");
                Instance { url: server.url(), database: Some(server.id()), _directory: None }
            }
        }
    }

    /// Drops the database of an instance.
    ///
    /// # Panics
    /// If that fails.
    pub fn remove(&mut self, instance: Instance) {
        if let (Some(server), Some((_, name))) = (&self.postgres, instance.url.rsplit_once("/instance_")) {
            runtime().block_on(server.run(&format!("DROP DATABASE instance_{name} WITH (FORCE)")));
        }
    }
}

impl Instance {
    fn without_database(url: String) -> Self {
        Self { url, database: None, _directory: None }
    }
}

fn sqlite(synchronous: &str) -> Instance {
    let directory = tempfile::tempdir().expect("cannot create a directory for a database");
    let url = format!("sqlite:{}?synchronous={synchronous}", directory.path().join("sessions.db").display());
    Instance { url, database: None, _directory: Some(directory) }
}

pub fn runtime() -> Runtime {
    Runtime::new().expect("cannot start a runtime")
}
