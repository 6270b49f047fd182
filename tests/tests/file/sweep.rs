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

/// A key in the part `part`.
fn key(part: u8, number: u8) -> Key {
    let mut bytes = [number; 32];
    bytes[0] = part;
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
    for part in [0, 3, 0xAB, 0xFF] {
        for number in 0..8 {
            created(&store, &key(part, number), &brief(&clock)).await;
            living.push((key(part, number + 100), lasting(&clock)));
        }
        let tombstone = Tombstone::ended(clock.now().plus(MINUTE));
        created(&store, &key(part, 200), &brief(&clock)).await;
        store.retire(&key(part, 200), None, tombstone).await.expect("a tombstone");
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
async fn what_expires_behind_it_waits_for_its_turn() {
    let (_folder, path) = place();
    let (store, clock) = store_with_clock(&path).await;
    let there = |key: &Key| file_of(&path, key).exists();
    let (early, behind) = (key(0x10, 1), key(0x20, 0));
    let (middle, next, late) = (key(0x20, 1), key(0x20, 2), key(0x30, 1));
    for key in [&middle, &next, &late] {
        created(&store, key, &brief(&clock)).await;
    }
    clock.advance(MINUTE);
    assert_eq!(store.delete_expired(1).await.expect("a sweep"), 1);
    assert!(!there(&middle) && there(&next));
    created(&store, &early, &brief(&clock)).await;
    created(&store, &behind, &brief(&clock)).await;
    clock.advance(MINUTE);
    for gone in [next, late, early, behind] {
        assert_eq!(store.delete_expired(1).await.expect("a sweep"), 1);
        assert!(!there(&gone));
    }
    assert_eq!(store.delete_expired(1).await.expect("a sweep"), 0);
}

/// Hundreds in one part: more than it removes under one lock.
#[tokio::test(flavor = "multi_thread")]
async fn many_in_one_part_are_removed_in_one_call() {
    let (_folder, path) = place();
    let (store, clock) = store_with_clock(&path).await;
    created(&store, &key(7, 0), &brief(&clock)).await;
    let sealed = fs::read(file_of(&path, &key(7, 0))).expect("a file");
    for number in 1..=249 {
        fs::write(file_of(&path, &key(7, number)), &sealed).expect("a file");
    }
    clock.advance(MINUTE);
    assert_eq!(store.delete_expired(1000).await.expect("a sweep"), 250);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_what_it_cannot_read() {
    let (_folder, path) = place();
    let (store, clock) = store_with_clock(&path).await;
    let [damaged, short, link, expired] = [1, 2, 3, 4].map(|number| key(9, number));
    for key in [&damaged, &short, &link, &expired] {
        created(&store, key, &brief(&clock)).await;
    }
    fs::write(file_of(&path, &damaged), [77; 100]).expect("a write");
    fs::write(file_of(&path, &short), [1; 8]).expect("a write");
    fs::remove_file(file_of(&path, &link)).expect("a removal");
    std::os::unix::fs::symlink(file_of(&path, &expired), file_of(&path, &link)).expect("a link");
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
    for part in [0x20, 0x30] {
        created(&store, &key(part, 1), &brief(&clock)).await;
    }
    clock.advance(MINUTE);
    let lock = fs::File::open(path.join("locks/20")).expect("a lock");
    lock.lock().expect("a lock");
    assert_eq!(store.delete_expired(1).await.expect_err("a lock that is kept").kind(), ErrorKind::Timeout);
    assert_eq!(store.delete_expired(1).await.expect("a sweep"), 1);
    assert!(is_absent(&store, &key(0x30, 1)).await);
    lock.unlock().expect("a release");
    assert_eq!(store.delete_expired(1).await.expect("a sweep"), 1);
}
