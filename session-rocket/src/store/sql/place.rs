//! Where a SQLite database is: opened, watched, and opened again when it was damaged, moved away or replaced.
//!
//! SQLite goes on writing to a file that was unlinked. Whoever watches the file knows that such a write reaches nobody.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::RwLock;

use crate::error::{Error, ErrorKind, Result};
use crate::store::Options;

/// How long to wait before a new file is opened once more.
const PAUSE: Duration = Duration::from_millis(5);

/// How long SQLite itself waits for a lock. Short, for a statement that waits in there goes on when its caller has given
/// up; the store asks again.
const BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// What a file is, whatever it is called.
type FileId = (u64, u64);

/// The connections to one database: a writer, for SQLite has one at a time, and readers beside it.
pub(super) struct Opened {
    pub writer: SqlitePool,
    pub readers: SqlitePool,
    file: Option<FileId>,
    /// The write-ahead log that belongs to the file, once SQLite has made it.
    log: OnceLock<FileId>,
}

/// How to open a database.
struct Recipe {
    connect: SqliteConnectOptions,
    /// None for a database in memory.
    path: Option<PathBuf>,
    timeout: Duration,
    readers: u32,
}

/// A database that can be opened again, or one that somebody else opened.
pub(super) struct Place {
    recipe: Option<Recipe>,
    opened: RwLock<Arc<Opened>>,
}

impl Opened {
    fn of_pool(pool: SqlitePool) -> Self {
        Self { writer: pool.clone(), readers: pool, file: None, log: OnceLock::new() }
    }

