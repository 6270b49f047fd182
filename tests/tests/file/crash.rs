//! What is left after a process was killed, and after there was no room.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use session_rocket::store::file::FileStore;
use session_rocket::store::{Store, Update};
use session_rocket::{ErrorKind, Key, Record, Version};

use super::{DIRECTORY, KEY, Process, created, found, open, place, record, temporaries, told};

/// Enough to take a while to write.
const SIZE: usize = 300_000;

/// A record whose every byte tells its number.
fn filled(number: u64, size: usize) -> Record {
    let mut filled = record(number);
    filled.payload = number.to_be_bytes().repeat(size / 8).into();
    filled
}

fn number(record: &Record) -> u64 {
    let number = record.version.bits();
    assert!(record.payload == filled(number, SIZE).payload, "half a record");
    number
}

/// Does nothing by itself: it is what the processes of the next test run.
#[tokio::test]
async fn writes_and_tells() {
    let Some(path) = told() else { return };
    let store = open(&path).await;
    let mut current = number(&found(&store, &KEY).await);
    loop {
        let next = filled(current + 1, SIZE);
        let answer = store.update(&KEY, Version::from_bits(current), &next).await.expect("an update");
        assert_eq!(answer, Update::Updated);
        current += 1;
        println!("\nwritten {current}");
    }
}

#[tokio::test]
async fn a_process_killed_while_it_writes_loses_nothing_it_has_told() {
    const ROUNDS: usize = 200;
    const KILLS: usize = 10;
    let (_folder, path) = place();
    let store = open(&path).await;
    created(&store, &KEY, &filled(1, SIZE)).await;
    for round in 0.. {
        assert!(round < ROUNDS, "too few processes were killed during a write");
        let left = temporaries(&path).len();
        if left == KILLS {
            break;
        }
        let mut process = Process::start("crash::writes_and_tells", &path);
        let lines = BufReader::new(process.0.stdout.take().expect("its output")).lines();
        let mut written = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("written ")?.parse().ok());
        let first: u64 = written.nth(round % 5).expect("a write");
        // The process is killed while a file is half written. Meanwhile, every load reads a whole file.
        while temporaries(&path).len() == left {
            number(&found(&store, &KEY).await);
            assert_eq!(process.0.try_wait().expect("a process"), None, "it ended by itself");
        }
        process.0.kill().expect("a process to kill");
        let last = written.last().unwrap_or(first);
        process.0.wait().expect("an end");
        let there = number(&found(&store, &KEY).await);
        assert!(there == last || there == last + 1, "{last} was told, {there} is there");
    }

    let others = [path.join("ab").join(".new-something"), path.join("ab").join("notes"), path.join("mine")];
    for path in &others {
        fs::write(path, "").expect("a file");
    }
    assert_eq!(temporaries(&path).len(), KILLS + 1);
    assert_eq!(store.delete_expired(10).await.expect("a sweep"), 0);
    assert_eq!(temporaries(&path), [others[0].clone()], "a sweep removes only what the store left");
    assert!(others.iter().all(|path| path.exists()));
}

/// Does nothing by itself: it is what the process of the next test runs, where no file may be larger than 4 or 8 KiB.
#[tokio::test]
async fn writes_too_much() {
    let Some(path) = told() else { return };
    let store = open(&path).await;
    let small = filled(1, 1000);
    created(&store, &KEY, &small).await;
    let large = filled(2, SIZE);
    refused(store.update(&KEY, small.version, &large).await);
    refused(store.create(&Key::from_bytes([1; 32]), &large.clone()).await);
    assert_eq!(found(&store, &KEY).await.payload, small.payload);
    assert_eq!(temporaries(&path), Vec::<std::path::PathBuf>::new());
    store.update(&KEY, small.version, &filled(3, 1000)).await.expect("there is room for this one");
}

fn refused<T: std::fmt::Debug>(answer: Result<T, session_rocket::Error>) {
    let error = answer.expect_err("there is no room");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("there is no room left"), "{error}");
}

#[tokio::test]
async fn without_room_the_old_record_stays() {
    let (_folder, path) = place();
    // The signal is ignored by who runs this library, or ends the process; a shell can do the former.
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact crash::writes_too_much"])
        .arg(std::env::current_exe().expect("this program"))
        .env(DIRECTORY, &path)
        .stdout(Stdio::null())
        .status()
        .expect("a shell");
    assert!(status.success());
    let store: FileStore = open(&path).await;
    assert_eq!(found(&store, &KEY).await.payload, filled(3, 1000).payload);
    assert_eq!(fs::read_dir(path.join("01")).expect("a folder").count(), 0);
}
