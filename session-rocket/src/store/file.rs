//! Sessions in a directory, a file for each: no server, no database.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use tokio::time::timeout;

use super::{Create, Lookup, Options, Retire, Stats, Store, Touch, Update};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::id::{Key, random_bytes};
use crate::store::record::{Record, Tombstone, Version};

use folder::Folder;
use lock::Queue;
use records::{Held, part_of};

mod fault;
mod folder;
mod index;
mod lock;
mod place;
mod records;
mod walk;

/// So many calls at once use the disk, each in a thread of its own; tokio has 512 of them for the whole site.
const THREADS: usize = 64;

/// A store in a directory of files, which processes of one machine may share.
///
/// `file:///var/lib/site/sessions` names the directory from the root on, `file:sessions` from the working directory
/// when the store is opened; nothing in it is percent-encoded. It is made, with mode 0700, if its parent is there. Only
/// the user that the site runs as may own or enter it, and it is no symbolic link; all this is looked at in each call.
///
/// What is written is on the disk before the call answers: after a power cut or a full disk, a session's file is the
/// old one or the new one. A write takes a lock on a 256th of all keys, which a stopped process keeps from others; they
/// give up after `timeout`. Reads take no lock. The file system must have locks (`flock`) and a rename that replaces.
pub struct FileStore {
    path: Arc<Path>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    /// For each lock, the queue of those in this process who want it.
    turns: Vec<Arc<Mutex<()>>>,
    threads: Arc<Semaphore>,
    /// From where on the next sweep looks.
    next: std::sync::Mutex<Key>,
}

impl FileStore {
    /// Opens the directory that `options.url` names, creating it if it is missing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it cannot be made, read, written or locked, or others own or may enter it, saying what
    /// to change; [`ErrorKind::Unavailable`] when its disk is full, [`ErrorKind::Timeout`] when it does not answer.
    pub async fn open(options: &Options) -> Result<Self> {
        let store = Self {
            path: place::path_of(&options.url)?.into(),
            timeout: options.timeout,
            clock: options.clock.clone(),
            turns: (0..=u8::MAX).map(|_| Arc::default()).collect(),
            threads: Arc::new(Semaphore::new(THREADS)),
            next: walk::start_of(0).into(),
        };
        let (path, creates) = (store.path.clone(), options.creates);
        store.in_time(store.aside(move || place::prepare(&path, creates))).await?;
        Ok(store)
    }

