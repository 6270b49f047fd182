//! Records and temporary files after a process was killed, and after a write on a full disk.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use session_rocket::store::file::FileStore;
use session_rocket::store::{Store, Update};
use session_rocket::{ErrorKind, Key, Record, Version};

use super::{
    DIRECTORY, KEY, Process, create, directory_from_environment, load, open, record, session_directory, temporary_files,
};

/// The size of a payload that takes a while to write.
const SIZE: usize = 300_000;

/// Returns a record whose payload repeats its number.
fn numbered_record(number: u64, size: usize) -> Record {
    let mut record = record(number);
    record.payload = number.to_be_bytes().repeat(size / 8).into();
    record
}

/// Asserts that the payload is complete, and returns the number of the record.
fn number_of(record: &Record) -> u64 {
    let number = record.version.bits();
    assert!(record.payload == numbered_record(number, SIZE).payload, "the record is incomplete");
    number
}

/// The next test runs this test in other processes. Without the environment variable, it does nothing.
#[tokio::test]
async fn updates_and_prints_each_number() {
    let Some(path) = directory_from_environment() else { return };
    let store = open(&path).await;
    let mut current = number_of(&load(&store, &KEY).await);
    loop {
        let next = numbered_record(current + 1, SIZE);
        let reply = store.update(&KEY, Version::from_bits(current), &next).await.expect("the update succeeds");
        assert_eq!(reply, Update::Updated);
        current += 1;
        println!("\nwritten {current}");
    }
}

#[tokio::test]
async fn a_process_that_is_killed_during_a_write_loses_no_acknowledged_update() {
    const ROUNDS: usize = 200;
    const KILLS: usize = 10;
    let (_folder, path) = session_directory();
    let store = open(&path).await;
    create(&store, &KEY, &numbered_record(1, SIZE)).await;
    for round in 0.. {
        assert!(round < ROUNDS, "too few processes were killed during a write");
        let leftover = temporary_files(&path).len();
        if leftover == KILLS {
            break;
        }
        let mut process = Process::start("crash::updates_and_prints_each_number", &path);
        let lines = BufReader::new(process.0.stdout.take().expect("the output is piped")).lines();
        let mut written = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("written ")?.parse().ok());
        let first: u64 = written.nth(round % 5).expect("the write succeeds");
        // Waits until a file is partly written. Meanwhile, every load reads a complete record.
        while temporary_files(&path).len() == leftover {
            number_of(&load(&store, &KEY).await);
            assert_eq!(process.0.try_wait().expect("the process starts"), None, "the process exited by itself");
        }
        process.0.kill().expect("the process can be killed");
        let last = written.last().unwrap_or(first);
        process.0.wait().expect("the process ends");
        let stored = number_of(&load(&store, &KEY).await);
        assert!(stored == last || stored == last + 1, "{last} was acknowledged, but {stored} is stored");
    }

    let other_files = [path.join("ab").join(".new-something"), path.join("ab").join("notes"), path.join("mine")];
    for path in &other_files {
        fs::write(path, "").expect("the file can be read");
    }
    assert_eq!(temporary_files(&path).len(), KILLS + 1);
    assert_eq!(store.delete_expired(10).await.expect("the sweep succeeds"), 0);
    assert_eq!(temporary_files(&path), [other_files[0].clone()], "a sweep removes only temporary files of the store");
    assert!(other_files.iter().all(|path| path.exists()));
}

/// The next test runs this test in a process that cannot write files over 4 or 8 KiB. Without the environment variable,
/// it does nothing.
#[tokio::test]
async fn writes_a_record_that_is_too_large() {
    let Some(path) = directory_from_environment() else { return };
    let store = open(&path).await;
    let small = numbered_record(1, 1000);
    create(&store, &KEY, &small).await;
    let large = numbered_record(2, SIZE);
    assert_no_room(store.update(&KEY, small.version, &large).await);
    assert_no_room(store.create(&Key::from_bytes([1; 32]), &large.clone()).await);
    assert_eq!(load(&store, &KEY).await.payload, small.payload);
    assert_eq!(temporary_files(&path), Vec::<std::path::PathBuf>::new());
    store.update(&KEY, small.version, &numbered_record(3, 1000)).await.expect("a small record can be written");
}

fn assert_no_room<T: std::fmt::Debug>(result: Result<T, session_rocket::Error>) {
    let error = result.expect_err("there is no room");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("free space on its disk"), "{error}");
}

#[tokio::test]
async fn a_write_without_room_keeps_the_old_record() {
    let (_folder, path) = session_directory();
    // A write over the limit raises a signal that ends the process unless it is ignored. The shell makes the process
    // ignore it.
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact crash::writes_a_record_that_is_too_large"])
        .arg(std::env::current_exe().expect("the path of this program is known"))
        .env(DIRECTORY, &path)
        .stdout(Stdio::null())
        .status()
        .expect("a shell can be run");
    assert!(status.success());
    let store: FileStore = open(&path).await;
    assert_eq!(load(&store, &KEY).await.payload, numbered_record(3, 1000).payload);
    assert_eq!(fs::read_dir(path.join("01")).expect("the folder can be read").count(), 0);
}
