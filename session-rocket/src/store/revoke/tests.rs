use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::base::clock::{Clock, ManualClock};
use crate::store::memory::MemoryStore;
use crate::store::record::{Record, Version};
use crate::store::{Create, Touch, Update};

/// What other requests do during a call, or how the store fails.
#[derive(PartialEq)]
enum Disruption {
    CannotEnd(Key),
    /// The session at the key gets a new id during each list, which returns the old key and the new key.
    RotatesDuringList(Key),
    /// A user logs in during each list.
    LogsInDuringList,
    /// The session gets a new id before each `retire`.
    RotatesBeforeRetire,
}

struct DisruptedStore {
    store: MemoryStore,
    disruption: Disruption,
    clock: Arc<ManualClock>,
    last_key: AtomicU8,
}

const fn key(number: u8) -> Key {
    Key::from_bytes([number; 32])
}

impl DisruptedStore {
    /// A store with three sessions of Ada.
    async fn new(disruption: Disruption) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = MemoryStore::new(1000, clock.clone());
        let store = Self { store, disruption, clock, last_key: AtomicU8::new(0) };
        for _ in 0..3 {
            store.log_in().await;
        }
        store
    }

    fn until(&self) -> Timestamp {
        self.clock.now().plus(Duration::from_secs(60))
    }

    async fn log_in(&self) -> Key {
        let key = key(self.last_key.fetch_add(1, Ordering::SeqCst) + 1);
        let record = Record::new(Version::from_bits(1), self.until()).with_scope("s").with_identity("ada");
        assert_eq!(self.store.create(&key, &record).await.unwrap(), Create::Created);
        key
    }

    async fn rotate(&self, key: &Key) {
        if !matches!(self.store.load(key).await.unwrap(), Lookup::Found(_)) {
            return;
        }
        let moved = Tombstone::moved(self.log_in().await, self.until());
        self.store.retire(key, None, moved).await.unwrap();
    }

    async fn revoke_all(&self, kept: Option<Key>) -> Result<Vec<Key>> {
        let mut ended = revoke_all(self, "s", "ada", kept, self.until()).await?;
        ended.sort();
        Ok(ended)
    }

    async fn listed(&self) -> Vec<Key> {
        let mut listed: Vec<Key> = self.store.list("s", "ada").await.unwrap().into_iter().map(|(key, _)| key).collect();
        listed.sort();
        listed
    }
}

#[async_trait]
impl Store for DisruptedStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        self.store.load(key).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        self.store.create(key, record).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        self.store.update(key, expected, record).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        self.store.touch(key, expected, expires_at).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        match &self.disruption {
            Disruption::CannotEnd(broken) if key == broken => Err(Error::new(ErrorKind::Unavailable, "broken")),
            Disruption::RotatesBeforeRetire => {
                self.rotate(key).await;
                self.store.retire(key, expected, tombstone).await
            }
            _ => self.store.retire(key, expected, tombstone).await,
        }
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.store.delete(key).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        self.store.delete_expired(limit).await
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let mut listed = self.store.list(scope, identity).await?;
        match &self.disruption {
            Disruption::RotatesDuringList(key) => {
                self.rotate(key).await;
                listed.extend(self.store.list(scope, identity).await?);
            }
            Disruption::LogsInDuringList => _ = self.log_in().await,
            Disruption::CannotEnd(_) | Disruption::RotatesBeforeRetire => {}
        }
        Ok(listed)
    }
}

#[tokio::test]
async fn a_session_that_cannot_be_ended_does_not_keep_the_others_alive() {
    let store = DisruptedStore::new(Disruption::CannotEnd(key(1))).await;
    assert_eq!(store.revoke_all(None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.listed().await, [key(1)]);
}

#[tokio::test]
async fn the_kept_session_may_get_a_new_id_during_a_list() {
    let store = DisruptedStore::new(Disruption::RotatesDuringList(key(1))).await;
    assert_eq!(store.revoke_all(Some(key(1))).await.unwrap(), [key(2), key(3)]);
    assert_eq!(store.listed().await, [key(4)]);
}

#[tokio::test]
async fn sessions_that_begin_during_each_list_are_an_error_and_not_a_success() {
    let store = DisruptedStore::new(Disruption::LogsInDuringList).await;
    assert_eq!(store.revoke_all(None).await.unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_session_that_moves_before_each_retire_is_an_error_and_not_a_success() {
    let store = DisruptedStore::new(Disruption::RotatesBeforeRetire).await;
    let revoked = revoke(&store, "s", "ada", key(1), store.until()).await;
    assert_eq!(revoked.unwrap_err().kind(), ErrorKind::Timeout);
}
