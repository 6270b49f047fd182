//! Several processes on one directory.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use session_rocket::store::file::FileStore;
use session_rocket::store::{Options, Store, Update};
use session_rocket::{ErrorKind, Key, Record, Version};
use tokio::task::JoinSet;

use super::{HOUR, KEY, Process, TIMEOUT, created, found, open, options, place, record, told};

const EACH: u64 = 100;

fn count(record: &Record) -> u64 {
    std::str::from_utf8(&record.payload).expect("a text").parse().expect("a number")
}

/// Adds one by compare-and-swap; says how often another was faster.
async fn increment(store: &FileStore) -> u64 {
    let mut current = found(store, &KEY).await;
    let mut conflicts = 0;
    loop {
        let mut next = current.clone();
        next.payload = (count(&current) + 1).to_string().into();
        next.version = Version::from_bits(rand());
        match store.update(&KEY, current.version, &next).await.expect("an update") {
            Update::Updated => return conflicts,
            Update::Conflict(fresh) => current = fresh,
            other => panic!("{other:?}"),
        }
        conflicts += 1;
    }
}

fn rand() -> u64 {
    std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0)
}

/// Does nothing by itself: it is what the processes of the next test run.
#[tokio::test(flavor = "multi_thread")]
async fn increments() {
    let Some(path) = told() else { return };
    let store = open(&path).await;
    let mut conflicts = 0;
    for _ in 0..EACH {
        conflicts += increment(&store).await;
    }
    println!("\nconflicts {conflicts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_increment_of_several_processes_is_lost() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let mut first = record(1);
    first.payload = "0".into();
    created(&store, &KEY, &first).await;
    // A sweep beside them must not take a file that is being written for one that was left behind.
    let sweeper = open(&path).await;
    let sweeps = tokio::spawn(async move {
        loop {
            sweeper.delete_expired(10).await.expect("a sweep");
        }
    });
    let processes: Vec<Process> = (0..3).map(|_| Process::start("shared::increments", &path)).collect();
    let mut conflicts = 0;
    for mut process in processes {
        let lines = BufReader::new(process.0.stdout.take().expect("its output")).lines();
        let told: Vec<String> = lines.map(|line| line.expect("a line")).collect();
        assert!(process.0.wait().expect("an end").success(), "{told:?}");
        let told = told.iter().find_map(|line| line.strip_prefix("conflicts ")).expect("its conflicts");
        conflicts += told.parse::<u64>().expect("a number");
    }
    assert!(!sweeps.is_finished(), "a sweep failed");
    sweeps.abort();
    assert_eq!(count(&found(&store, &KEY).await), 3 * EACH);
    assert!(conflicts > 0, "the processes never met: the test shows nothing");
}

/// Two stores lock each other out as two processes do.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_process_does_not_keep_a_lock_from_others_for_a_whole_timeout() {
    let (_folder, path) = place();
    let busy = Arc::new(open(&path).await);
    let ours = FileStore::open(&options(&path).timeout(Options::default().timeout)).await.expect("a store");
    let first = record(1);
    created(&ours, &KEY, &first).await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (busy, expiry) = (busy.clone(), first.expires_at);
        tasks.spawn(async move {
            for number in 1.. {
                let later = expiry.plus(Duration::from_millis(number));
                busy.touch(&KEY, Version::from_bits(1), later).await.expect("a touch");
            }
        });
    }
    for number in 1..=20 {
        let later = first.expires_at.plus(HOUR * number);
        ours.touch(&KEY, Version::from_bits(1), later).await.expect("a lock that is free now and then");
    }
}

/// Does nothing by itself: it is what the process of the next test runs.
#[tokio::test(flavor = "multi_thread")]
async fn writes_without_end() {
    let Some(path) = told() else { return };
    let store = open(&path).await;
    println!("\nready");
    loop {
        increment(&store).await;
    }
}

/// A process that writes the record of `KEY` and was stopped with its lock held.
fn stopped(path: &Path) -> Process {
    let mut process = Process::start("shared::writes_without_end", path);
    let mut lines = BufReader::new(process.0.stdout.take().expect("its output")).lines();
    assert!(lines.any(|line| line.expect("a line") == "ready"));
    let lock = File::open(path.join("ab")).expect("a lock");
    let started = Instant::now();
    loop {
        signal(&process, Signal::STOP);
        if lock.try_lock().is_err() {
            return process;
        }
        lock.unlock().expect("a release");
        signal(&process, Signal::CONT);
        assert!(started.elapsed() < Duration::from_secs(60), "it never holds the lock");
        std::thread::yield_now();
    }
}

