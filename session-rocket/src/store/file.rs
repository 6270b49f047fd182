//! Sessions in a directory, one file for each session: no server and no database.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::Options;
use super::key_value::{KeyValue, KeyValueStore};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;

use listing::Listing;
use queue::Queue;
use shard::{LockedShard, Shard, shard_of};

mod directory;
mod handle;
mod listing;
mod queue;
mod shard;

/// The maximum number of calls that use the disk at the same time, each on its own thread. If the disk hangs, the rest of
/// Tokio's 512 blocking threads stay free for the site.
const MAX_THREADS: usize = 64;
/// The pause between two attempts to take a lock that another process holds.
const PAUSE: Duration = Duration::from_millis(1);

const LOCKED: &str = "another process held a lock in the session directory for longer than `timeout`: end that process if \
                      it hangs, or raise `timeout`";

/// A store in a directory of files. Processes of one machine may share the directory.
///
/// The URL names the directory. `file:///var/lib/site/sessions` is an absolute path. `file:sessions` is relative to the
/// working directory at the time of [`open`](FileStore::open). Percent signs have no special meaning. If only the last
/// part of the path is missing, `open` creates the directory with mode 0700. The directory must belong to the user that
/// the site runs as, must not be accessible to other users, and must not be a symbolic link. Each call checks these
/// conditions. The file system must support `flock` and atomic renames.
///
/// A write is on the disk before the call returns. After a power cut, a killed process or a full disk, a session's file
/// is either the old file or the new file. There are 256 locks, each for a part of the keys, and a write takes the lock of
/// its key. If a process hangs while it holds a lock, other processes' writes that need this lock fail after `timeout`.
/// Loads take no lock.
///
/// [`list`](super::Store::list) reads all files, because there is no index.
pub type FileStore = KeyValueStore<Files>;

impl FileStore {
    /// Opens the directory that `options.url` names. If `create_if_missing` is `true`, creates a missing directory.
    ///
    /// # Errors
    /// - [`ErrorKind::Config`] if the URL is invalid, the directory cannot be created, written or locked, or another user
    ///   owns it or can access it.
    /// - [`ErrorKind::Unavailable`] if the disk is full, or if the directory is missing and `create_if_missing` is `false`.
    /// - [`ErrorKind::Timeout`] if the disk does not reply in time.
    pub async fn open(options: &Options) -> Result<Self> {
        let files = Files {
            path: directory::path_of(&options.url)?.into(),
            timeout: options.timeout,
            threads: Arc::new(Semaphore::new(MAX_THREADS)),
            queues: (0..=u8::MAX).map(|_| Arc::default()).collect(),
            next_swept: AtomicU8::new(0),
        };
        let (path, create_if_missing) = (files.path.clone(), options.create_if_missing);
        files.bounded(blocking(move || directory::prepare(&path, create_if_missing))).await?;
        Ok(files.into_store(options.clock.clone()))
    }
}

/// The directory of a [`FileStore`].
pub struct Files {
    path: Arc<Path>,
    timeout: Duration,
    threads: Arc<Semaphore>,
    /// One queue for each lock. Only the call at the head of the queue tries to take the lock.
    queues: Vec<Arc<Queue>>,
    /// The shard (one of the 256 parts of the directory) that the next sweep starts with.
    next_swept: AtomicU8,
}

impl Files {
    async fn bounded<R>(&self, work: impl Future<Output = Result<R>>) -> Result<R> {
        timeout(self.timeout, work).await.unwrap_or_else(|_| Err(timed_out()))
    }

