//! The store that a check tests, its clock, and calls that must succeed.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Clock, ManualClock, Timestamp};
use crate::base::error::{Chain, Error, Result};
use crate::base::id::{Key, random_bytes};
use crate::store::record::{Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Store, Touch, Update};

pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Subject {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<ManualClock>,
}

impl Subject {
    pub(super) fn in_an_hour(&self) -> Timestamp {
        self.clock.now().plus(HOUR)
    }

    /// Returns a record that expires in an hour.
    pub(super) fn record(&self, payload: &str) -> Record {
        Record::new(version(), self.in_an_hour())
            .with_scope("conformance")
            .with_payload(payload.to_owned())
            .with_times(self.clock.now(), self.clock.now())
    }

    pub(super) fn ended_tombstone(&self) -> Tombstone {
        Tombstone::ended(self.in_an_hour())
    }

    pub(super) fn moved_tombstone(&self, to: Key) -> Tombstone {
        Tombstone::moved(to, self.in_an_hour())
    }

    pub(super) fn tombstones(&self) -> [Tombstone; 2] {
        [self.ended_tombstone(), self.moved_tombstone(random_key())]
    }

    /// Stores `record` under a new key. Returns the key.
    pub(super) async fn create_new(&self, record: &Record) -> Key {
        let key = random_key();
        assert_eq!(self.create(&key, record).await, Create::Created, "create did not store a record under a new key");
        key
    }

    /// Stores `record` under a new key and retires it. Returns the key and its entry.
    pub(super) async fn create_retired(&self, record: &Record, tombstone: Tombstone) -> (Key, Lookup) {
        let key = self.create_new(record).await;
        assert_eq!(self.retire(&key, None, tombstone).await, Retire::Retired, "a live record was not retired");
        (key, Lookup::Tombstone(tombstone))
    }

    pub(super) async fn load(&self, key: &Key) -> Lookup {
        reply("load", self.store.load(key).await)
    }

    pub(super) async fn create(&self, key: &Key, record: &Record) -> Create {
        reply("create", self.store.create(key, record).await)
    }

    pub(super) async fn update(&self, key: &Key, expected: Version, record: &Record) -> Update {
        reply("update", self.store.update(key, expected, record).await)
    }

    pub(super) async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Touch {
        reply("touch", self.store.touch(key, expected, expires_at).await)
    }

    pub(super) async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Retire {
        reply("retire", self.store.retire(key, expected, tombstone).await)
    }

    pub(super) async fn delete(&self, key: &Key) {
        reply("delete", self.store.delete(key).await);
    }

    /// Sweeps until no expired entry is left. Returns the number of removed entries.
    pub(super) async fn sweep(&self, limit: u32) -> u64 {
        let mut swept = 0;
        loop {
            let batch = reply("delete_expired", self.store.delete_expired(limit).await);
            assert!(batch <= u64::from(limit), "a sweep limited to {limit} removed {batch}");
            if batch == 0 {
                return swept;
            }
            swept += batch;
        }
    }

    pub(super) async fn assert_holds(&self, key: &Key, record: &Record) {
        assert_eq!(self.load(key).await, Lookup::Found(record.clone()), "load did not return the stored record");
    }

    pub(super) async fn round_trip(&self, record: Record) {
        let key = self.create_new(&record).await;
        self.assert_holds(&key, &record).await;
    }
}

pub(super) fn reply<T>(call: &str, result: Result<T>) -> T {
    result.unwrap_or_else(|error: Error| panic!("{call} failed: {}", Chain(&error)))
}

pub(super) fn random_key() -> Key {
    Key::from_bytes(random_bytes().expect("a test needs random bytes"))
}

pub(super) fn version() -> Version {
    Version::random().expect("a test needs random bytes")
}

/// Returns `current`, another version, and zero, because a back-end may use zero for "no version".
pub(super) fn any_versions(current: Version) -> [Version; 3] {
    [current, version(), Version::from_bits(0)]
}