    /// Whether the path leads to the file; learns on the way which log is its own.
    fn is_at(&self, path: &Path) -> bool {
        // Before the file is looked at: a log that was there then is the file's.
        let log = self.log.get().is_none().then(|| file_id(&beside(path, "-wal"))).flatten();
        let is_at = file_id(path) == self.file;
        if let Some(log) = log.filter(|_| is_at) {
            // Whoever was first has learnt the same.
            let _ = self.log.set(log);
        }
        is_at
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl Place {
    /// Opens the database of a `sqlite:` URL.
    pub(super) async fn open(options: &Options) -> Result<Self> {
        let recipe = Recipe::new(options)?;
        let opened = recipe.open().await?;
        Ok(Self { recipe: Some(recipe), opened: RwLock::new(Arc::new(opened)) })
    }

    /// The database of an application's pool.
    pub(super) fn of_pool(pool: SqlitePool) -> Self {
        Self { recipe: None, opened: RwLock::new(Arc::new(Opened::of_pool(pool))) }
    }

    /// The connections as they are, and whether they are still what the path leads to.
    pub(super) async fn current(&self) -> (Arc<Opened>, bool) {
        let opened = self.opened.read().await.clone();
        let sound = self.is_sound(&opened);
        (opened, sound)
    }

    /// Whether what was written to `opened` is in the database that the path leads to.
    pub(super) fn is_sound(&self, opened: &Opened) -> bool {
        let path = self.recipe.as_ref().and_then(|recipe| recipe.path.as_ref());
        path.is_none_or(|path| opened.is_at(path))
    }

    /// Opens the database again, unless another request has done so. `prepare` makes the table where it is missing.
    pub(super) async fn reopen(&self, prepare: impl AsyncFnOnce(&Opened) -> Result<()>) -> Result<Arc<Opened>> {
        let Some(recipe) = &self.recipe else {
            return Ok(self.opened.read().await.clone());
        };
        let mut current = self.opened.write().await;
        if self.is_sound(&current) {
            return Ok(current.clone());
        }
        recipe.remove_leftovers(&current)?;
        let opened = Arc::new(recipe.open().await?);
        if let Err(error) = prepare(&opened).await {
            opened.close().await;
            return Err(error);
        }
        let old = std::mem::replace(&mut *current, opened.clone());
        // Calls under way still hold connections of the old pools: nobody waits for them.
        tokio::spawn(async move { old.close().await });
        log::warn!(target: "session_rocket", "the SQLite database was damaged, moved or replaced: it is opened anew");
        Ok(opened)
    }
}

impl Recipe {
    fn new(options: &Options) -> Result<Self> {
        let (url, synchronous) = take_synchronous(&options.url)?;
        let connect = SqliteConnectOptions::from_str(&url)
            .map_err(|e| Error::with_source(ErrorKind::Config, "`store` is not a SQLite URL", e))?;
        let in_memory = is_in_memory(&url);
        let path = (!in_memory).then(|| connect.get_filename().to_path_buf());
        let mut connect = connect.busy_timeout(BUSY_TIMEOUT.min(options.timeout));
        if !in_memory {
            let query = url.split_once('?').map_or("", |(_, query)| query);
            let explicit = query.split('&').any(|pair| pair.starts_with("mode="));
            connect = connect.journal_mode(SqliteJournalMode::Wal).synchronous(synchronous);
            connect = if explicit { connect } else { connect.create_if_missing(true) };
        }
        let readers = options.max_connections.unwrap_or(4).max(1);
        Ok(Self { connect, path, timeout: options.timeout, readers })
    }

    async fn open(&self) -> Result<Opened> {
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
        let cannot_open = |e| Error::with_source(ErrorKind::Unavailable, "cannot open the SQLite database", e);
        let deadline = Instant::now() + self.timeout;
        // SQLite does not wait for a lock where it changes a new file to a write-ahead log: who opens it at the same
        // time as others is turned away at once.
        let writer = loop {
            match pool(1).connect_with(self.connect.clone()).await {
                Err(e) if is_busy(&e) && Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                result => break result.map_err(cannot_open)?,
            }
        };
        let Some(path) = &self.path else {
            return Ok(Opened::of_pool(writer));
        };
        let file = file_id(path);
        let readers = pool(self.readers).connect_lazy_with(self.connect.clone().pragma("query_only", "on"));
        Ok(Opened { writer, readers, file, log: OnceLock::new() })
    }

    /// Where only the database file was replaced, the log of the old one lies beside the new one, and SQLite would
    /// play it into that: a mixture of both. The old connections still hold that log, so it is known by its inode.
    #[cfg(unix)]
    fn remove_leftovers(&self, old: &Opened) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let log = beside(path, "-wal");
        let is_left =
            || file_id(path).is_some_and(|file| Some(file) != old.file) && file_id(&log).as_ref() == old.log.get();
        if old.log.get().is_none() || !is_left() {
            return Ok(());
        }
        let cannot_remove = |e| {
            let context = "the log of the SQLite database that was replaced cannot be removed";
            Error::with_source(ErrorKind::Unavailable, context, e)
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Another process that does the same has begun a new log, maybe. The lock ends with the handle.
        let directory = std::fs::File::open(parent).map_err(cannot_remove)?;
        directory.lock().map_err(cannot_remove)?;
        if is_left() {
            // The index first: without a log it would be taken for that of the next one.
            for leftover in [beside(path, "-shm"), log.clone()] {
                match std::fs::remove_file(leftover) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(cannot_remove(e)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "an open file cannot be replaced there")]
    fn remove_leftovers(&self, _: &Opened) -> Result<()> {
        Ok(())
    }
}

/// Somebody else holds a lock: the statement did nothing.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    // The low byte is the code, the others tell more of it.
    matches!(code.and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff), Some(BUSY | LOCKED))
}

/// SQLite's own URLs know no `synchronous`: sites that would rather lose the last commits in a power cut say so here.
fn take_synchronous(url: &str) -> Result<(String, SqliteSynchronous)> {
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), SqliteSynchronous::Full));
    };
    let mut synchronous = SqliteSynchronous::Full;
    let mut others = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("synchronous", value)) => {
                synchronous = match value.to_ascii_lowercase().as_str() {
                    "full" => SqliteSynchronous::Full,
                    "normal" => SqliteSynchronous::Normal,
                    "extra" => SqliteSynchronous::Extra,
                    _ => {
                        let context = "`synchronous` in the `store` URL is none of `full`, `normal` and `extra`";
                        return Err(Error::new(ErrorKind::Config, context));
                    }
                };
            }
            _ => others.push(pair),
        }
    }
    let url = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
    Ok((url, synchronous))
}

fn is_in_memory(url: &str) -> bool {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    base.trim_start_matches("sqlite:").trim_start_matches("//") == ":memory:"
        || query.split('&').any(|pair| pair == "mode=memory")
}

/// What SQLite keeps beside a database.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(unix)]
fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Without inodes, all that can be told is whether the file is there.
#[cfg(not(unix))]
fn file_id(path: &Path) -> Option<FileId> {
    path.exists().then_some((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synchronous_is_ours_and_the_rest_is_sqlites() {
        let (url, synchronous) = take_synchronous("sqlite://a.db?mode=rw&synchronous=NORMAL&cache=private").unwrap();
        assert_eq!(url, "sqlite://a.db?mode=rw&cache=private");
        assert!(matches!(synchronous, SqliteSynchronous::Normal));
        assert!(matches!(take_synchronous("sqlite:a.db").unwrap().1, SqliteSynchronous::Full));
        assert_eq!(take_synchronous("sqlite:a.db?synchronous=off").unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn memory_databases_are_known_by_both_their_names() {
        for url in ["sqlite::memory:", "sqlite://:memory:", "sqlite://x?mode=memory"] {
            assert!(is_in_memory(url), "{url}");
        }
        assert!(!is_in_memory("sqlite://memory.db"));
    }
}
