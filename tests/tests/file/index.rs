//! The lists of identities, which are files beside the records.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session_rocket::store::file::FileStore;
use session_rocket::store::{Lookup, Store, Update};
use session_rocket::{Clock, Key, ManualClock};
use tokio::task::JoinSet;

use super::{HOUR, KEY, created, file_of, open, options, place, record};

const OTHER: Key = Key::from_bytes([0xCD; 32]);

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

/// The folder of the only identity.
fn home(path: &Path) -> PathBuf {
    let homes = entries(&path.join("identities"));
    assert_eq!(homes.len(), 1);
    homes[0].clone()
}

async fn listed(store: &FileStore) -> Vec<Key> {
    let mut keys: Vec<Key> =
        store.list("session", "ada").await.expect("a list").into_iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn a_list_drops_what_does_not_belong_on_it() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let theirs = record(1).with_identity("ada");
    created(&store, &KEY, &theirs).await;
    let home = home(&path);
    let [absent, ended, others, lost] = [1, 2, 3, 4].map(|byte| Key::from_bytes([byte; 32]));
    created(&store, &ended, &theirs).await;
    let tombstone = session_rocket::Tombstone::ended(theirs.expires_at);
    store.retire(&ended, None, tombstone).await.expect("a tombstone");
    created(&store, &others, &record(1).with_identity("bob")).await;
    created(&store, &lost, &theirs).await;
    fs::remove_file(file_of(&path, &lost)).expect("a removal");
    for stray in [absent, ended, others] {
        fs::write(home.join(stray.to_hex()), "").expect("a mark");
    }
    assert_eq!(entries(&home).len(), 5);
    assert_eq!(listed(&store).await, [KEY]);
    assert_eq!(entries(&home), [home.join(KEY.to_hex())]);
    assert_eq!(store.list("session", "bob").await.expect("a list").len(), 1);
}

#[tokio::test]
async fn a_mark_follows_its_record() {
    let (_folder, path) = place();
    let clock = Arc::new(ManualClock::default());
    let store = FileStore::open(&options(&path).clock(clock.clone())).await.expect("a store");
    let mut theirs = record(1).with_identity("ada");
    theirs.expires_at = clock.now().plus(HOUR);
    let nobodys = {
        let mut nobodys = record(2);
        nobodys.expires_at = theirs.expires_at;
        nobodys
    };
    created(&store, &KEY, &theirs).await;
    let home = home(&path);
    assert_eq!(store.update(&KEY, theirs.version, &nobodys).await.expect("an update"), Update::Updated);
    assert_eq!(entries(&home), Vec::<PathBuf>::new());
    assert_eq!(store.update(&KEY, nobodys.version, &theirs).await.expect("an update"), Update::Updated);
    assert_eq!(entries(&home).len(), 1);
    store.delete(&KEY).await.expect("a delete");
    assert_eq!(entries(&home), Vec::<PathBuf>::new());
    // Expired: replaced by another, and swept.
    created(&store, &KEY, &theirs).await;
    created(&store, &OTHER, &theirs).await;
    assert_eq!(entries(&home).len(), 2);
    clock.advance(HOUR);
    let mut anew = record(3);
    anew.expires_at = clock.now().plus(HOUR);
    created(&store, &KEY, &anew).await;
    assert_eq!(entries(&home), [home.join(OTHER.to_hex())]);
    assert_eq!(store.delete_expired(10).await.expect("a sweep"), 1);
    assert_eq!(entries(&home), Vec::<PathBuf>::new());
    assert_eq!(store.delete_expired(10).await.expect("a sweep"), 0);
    assert!(!home.exists(), "a sweep removes empty folders");
}

#[tokio::test]
async fn a_sweep_drops_marks_of_records_that_were_never_made() {
    let (_folder, path) = place();
    let store = open(&path).await;
    created(&store, &KEY, &record(1).with_identity("ada")).await;
    let home = home(&path);
    fs::write(home.join(OTHER.to_hex()), "").expect("a mark");
    fs::write(home.join("notes"), "").expect("a file");
    assert_eq!(store.delete_expired(10).await.expect("a sweep"), 0);
    assert!(!home.join(OTHER.to_hex()).exists());
    assert!(home.join(KEY.to_hex()).exists() && home.join("notes").exists());
}

/// A mark that somebody removed is back with the next save.
#[tokio::test]
async fn a_save_marks_again() {
    let (_folder, path) = place();
    let store = open(&path).await;
    created(&store, &KEY, &record(1).with_identity("ada")).await;
    fs::remove_dir_all(path.join("identities")).expect("a removal");
    assert_eq!(listed(&store).await, []);
    let again = record(2).with_identity("ada");
    assert_eq!(store.update(&KEY, record(1).version, &again).await.expect("an update"), Update::Updated);
    assert_eq!(listed(&store).await, [KEY]);
}

/// Marked first: a record that cannot be listed is not made.
#[tokio::test]
async fn without_a_mark_there_is_no_record() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let nobodys = record(1);
    created(&store, &KEY, &nobodys).await;
    fs::write(path.join("identities"), "").expect("a file");
    let theirs = record(2).with_identity("ada");
    store.create(&OTHER, &theirs).await.expect_err("it cannot be listed");
    store.update(&KEY, nobodys.version, &theirs).await.expect_err("it cannot be listed");
    assert_eq!(store.load(&OTHER).await.expect("a load"), Lookup::Absent);
    assert_eq!(store.load(&KEY).await.expect("a load"), Lookup::Found(nobodys));
}

/// As a sweep does, but without a pause.
fn remove_empty_homes(path: &Path, done: &AtomicBool) {
    while !done.load(Ordering::SeqCst) {
        let homes = fs::read_dir(path.join("identities")).into_iter().flatten();
        homes.flatten().for_each(|home| drop(fs::remove_dir(home.path())));
    }
}

async fn sweep(store: FileStore, done: Arc<AtomicBool>) {
    while !done.load(Ordering::SeqCst) {
        store.delete_expired(10).await.expect("a sweep");
        store.list("session", "ada").await.expect("a list");
    }
}

/// Makes records and removes them, and finds each listed meanwhile.
async fn come_and_go(store: FileStore, byte: u8) {
    let theirs = record(1).with_identity("ada");
    for round in 0..25 {
        let mut bytes = [byte; 32];
        bytes[31] = round;
        let key = Key::from_bytes(bytes);
        created(&store, &key, &theirs).await;
        assert!(listed(&store).await.contains(&key), "a live record is not listed");
        store.delete(&key).await.expect("a delete");
        assert_eq!(store.load(&key).await.expect("a load"), Lookup::Absent);
        // So that the folder is empty now and then.
        tokio::time::sleep(Duration::from_millis(u64::from(byte))).await;
    }
}

/// Others make and remove records of one identity, and folders with them.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_record_is_always_listed() {
    let (_folder, path) = place();
    let done = Arc::new(AtomicBool::new(false));
    let sweeper = tokio::spawn(sweep(open(&path).await, done.clone()));
    let remover = {
        let (path, done) = (path.clone(), done.clone());
        std::thread::spawn(move || remove_empty_homes(&path, &done))
    };
    let mut tasks = JoinSet::new();
    for byte in 0..4 {
        tasks.spawn(come_and_go(open(&path).await, byte));
    }
    tasks.join_all().await;
    done.store(true, Ordering::SeqCst);
    sweeper.await.expect("a sweeper");
    remover.join().expect("a remover");
}
