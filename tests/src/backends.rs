//! The stores that can list the sessions of a user, with their servers.

use std::any::Any;

use tempfile::TempDir;

use crate::report::is_wanted;
use crate::servers::{MySql, Postgres, Redis, RedisCluster};

/// An empty store. Its server runs until the value is dropped.
pub struct Backend {
    /// The URL of the store.
    pub url: String,
    /// The URL of the cache in front of the store. Empty if there is none.
    pub cache: String,
    /// A directory for the store's files, and the working directory of site processes.
    pub directory: TempDir,
    _server: Box<dyn Any + Send + Sync>,
}

impl Backend {
    /// Starts the back-end with this name, as in `SESSION_ROCKET_ONLY`. Returns `None` if it is not wanted.
    ///
    /// # Panics
    /// If the name is unknown, or the server does not start.
    pub fn start(name: &str) -> Option<Self> {
        if !is_wanted(name) {
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory can be created");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let none = String::new();
        let (url, cache, server): (String, String, Box<dyn Any + Send + Sync>) = match name {
            "memory" => ("memory:".to_owned(), none, Box::new(())),
            "sqlite" => (format!("sqlite://{}", path("sessions.db")), none, Box::new(())),
            "file" => (format!("file://{}", path("sessions")), none, Box::new(())),
            "postgres" => {
                let server = Postgres::start();
                (server.url(), none, Box::new(server))
            }
            "mysql" => {
                let server = MySql::start();
                (server.url(), none, Box::new(server))
            }
            "redis" => {
                let server = Redis::start();
                (server.url(), none, Box::new(server))
            }
            "redis-cluster" => {
                let server = RedisCluster::start();
                (server.url(), none, Box::new(server))
            }
            "cached" => {
                let cache = Redis::start();
                (format!("sqlite://{}", path("sessions.db")), cache.url(), Box::new(cache))
            }
            unknown => panic!("unknown back-end {unknown}"),
        };
        Some(Self { url, cache, directory, _server: server })
    }
}