fn signal(process: &Process, signal: Signal) {
    let id = i32::try_from(process.0.id()).ok().and_then(Pid::from_raw).expect("an id");
    kill_process(id, signal).expect("a process to signal");
    if signal == Signal::STOP {
        let stat = format!("/proc/{}/stat", process.0.id());
        // Where there is no such file, it is stopped soon enough.
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") T ")) {
            std::thread::yield_now();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_keeps_a_lock_and_others_wait_no_longer_than_told() {
    let (_folder, path) = place();
    let store = FileStore::open(&options(&path).timeout(TIMEOUT)).await.expect("a store");
    let mut first = record(1).with_identity("ada");
    first.payload = "0".into();
    created(&store, &KEY, &first).await;
    let elsewhere = Key::from_bytes([1; 32]);
    created(&store, &elsewhere, &first).await;
    for last in [Signal::CONT, Signal::KILL] {
        let process = stopped(&path);
        let current = found(&store, &KEY).await;
        let started = Instant::now();
        let calls = [(); 8].map(|()| store.update(&KEY, current.version, &first));
        for answer in futures::future::join_all(calls).await {
            assert_eq!(answer.expect_err("a lock that is held").kind(), ErrorKind::Timeout);
        }
        let took = started.elapsed();
        assert!(took >= TIMEOUT && took < TIMEOUT * 4, "{took:?} with a timeout of {TIMEOUT:?}");
        let ada = store.list("session", "ada").await.expect("a list needs no lock");
        assert_eq!(ada.len(), 2);
        store.touch(&elsewhere, first.version, first.expires_at).await.expect("a key that has another lock");

        signal(&process, last);
        increment(&store).await;
    }
}

/// Those whose locks are kept by a stopped process do not keep the others alive.
#[tokio::test(flavor = "multi_thread")]
async fn locks_that_are_kept_do_not_hinder_the_end_of_other_sessions() {
    let (_folder, path) = place();
    let store = FileStore::open(&options(&path).timeout(TIMEOUT)).await.expect("a store");
    let theirs = record(1).with_identity("ada");
    for byte in 1..=20 {
        created(&store, &Key::from_bytes([byte; 32]), &theirs).await;
    }
    // Whatever comes first in the folder.
    let locks = ["01", "0a", "14"].map(|part| File::open(path.join(part)).expect("a lock"));
    locks.iter().for_each(|lock| lock.lock().expect("a lock"));
    let error = store.retire_all("session", "ada", None, theirs.expires_at).await.expect_err("some are kept");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(store.list("session", "ada").await.expect("a list").len(), locks.len());
    locks.iter().for_each(|lock| lock.unlock().expect("a release"));
    assert_eq!(store.retire_all("session", "ada", None, theirs.expires_at).await.expect("an answer"), 3);
}

/// Who waits for a lock in a directory that is moved away meanwhile must not write there.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waits_goes_to_the_directory_that_is_there_then() {
    let (folder, path) = place();
    let store = open(&path).await;
    created(&store, &KEY, &record(1)).await;
    let lock = File::open(path.join("ab")).expect("a lock");
    lock.lock().expect("a lock");
    let (waiting, written) = (record(1), record(2));
    let mut write = std::pin::pin!(store.update(&KEY, waiting.version, &written));
    assert!(tokio::time::timeout(TIMEOUT / 10, &mut write).await.is_err(), "it did not wait for the lock");
    let aside = folder.path().join("aside");
    fs::rename(&path, &aside).expect("a rename");
    drop(open(&path).await);
    match write.await {
        Ok(answer) => assert_eq!(answer, Update::Gone),
        // It looked while there was none.
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
    }
    assert_eq!(found(&open(&aside).await, &KEY).await.version, waiting.version);
}

/// An administrator who empties the directory logs everybody out, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_directory_is_used_again() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let theirs = record(1).with_identity("ada");
    created(&store, &KEY, &theirs).await;
    for entry in fs::read_dir(&path).expect("a directory") {
        fs::remove_dir_all(entry.expect("an entry").path()).expect("a removal");
    }
    assert_eq!(store.delete_expired(10).await.expect("a sweep"), 0);
    created(&store, &KEY, &theirs).await;
    assert_eq!(store.list("session", "ada").await.expect("a list"), [(KEY, theirs)]);
}
