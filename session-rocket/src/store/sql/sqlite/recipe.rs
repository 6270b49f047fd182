//! From a `sqlite:` URL to connections.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlitePool};

use super::fault;
use super::watch::Watch;
use crate::base::error::{Error, ErrorKind, Result};
use crate::store::{Migrate, Options};

/// The pause between two tries to open a database that others are opening.
const PAUSE: Duration = Duration::from_millis(10);

/// How long SQLite itself waits for a lock. Short, for a statement that waits in there goes on when its caller has given
/// up; the store asks again.
const BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// Reads the first page and the schema.
const PEEK: &str = "SELECT count(*) FROM sqlite_schema";

/// The absolute path of the database's file; empty for a database in memory.
const MAIN_FILE: &str = "SELECT file FROM pragma_database_list WHERE name = 'main'";

/// How to open a database.
pub(super) struct Recipe {
    connect: SqliteConnectOptions,
    /// None for a database in memory.
    path: Option<PathBuf>,
    /// Whether a missing file is made, if the URL does not say otherwise.
    makes: bool,
    watched: bool,
    timeout: Duration,
    readers: u32,
}

/// The connections to a database, and what its path led to when they were opened.
pub(super) struct Pools {
    pub writer: SqlitePool,
    /// `None` where the writer reads as well.
    pub readers: Option<SqlitePool>,
    pub watch: Option<Watch>,
}

impl Recipe {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let url = Url::read(&options.url)?;
        let connect = SqliteConnectOptions::from_str(&url.rest)
            .map_err(|e| Error::with_source(ErrorKind::Config, "invalid SQLite URL", e))?;
        let recipe = Self { watched: !url.has_vfs, ..Self::of(connect, options) };
        if url.in_memory {
            return Ok(recipe);
        }
        // The application may change its directory; SQLite does not follow it there, and neither do we.
        let path = std::path::absolute(recipe.connect.get_filename()).map_err(|e| {
            Error::with_source(ErrorKind::Config, "the URL names no file: write `sqlite://sessions.db`", e)
        })?;
        let mut connect =
            recipe.connect.filename(&path).journal_mode(SqliteJournalMode::Wal).synchronous(url.synchronous);
        // One that is not to be migrated has a table, or is of no use: an empty file would only hide a wrong path.
        let makes = options.migrate == Migrate::Auto && options.creates;
        if !makes || !url.has_mode {
            connect = connect.create_if_missing(makes);
        }
        Ok(Self { connect, path: Some(path), makes, ..recipe })
    }

    /// How to open more connections to the database file of an application's pool.
    pub(super) fn of_pool(pool: &SqlitePool, file: PathBuf, options: &Options) -> Self {
        // With a shared cache, table locks of the application's connections would block these connections.
        let connect = (*pool.connect_options()).clone().filename(&file).shared_cache(false);
        Self { path: Some(file), ..Self::of(connect, options) }
    }

    fn of(connect: SqliteConnectOptions, options: &Options) -> Self {
        let readers = options.max_connections.unwrap_or(4).max(1);
        let connect = connect.busy_timeout(BUSY_TIMEOUT.min(options.timeout));
        Self { connect, path: None, makes: true, watched: true, timeout: options.timeout, readers }
    }

    /// Whether there is something to open again: a database in memory is gone with its connection.
    pub(super) fn can_reopen(&self) -> bool {
        self.path.is_some()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) async fn open(&self) -> Result<Pools> {
        let started = Instant::now();
        loop {
            match self.try_open().await {
                Ok(pools) => return Ok(pools),
                // To switch to a write-ahead log, SQLite does not wait for others who are doing so.
                Err(error) if fault::is_busy(&error) && started.elapsed() < self.timeout => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(self.cannot_open(error)),
            }
        }
    }

    fn cannot_open(&self, error: sqlx::Error) -> Error {
        let directory = self.path.as_ref().and_then(|path| path.parent()).filter(|path| !path.as_os_str().is_empty());
        let context = match directory {
            Some(directory) if !directory.is_dir() => {
                format!("the directory `{}` of the SQLite file is missing: create the directory", directory.display())
            }
            _ if !self.makes && self.path.as_ref().is_some_and(|path| !path.exists()) => {
                let path = self.path.as_deref().unwrap_or(Path::new("")).display();
                format!(
                    "the SQLite file `{path}` is missing: create it with `session-rocket migrate`, or by a launch \
                         with `migrate = \"auto\"`"
                )
            }
            _ => "cannot open the SQLite database".to_owned(),
        };
        Error::with_source(fault::kind(&error), context, error)
    }

    async fn try_open(&self) -> sqlx::Result<Pools> {
        let pool = |connections: u32| {
            // A database in memory is gone with its last connection: that one is never closed.
            SqlitePoolOptions::new()
                .max_connections(connections)
                .min_connections(u32::from(self.path.is_none()))
                .acquire_timeout(self.timeout)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let writer = pool(1).connect_with(self.connect.clone()).await?;
        let Some(path) = &self.path else {
            return Ok(Pools { writer, readers: None, watch: None });
        };
        // The log is there from the first read on.
        sqlx::query(PEEK).execute(&writer).await?;
        let watch = self.watched.then(|| Watch::of(path.clone()));
        let reader = self.connect.clone().create_if_missing(false).pragma("query_only", "on");
        let readers = Some(pool(self.readers).connect_lazy_with(reader));
        Ok(Pools { writer, readers, watch })
    }

    /// Looks at the database through a connection that remembers nothing of it.
    pub(super) async fn peek(&self) -> sqlx::Result<()> {
        let mut connection = self.connect.clone().create_if_missing(false).connect().await?;
        sqlx::query(PEEK).execute(&mut connection).await?;
        connection.close().await
    }
}

