//! The contents of the cache, and whether they are trusted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::bounded::bounded;
use crate::store::record::{Record, Version};
use crate::store::{Create, Lookup, Touch, Update, envelope};

use super::lazy::LazyStore;

/// The time limit of a read. A cache that takes longer is slower than most databases.
const READ_LIMIT: Duration = Duration::from_millis(250);
/// The time limit of a write. It is longer, because without the write other processes may be shown a replaced record.
const WRITE_LIMIT: Duration = Duration::from_secs(1);

/// The version of every barrier, so that each process can prolong the barriers of others.
const BARRIER: Version = Version::from_bits(0);

/// A store that is used as a cache. No call fails: if the cache fails, the place counts as hidden or free.
pub(super) struct Cache {
    store: LazyStore,
    ttl: Duration,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    /// In milliseconds since the Unix epoch. Until then, the cache is not read.
    trusted_from: AtomicI64,
    /// Whether the last log line says that the cache failed.
    is_reported: AtomicBool,
}

/// The content of a place.
pub(super) enum Place {
    /// The current record.
    Entry(Record),
    /// Nothing. The caller may take a lease and fill the place.
    Free,
    /// Unknown, or the lease of another reader.
    Hidden,
}

impl Cache {
    pub(super) fn new(store: LazyStore, ttl: Duration, timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        let (trusted_from, is_reported) = (AtomicI64::new(i64::MIN), AtomicBool::new(false));
        Self { store, ttl, timeout, clock, trusted_from, is_reported }
    }

    pub(super) async fn read(&self, key: &Key) -> Place {
        if !self.is_trusted() {
            return Place::Hidden;
        }
        match self.load(&place(key)).await {
            Ok(Lookup::Absent) => Place::Free,
            Ok(Lookup::Found(entry)) => self.decode(entry).map_or(Place::Hidden, Place::Entry),
            Ok(Lookup::Tombstone(_)) | Err(_) => Place::Hidden,
        }
    }

    /// Takes a lease for a free place; `None` if the place was not free. The lease expires after the time limit of a load.
    pub(super) async fn lease(&self, key: &Key) -> Option<Version> {
        let (version, now) = (Version::random().ok()?, self.clock.now());
        let lease = Record::new(version, now.plus(self.timeout)).with_times(now, now);
        let create = async { self.store.get().await?.create(&place(key), &lease).await };
        match self.call(self.read_limit(), create).await {
            Ok(Create::Created) => Some(version),
            Ok(Create::Taken) | Err(_) => None,
        }
    }

    /// Replaces a lease with a record that was current at `since`, if the lease is still there.
    pub(super) async fn fill(&self, key: &Key, lease: Version, record: &Record, since: Timestamp) {
        self.exchange(key, lease, record, since, self.read_limit()).await;
    }

    /// Replaces the entry of version `expected` with the record that replaced it at `since` or later. Clears the place if
    /// it holds anything else.
    pub(super) async fn swap(&self, key: &Key, expected: Version, record: &Record, since: Timestamp) {
        if !self.exchange(key, expected, record, since, self.write_limit()).await {
            self.clear(key).await;
        }
    }

    /// Replaces the lease or entry of `version` with the entry of a record. `false` if it did not, or may not have.
    async fn exchange(&self, key: &Key, version: Version, record: &Record, since: Timestamp, limit: Duration) -> bool {
        let Some(entry) = self.entry(record, since) else { return false };
        let swap = async {
            match self.store.get().await?.update(&place(key), version, &entry).await {
                // Not a failure of the cache.
                Err(error) if error.kind() == ErrorKind::TooLarge => Ok(false),
                swapped => swapped.map(|swapped| swapped == Update::Updated),
            }
        };
        matches!(self.call(limit, swap).await, Ok(true))
    }

    /// Removes the content of a place.
    pub(super) async fn clear(&self, key: &Key) {
        // A call fails if the connection broke while it was idle. The second call gets a new connection.
        const TRIES: usize = 2;
        for _ in 0..TRIES {
            let delete = async { self.store.get().await?.delete(&place(key)).await };
            match self.call(self.write_limit(), delete).await {
                Ok(()) | Err(ErrorKind::Timeout) => return,
                Err(_) => {}
            }
        }
    }