    /// Passes the directory's path to `work` on a thread that may wait for the disk. `work` finishes even if the caller
    /// stops waiting.
    async fn on_disk<R: Send + 'static>(&self, work: impl FnOnce(&Path) -> Result<R> + Send + 'static) -> Result<R> {
        let path = self.path.clone();
        self.bounded(async {
            let thread = self.threads.clone().acquire_owned().await.map_err(interrupted)?;
            let work = move || {
                let _thread = thread;
                directory::check(&path)?;
                work(&path)
            };
            blocking(work).await
        })
        .await
    }

    /// Takes a shard's lock and runs `work`. Returns `None` if another process still holds the lock at the timeout.
    async fn try_with_lock<R: Send + 'static>(
        &self,
        shard: u8,
        work: impl Fn(&Path, LockedShard) -> Result<R> + Send + Sync + 'static,
    ) -> Result<Option<R>> {
        let queue = &self.queues[usize::from(shard)];
        let recorded = queue.clone();
        let attempt = Arc::new(move |root: &Path| {
            let locked = LockedShard::try_lock(root, shard)?;
            recorded.record_attempt(locked.is_none());
            locked.map(|locked| work(root, locked)).transpose()
        });
        let done = timeout(self.timeout, async {
            let _turn = queue.turn.lock().await;
            loop {
                let attempt = attempt.clone();
                // Does not block a thread until the lock is free, because the thread would then take the lock even if
                // the caller had stopped waiting.
                if let Some(done) = self.on_disk(move |root| attempt(root)).await? {
                    return Ok(Some(done));
                }
                sleep(PAUSE).await;
            }
        });
        match done.await {
            Ok(done) => done,
            Err(_) if queue.is_held(self.timeout / 2) => Ok(None),
            Err(_) => Err(timed_out()),
        }
    }

    /// Like [`try_with_lock`](Self::try_with_lock), but returns an error instead of `None`.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if another process still holds the lock at the timeout.
    async fn with_lock<R: Send + 'static>(
        &self,
        shard: u8,
        work: impl Fn(&LockedShard) -> Result<R> + Send + Sync + 'static,
    ) -> Result<R> {
        let done = self.try_with_lock(shard, move |_, locked| work(&locked)).await?;
        done.ok_or_else(|| Error::new(ErrorKind::Timeout, LOCKED))
    }

    /// Lists the keys of `first` and the following shards, up to the limits of a [`Listing`].
    async fn listing(&self, first: u8) -> Result<Listing> {
        match self.try_with_lock(first, move |root, locked| Listing::of(root, first, locked)).await? {
            Some(listing) => Ok(listing),
            // The process that holds the lock hangs, so it does not replace files during the listing.
            None => self.on_disk(move |root| Listing::of_unlocked(root, first)).await,
        }
    }
}

impl KeyValue for Files {
    type Tag = Bytes;

    async fn load(&self, key: &Key) -> Result<Option<(Bytes, Bytes)>> {
        let key = *key;
        let value = self.on_disk(move |root| Shard::new(root, shard_of(&key)).read(&key)).await?;
        Ok(value.map(|value| (value.clone(), value)))
    }

    async fn swap(&self, key: &Key, expected: Option<Bytes>, value: Bytes, _expires_at: Timestamp) -> Result<bool> {
        let key = *key;
        let swap = move |shard: &LockedShard| {
            let is_unchanged = shard.read(&key)? == expected;
            if is_unchanged {
                shard.write(&key, &value)?;
            }
            Ok(is_unchanged)
        };
        self.with_lock(shard_of(&key), swap).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let key = *key;
        self.with_lock(shard_of(&key), move |shard| shard.delete(&key)).await
    }

    async fn delete_expired(&self, limit: u32, now: Timestamp) -> Result<u64> {
        let limit = u64::from(limit);
        let mut removed = 0;
        for _ in 0..=u8::MAX {
            if removed == limit {
                break;
            }
            // Advanced first, so that the next call skips this shard if this call fails.
            let shard = self.next_swept.fetch_add(1, Ordering::Relaxed);
            let left = limit - removed;
            let stale = self.on_disk(move |root| Shard::new(root, shard).stale_names(left, now)).await?;
            if !stale.is_empty() {
                removed += self.with_lock(shard, move |shard| shard.sweep(&stale, now)).await?;
            }
        }
        Ok(removed)
    }

    fn can_scan(&self) -> bool {
        true
    }

    async fn scan(&self, visit: &mut (dyn FnMut(Key, Bytes) + Send)) -> Result<()> {
        let mut next = Some(0);
        while let Some(first) = next {
            // A shard without a folder is skipped, because locking the shard would create the folder.
            if !self.on_disk(move |root| Shard::new(root, first).exists()).await? {
                next = first.checked_add(1);
                continue;
            }
            let listing = self.listing(first).await?;
            for keys in listing.keys.chunks(listing::FILES_PER_CALL) {
                let keys = keys.to_vec();
                // Each chunk has its own timeout, so that a scan of a large shard on a slow disk does not fail.
                let entries = self.on_disk(move |root| listing::read(root, &keys)).await?;
                entries.into_iter().for_each(|(key, value)| visit(key, value));
            }
            next = listing.next;
        }
        Ok(())
    }
}

async fn blocking<R: Send + 'static>(work: impl FnOnce() -> Result<R> + Send + 'static) -> Result<R> {
    spawn_blocking(work).await.map_err(interrupted)?
}

fn timed_out() -> Error {
    Error::new(ErrorKind::Timeout, "the disk of the session directory did not reply within `timeout`")
}

fn interrupted(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::with_source(ErrorKind::Unavailable, "a call to the session directory stopped before it finished", error)
}