/// The file of an application's pool. `None` if only the pool's own connections reach its data: a database in memory, or in
/// a temporary file.
///
/// # Errors
/// When the pool has no connection within `limit`, or its database cannot be opened.
pub(super) async fn file_of(pool: &SqlitePool, limit: Duration) -> Result<Option<PathBuf>> {
    let context = "the application's pool does not reach its SQLite database";
    let asked = sqlx::query_scalar::<_, Option<String>>(MAIN_FILE).fetch_one(pool);
    let file = match tokio::time::timeout(limit, asked).await {
        Ok(file) => file.map_err(|e| Error::with_source(fault::kind(&e), context, e))?,
        Err(_) => return Err(Error::new(ErrorKind::Timeout, format!("{context}: all its connections are in use"))),
    };
    Ok(file.map(PathBuf::from).filter(|path| path.is_file()))
}

/// A `sqlite:` URL. SQLite's own know no `synchronous`: sites that would rather lose the last commits in a power cut
/// say so there.
struct Url {
    /// The URL without what sqlx does not know.
    rest: String,
    synchronous: SqliteSynchronous,
    in_memory: bool,
    has_mode: bool,
    has_vfs: bool,
}

impl Url {
    fn read(url: &str) -> Result<Self> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let path = base.trim_start_matches("sqlite:").trim_start_matches("//");
        let mut read = Self {
            rest: base.to_owned(),
            synchronous: SqliteSynchronous::Full,
            in_memory: path == ":memory:",
            has_mode: false,
            has_vfs: false,
        };
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "synchronous" => read.synchronous = synchronous(value)?,
                "mode" | "cache" | "immutable" | "vfs" => rest.push(pair),
                _ => {
                    let context = format!(
                        "unknown parameter `{name}` in the URL: SQLite's are `synchronous`, `mode`, `cache`, \
                         `immutable` and `vfs`"
                    );
                    return Err(Error::new(ErrorKind::Config, context));
                }
            }
            read.in_memory |= pair == "mode=memory";
            read.has_mode |= name == "mode";
            read.has_vfs |= name == "vfs";
        }
        if path.is_empty() && !read.in_memory {
            let context = "the URL names no file: write `sqlite://sessions.db`, or `sqlite::memory:`";
            return Err(Error::new(ErrorKind::Config, context));
        }
        if !rest.is_empty() {
            read.rest = format!("{base}?{}", rest.join("&"));
        }
        Ok(read)
    }
}

fn synchronous(value: &str) -> Result<SqliteSynchronous> {
    match value.to_ascii_lowercase().as_str() {
        "full" => Ok(SqliteSynchronous::Full),
        "normal" => Ok(SqliteSynchronous::Normal),
        "extra" => Ok(SqliteSynchronous::Extra),
        _ => {
            let context = "invalid value for `synchronous` in the URL: expected `full`, `normal` or `extra`";
            Err(Error::new(ErrorKind::Config, context))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synchronous_is_ours_and_the_rest_is_sqlites() {
        let url = Url::read("sqlite://mode=a.db?mode=rw&synchronous=NORMAL&cache=private").unwrap();
        assert_eq!(url.rest, "sqlite://mode=a.db?mode=rw&cache=private");
        assert!(matches!(url.synchronous, SqliteSynchronous::Normal) && url.has_mode && !url.has_vfs);
        let url = Url::read("sqlite:mode=a.db").unwrap();
        assert!(matches!(url.synchronous, SqliteSynchronous::Full) && !url.has_mode);
    }

    #[test]
    fn what_a_url_must_not_say_is_named() {
        for (url, says) in [
            ("sqlite:a.db?synchronous=off", "`synchronous`"),
            ("sqlite:a.db?journal=wal", "`journal`"),
            ("sqlite:", "no file"),
            ("sqlite://?mode=rwc", "no file"),
        ] {
            let error = Url::read(url).err().unwrap();
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains(says), "{url}: {error}");
        }
    }

    #[test]
    fn memory_databases_are_known_by_both_their_names() {
        for url in ["sqlite::memory:", "sqlite://:memory:", "sqlite://x?mode=memory"] {
            assert!(Url::read(url).unwrap().in_memory, "{url}");
        }
        assert!(!Url::read("sqlite://memory.db").unwrap().in_memory);
    }
}
