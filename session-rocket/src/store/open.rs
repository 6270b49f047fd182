//! From a URL to a store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Store;
use super::cached::CachedStore;
use super::memory::MemoryStore;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};

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
        let Self { url, table, migrate, timeout, max_connections, capacity, cache, cache_ttl, key_prefix, clock } =
            self;
        *url == other.url
            && *table == other.table
            && *migrate == other.migrate
            && *timeout == other.timeout
            && *max_connections == other.max_connections
            && *capacity == other.capacity
            && *cache == other.cache
            && *cache_ttl == other.cache_ttl
            && *key_prefix == other.key_prefix
            && std::ptr::addr_eq(Arc::as_ptr(clock), Arc::as_ptr(&other.clock))
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("table", &self.table).field("migrate", &self.migrate).finish_non_exhaustive()
    }
}

/// The schemes of all back-ends, and the cargo feature that each needs.
const SCHEMES: &[(&str, &str)] = &[
    ("sqlite", "sqlite"),
    ("postgres", "postgres"),
    ("postgresql", "postgres"),
    ("mysql", "mysql"),
    ("mariadb", "mysql"),
    ("redis", "redis"),
    ("rediss", "redis"),
    ("redis+cluster", "redis"),
    ("rediss+cluster", "redis"),
    ("memcached", "memcached"),
    ("file", "file"),
];

/// Opens the store that `options.url` names, and puts the cache that `options.cache` names, if any, in front of it.
///
/// # Errors
/// [`ErrorKind::Config`] for a URL that no back-end of this build takes, saying what to change;
/// [`ErrorKind::Unavailable`] when the back-end cannot be reached. The same goes for the cache: one that cannot be
/// reached when a site is launched is more often a slip in its URL than an outage.
pub async fn open(options: &Options) -> Result<Arc<dyn Store>> {
    with_cache(open_as("store", options).await?, options).await
}

/// Puts the cache that `options` name, if any, in front of `store`.
pub(crate) async fn with_cache(store: Arc<dyn Store>, options: &Options) -> Result<Arc<dyn Store>> {
    let Some(url) = &options.cache else { return Ok(store) };
    let key_prefix = format!("{}cache:", options.key_prefix);
    let own = Options { url: url.clone(), cache: None, key_prefix, ..options.clone() };
    let unusable = |error: Error| Error::with_source(error.kind(), "the cache cannot be used", error);
    let cache = open_as("cache", &own).await.map_err(unusable)?;
    if url.starts_with("memory:") || url.contains(":memory:") || url.contains("mode=memory") {
        log::warn!(
            target: "session_rocket",
            "`cache` is in the memory of this process: if another one keeps sessions in the same store, each serves \
             for up to {:?} what the other has changed or ended",
            options.cache_ttl,
        );
    }
    let Options { cache_ttl, timeout, clock, .. } = own;
    Ok(Arc::new(CachedStore::new(store, cache, cache_ttl, timeout, clock)))
}

/// Opens the store that `options.url` names; `key` is what the URL is called in the configuration.
#[allow(clippy::unused_async, reason = "memory is not waited for, and some builds have nothing else")]
async fn open_as(key: &str, options: &Options) -> Result<Arc<dyn Store>> {
    let scheme = options.url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    Ok(match scheme.as_deref() {
        Some("memory") => Arc::new(MemoryStore::new(options.capacity, options.clock.clone())),
        #[cfg(feature = "sqlite")]
        Some("sqlite") => Arc::new(super::sql::sqlite::SqliteStore::open(options).await?),
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => Arc::new(super::sql::postgres::PostgresStore::open(options).await?),
        #[cfg(feature = "mysql")]
        Some("mysql" | "mariadb") => Arc::new(super::sql::mysql::MySqlStore::open(options).await?),
        #[cfg(feature = "memcached")]
        Some("memcached") => Arc::new(super::memcached::MemcachedStore::open(options).await?),
        #[cfg(feature = "redis")]
        Some("redis" | "rediss" | "redis+cluster" | "rediss+cluster") => {
            Arc::new(super::redis::RedisStore::open(options).await?)
        }
        #[cfg(all(feature = "file", unix))]
        Some("file") => Arc::new(super::file::FileStore::open(options).await?),
        scheme => return Err(refusal(key, scheme)),
    })
}

/// What to change in a URL that no back-end of this build takes.
fn refusal(key: &str, scheme: Option<&str>) -> Error {
    let needs = |scheme: &str| SCHEMES.iter().find(|(known, _)| *known == scheme).map(|(_, feature)| *feature);
    let problem = match scheme {
        None => "it has no scheme".to_owned(),
        Some(sealed @ ("cookie+signed" | "cookie+encrypted")) => {
            format!("`{sealed}:` is no store: with it, each session of the site lives in its own cookie")
        }
        Some("file") if cfg!(not(unix)) => "a `file:` store needs a Unix system".to_owned(),
        Some(scheme) => match needs(scheme) {
            Some(feature) => {
                format!("this build lacks the cargo feature `{feature}`: enable it for `session-rocket`")
            }
            None => format!("`{scheme}:` is no store"),
        },
    };
    let mut known: Vec<String> = SCHEMES.iter().map(|(scheme, _)| format!("`{scheme}:`")).collect();
    known.push("`memory:`".to_owned());
    let context = format!("`{key}` cannot be opened: {problem}; a URL begins with {}", known.join(", "));
    Error::new(ErrorKind::Config, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_no_store_takes_says_what_to_write() {
        for (url, says) in [
            ("redus://:secret@host", "`redus:` is no store"),
            ("sqlit://x", "`sqlit:` is no store"),
            ("sessions.db", "it has no scheme"),
        ] {
            let options = Options { url: url.to_owned(), ..Options::default() };
            let error = open(&options).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Config);
            let text = error.to_string();
            assert!(text.contains(says) && text.contains("`memory:`") && !text.contains("secret"), "{text}");
        }
    }
    #[test]
    fn a_back_end_that_is_left_out_names_its_feature() {
        let text = refusal("store", Some("rediss+cluster")).to_string();
        assert!(text.contains("lacks the cargo feature `redis`"), "{text}");
    }

    #[tokio::test]
    async fn a_cache_that_cannot_be_used_ends_the_launch() {
        for (url, says) in [
            ("redus://:secret@host", "`cache` cannot be opened: `redus:` is no store"),
            ("cookie+signed:", "`cache` cannot be opened: `cookie+signed:` is no store"),
        ] {
            let error = open(&Options::new("memory:").cache(url)).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Config);
            let text = crate::error::Chain(&error).to_string();
            assert!(text.starts_with("the cache cannot be used") && text.contains(says), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
