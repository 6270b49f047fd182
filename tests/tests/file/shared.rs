//! Several processes that share one directory.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use session_rocket::store::file::FileStore;
use session_rocket::store::{Store, Update, revoke_all};
use session_rocket::{ErrorKind, Key, Record, Version};
use session_rocket_tests::processes;
use tokio::task::JoinSet;

use super::{
    HOUR, KEY, Process, TIMEOUT, create, directory_from_environment, load, open, options, record, session_directory,
};

const EACH: u64 = 100;

/// The count in a record.
fn count(record: &Record) -> u64 {
    std::str::from_utf8(&record.payload).expect("the value is text").parse().expect("the value is a number")
}

/// Increments the count by compare-and-swap. Returns the number of conflicts.
async fn increment(store: &FileStore) -> u64 {
    let mut current = load(store, &KEY).await;
    let mut conflicts = 0;
    loop {
        let mut next = current.clone();
        next.payload = (count(&current) + 1).to_string().into();
        next.version = Version::from_bits(random_number());
        match store.update(&KEY, current.version, &next).await.expect("the update succeeds") {
            Update::Updated => return conflicts,
            Update::Conflict(fresh) => current = fresh,
            other => panic!("{other:?}"),
        }
        conflicts += 1;
    }
}

fn random_number() -> u64 {
    std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0)
}

/// The next test runs this test in other processes. Without the environment variable, it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn increments_and_prints_the_conflicts() {
    let Some(path) = directory_from_environment() else { return };
    let store = open(&path).await;
    let mut conflicts = 0;
    for _ in 0..EACH {
        conflicts += increment(&store).await;
    }
    println!("\nconflicts {conflicts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_increments_of_several_processes_are_all_counted() {
    let (_folder, path) = session_directory();
    let store = open(&path).await;
    let mut first = record(1);
    first.payload = "0".into();
    create(&store, &KEY, &first).await;
    // A concurrent sweep must not remove the temporary file of a write in progress.
    let sweeper = open(&path).await;
    let sweeps = tokio::spawn(async move {
        loop {
            sweeper.delete_expired(10).await.expect("the sweep succeeds");
        }
    });
    let processes: Vec<Process> =
        (0..3).map(|_| Process::start("shared::increments_and_prints_the_conflicts", &path)).collect();
    let mut conflicts = 0;
    for mut process in processes {
        let lines = BufReader::new(process.0.stdout.take().expect("the output is piped")).lines();
        let output: Vec<String> = lines.map(|line| line.expect("the line can be read")).collect();
        assert!(process.0.wait().expect("the process ends").success(), "{output:?}");
        let number =
            output.iter().find_map(|line| line.strip_prefix("conflicts ")).expect("the process prints its conflicts");
        conflicts += number.parse::<u64>().expect("the value is a number");
    }
    assert!(!sweeps.is_finished(), "a sweep failed");
    sweeps.abort();
    assert_eq!(count(&load(&store, &KEY).await), 3 * EACH);
    assert!(conflicts > 0, "there was no conflict, so the test shows nothing");
}

/// Two stores in one process exclude each other with locks, as two processes do.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_store_leaves_the_lock_to_others_within_the_timeout() {
    let (_folder, path) = session_directory();
    let busy = Arc::new(open(&path).await);
    let other = open(&path).await;
    let first = record(1);
    create(&other, &KEY, &first).await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (busy, expiry) = (busy.clone(), first.expires_at);
        tasks.spawn(async move {
            for number in 1.. {
                let later = expiry.plus(Duration::from_millis(number));
                busy.touch(&KEY, Version::from_bits(1), later).await.expect("the touch succeeds");
            }
        });
    }
    for number in 1..=20 {
        let later = first.expires_at.plus(HOUR * number);
        other.touch(&KEY, Version::from_bits(1), later).await.expect("the lock is free now and then");
    }
}

/// The next test runs this test in another process. Without the environment variable, it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn increments_forever() {
    let Some(path) = directory_from_environment() else { return };
    let store = open(&path).await;
    println!("\nready");
    loop {
        increment(&store).await;
    }
}

