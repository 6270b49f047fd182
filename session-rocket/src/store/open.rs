//! From a URL to a store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Store;
use super::cached::CachedStore;
use super::cached::late::{LateStore, Opening};
use super::memory::MemoryStore;
use super::scheme::{Scheme, is_in_memory, refusal};
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Error, ErrorKind, Result};

/// What a launch does about the session table.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Migrate {
    /// Makes it, or brings it up to date.
    #[default]
    Auto,
    /// Fails unless it is up to date.
    Check,
    /// Fails only if it cannot be used.
    Off,
}

/// Where sessions are kept, and how.
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
    /// The table's name, in a SQL database. _Default:_ `"rocket_session"`.
    pub table: String,
    /// What opening does about the table. _Default:_ [`Migrate::Auto`].
    pub migrate: Migrate,
    /// How long one call may wait for the back-end. _Default:_ five seconds.
    pub timeout: Duration,
    /// How many connections to open at most: those that read from SQLite, those to PostgreSQL or MySQL, those to each
    /// server of Memcached. Redis has one. _Default:_ four for SQLite, ten for PostgreSQL and MySQL, 16 for Memcached.
    pub max_connections: Option<u32>,
    /// How many sessions and tombstones a store in memory holds. _Default:_ 100,000.
    pub capacity: usize,
    /// The URL of a cache in front of the store. _Default:_ none.
    pub cache: Option<String>,
    /// How long the cache serves an entry at most. _Default:_ 60 seconds.
    pub cache_ttl: Duration,
    /// What the keys begin with, in Redis and Memcached. _Default:_ `"session:"`.
    pub key_prefix: String,
    /// Where the time comes from. _Default:_ [`SystemClock`].
    pub clock: Arc<dyn Clock>,
    /// Whether opening creates a directory or a SQLite file that is missing. _Default:_ `true`.
    pub creates: bool,
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
            clock: Arc::new(SystemClock),
            creates: true,
        }
    }
}

impl Options {
    /// The defaults, but for the back-end's URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Sets the table's name.
    #[must_use]
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// Sets what opening does about the table.
    #[must_use]
    pub fn migrate(mut self, migrate: Migrate) -> Self {
        self.migrate = migrate;
        self
    }

    /// Sets how long one call may wait.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many connections to open at most, and at least one.
    #[must_use]
    pub fn max_connections(mut self, number: u32) -> Self {
        self.max_connections = Some(number.max(1));
        self
    }

    /// Sets how many sessions and tombstones a store in memory holds.
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

    /// Sets how long the cache serves an entry at most.
    #[must_use]
    pub fn cache_ttl(mut self, duration: Duration) -> Self {
        self.cache_ttl = duration;
        self
    }

    /// Sets what the keys begin with, in Redis and Memcached.
    #[must_use]
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Sets where the time comes from.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Whether both name one store, opened in one way.
    pub(crate) fn same_place(&self, other: &Self) -> bool {
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
            clock,
            creates,
        } = self;
        *url == other.url
            && *table == other.table
            && *migrate == other.migrate
            && *timeout == other.timeout
            && *max_connections == other.max_connections
            && *capacity == other.capacity
            && *cache == other.cache
            && *cache_ttl == other.cache_ttl
            && *key_prefix == other.key_prefix
            && *creates == other.creates
            && std::ptr::addr_eq(Arc::as_ptr(clock), Arc::as_ptr(&other.clock))
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("table", &self.table).field("migrate", &self.migrate).finish_non_exhaustive()
    }
}

/// Opens the store that `options.url` names, and puts the cache that `options.cache` names, if any, in front of it.
///
/// A cache that cannot be reached is not an error: `open` logs a warning, and the store works without the cache until the
/// cache answers.
///
/// # Errors
/// [`ErrorKind::Config`] for a store or cache URL that no back-end of this build takes, saying what to change;
/// [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`] when the store cannot be reached.
pub async fn open(options: &Options) -> Result<Arc<dyn Store>> {
    with_cache(open_as("store", options).await?, options).await
}

