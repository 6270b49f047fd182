//! Leases, entries and barriers in the cache, and whether the cache can be trusted.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use humantime::format_duration;

use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::bounded::bounded;
use crate::store::record::{Record, Version};
use crate::store::{Create, Lookup, Touch, Update, envelope};

use super::deferred::DeferredStore;

/// The longest time limit of a read. A slower cache has no benefit, because most databases are faster.
const READ_LIMIT: Duration = Duration::from_millis(250);
/// The longest time limit of a write. It is longer than that of a read, because other processes may read an outdated
/// record if the write fails.
const WRITE_LIMIT: Duration = Duration::from_secs(1);

/// The version of every barrier (see [`Cache::set_barrier`]). It is constant, so that processes can extend each other's
/// barriers.
const BARRIER: Version = Version::from_bits(0);

/// A store that is used as a cache. Its methods return no errors, because the database can replace a cache that fails.
pub(super) struct Cache {
    store: DeferredStore,
    ttl: Duration,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    /// The time from which the cache may be read, in milliseconds since the Unix epoch.
    trusted_from: AtomicI64,
    /// Whether the log contains a failure of the cache, but not yet the recovery.
    is_reported: AtomicBool,
}

/// The result of reading a cache key.
pub(super) enum CacheLookup {
    /// The cache holds this record, which is current.
    Hit(Record),
    /// The cache key is empty. The caller may take a lease and store an entry.
    Miss,
    /// The cache failed or is not trusted, or another reader has a lease. The caller must read the database.
    Unusable,
}

impl Cache {
    pub(super) fn new(store: DeferredStore, ttl: Duration, timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        let (trusted_from, is_reported) = (AtomicI64::new(i64::MIN), AtomicBool::new(false));
        Self { store, ttl, timeout, clock, trusted_from, is_reported }
    }

    pub(super) async fn read(&self, key: &Key) -> CacheLookup {
        if !self.is_trusted() {
            return CacheLookup::Unusable;
        }
        match self.load(&cache_key(key)).await {
            Ok(Lookup::Absent) => CacheLookup::Miss,
            Ok(Lookup::Found(entry)) => self.decode(entry).map_or(CacheLookup::Unusable, CacheLookup::Hit),
            Ok(Lookup::Tombstone(_)) | Err(_) => CacheLookup::Unusable,
        }
    }

    /// Takes a lease, which expires after `timeout`. Returns `None` if the cache key is not empty or the cache fails.
    pub(super) async fn lease(&self, key: &Key) -> Option<Version> {
        let (version, now) = (Version::random().ok()?, self.clock.now());
        let lease = Record::new(version, now.plus(self.timeout)).with_times(now, now);
        let create = async { self.store.get().await?.create(&cache_key(key), &lease).await };
        match self.call(self.read_limit(), create).await {
            Ok(Create::Created) => Some(version),
            Ok(Create::Taken) | Err(_) => None,
        }
    }

    /// Replaces a lease with the entry of a record that was current at `since`, if the lease still exists.
    pub(super) async fn fill(&self, key: &Key, lease: Version, record: &Record, since: Timestamp) {
        self.compare_and_swap(key, lease, record, since, self.read_limit()).await;
    }

    /// Replaces the entry of version `expected` with the entry of `record`, which was written at `since` or later. If
    /// that fails, invalidates the cache key.
    pub(super) async fn replace(&self, key: &Key, expected: Version, record: &Record, since: Timestamp) {
        if !self.compare_and_swap(key, expected, record, since, self.write_limit()).await {
            self.invalidate(key).await;
        }
    }

    /// Replaces the lease or entry of `version` with the entry of `record`. Returns `false` if that failed or may have
    /// failed.
    async fn compare_and_swap(
        &self,
        key: &Key,
        version: Version,
        record: &Record,
        since: Timestamp,
        limit: Duration,
    ) -> bool {
        let Some(entry) = self.entry(record, since) else { return false };
        let swap = async {
            match self.store.get().await?.update(&cache_key(key), version, &entry).await {
                // A record that is too large for the cache is not a failure of the cache.
                Err(error) if error.kind() == ErrorKind::TooLarge => Ok(false),
                swapped => swapped.map(|swapped| swapped == Update::Updated),
            }
        };
        matches!(self.call(limit, swap).await, Ok(true))
    }

    /// Deletes the entry or lease of a cache key.
    pub(super) async fn invalidate(&self, key: &Key) {
        // A call fails if the connection broke while it was idle. The second call gets a new connection.
        const ATTEMPTS: usize = 2;
        for _ in 0..ATTEMPTS {
            let delete = async { self.store.get().await?.delete(&cache_key(key)).await };
            match self.call(self.write_limit(), delete).await {
                Ok(()) | Err(ErrorKind::Timeout) => return,
                Err(_) => {}
            }
        }
    }