    /// Keeps a place empty for as long as a failed write may still happen or its caller may look for it.
    pub(super) async fn bar(&self, key: &Key) {
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            match self.call(self.write_limit(), self.raise(&barrier(key))).await {
                Ok(true) | Err(ErrorKind::Timeout) => break,
                Ok(false) | Err(_) => {}
            }
        }
        // After the barrier, because a reader that did not see the barrier took its lease before.
        self.clear(key).await;
    }

    /// `false` if the barrier of another call expired in between.
    async fn raise(&self, barrier: &Key) -> Result<bool> {
        let (store, now) = (self.store.get().await?, self.clock.now());
        let until = now.plus(self.ttl).plus(self.timeout);
        let record = Record::new(BARRIER, until).with_times(now, now);
        Ok(store.create(barrier, &record).await? == Create::Created
            || store.touch(barrier, BARRIER, until).await? == Touch::Touched)
    }

    /// Whether there is a barrier, or may be.
    pub(super) async fn is_barred(&self, key: &Key) -> bool {
        !matches!(self.load(&barrier(key)).await, Ok(Lookup::Absent))
    }

    /// Removes expired entries, for caches that do not remove them by themselves.
    pub(super) async fn sweep(&self, limit: u32) {
        let batch = async || match self.store.get().await?.delete_expired(limit).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(0),
            swept => swept,
        };
        // Each fill leaves an entry, so the cache has more to sweep than the database.
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

    /// Stops reading for one `ttl`, after which all present entries have expired.
    pub(super) fn distrust(&self) {
        self.trusted_from.fetch_max(self.clock.now().plus(self.ttl).as_millis(), Ordering::SeqCst);
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.clock.now().as_millis() >= self.trusted_from.load(Ordering::SeqCst)
    }

    fn read_limit(&self) -> Duration {
        READ_LIMIT.min(self.timeout / 10)
    }

    /// Short if the cache failed recently, so that not every write waits for a failing cache.
    fn write_limit(&self) -> Duration {
        if self.is_trusted() { WRITE_LIMIT.min(self.timeout / 5) } else { self.read_limit() }
    }

    /// The entry of a record that was current at `since`; `None` if the entry has expired already.
    fn entry(&self, record: &Record, since: Timestamp) -> Option<Record> {
        let expires_at = record.expires_at.min(since.plus(self.ttl));
        let sealed = envelope::seal_record(record).ok()?;
        (expires_at > self.clock.now())
            .then(|| Record::new(record.version, expires_at).with_payload(sealed).with_times(since, since))
    }

    /// The record in an entry; `None` for a lease.
    fn decode(&self, entry: Record) -> Option<Record> {
        match envelope::open(entry.payload, self.clock.now()) {
            Ok(Lookup::Found(record)) if record.version == entry.version => Some(record),
            _ => None,
        }
    }

    /// Runs a call of the cache. After an error the cache is not trusted for one `ttl`.
    async fn call<A>(&self, limit: Duration, call: impl Future<Output = Result<A>>) -> Result<A, ErrorKind> {
        let reply = bounded(&*self.clock, limit, "the cache", call).await;
        match &reply {
            Ok(_) => self.succeeded(),
            Err(error) => self.failed(error),
        }
        reply.map_err(|error| error.kind())
    }

    pub(super) fn failed(&self, error: &Error) {
        self.distrust();
        if !self.is_reported.swap(true, Ordering::SeqCst) {
            log::warn!(
                target: "session_rocket",
                "cache failed; reading sessions from the store alone until the cache has answered without errors for \
                 {:?}: {}",
                self.ttl, Chain(error),
            );
        }
    }

    fn succeeded(&self) {
        let is_over = self.is_reported.load(Ordering::SeqCst) && self.is_trusted();
        if is_over && self.is_reported.swap(false, Ordering::SeqCst) {
            log::warn!(target: "session_rocket", "cache recovered; reading sessions from it again");
        }
    }
}

/// The key of a session's place. It differs from the session's own key, because cache and database may be one server.
pub(super) fn place(key: &Key) -> Key {
    masked(key, 0x36)
}

fn barrier(key: &Key) -> Key {
    masked(key, 0x5c)
}

/// Keys are hashes, so a masked key never equals the key of another session.
fn masked(key: &Key, mask: u8) -> Key {
    Key::from_bytes(key.as_bytes().map(|byte| byte ^ mask))
}
