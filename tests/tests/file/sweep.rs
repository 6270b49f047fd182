//! Sweeps of a directory with many records.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use session_rocket::store::file::FileStore;
use session_rocket::store::{Lookup, Store};
use session_rocket::{Clock, ErrorKind, Key, ManualClock, Record, Tombstone, Version};

use super::{HOUR, create, file_of, options, session_directory};

const MINUTE: Duration = Duration::from_secs(60);

async fn store_with_clock(path: &Path) -> (FileStore, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    (FileStore::open(&options(path).clock(clock.clone())).await.expect("the store opens"), clock)
}

fn short_lived(clock: &ManualClock) -> Record {
    let now = clock.now();
    Record::new(Version::from_bits(1), now.plus(MINUTE))
        .with_scope("session")
        .with_payload("brief")
        .with_times(now, now)
}

fn long_lived(clock: &ManualClock) -> Record {
    let mut record = short_lived(clock);
    record.expires_at = clock.now().plus(HOUR);
    record
}

/// Returns a key in a shard.
fn key(shard: u8, number: u8) -> Key {
    let mut bytes = [number; 32];
    bytes[0] = shard;
    Key::from_bytes(bytes)
}

async fn is_absent(store: &FileStore, key: &Key) -> bool {
    store.load(key).await.expect("the load succeeds") == Lookup::Absent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_continues_where_the_last_one_stopped_and_removes_no_live_session() {
    let (_folder, path) = session_directory();
    let (store, clock) = store_with_clock(&path).await;
    let mut live_records = Vec::new();
    for shard in [0, 3, 0xAB, 0xFF] {
        for number in 0..8 {
            create(&store, &key(shard, number), &short_lived(&clock)).await;
            live_records.push((key(shard, number + 100), long_lived(&clock)));
        }
        let tombstone = Tombstone::ended(clock.now().plus(MINUTE));
        create(&store, &key(shard, 200), &short_lived(&clock)).await;
        store.retire(&key(shard, 200), None, tombstone).await.expect("the record is retired");
    }
    for (key, record) in &live_records {
        create(&store, key, record).await;
    }
    assert_eq!(store.delete_expired(100).await.expect("the sweep succeeds"), 0);
    clock.advance(MINUTE);
    // 36 records have expired.
    assert_eq!(store.delete_expired(0).await.expect("the sweep succeeds"), 0);
    for expected in [7, 7, 7, 7, 7, 1, 0, 0] {
        assert_eq!(store.delete_expired(7).await.expect("the sweep succeeds"), expected);
    }
    for (key, record) in live_records {
        assert_eq!(store.load(&key).await.expect("the load succeeds"), Lookup::Found(record));
    }
    assert!(!file_of(&path, &key(3, 0)).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_with_many_expired_records_does_not_delay_the_other_shards() {
    let (_folder, path) = session_directory();
    let (store, clock) = store_with_clock(&path).await;
    let many = [1, 2, 3].map(|number| key(0x20, number));
    let (early, late) = (key(0x10, 1), key(0x30, 1));
    for key in many.iter().chain([&early, &late]) {
        create(&store, key, &short_lived(&clock)).await;
    }
    clock.advance(MINUTE);
    let remaining = || [&early, &late].into_iter().chain(&many).filter(|key| file_of(&path, key).exists()).count();
    for (removed, expected) in [(Some(early), 4), (None, 3), (Some(late), 2), (None, 1), (None, 0)] {
        assert_eq!(store.delete_expired(1).await.expect("the sweep succeeds"), 1);
        assert!(removed.is_none_or(|key| !file_of(&path, &key).exists()));
        assert_eq!(remaining(), expected);
    }
    assert_eq!(store.delete_expired(1).await.expect("the sweep succeeds"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_does_not_remove_damaged_files() {
    let (_folder, path) = session_directory();
    let (store, clock) = store_with_clock(&path).await;
    let [damaged, short, expired] = [1, 2, 3].map(|number| key(9, number));
    for key in [&damaged, &short, &expired] {
        create(&store, key, &short_lived(&clock)).await;
    }
    fs::write(file_of(&path, &damaged), [77; 100]).expect("the write succeeds");
    fs::write(file_of(&path, &short), [1; 8]).expect("the write succeeds");
    clock.advance(MINUTE);
    assert_eq!(store.delete_expired(10).await.expect("the sweep succeeds"), 1);
    assert!(is_absent(&store, &expired).await);
    for key in [damaged, short] {
        assert_eq!(store.load(&key).await.expect_err("the file is damaged").kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_times_out_at_a_lock_does_not_stop_the_next_sweep() {
    let (_folder, path) = session_directory();
    let clock = Arc::new(ManualClock::default());
    let options = options(&path).clock(clock.clone()).timeout(super::TIMEOUT);
    let store = FileStore::open(&options).await.expect("the store opens");
    for shard in [0x20, 0x30] {
        create(&store, &key(shard, 1), &short_lived(&clock)).await;
    }
    clock.advance(MINUTE);
    let lock = fs::File::open(path.join("20")).expect("the lock can be taken");
    lock.lock().expect("the lock can be taken");
    assert_eq!(store.delete_expired(1).await.expect_err("the lock is taken").kind(), ErrorKind::Timeout);
    assert_eq!(store.delete_expired(1).await.expect("the sweep succeeds"), 1);
    assert!(is_absent(&store, &key(0x30, 1)).await);
    lock.unlock().expect("the lock is released");
    assert_eq!(store.delete_expired(1).await.expect("the sweep succeeds"), 1);
}
