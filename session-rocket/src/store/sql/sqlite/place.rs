//! Where a SQLite database is: opened, watched, and opened again when it was damaged, moved away or replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{Sqlite, SqlitePool};
use tokio::sync::{Mutex, RwLock};

use super::super::kept::{Kept, Uses};
use super::recipe::Recipe;
use super::watch::{Sight, Watch};
use super::{fault, recipe};
use crate::base::error::{Error, ErrorKind, Result};

/// The connections to one database: a writer, for SQLite has one at a time, and readers beside it.
pub(super) struct Opened {
    pub writer: Kept<Sqlite>,
    pub readers: Kept<Sqlite>,
    watch: Option<Watch>,
    broken: AtomicBool,
    looking: Mutex<()>,
}

/// A database that can be opened again, or one that cannot: somebody else's, or one in memory.
pub(super) struct Place {
    recipe: Option<Recipe>,
    opened: RwLock<Arc<Opened>>,
}

impl Opened {
    /// `alone` says that nobody else uses the connections.
    fn new(recipe::Pools { writer, readers, watch }: recipe::Pools, alone: bool, limit: Duration) -> Arc<Self> {
        let kept = |pool| Kept::new(pool, Uses { alone, served: false }, limit);
        let writer = kept(writer);
        let readers = readers.map_or_else(|| writer.clone(), kept);
        Arc::new(Self { writer, readers, watch, broken: AtomicBool::new(false), looking: Mutex::new(()) })
    }

    fn mark_broken(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl Place {
    /// Opens a database on connections of its own.
    pub(super) async fn open(recipe: Recipe, limit: Duration) -> Result<Self> {
        let opened = Opened::new(recipe.open().await?, true, limit);
        Ok(Self { recipe: recipe.can_reopen().then_some(recipe), opened: RwLock::new(opened) })
    }

    /// The database of an application's pool, on the connections of that pool.
    pub(super) fn of_pool(pool: SqlitePool, limit: Duration) -> Self {
        let opened = Opened::new(recipe::Pools { writer: pool, readers: None, watch: None }, false, limit);
        Self { recipe: None, opened: RwLock::new(opened) }
    }

    /// The connections, opened anew where the database was damaged, moved or replaced. `prepare` then makes the table
    /// if it is missing. To be asked before each call: a connection that the pool makes would play the old log into a new
    /// file.
    pub(super) async fn current(&self, prepare: impl AsyncFnOnce(&Opened) -> Result<()>) -> Result<Arc<Opened>> {
        let opened = self.opened.read().await.clone();
        if self.is_sound(&opened).await { Ok(opened) } else { self.reopen(prepare).await }
    }

    /// Notes that a call on `opened` met damage. What cannot be opened again is left as it is.
    pub(super) fn damaged(&self, opened: &Opened) {
        if self.recipe.is_some() {
            opened.mark_broken();
        }
    }

    /// Whether what was written to `opened` is in the database that the path leads to.
    pub(super) async fn is_sound(&self, opened: &Opened) -> bool {
        if opened.broken.load(Ordering::SeqCst) {
            return false;
        }
        let (Some(recipe), Some(watch)) = (&self.recipe, &opened.watch) else { return true };
        match watch.look() {
            Sight::Same => return true,
            Sight::Other => return false,
            Sight::Written(_) => {}
        }
        // One looks for all who come meanwhile.
        let _turn = opened.looking.lock().await;
        let stamp = match watch.look() {
            Sight::Same => return true,
            Sight::Other => return false,
            Sight::Written(stamp) => stamp,
        };
        match recipe.peek().await {
            Ok(()) => {
                watch.accept(stamp);
                true
            }
            Err(error) if fault::is_busy(&error) => true,
            Err(error) => {
                log::error!(target: "session_rocket", "the SQLite database cannot be read any more: {error}");
                opened.mark_broken();
                false
            }
        }
    }

    /// Opens the database again, unless another call has done so.
    async fn reopen(&self, prepare: impl AsyncFnOnce(&Opened) -> Result<()>) -> Result<Arc<Opened>> {
        let unusable = |e: Error| {
            let context = "the SQLite database was damaged, moved or replaced and cannot be opened anew yet";
            Error::with_source(ErrorKind::Unavailable, context, e)
        };
        let Some(recipe) = &self.recipe else {
            return Err(Error::new(ErrorKind::Unavailable, "the SQLite database is damaged"));
        };
        let mut current = self.opened.write().await;
        if self.is_sound(&current).await {
            return Ok(current.clone());
        }
        // Closed before the next are opened: two sets of connections on one log would undo each other's locks.
        current.mark_broken();
        tokio::time::timeout(recipe.timeout(), current.close()).await.map_err(|_| {
            Error::new(ErrorKind::Timeout, "calls on the damaged SQLite database have not come to their end")
        })?;
        current.watch.as_ref().map_or(Ok(()), Watch::remove_stray_log).map_err(|e| {
            Error::with_source(ErrorKind::Unavailable, "the log of a replaced SQLite database cannot be removed", e)
        })?;
        let opened = Opened::new(recipe.open().await.map_err(unusable)?, true, recipe.timeout());
        if let Err(error) = prepare(&opened).await {
            opened.close().await;
            return Err(unusable(error));
        }
        *current = opened.clone();
        log::warn!(target: "session_rocket", "the SQLite database was damaged, moved or replaced: it is opened anew");
        Ok(opened)
    }
}
