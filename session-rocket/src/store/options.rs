//! The options of a store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Clock, SystemClock};

/// Whether opening a SQL store creates, migrates or checks its session table.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Migrate {
    /// Creates the table, or migrates it to the current version.
    #[default]
    Auto,
    /// Changes nothing. Fails if a migration has not run.
    Check,
    /// Changes nothing. Fails only if the table cannot be used.
    Off,
}

/// Which store to open, and how.
///
/// ```
/// use session_rocket::store::Options;
///
/// let options = Options::new("sqlite::memory:").table("visitors");
/// ```
#[non_exhaustive]
#[derive(Clone)]
pub struct Options {
    /// The back-end and its address. _Default:_ `"sqlite://sessions.db"`.
    pub url: String,
    /// The name of the session table of a SQL store. _Default:_ `"rocket_session"`.
    pub table: String,
    /// Whether opening the store migrates the table. _Default:_ [`Migrate::Auto`].
    pub migrate: Migrate,
    /// The time limit of one call to the back-end. _Default:_ five seconds.
    pub timeout: Duration,
    /// The maximum number of connections. SQLite counts only connections that read, and Memcached counts per server.
    /// Redis always has one connection per server. _Default:_ 4 for SQLite, 10 for PostgreSQL and MySQL, 16 for Memcached.
    pub max_connections: Option<u32>,
    /// The maximum number of sessions and tombstones in a `memory:` store. _Default:_ 100,000.
    pub capacity: usize,
    /// The URL of a cache in front of the store. _Default:_ none.
    pub cache: Option<String>,
    /// The maximum time for which the cache serves an entry. _Default:_ 60 seconds.
    pub cache_ttl: Duration,
    /// The prefix of the keys in Redis and Memcached. _Default:_ `"session:"`.
    pub key_prefix: String,
    /// The source of the time. _Default:_ [`SystemClock`].
    pub clock: Arc<dyn Clock>,
    /// Whether opening the store creates a missing directory (`file:`) or SQLite file. If `false`, opening fails
    /// instead. A SQLite file is created only with [`Migrate::Auto`]. _Default:_ `true`.
    pub create_if_missing: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: "sqlite://sessions.db".to_owned(),
            table: "rocket_session".to_owned(),
            migrate: Migrate::Auto,
            timeout: Duration::from_secs(5),
            max_connections: None,
            capacity: 100_000,
            cache: None,
            cache_ttl: Duration::from_secs(60),
            key_prefix: "session:".to_owned(),
            clock: SystemClock::shared(),
            create_if_missing: true,
        }
    }
}

impl Options {
    /// Creates the default options for the back-end at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Sets the name of the session table.
    #[must_use]
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// Sets whether opening the store migrates the table.
    #[must_use]
    pub fn migrate(mut self, migrate: Migrate) -> Self {
        self.migrate = migrate;
        self
    }

    /// Sets the time limit of one call to the back-end.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the maximum number of connections. Zero counts as one.
    #[must_use]
    pub fn max_connections(mut self, number: u32) -> Self {
        self.max_connections = Some(number.max(1));
        self
    }

    /// Sets the maximum number of sessions and tombstones in a `memory:` store.
    #[must_use]
    pub fn capacity(mut self, sessions: usize) -> Self {
        self.capacity = sessions;
        self
    }

    /// Puts a cache in front of the store.
    #[must_use]
    pub fn cache(mut self, url: impl Into<String>) -> Self {
        self.cache = Some(url.into());
        self
    }

    /// Sets the maximum time for which the cache serves an entry.
    #[must_use]
    pub fn cache_ttl(mut self, duration: Duration) -> Self {
        self.cache_ttl = duration;
        self
    }

    /// Sets the prefix of the keys in Redis and Memcached.
    #[must_use]
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Sets the source of the time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Returns these options for a store in memory, without a cache.
    pub(crate) fn in_memory(self) -> Self {
        Self { url: "memory:".to_owned(), cache: None, ..self }
    }

    /// Whether all options are equal. Two session types with equal options share one store.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.comparable() == other.comparable()
            && std::ptr::addr_eq(Arc::as_ptr(&self.clock), Arc::as_ptr(&other.clock))
    }

    /// Returns all options except the clock, which cannot be compared by value.
    fn comparable(&self) -> impl PartialEq {
        let Self {
            url,
            table,
            migrate,
            timeout,
            max_connections,
            capacity,
            cache,
            cache_ttl,
            key_prefix,
            create_if_missing,
            clock: _,
        } = self;
        (url, table, migrate, timeout, max_connections, capacity, cache, cache_ttl, key_prefix, create_if_missing)
    }
}

/// Omits the URLs, because they may contain a password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("table", &self.table).field("migrate", &self.migrate).finish_non_exhaustive()
    }
}