    /// Runs `work` in a thread that may wait for the disk. It runs to its end, whoever has stopped waiting for it.
    async fn aside<R: Send + 'static>(&self, work: impl FnOnce() -> Result<R> + Send + 'static) -> Result<R> {
        let cut_off = |e| Error::with_source(ErrorKind::Unavailable, "the work on a session's file was cut off", e);
        let thread = self.threads.clone().acquire_owned().await.map_err(|e| cut_off(e.to_string()))?;
        let run = move || {
            let done = work();
            drop(thread);
            done
        };
        tokio::task::spawn_blocking(run).await.map_err(|e| cut_off(e.to_string()))?
    }

    async fn in_time<R>(&self, work: impl Future<Output = Result<R>>) -> Result<R> {
        timeout(self.timeout, work).await.unwrap_or_else(|_| {
            let context = "the session directory's disk does not answer, or another process keeps a lock in it";
            Err(Error::new(ErrorKind::Timeout, context))
        })
    }

    /// Runs `work` on the directory.
    async fn reading<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder, Timestamp) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (path, clock) = (self.path.clone(), self.clock.clone());
        self.aside(move || work(&place::enter(&path)?, clock.now())).await
    }

    /// Runs `work` on one part of what is kept, with its lock.
    async fn locked<R: Send + 'static>(
        &self,
        part: u8,
        work: impl FnOnce(&Held) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let asking = async {
            let turn = self.turns[usize::from(part)].clone().lock_owned().await;
            let (path, clock, queue) = (self.path.clone(), self.clock.clone(), Queue::default());
            let mut attempt = Attempt { work, part, path, clock, queue, turn };
            // No thread waits for the lock: others would lack it, and a call that was dropped would have it later.
            loop {
                match self.aside(|| attempt.run()).await? {
                    Outcome::Done(answer) => return Ok(answer),
                    Outcome::Busy(again) => attempt = again,
                }
                self.clock.sleep(pause()).await;
            }
        };
        self.in_time(asking).await
    }

    /// Removes what expired on a stretch of the way, at most `limit`; says how many.
    async fn sweep(&self, mut stretch: walk::Stretch, limit: u64) -> Result<u64> {
        // If this stretch cannot be swept, the next call goes on behind it.
        self.go_on_at(walk::start_of(stretch.part.wrapping_add(1)));
        let mut removed = 0;
        loop {
            let batch = walk::batch(limit - removed);
            let found = self.reading(move |root, now| walk::expired(root, stretch, batch, now)).await?;
            let (at_end, last) = (found.len() < batch, found.last().copied());
            if let Some(last) = last {
                removed += self.locked(stretch.part, move |held| held.remove_expired(&found)).await?;
                stretch.from = last;
            }
            if removed == limit {
                self.go_on_at(stretch.from);
                return Ok(removed);
            }
            if at_end {
                return Ok(removed);
            }
        }
    }

    /// Removes from the index what belongs to nothing.
    async fn tidy(&self) -> Result<()> {
        let strays = self.reading(|root, _| index::tidy(root)).await?;
        self.unlist(strays).await
    }

    /// Takes keys off the lists they do not belong on, as far as nobody is at work on them.
    async fn unlist(&self, strays: Vec<(String, Key)>) -> Result<()> {
        let (path, clock) = (self.path.clone(), self.clock.clone());
        let unlist = move || {
            for (home, key) in strays {
                if let Some(held) = Held::try_take(&path, part_of(&key), &mut Queue::default(), &clock)? {
                    held.unlist_stray(&home, &key)?;
                }
            }
            Ok(())
        };
        self.aside(unlist).await
    }

    fn next(&self) -> Key {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn go_on_at(&self, key: Key) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

/// One try to get a lock and to do the work.
struct Attempt<W> {
    work: W,
    part: u8,
    path: Arc<Path>,
    clock: Arc<dyn Clock>,
    queue: Queue,
    turn: OwnedMutexGuard<()>,
}

enum Outcome<R, W> {
    Done(R),
    Busy(Attempt<W>),
}

impl<R, W: FnOnce(&Held) -> Result<R>> Attempt<W> {
    fn run(mut self) -> Result<Outcome<R, W>> {
        let held = Held::try_take(&self.path, self.part, &mut self.queue, &self.clock)?;
        let Some(held) = held else { return Ok(Outcome::Busy(self)) };
        let done = (self.work)(&held);
        // Before the next of this process asks for it.
        drop(held);
        drop(self.turn);
        done.map(Outcome::Done)
    }
}

/// Up to four milliseconds.
fn pause() -> Duration {
    // Without the system's randomness there are other things to worry about than a fair turn.
    let [random] = random_bytes::<1>().unwrap_or([128]);
    Duration::from_micros(u64::from(random) * 16)
}

#[async_trait]
impl Store for FileStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        let key = *key;
        self.in_time(self.reading(move |root, now| records::read(root, &key, now))).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        let (key, record) = (*key, record.clone());
        self.locked(part_of(&key), move |held| held.create(&key, &record)).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let (key, record) = (*key, record.clone());
        self.locked(part_of(&key), move |held| held.update(&key, expected, &record)).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let key = *key;
        self.locked(part_of(&key), move |held| held.touch(&key, expected, expires_at)).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let key = *key;
        self.locked(part_of(&key), move |held| held.retire(&key, expected, tombstone)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let key = *key;
        self.locked(part_of(&key), move |held| held.delete(&key)).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        let limit = u64::from(limit);
        let mut removed = 0;
        for stretch in walk::round(self.next()) {
            if removed == limit {
                break;
            }
            if stretch.from == walk::start_of(0)
                && let Err(error) = self.tidy().await
            {
                // It is no reason not to sweep.
                log::warn!(target: "session_rocket", "cannot tidy the index of the session directory: {}", Chain(&error));
            }
            removed += self.sweep(stretch, limit - removed).await?;
        }
        Ok(removed)
    }

    fn has_identity_index(&self) -> bool {
        true
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let home = index::home(scope, identity);
        let listed = self.in_time(self.reading(move |root, now| index::list(root, &home, now))).await?;
        if !listed.strays.is_empty() {
            // The answer is right either way; another call meets what is left.
            let _ = self.in_time(self.unlist(listed.strays)).await;
        }
        Ok(listed.live)
    }

    async fn retire_all(&self, scope: &str, identity: &str, except: Option<&Key>, until: Timestamp) -> Result<u64> {
        let home: Arc<str> = index::home(scope, identity).into();
        let (mut seen, mut retired) = (HashSet::new(), 0);
        // A session that is given a new id meanwhile is marked under that one before it leaves the other: it is read
        // again until nobody new is there.
        loop {
            let of = home.clone();
            let mut keys = self.in_time(self.reading(move |root, _| index::marked(root, &of))).await?;
            keys.retain(|key| Some(key) != except && seen.insert(*key));
            if keys.is_empty() {
                return Ok(retired);
            }
            // At once, so that one whose lock is kept does not keep the others alive.
            let retiring = keys.into_iter().map(|key| {
                let home = home.clone();
                self.locked(part_of(&key), move |held| held.retire_of(&home, &key, until))
            });
            for done in join_all(retiring).await {
                retired += u64::from(done?);
            }
        }
    }

    async fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        for part in 0..=u8::MAX {
            stats = stats.plus(self.reading(move |root, now| walk::count(root, part, now)).await?);
        }
        Ok(stats)
    }
}
