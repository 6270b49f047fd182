//! The cache's side: what is kept there and how, and whether it is trusted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp, within};
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::{Record, Version};
use crate::store::{Create, Lookup, Store, Touch, Update, envelope};

/// A cache that takes longer than this to read from is slower than most databases.
const QUICK: Duration = Duration::from_millis(250);
/// Others may be shown what a write replaced if the cache does not hear of it: that is worth some waiting.
const THOROUGH: Duration = Duration::from_secs(1);

/// All barriers have it, so that whoever meets one can prolong it.
const BARRIER: Version = Version::from_bits(0);

/// A store that is used as a cache. No call fails: what it cannot do counts as not being there.
pub(super) struct Cache {
    store: Arc<dyn Store>,
    ttl: Duration,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    /// In milliseconds since the Unix epoch: before it, nothing is read.
    trusted_from: AtomicI64,
    /// Whether the log's last word is that it fails.
    is_reported: AtomicBool,
}

/// What a look at a place shows.
pub(super) enum Sight {
    /// The current record.
    Entry(Record),
    /// It is free to be filled.
    Nothing,
    /// It cannot be seen, or is somebody else's to fill.
    Hidden,
}

impl Cache {
    pub(super) fn new(store: Arc<dyn Store>, ttl: Duration, timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        let (trusted_from, is_reported) = (AtomicI64::new(i64::MIN), AtomicBool::new(false));
        Self { store, ttl, timeout, clock, trusted_from, is_reported }
    }

    pub(super) async fn look(&self, key: &Key) -> Sight {
        if !self.is_trusted() {
            return Sight::Hidden;
        }
        match self.call(self.quick(), self.store.load(&place(key))).await {
            Ok(Lookup::Absent) => Sight::Nothing,
            Ok(Lookup::Found(entry)) => self.opened(entry).map_or(Sight::Hidden, Sight::Entry),
            Ok(Lookup::Tombstone(_)) | Err(_) => Sight::Hidden,
        }
    }

    /// Takes a free place; nothing if it was not free. It is free again after the time a load may take.
    pub(super) async fn lease(&self, key: &Key) -> Option<Version> {
        let (version, now) = (Version::random().ok()?, self.clock.now());
        let lease = Record::new(version, now.plus(self.timeout)).with_times(now, now);
        match self.call(self.quick(), self.store.create(&place(key), &lease)).await {
            Ok(Create::Created) => Some(version),
            Ok(Create::Taken) | Err(_) => None,
        }
    }

    /// Swaps a lease for a record that was current at `since`, if the lease is still there.
    pub(super) async fn fill(&self, key: &Key, lease: Version, record: &Record, since: Timestamp) {
        self.exchange(key, lease, record, since, self.quick()).await;
    }

    /// Swaps the entry of version `expected` for the record that replaced it at `since` or later; clears the place
    /// where it holds anything else.
    pub(super) async fn swap(&self, key: &Key, expected: Version, record: &Record, since: Timestamp) {
        if !self.exchange(key, expected, record, since, self.thorough()).await {
            self.clear(key).await;
        }
    }

    /// Swaps what is there under `version` for the entry of a record. False if it did not, or may not have.
    async fn exchange(&self, key: &Key, version: Version, record: &Record, since: Timestamp, limit: Duration) -> bool {
        let Some(entry) = self.entry(record, since) else { return false };
        let swap = async {
            match self.store.update(&place(key), version, &entry).await {
                // No fault of the cache.
                Err(error) if error.kind() == ErrorKind::TooLarge => Ok(false),
                swapped => swapped.map(|swapped| swapped == Update::Updated),
            }
        };
        matches!(self.call(limit, swap).await, Ok(true))
    }

    /// Removes whatever is there.
    pub(super) async fn clear(&self, key: &Key) {
        // That a connection broke while nobody used it is found out by a call that fails. The next one has a new one.
        const TRIES: usize = 2;
        for _ in 0..TRIES {
            match self.call(self.thorough(), self.store.delete(&place(key))).await {
                Ok(()) | Err(ErrorKind::Timeout) => return,
                Err(_) => {}
            }
        }
    }

