//! A cache in front of a database: any store in front of any other.
//!
//! The database is the truth. Every change goes to it first, and to the cache before the caller has its answer.
//!
//! # What it promises
//! - As long as every process reaches the cache, no load that begins after a write was answered gives what was there
//!   before the write: no older record, and none that was ended.
//! - A cache that is down, hangs, forgets or refuses costs time, never an error and never a wrong answer in the
//!   process that sees it: after a failed call a process reads from the database alone, for one `ttl`. A process that
//!   starts while the cache is down is in the same state: its launch counts as a failed call, and every further call
//!   tries to open the cache, until it answers.
//! - Whatever else goes wrong, nobody is shown a record later than one `ttl` after it was the current one, as far as
//!   the machines' clocks agree. This is all that is left where a process cannot tell the cache of its write, for it
//!   does not reach it or is killed at this moment, or where the cache itself forgets a write that it confirmed: it
//!   was restarted from a snapshot, or a replica that lagged took over.
//!
//! # How
//! For a session, the cache holds nothing, an _entry_ or a _lease_. An entry is a record in an envelope, under the
//! record's own version. A lease is empty, under a random version: somebody is about to fill the place.
//!
//! - **Load.** An entry is served. Where nothing is, the reader takes a lease, then reads the database, then swaps its
//!   lease for the entry, comparing versions. Where somebody else's lease is, it reads the database and leaves the
//!   cache as it is. Only live records are kept, never that there is none.
//! - **Update.** The database; then the entry of the version that was replaced is swapped for the new one, comparing
//!   versions. Where another or none is, the place is cleared.
//! - **Touch, retire, delete.** The database, then the place is cleared: lease or entry, whoever's it is.
//! - **Create.** The database alone. The cache holds nothing of what is not there yet.
//!
//! # Why that is enough
//! Nothing enters the cache but in exchange for a lease or for the entry of the record it replaced. Say a write is done
//! in the database, and then clears the place. What fills it later has taken its lease after that, and so has read
//! the database after the write. What had its lease before has lost it. An entry that is swapped for its successor is
//! as new as the database allows, and what comes late, because the network was slow, compares and finds that it lost.
//! So once a write is answered, the cache holds nothing older, and never will. A clock has no part in this: the place
//! is cleared whether or not its content has expired.
//!
//! An entry lives for `ttl` from the moment _before_ the call that proved it to be current: hence the bound above.
//!
//! Two cases need more, for the caller that got no clear answer looks for its write by a load, and takes what it sees
//! for an answer.
//! - **The database fails in a write.** The write may still happen, when another reader has filled the place with what
//!   was there before. So a _barrier_ is put up for `ttl` and `timeout`, under a key of its own, and then the place is
//!   cleared. Who fills a place looks for a barrier after taking the lease: it sees it, or the clearing takes its
//!   lease. Behind a barrier all loads ask the database.
//! - **The caller goes away in the midst of a write.** The call is carried to its end without it. Until then, a load in
//!   this process asks the database, and clears the place before it answers: what it tells is never hidden by what
//!   another reader still holds.
//!
//! # Any pair
//! Keys in the cache are others than in the database, so that one place can be both. A cache that evicts may evict a
//! barrier; then the bound of one `ttl` holds for that session. A `memory:` cache is one process's own: it is right
//! only where no other process changes the sessions.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{join, join_all};

use super::{Create, Lookup, Retire, Stats, Store, Touch, Update};
use crate::base::clock::{Clock, Timestamp, within};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};
use cache::{Cache, Sight};
use whole::Unfinished;

mod cache;
pub(crate) mod late;
mod whole;

#[cfg(test)]
mod tests;

/// A database with a cache in front of it. The [module's documentation](self) says what it promises.
pub struct CachedStore(Arc<Both>);

/// The database, the cache, and what calls that were left alone need.
struct Both {
    database: Arc<dyn Store>,
    cache: Cache,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    unfinished: Unfinished,
}

impl CachedStore {
    /// Puts `cache` in front of `database`.
    ///
    /// An entry is served for `ttl` at most. A call to the database takes `timeout` at most, one to the cache a small
    /// part of it. All processes with one cache have the same `ttl` and `timeout`, or each promise holds for the
    /// longest of them.
    pub fn new(
        database: Arc<dyn Store>,
        cache: Arc<dyn Store>,
        ttl: Duration,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let cache = Cache::new(cache, ttl, timeout, clock.clone());
        Self(Arc::new(Both { database, cache, timeout, clock, unfinished: Unfinished::default() }))
    }

    /// Says in the log that the cache could not be opened, because of `error`. What the cache holds is not read for one
    /// `ttl`, or longer if its calls still fail, because an earlier process may have changed sessions without reaching the cache.
    pub(crate) fn begin_without_cache(&self, error: &Error) {
        self.0.cache.failed(error);
    }

