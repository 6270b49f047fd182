//! A cache in front of a database. Any store can be the cache or the database.
//!
//! Every change is written to the database first, and the cache is changed before the caller gets the reply. Only
//! [`retire`](Store::retire) also changes the cache before the database.
//!
//! # Promises
//! - While every process reaches the cache, a load that begins after a write was confirmed never returns an older record,
//!   or a session that the write ended. If a `list` does not return a session because it has ended, no later load returns
//!   that session, even if the write that ended it is not confirmed yet.
//! - If the cache is down, hangs, loses entries or refuses calls, calls take longer, but do not fail and do not return an
//!   outdated record. After a failed call to the cache, the process reads only from the database for one `ttl`. If the
//!   cache cannot be opened at launch, the same applies, and later calls try to open the cache again.
//! - In all other cases, a load may return an outdated record for at most one `ttl` plus the difference between the clocks
//!   of the machines. For example, a process writes to the database, and then cannot reach the cache or is killed. Or the
//!   cache returns to an older state, because it was restarted from a snapshot or a lagging replica became the primary.
//!
//! # How it works
//! Each session has one _cache key_, which is empty, or holds an _entry_ or a _lease_. An entry contains a record and has
//! the record's version. A lease has a random version, and means that a reader is about to store an entry.
//!
//! - **Load.** Returns the record of the entry, if there is an entry. If the cache key is empty, the load takes a lease,
//!   reads the database, and replaces its lease with an entry by compare-and-swap. If another reader has the lease, the
//!   load only reads the database. Only live records become entries.
//! - **Update.** Changes the database, then replaces the entry of the old version with the new one by compare-and-swap.
//!   If the cache key does not hold the old entry, the update _invalidates_ the cache key: it deletes the entry or lease.
//! - **Touch, delete.** Change the database, then invalidate the cache key.
//! - **Retire.** Sets a _barrier_, which prevents readers from storing an entry. Then changes the database, and
//!   invalidates the cache key.
//! - **Create.** Changes only the database, because the cache never stores that a record is missing.
//!
//! # Why it is correct
//! An entry replaces only a lease, or the entry of the previous record. Consider a write that changes the database and
//! then invalidates the cache key. If a reader takes its lease before the invalidation, the invalidation deletes the
//! lease, and the reader stores no entry. If a reader takes its lease later, it reads the database after the write. An
//! update replaces the previous entry with the record that it has just written. If the network delays the replacement,
//! and another write changes the cache key meanwhile, the replacement fails, because the versions differ. So after a
//! write is confirmed, the cache never holds an older record. This does not depend on clocks, because the invalidation
//! also deletes expired entries.
//!
//! An entry expires at most one `ttl` after a time at which its record was current. This gives the third promise.
//!
//! A barrier has a key of its own in the cache, and exists for `ttl` plus `timeout`. The call that sets a barrier then
//! invalidates the cache key. A reader looks for a barrier after it has taken its lease, so it either sees the barrier or
//! loses its lease. A reader that sees the barrier stores no entry, so all loads read the database. In three cases, the
//! invalidation after a write is not enough:
//! - **A session ends.** As soon as the database has ended the session, a login that counts the user's sessions may find
//!   room under `max_sessions`. Until the invalidation, an entry would still serve the ended session. So `retire` sets a
//!   barrier before it changes the database.
//! - **A write to the database fails.** The caller loads the record to find out whether the write happened. The write may
//!   still happen after another reader has stored the older record as an entry. So the failed write sets a barrier.
//! - **The caller of a write goes away.** The write continues without the caller. Until the write ends, a load in this
//!   process reads the database, and invalidates the cache key before it returns, so that no outdated entry is left.
//!
//! # Combinations
//! The keys in the cache differ from the keys in the database, so one server can keep both. If a cache evicts a barrier,
//! the third promise applies to that session. A `memory:` cache is correct only if no other process changes the sessions,
//! because each process has its own cache.

use std::pin::pin;
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
use cache::{Cache, CacheLookup};
use deferred::DeferredStore;
use detached::DetachedCalls;