/// Puts the cache that `options` name, if any, in front of `store`.
pub(crate) async fn with_cache(store: Arc<dyn Store>, options: &Options) -> Result<Arc<dyn Store>> {
    let Some(url) = &options.cache else { return Ok(store) };
    let key_prefix = format!("{}cache:", options.key_prefix);
    let own = Options { url: url.clone(), cache: None, key_prefix, ..options.clone() };
    if is_in_memory(url) {
        log::warn!(
            target: "session_rocket",
            "`cache` is in the memory of this process: if another process keeps sessions in the same store, each serves \
             for up to {:?} what the other has changed or ended",
            options.cache_ttl,
        );
    }
    let Options { cache_ttl, timeout, clock, .. } = own.clone();
    let (cache, failure): (Arc<dyn Store>, _) = match open_as("cache", &own).await {
        Ok(cache) => (cache, None),
        Err(error) if error.kind().is_transient() => (Arc::new(late(own, error.clone())), Some(error)),
        Err(error) => return Err(error),
    };
    let cached = CachedStore::new(store, cache, cache_ttl, timeout, clock);
    if let Some(error) = failure {
        cached.begin_without_cache(&error);
    }
    Ok(Arc::new(cached))
}

/// The cache that could not be opened because of `error`.
fn late(options: Options, error: Error) -> LateStore {
    let clock = options.clock.clone();
    let open = move || -> Opening {
        let options = options.clone();
        Box::pin(async move { open_as("cache", &options).await })
    };
    LateStore::new(open, error, clock)
}

/// Opens the store that `options.url` names; `setting` is the URL's name in the configuration.
async fn open_as(setting: &str, options: &Options) -> Result<Arc<dyn Store>> {
    open_alone(options).await.map_err(|error| {
        let context = format!("cannot open `{setting}`: {error}");
        Error::with_source(error.kind(), context, error)
    })
}

#[allow(clippy::unused_async, reason = "memory is not waited for, and some builds have nothing else")]
async fn open_alone(options: &Options) -> Result<Arc<dyn Store>> {
    Ok(match Scheme::of(&options.url) {
        Some(Scheme::Memory) => Arc::new(MemoryStore::new(options.capacity, options.clock.clone())),
        #[cfg(feature = "sqlite")]
        Some(Scheme::Sqlite) => Arc::new(super::sql::sqlite::SqliteStore::open(options).await?),
        #[cfg(feature = "postgres")]
        Some(Scheme::Postgres) => Arc::new(super::sql::postgres::PostgresStore::open(options).await?),
        #[cfg(feature = "mysql")]
        Some(Scheme::MySql) => Arc::new(super::sql::mysql::MySqlStore::open(options).await?),
        #[cfg(feature = "memcached")]
        Some(Scheme::Memcached) => Arc::new(super::memcached::MemcachedStore::open(options).await?),
        #[cfg(feature = "redis")]
        Some(Scheme::Redis) => Arc::new(super::redis::RedisStore::open(options).await?),
        #[cfg(all(feature = "file", unix))]
        Some(Scheme::File) => Arc::new(super::file::FileStore::open(options).await?),
        _ => return Err(Error::new(ErrorKind::Config, refusal(&options.url))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_invalid_url_names_its_setting() {
        for (url, says) in [
            ("redus://:secret@host", "unknown store `redus:`; did you mean `redis:`?"),
            ("cookie+signed:", "`cookie+signed:` is not a store"),
            ("sessions.db", "the URL has no scheme"),
            #[cfg(feature = "redis")]
            ("redis://:secret@", "invalid Redis URL"),
            #[cfg(feature = "memcached")]
            ("memcached://:secret@host", "the Memcached URL takes no user"),
            #[cfg(feature = "postgres")]
            ("postgres://:secret@host:port", "a port that is no number"),
            #[cfg(feature = "mysql")]
            ("mysql://:secret@host", "the URL names no database"),
            #[cfg(feature = "sqlite")]
            ("sqlite:x.db?key=secret", "unknown parameter `key`"),
            #[cfg(all(feature = "file", unix))]
            ("file:", "names no directory"),
        ] {
            for (options, setting) in [(Options::new(url), "store"), (Options::new("memory:").cache(url), "cache")] {
                let error = open(&options).await.err().unwrap_or_else(|| panic!("accepted: {url}"));
                assert_eq!(error.kind(), ErrorKind::Config, "{url}");
                let text = crate::base::error::Chain(&error).to_string();
                assert!(text.starts_with(&format!("cannot open `{setting}`: ")) && text.contains(says), "{text}");
                assert!(!text.contains("secret") && text.matches("cannot open `").count() == 1, "{text}");
            }
        }
    }

    #[cfg(feature = "redis")]
    #[tokio::test]
    async fn a_store_that_cannot_be_reached_names_its_setting() {
        let options = Options::new("redis://:secret@127.0.0.1:1").timeout(Duration::from_secs(1));
        let error = open(&options).await.err().unwrap();
        assert!(error.kind().is_transient());
        let text = crate::base::error::Chain(&error).to_string();
        assert!(text.starts_with("cannot open `store`: Redis does not answer") && !text.contains("secret"), "{text}");
    }
}