    /// Tells readers to leave a cache key empty (see `has_barrier`), because a session is about to end, or because a write
    /// that failed may still take effect.
    pub(super) async fn set_barrier(&self, key: &Key) {
        const ATTEMPTS: usize = 3;
        for _ in 0..ATTEMPTS {
            match self.call(self.write_limit(), self.write_barrier(&barrier_key(key))).await {
                Ok(true) | Err(ErrorKind::Timeout) => break,
                Ok(false) | Err(_) => {}
            }
        }
        // Comes last, because a reader that took its lease before the barrier existed must lose the lease.
        self.invalidate(key).await;
    }

    /// Creates a barrier, or extends an existing one. Returns `false` if the existing barrier expired during this call.
    async fn write_barrier(&self, barrier: &Key) -> Result<bool> {
        let (store, now) = (self.store.get().await?, self.clock.now());
        let until = now.plus(self.ttl).plus(self.timeout);
        let record = Record::new(BARRIER, until).with_times(now, now);
        Ok(store.create(barrier, &record).await? == Create::Created
            || store.touch(barrier, BARRIER, until).await? == Touch::Touched)
    }

    /// Whether a barrier exists. Returns `true` if the cache fails.
    pub(super) async fn has_barrier(&self, key: &Key) -> bool {
        !matches!(self.load(&barrier_key(key)).await, Ok(Lookup::Absent))
    }

    /// Removes expired entries, if the cache does not remove them by itself.
    pub(super) async fn sweep(&self, limit: u32) {
        let batch = async || match self.store.get().await?.delete_expired(limit).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(0),
            swept => swept,
        };
        // The cache may have more expired entries than the database, because every load may store an entry.
        while let Ok(swept) = self.call(self.timeout, batch()).await
            && swept > 0
            && swept == u64::from(limit)
        {
            tokio::task::yield_now().await;
        }
    }

    async fn load(&self, key: &Key) -> Result<Lookup, ErrorKind> {
        self.call(self.read_limit(), async { self.store.get().await?.load(key).await }).await
    }

    /// Stops reading the cache for one `ttl`. After that, all entries that exist now have expired.
    pub(super) fn distrust(&self) {
        self.trusted_from.fetch_max(self.clock.now().plus(self.ttl).as_millis(), Ordering::SeqCst);
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.clock.now().as_millis() >= self.trusted_from.load(Ordering::SeqCst)
    }

    fn read_limit(&self) -> Duration {
        READ_LIMIT.min(self.timeout / 10)
    }

    /// Returns the time limit of a write. It is shorter if the cache failed recently, so that writes do not wait long.
    fn write_limit(&self) -> Duration {
        if self.is_trusted() { WRITE_LIMIT.min(self.timeout / 5) } else { self.read_limit() }
    }

    /// Returns the entry of a record, which expires at most one `ttl` after `since`. Returns `None` if the entry has already
    /// expired.
    fn entry(&self, record: &Record, since: Timestamp) -> Option<Record> {
        let expires_at = record.expires_at.min(since.plus(self.ttl));
        let payload = envelope::encode_record(record).ok()?;
        (expires_at > self.clock.now())
            .then(|| Record::new(record.version, expires_at).with_payload(payload).with_times(since, since))
    }

    /// Returns the record in an entry, or `None` for a lease.
    fn decode(&self, entry: Record) -> Option<Record> {
        match envelope::decode_live(entry.payload, self.clock.now()) {
            Ok(Lookup::Found(record)) if record.version == entry.version => Some(record),
            _ => None,
        }
    }

    /// Runs a call to the cache. After an error, the process does not read the cache for one `ttl`.
    async fn call<A>(&self, limit: Duration, call: impl Future<Output = Result<A>>) -> Result<A, ErrorKind> {
        let reply = bounded(&*self.clock, limit, "the cache", pin!(call)).await;
        match &reply {
            Ok(_) => self.record_success(),
            Err(error) => self.record_failure(error),
        }
        reply.map_err(|error| error.kind())
    }

    pub(super) fn record_failure(&self, error: &Error) {
        self.distrust();
        if !self.is_reported.swap(true, Ordering::SeqCst) {
            log::warn!(
                target: "session_rocket",
                "cache failed; reading sessions only from the store until the cache has worked without errors for {}: {}",
                format_duration(self.ttl), Chain(error),
            );
        }
    }

    fn record_success(&self) {
        let is_over = self.is_reported.load(Ordering::SeqCst) && self.is_trusted();
        if is_over && self.is_reported.swap(false, Ordering::SeqCst) {
            log::warn!(target: "session_rocket", "cache recovered; reading sessions from it again");
        }
    }
}

/// Returns the cache key of a session. It is not the session's key, because cache and database may be one server.
pub(super) fn cache_key(key: &Key) -> Key {
    masked(key, 0x36)
}

fn barrier_key(key: &Key) -> Key {
    masked(key, 0x5c)
}

/// Changes a key. Keys are hashes, so the result never equals the key of another session.
fn masked(key: &Key, mask: u8) -> Key {
    Key::from_bytes(key.as_bytes().map(|byte| byte ^ mask))
}
