//! Which entries a full memory store removes.

use std::time::Duration;

use super::*;
use crate::base::clock::ManualClock;

const fn key(n: u8) -> Key {
    Key::from_bytes([n; 32])
}

async fn fill(store: &MemoryStore, keys: &[u8]) {
    let now = store.clock.now();
    for n in keys {
        let record = Record::new(Version::from_bits(1), now.plus(Duration::from_secs(60)))
            .with_scope("s")
            .with_payload(vec![*n])
            .with_times(now, now);
        assert_eq!(store.create(&key(*n), &record).await.unwrap(), Create::Created);
    }
}

fn keys(store: &MemoryStore) -> Vec<u8> {
    let memory = store.lock();
    (0..10).filter(|n| memory.entries.peek(&key(*n)).is_some()).collect()
}

#[tokio::test]
async fn the_least_recently_used_entry_is_removed_first() {
    let store = MemoryStore::new(3, Arc::new(ManualClock::default()));
    fill(&store, &[1, 2, 3]).await;
    assert!(matches!(store.load(&key(1)).await.unwrap(), Lookup::Found(_)));
    fill(&store, &[4]).await;
    assert_eq!(keys(&store), [1, 3, 4]);
    let later = store.clock.now().plus(Duration::from_secs(90));
    store.touch(&key(3), Version::from_bits(1), later).await.unwrap();
    fill(&store, &[5, 6]).await;
    assert_eq!(keys(&store), [3, 5, 6]);
}

#[tokio::test]
async fn a_capacity_of_zero_holds_one_entry() {
    let store = MemoryStore::new(0, Arc::new(ManualClock::default()));
    fill(&store, &[1]).await;
    assert!(matches!(store.load(&key(1)).await.unwrap(), Lookup::Found(_)));
}
