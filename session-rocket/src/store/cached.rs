//! A cache in front of a database. Any store can be either.
//!
//! The database decides. Every change is written to the database first, and to the cache before the caller gets its reply.
//!
//! # Promises
//! - As long as every process reaches the cache, a load that begins after a write was confirmed never returns an older
//!   record, or a record that the write ended.
//! - A cache that is down, hangs, forgets or refuses calls costs time. The process that notices it returns no error and no
//!   wrong reply for that reason: after a failed call, the process reads from the database alone for one `ttl`. A process
//!   that starts while the cache is down is in the same state: its launch counts as a failed call, and every further call
//!   tries to open the cache until the cache answers.
//! - In all other cases, no load returns a record that was replaced more than one `ttl` ago, as far as the machines' clocks
//!   agree. This weaker promise applies if a process cannot report its write to the cache, because the process does not
//!   reach the cache or is killed at this moment. It also applies if the cache forgets a write that it confirmed, because
//!   the cache was restarted from a snapshot or a lagging replica became the primary.
//!
//! # How it works
//! Each session has a _place_ in the cache. The place is free, or it holds an _entry_ or a _lease_. An entry is a record in
//! an envelope, with the version of the record. A lease is empty and has a random version: a reader is about to fill the
//! place.
//!
//! - **Load.** Returns the entry, if there is one. If the place is free, the load takes a lease, reads the database, and
//!   replaces its lease with the entry, comparing versions. If another reader has the lease, the load reads the database and
//!   leaves the cache as it is. Only live records become entries.
//! - **Update.** Changes the database, then replaces the entry of the old version with the new one, comparing versions. If
//!   the place does not hold that entry, the update clears the place.
//! - **Touch, retire, delete.** Change the database, then clear the place, whether it holds a lease or an entry.
//! - **Create.** Changes the database alone, because the cache holds nothing about a missing record.
//!
//! # Why it is correct
//! An entry enters the cache only in exchange for a lease, or for the entry of the record that it replaces. Consider a write
//! that has changed the database and then clears the place. A reader that fills the place later took its lease after that,
//! so it read the database after the write. A reader that took its lease before has lost the lease. An entry that replaces
//! its predecessor is as new as the database, and a message that the network delayed fails the comparison of versions. So
//! once a write is confirmed, the cache never holds an older record again. Clocks do not matter here, because the place is
//! cleared whether or not its content has expired.
//!
//! An entry expires one `ttl` after the moment _before_ the call that proved it current. Hence the third promise.
//!
//! Two cases need more, because a caller without a clear reply loads the record, and concludes from it whether its write
//! happened.
//! - **A write to the database fails.** The write may still happen after another reader has filled the place with the older
//!   record. So the failed write puts up a _barrier_ for `ttl` and `timeout`, under a key of its own, and then clears the
//!   place. A reader looks for a barrier after it has taken its lease: either it sees the barrier, or it loses its lease. A
//!   reader that sees the barrier does not fill the place, so all loads ask the database.
//! - **The caller of a write goes away.** The write continues without the caller. Until the write ends, a load in this
//!   process asks the database, and clears the place before it returns, so that no other reader's entry hides the result.
//!
//! # Combinations
//! The keys in the cache differ from those in the database, so one server can be both. A cache that evicts keys may evict a
//! barrier. Then the limit of one `ttl` applies to that session. A `memory:` cache belongs to one process, so it is correct
//! only if no other process changes the sessions.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join;

use super::{Create, Lookup, Retire, Stats, Store, Touch, Update};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{Error, Result};
use crate::base::id::Key;
use crate::store::bounded::bounded;
use crate::store::record::{Record, Tombstone, Version};
use cache::{Cache, Place};
use detached::DetachedCalls;
use lazy::LazyStore;

mod cache;
mod detached;
pub(crate) mod lazy;

#[cfg(test)]
mod tests;

/// A database with a cache in front of it. The [module's documentation](self) says what it promises.
pub struct CachedStore(Arc<Shared>);

/// What a call still needs after its caller has gone away.
struct Shared {
    database: Arc<dyn Store>,
    cache: Cache,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    detached: DetachedCalls,
}

