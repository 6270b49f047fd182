//! How a sweep gets through a large directory.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use session_rocket::store::file::FileStore;
use session_rocket::store::{Lookup, Store};
use session_rocket::{Clock, ErrorKind, Key, ManualClock, Record, Tombstone, Version};

use super::{HOUR, created, file_of, options, place};

const MINUTE: Duration = Duration::from_secs(60);

async fn store_with_clock(path: &Path) -> (FileStore, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    (FileStore::open(&options(path).clock(clock.clone())).await.expect("a store"), clock)
}

fn brief(clock: &ManualClock) -> Record {
    let now = clock.now();
    Record::new(Version::from_bits(1), now.plus(MINUTE))
        .with_scope("session")
        .with_payload("brief")
        .with_times(now, now)
}

fn lasting(clock: &ManualClock) -> Record {
    let mut lasting = brief(clock);
    lasting.expires_at = clock.now().plus(HOUR);
    lasting
}

/// A key in a shard.
fn key(shard: u8, number: u8) -> Key {
    let mut bytes = [number; 32];
    bytes[0] = shard;
    Key::from_bytes(bytes)
}

async fn is_absent(store: &FileStore, key: &Key) -> bool {
    store.load(key).await.expect("a load") == Lookup::Absent
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_where_it_was_and_spares_the_living() {
    let (_folder, path) = place();
    let (store, clock) = store_with_clock(&path).await;
    let mut living = Vec::new();
    for shard in [0, 3, 0xAB, 0xFF] {
        for number in 0..8 {
            created(&store, &key(shard, number), &brief(&clock)).await;
            living.push((key(shard, number + 100), lasting(&clock)));
        }
        let tombstone = Tombstone::ended(clock.now().plus(MINUTE));
        created(&store, &key(shard, 200), &brief(&clock)).await;
        store.retire(&key(shard, 200), None, tombstone).await.expect("a tombstone");
    }
    for (key, record) in &living {
        created(&store, key, record).await;
    }
    assert_eq!(store.delete_expired(100).await.expect("a sweep"), 0);
    clock.advance(MINUTE);
    // 36 have expired.
    assert_eq!(store.delete_expired(0).await.expect("a sweep"), 0);
    for expected in [7, 7, 7, 7, 7, 1, 0, 0] {
        assert_eq!(store.delete_expired(7).await.expect("a sweep"), expected);
    }
    for (key, record) in living {
        assert_eq!(store.load(&key).await.expect("a load"), Lookup::Found(record));
    }
    assert!(!file_of(&path, &key(3, 0)).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_with_much_to_remove_does_not_keep_it_from_others() {
    let (_folder, path) = place();
    let (store, clock) = store_with_clock(&path).await;
    let crowd = [1, 2, 3].map(|number| key(0x20, number));
    let (early, late) = (key(0x10, 1), key(0x30, 1));
    for key in crowd.iter().chain([&early, &late]) {
        created(&store, key, &brief(&clock)).await;
    }
    clock.advance(MINUTE);
    let left = || [&early, &late].into_iter().chain(&crowd).filter(|key| file_of(&path, key).exists()).count();
    for (gone, expected) in [(Some(early), 4), (None, 3), (Some(late), 2), (None, 1), (None, 0)] {
        assert_eq!(store.delete_expired(1).await.expect("a sweep"), 1);
        assert!(gone.is_none_or(|key| !file_of(&path, &key).exists()));
        assert_eq!(left(), expected);
    }
    assert_eq!(store.delete_expired(1).await.expect("a sweep"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_what_it_cannot_read() {
    let (_folder, path) = place();
    let (store, clock) = store_with_clock(&path).await;
    let [damaged, short, expired] = [1, 2, 3].map(|number| key(9, number));
    for key in [&damaged, &short, &expired] {
        created(&store, key, &brief(&clock)).await;
    }
    fs::write(file_of(&path, &damaged), [77; 100]).expect("a write");
    fs::write(file_of(&path, &short), [1; 8]).expect("a write");
    clock.advance(MINUTE);
    assert_eq!(store.delete_expired(10).await.expect("a sweep"), 1);
    assert!(is_absent(&store, &expired).await);
    for key in [damaged, short] {
        assert_eq!(store.load(&key).await.expect_err("it is damaged").kind(), ErrorKind::Unavailable);
    }
}

/// What a stopped process keeps is an error, and the next call sweeps the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_kept_stops_one_sweep_and_not_the_next() {
    let (_folder, path) = place();
    let clock = Arc::new(ManualClock::default());
    let options = options(&path).clock(clock.clone()).timeout(super::TIMEOUT);
    let store = FileStore::open(&options).await.expect("a store");
    for shard in [0x20, 0x30] {
        created(&store, &key(shard, 1), &brief(&clock)).await;
    }
    clock.advance(MINUTE);
    let lock = fs::File::open(path.join("20")).expect("a lock");
    lock.lock().expect("a lock");
    assert_eq!(store.delete_expired(1).await.expect_err("a lock that is kept").kind(), ErrorKind::Timeout);
    assert_eq!(store.delete_expired(1).await.expect("a sweep"), 1);
    assert!(is_absent(&store, &key(0x30, 1)).await);
    lock.unlock().expect("a release");
    assert_eq!(store.delete_expired(1).await.expect("a sweep"), 1);
}