    /// Keeps a place empty for as long as a write that failed may be looked for, and for what it may have left.
    pub(super) async fn bar(&self, key: &Key) {
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            match self.call(self.thorough(), self.raise(&barrier(key))).await {
                Ok(true) | Err(ErrorKind::Timeout) => break,
                Ok(false) | Err(_) => {}
            }
        }
        // After it: who has not seen the barrier has taken its lease before.
        self.clear(key).await;
    }

    /// False if another's barrier came to its end meanwhile.
    async fn raise(&self, barrier: &Key) -> Result<bool> {
        let now = self.clock.now();
        let until = now.plus(self.ttl).plus(self.timeout);
        let record = Record::new(BARRIER, until).with_times(now, now);
        Ok(self.store.create(barrier, &record).await? == Create::Created
            || self.store.touch(barrier, BARRIER, until).await? == Touch::Touched)
    }

    /// Whether there is a barrier, or may be.
    pub(super) async fn is_barred(&self, key: &Key) -> bool {
        !matches!(self.call(self.quick(), self.store.load(&barrier(key))).await, Ok(Lookup::Absent))
    }

    /// Removes what expired, for caches that do not do so by themselves.
    pub(super) async fn sweep(&self, limit: u32) {
        let batch = async || match self.store.delete_expired(limit).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(0),
            swept => swept,
        };
        // The cache has more to sweep than the database: each fill leaves an entry.
        while let Ok(swept) = self.call(self.timeout, batch()).await
            && swept > 0
            && swept == u64::from(limit)
        {
            tokio::task::yield_now().await;
        }
    }

    /// From now on, for one `ttl`, nothing is read: by then all that is there now has expired.
    pub(super) fn distrust(&self) {
        self.trusted_from.fetch_max(self.clock.now().plus(self.ttl).as_millis(), Ordering::SeqCst);
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.clock.now().as_millis() >= self.trusted_from.load(Ordering::SeqCst)
    }

    fn quick(&self) -> Duration {
        QUICK.min(self.timeout / 10)
    }

    /// The time for telling the cache of a write. One that failed a moment ago is not waited for again and again.
    fn thorough(&self) -> Duration {
        if self.is_trusted() { THOROUGH.min(self.timeout / 5) } else { self.quick() }
    }

    /// What is kept of a record that was current at `since`, unless it is over already.
    fn entry(&self, record: &Record, since: Timestamp) -> Option<Record> {
        let expires_at = record.expires_at.min(since.plus(self.ttl));
        let sealed = envelope::seal_record(record).ok()?;
        (expires_at > self.clock.now())
            .then(|| Record::new(record.version, expires_at).with_payload(sealed).with_times(since, since))
    }

    /// The record in an entry; nothing for a lease.
    fn opened(&self, entry: Record) -> Option<Record> {
        match envelope::open(entry.payload, self.clock.now()) {
            Ok(Lookup::Found(record)) if record.version == entry.version => Some(record),
            _ => None,
        }
    }

    /// One call within `limit`. After an error the cache is not trusted for a while.
    async fn call<A>(&self, limit: Duration, call: impl Future<Output = Result<A>>) -> Result<A, ErrorKind> {
        let late = || Err(Error::new(ErrorKind::Timeout, "it did not answer in time"));
        let answer = within(&*self.clock, || limit, call).await.unwrap_or_else(late);
        match &answer {
            Ok(_) => self.answered(),
            Err(error) => self.failed(error),
        }
        answer.map_err(|error| error.kind())
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

    fn answered(&self) {
        let is_over = self.is_reported.load(Ordering::SeqCst) && self.is_trusted();
        if is_over && self.is_reported.swap(false, Ordering::SeqCst) {
            log::warn!(target: "session_rocket", "cache recovered; reading sessions from it again");
        }
    }
}

/// Where the entry of a session is: not at its own key, for the database may be in the same place.
pub(super) fn place(key: &Key) -> Key {
    masked(key, 0x36)
}

fn barrier(key: &Key) -> Key {
    masked(key, 0x5c)
}

/// Keys are hashes: that one with such a mask is another session's key does not happen.
fn masked(key: &Key, mask: u8) -> Key {
    Key::from_bytes(key.as_bytes().map(|byte| byte ^ mask))
}