/// Starts a process that writes the record of `KEY`, and suspends it while it has the lock.
fn start_and_suspend_with_lock(path: &Path) -> Process {
    let mut process = Process::start("shared::increments_forever", path);
    let mut lines = BufReader::new(process.0.stdout.take().expect("the output is piped")).lines();
    assert!(lines.any(|line| line.expect("the line can be read") == "ready"));
    let lock = File::open(path.join("ab")).expect("the lock can be taken");
    let started = Instant::now();
    loop {
        processes::suspend(process.0.id());
        if lock.try_lock().is_err() {
            return process;
        }
        lock.unlock().expect("the lock is released");
        processes::resume(process.0.id());
        assert!(started.elapsed() < Duration::from_secs(60), "the process does not take the lock");
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_the_lock_of_a_suspended_process_time_out() {
    let (_folder, path) = session_directory();
    let store = FileStore::open(&options(&path).timeout(TIMEOUT)).await.expect("the store opens");
    let patient = open(&path).await;
    let mut first = record(1).with_identity("ada");
    first.payload = "0".into();
    create(&patient, &KEY, &first).await;
    let other_key = Key::from_bytes([1; 32]);
    create(&patient, &other_key, &first).await;
    for is_killed in [false, true] {
        let mut process = start_and_suspend_with_lock(&path);
        let current = load(&store, &KEY).await;
        let started = Instant::now();
        let calls = [(); 8].map(|()| store.update(&KEY, current.version, &first));
        for result in futures::future::join_all(calls).await {
            assert_eq!(result.expect_err("another process has the lock").kind(), ErrorKind::Timeout);
        }
        let took = started.elapsed();
        // Concurrent calls wait at the same time, not one after the other.
        assert!(took >= TIMEOUT && took < TIMEOUT * 6, "{took:?} with a timeout of {TIMEOUT:?}");
        let ada = store.list("session", "ada").await.expect("a list needs no lock");
        assert_eq!(ada.len(), 2);
        store.touch(&other_key, first.version, first.expires_at).await.expect("the other key has another lock");

        if is_killed {
            process.0.kill().expect("the process can be killed");
        } else {
            processes::resume(process.0.id());
        }
        increment(&patient).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_all_ends_the_sessions_whose_locks_are_free_even_if_other_locks_are_taken() {
    let (_folder, path) = session_directory();
    let store = FileStore::open(&options(&path).timeout(TIMEOUT)).await.expect("the store opens");
    let session = record(1).with_identity("ada");
    for byte in 1..=20 {
        create(&store, &Key::from_bytes([byte; 32]), &session).await;
    }
    // Some of the locks, in whatever order the folder lists them.
    let locks = ["01", "0a", "14"].map(|part| File::open(path.join(part)).expect("the lock can be taken"));
    locks.iter().for_each(|lock| lock.lock().expect("the lock can be taken"));
    let revoke = async || revoke_all(&store, "session", "ada", None, session.expires_at).await;
    let error = revoke().await.expect_err("some locks are taken");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(store.list("session", "ada").await.expect("the list succeeds").len(), locks.len());
    locks.iter().for_each(|lock| lock.unlock().expect("the lock is released"));
    assert_eq!(revoke().await.expect("the call succeeds").len(), 3);
}

/// The directory is moved away and replaced while a write waits for the lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waits_for_a_lock_never_changes_a_directory_that_was_moved_away() {
    let (folder, path) = session_directory();
    let store = open(&path).await;
    create(&store, &KEY, &record(1)).await;
    let lock = File::open(path.join("ab")).expect("the lock can be taken");
    lock.lock().expect("the lock can be taken");
    let (old, new) = (record(1), record(2));
    let mut write = std::pin::pin!(store.update(&KEY, old.version, &new));
    assert!(tokio::time::timeout(TIMEOUT / 10, &mut write).await.is_err(), "the write did not wait for the lock");
    let moved = folder.path().join("moved");
    fs::rename(&path, &moved).expect("the rename succeeds");
    drop(open(&path).await);
    match write.await {
        Ok(reply) => assert_eq!(reply, Update::Gone),
        // The write can find no directory between the rename and the creation.
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
    }
    assert_eq!(load(&open(&moved).await, &KEY).await.version, old.version);
}

/// An administrator can log everybody out by emptying the directory.
#[tokio::test(flavor = "multi_thread")]
async fn the_store_works_after_its_directory_was_emptied() {
    let (_folder, path) = session_directory();
    let store = open(&path).await;
    let session = record(1).with_identity("ada");
    create(&store, &KEY, &session).await;
    for entry in fs::read_dir(&path).expect("a directory can be created") {
        fs::remove_dir_all(entry.expect("the entry can be read").path()).expect("the removal succeeds");
    }
    assert_eq!(store.delete_expired(10).await.expect("the sweep succeeds"), 0);
    create(&store, &KEY, &session).await;
    assert_eq!(store.list("session", "ada").await.expect("the list succeeds"), [(KEY, session)]);
}