    /// Changes the database, then clears the place in the cache: to its end, even if the caller goes away.
    async fn change<A, F>(&self, key: &Key, change: impl FnOnce(Arc<dyn Store>) -> F) -> Result<A>
    where
        A: Send + 'static,
        F: Future<Output = Result<A>> + Send + 'static,
    {
        let (both, key, change) = (self.0.clone(), *key, change(self.0.database.clone()));
        let work = async move {
            let answer = both.write(&key, change).await;
            if answer.is_ok() {
                both.cache.clear(&key).await;
            }
            answer
        };
        self.0.unfinished.whole(&self.0.cache, key, work).await
    }
}

impl Both {
    /// A writing call to the database. After an error it may still happen: a barrier stands when this is done.
    async fn write<A>(&self, key: &Key, call: impl Future<Output = Result<A>>) -> Result<A> {
        let late = || Err(Error::new(ErrorKind::Timeout, "the database did not answer in time"));
        let answer = within(&*self.clock, || self.timeout, call).await.unwrap_or_else(late);
        if answer.is_err() {
            self.cache.bar(key).await;
        }
        answer
    }

    /// Loads from the database into the cache.
    async fn fill(&self, key: &Key) -> Result<Lookup> {
        let since = self.clock.now();
        let Some(lease) = self.cache.lease(key).await else { return self.database.load(key).await };
        let (found, is_barred) = join(self.database.load(key), self.cache.is_barred(key)).await;
        if let Ok(Lookup::Found(record)) = &found
            && !is_barred
        {
            self.cache.fill(key, lease, record, since).await;
        }
        found
    }
}

#[async_trait]
impl Store for CachedStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        let Both { database, cache, unfinished, .. } = &*self.0;
        if unfinished.contains(key) {
            let found = database.load(key).await?;
            cache.clear(key).await;
            return Ok(found);
        }
        match cache.look(key).await {
            Sight::Entry(record) => Ok(Lookup::Found(record)),
            Sight::Nothing => self.0.fill(key).await,
            Sight::Hidden => database.load(key).await,
        }
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        self.0.database.create(key, record).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let (both, key, record) = (self.0.clone(), *key, record.clone());
        let work = async move {
            let since = both.clock.now();
            let answer = both.write(&key, both.database.update(&key, expected, &record)).await;
            match &answer {
                Ok(Update::Updated) => both.cache.swap(&key, expected, &record, since).await,
                // Whoever is told that something else is there finds it when it looks.
                Ok(Update::Conflict(_) | Update::Moved(_) | Update::Gone) => both.cache.clear(&key).await,
                Err(_) => {}
            }
            answer
        };
        self.0.unfinished.whole(&self.0.cache, key, work).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let at = *key;
        self.change(key, |database| async move { database.touch(&at, expected, expires_at).await }).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let at = *key;
        self.change(key, |database| async move { database.retire(&at, expected, tombstone).await }).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let at = *key;
        self.change(key, |database| async move { database.delete(&at).await }).await
    }

    /// Sweeps the cache as well; only what the database removes is counted.
    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        self.0.cache.sweep(limit).await;
        self.0.database.delete_expired(limit).await
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        self.0.database.list(scope, identity).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.0.database.stats().await
    }

    /// Ends each session by itself, so that it is cleared from the cache. One that moved meanwhile is met when the list
    /// is read again.
    async fn retire_all(&self, scope: &str, identity: &str, except: Option<&Key>, until: Timestamp) -> Result<u64> {
        const ROUNDS: usize = 16;
        const AT_ONCE: usize = 16;
        let tombstone = Tombstone { fate: Fate::Ended, expires_at: until };
        let (mut retired, mut found_none) = (0, false);
        for _ in 0..ROUNDS {
            let mut listed = self.list(scope, identity).await?;
            listed.retain(|(key, _)| Some(key) != except);
            // Not every store lists what there was at one moment: none is left when two looks in a row find none.
            if listed.is_empty() && found_none {
                return Ok(retired);
            }
            found_none = listed.is_empty();
            let mut failure = None;
            for some in listed.chunks(AT_ONCE) {
                // One that changed meanwhile may be somebody else's by now: the next round tells.
                let ending = some.iter().map(|(key, record)| self.retire(key, Some(record.version), tombstone));
                for ended in join_all(ending).await {
                    match ended {
                        Ok(Retire::Retired) => retired += 1,
                        Ok(Retire::Conflict(_) | Retire::Gone) => {}
                        // The others are to end all the same.
                        Err(error) => failure = Some(error),
                    }
                }
            }
            failure.map_or(Ok(()), Err)?;
        }
        Err(Error::new(ErrorKind::Timeout, "a user's sessions changed faster than they could be ended"))
    }
}
