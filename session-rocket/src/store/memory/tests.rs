//! Which entries a full memory store removes.

use std::time::Duration;

use super::*;
use crate::base::clock::ManualClock;
use crate::store::record::{Record, Version};
use crate::store::{Create, Lookup, Store, Touch};

const LATER: Timestamp = Timestamp::from_millis(i64::MAX);

const fn key(n: u8) -> Key {
    Key::from_bytes([n; 32])
}

fn store(capacity: usize) -> (MemoryStore, Timestamp) {
    let clock = Arc::new(ManualClock::default());
    let expires_at = clock.now().plus(Duration::from_secs(60));
    (MemoryStore::new(capacity, clock), expires_at)
}

async fn fill(store: &MemoryStore, expires_at: Timestamp, keys: &[u8]) {
    for n in keys {
        let record = Record::new(Version::from_bits(1), expires_at).with_scope("s").with_identity("ada");
        assert_eq!(store.create(&key(*n), &record).await.unwrap(), Create::Created);
    }
}

async fn keys(store: &MemoryStore) -> Vec<u8> {
    let listed = store.list("s", "ada").await.unwrap();
    let mut keys: Vec<u8> = listed.into_iter().map(|(key, _)| key.as_bytes()[0]).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn the_least_recently_used_entry_is_removed_first() {
    let (store, expires_at) = store(3);
    fill(&store, expires_at, &[1, 2, 3]).await;
    assert!(matches!(store.load(&key(1)).await.unwrap(), Lookup::Found(_)));
    fill(&store, expires_at, &[4]).await;
    assert_eq!(keys(&store).await, [1, 3, 4]);
    assert_eq!(store.touch(&key(3), Version::from_bits(1), LATER).await.unwrap(), Touch::Touched);
    fill(&store, expires_at, &[5, 6]).await;
    assert_eq!(keys(&store).await, [3, 5, 6]);
}

#[tokio::test]
async fn a_capacity_of_zero_holds_one_entry() {
    let (store, expires_at) = store(0);
    fill(&store, expires_at, &[1]).await;
    assert_eq!(keys(&store).await, [1]);
}