mod cache;
pub(crate) mod deferred;
mod detached;

#[cfg(test)]
mod tests;

/// A database with a cache in front of it. The [module's documentation](self) lists the promises.
pub struct CachedStore(Arc<Shared>);

/// The parts of the store, which a call may need after its caller has gone away.
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
    /// The cache serves an entry for at most `ttl`. A write to the database takes at most `timeout`. Calls to the cache
    /// for a session have shorter limits. Processes that share a cache should have the same `ttl` and `timeout`. If the
    /// values differ, the promises apply with the longest values.
    pub fn new(
        database: Arc<dyn Store>,
        cache: Arc<dyn Store>,
        ttl: Duration,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::with_deferred(database, cache.into(), ttl, timeout, clock)
    }

    /// Puts a cache that may not be open yet in front of `database`.
    pub(crate) fn with_deferred(
        database: Arc<dyn Store>,
        cache: DeferredStore,
        ttl: Duration,
        timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let cache = Cache::new(cache, ttl, timeout, clock.clone());
        Self(Arc::new(Shared { database, cache, timeout, clock, detached: DetachedCalls::default() }))
    }

    /// Records and logs that the cache could not be opened.
    ///
    /// An earlier process may have changed sessions without reaching the cache. So the cache is read only when it has
    /// worked for one `ttl`.
    pub(crate) fn start_without_cache(&self, error: &Error) {
        self.0.cache.record_failure(error);
    }

    /// Changes the database, then invalidates the cache key. Continues if the caller goes away.
    async fn change<A, F>(&self, key: &Key, change: impl FnOnce(Arc<dyn Store>) -> F) -> Result<A>
    where
        A: Send + 'static,
        F: Future<Output = Result<A>> + Send + 'static,
    {
        let (shared, key, change) = (self.0.clone(), *key, change(self.0.database.clone()));
        let work = async move {
            let reply = shared.write(&key, change).await;
            if reply.is_ok() {
                shared.cache.invalidate(&key).await;
            }
            reply
        };
        self.0.detached.complete(&self.0.cache, key, work).await
    }
}

impl Shared {
    /// Runs a call that writes to the database. After an error, sets a barrier, because the write may still happen.
    async fn write<A>(&self, key: &Key, call: impl Future<Output = Result<A>>) -> Result<A> {
        let reply = bounded(&*self.clock, self.timeout, "the database", pin!(call)).await;
        if reply.is_err() {
            self.cache.set_barrier(key).await;
        }
        reply
    }

    /// Loads from the database, and stores the record in the cache if no other reader has a lease and no barrier exists.
    async fn fill(&self, key: &Key) -> Result<Lookup> {
        let since = self.clock.now();
        let Some(lease) = self.cache.lease(key).await else { return self.database.load(key).await };
        let (loaded, has_barrier) = join(self.database.load(key), self.cache.has_barrier(key)).await;
        if let Ok(Lookup::Found(record)) = &loaded
            && !has_barrier
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
            cache.invalidate(key).await;
            return Ok(loaded);
        }
        match cache.read(key).await {
            CacheLookup::Hit(record) => Ok(Lookup::Found(record)),
            CacheLookup::Miss => self.0.fill(key).await,
            CacheLookup::Unusable => database.load(key).await,
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
                Ok(Update::Updated) => shared.cache.replace(&key, expected, &record, since).await,
                // The cache may have an outdated entry, but the caller's next load must return the newer record.
                Ok(Update::Conflict(_) | Update::Moved(_) | Update::Gone) => shared.cache.invalidate(&key).await,
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
        let (shared, key) = (self.0.clone(), *key);
        let work = async move {
            shared.cache.set_barrier(&key).await;
            let reply = shared.write(&key, shared.database.retire(&key, expected, tombstone)).await;
            if reply.is_ok() {
                shared.cache.invalidate(&key).await;
            }
            reply
        };
        self.0.detached.complete(&self.0.cache, key, work).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let at = *key;
        self.change(key, |database| async move { database.delete(&at).await }).await
    }

    /// Sweeps the cache and the database. Returns the number of entries that the database removed.
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