impl CachedStore {
    /// Puts `cache` in front of `database`.
    ///
    /// The cache serves an entry for at most `ttl`. A write to the database takes at most `timeout`, a call of the cache a
    /// small part of it. Processes that share a cache should have the same `ttl` and `timeout`. Otherwise the longest of
    /// them applies to all.
    pub fn new(
        database: Arc<dyn Store>,
        cache: Arc<dyn Store>,
        ttl: Duration,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::with_lazy(database, cache.into(), ttl, timeout, clock)
    }

    /// Puts a cache that may not be open yet in front of `database`.
    pub(crate) fn with_lazy(
        database: Arc<dyn Store>,
        cache: LazyStore,
        ttl: Duration,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let cache = Cache::new(cache, ttl, timeout, clock.clone());
        Self(Arc::new(Shared { database, cache, timeout, clock, detached: DetachedCalls::default() }))
    }

    /// Says in the log that the cache could not be opened, because of `error`. What the cache holds is not read for one
    /// `ttl`, or longer if its calls still fail, because an earlier process may have changed sessions without reaching the cache.
    pub(crate) fn begin_without_cache(&self, error: &Error) {
        self.0.cache.failed(error);
    }

    /// Changes the database, then clears the place in the cache. Continues if the caller goes away.
    async fn change<A, F>(&self, key: &Key, change: impl FnOnce(Arc<dyn Store>) -> F) -> Result<A>
    where
        A: Send + 'static,
        F: Future<Output = Result<A>> + Send + 'static,
    {
        let (shared, key, change) = (self.0.clone(), *key, change(self.0.database.clone()));
        let work = async move {
            let reply = shared.write(&key, change).await;
            if reply.is_ok() {
                shared.cache.clear(&key).await;
            }
            reply
        };
        self.0.detached.complete(&self.0.cache, key, work).await
    }
}

impl Shared {
    /// Runs a writing call of the database. After an error the write may still happen, so a barrier is put up first.
    async fn write<A>(&self, key: &Key, call: impl Future<Output = Result<A>>) -> Result<A> {
        let reply = bounded(&*self.clock, self.timeout, "the database", call).await;
        if reply.is_err() {
            self.cache.bar(key).await;
        }
        reply
    }

    /// Loads from the database into the cache.
    async fn fill(&self, key: &Key) -> Result<Lookup> {
        let since = self.clock.now();
        let Some(lease) = self.cache.lease(key).await else { return self.database.load(key).await };
        let (loaded, is_barred) = join(self.database.load(key), self.cache.is_barred(key)).await;
        if let Ok(Lookup::Found(record)) = &loaded
            && !is_barred
        {
            self.cache.fill(key, lease, record, since).await;
        }
        loaded
    }
}

#[async_trait]
impl Store for CachedStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        let Shared { database, cache, detached, .. } = &*self.0;
        if detached.contains(key) {
            let loaded = database.load(key).await?;
            cache.clear(key).await;
            return Ok(loaded);
        }
        match cache.read(key).await {
            Place::Entry(record) => Ok(Lookup::Found(record)),
            Place::Free => self.0.fill(key).await,
            Place::Hidden => database.load(key).await,
        }
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        self.0.database.create(key, record).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let (shared, key, record) = (self.0.clone(), *key, record.clone());
        let work = async move {
            let since = shared.clock.now();
            let reply = shared.write(&key, shared.database.update(&key, expected, &record)).await;
            match &reply {
                Ok(Update::Updated) => shared.cache.swap(&key, expected, &record, since).await,
                // The caller learns that the record is another one, so its next load has to find that record.
                Ok(Update::Conflict(_) | Update::Moved(_) | Update::Gone) => shared.cache.clear(&key).await,
                Err(_) => {}
            }
            reply
        };
        self.0.detached.complete(&self.0.cache, key, work).await
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

    fn has_identity_index(&self) -> bool {
        self.0.database.has_identity_index()
    }

    async fn stats(&self) -> Result<Stats> {
        self.0.database.stats().await
    }
}
