//! What the store of files does beyond the contract: whom it trusts, what a crash leaves, who waits for whom.
#![cfg(unix)]

mod crash;
mod list;
mod shared;
mod sweep;
mod trust;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use session_rocket::store::file::FileStore;
use session_rocket::store::{Create, Lookup, Options, Store};
use session_rocket::{Clock, Error, Key, ManualClock, Record, Version};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);
/// How long a call waits in tests in which it waits in vain.
const TIMEOUT: Duration = Duration::from_secs(2);
/// What a process that a test starts is told: the session directory.
const DIRECTORY: &str = "SESSION_ROCKET_TEST_DIRECTORY";
const KEY: Key = Key::from_bytes([0xAB; 32]);

/// A folder to put a session directory in, and the path of that.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("sessions");
    (folder, path)
}

fn options(path: &Path) -> Options {
    Options::new(format!("file://{}", path.display())).timeout(Duration::from_secs(60))
}

async fn open(path: &Path) -> FileStore {
    FileStore::open(&options(path)).await.expect("a store")
}

async fn refused(path: &Path) -> Error {
    FileStore::open(&options(path)).await.expect_err("it must not open")
}

fn record(bits: u64) -> Record {
    let now = ManualClock::default().now();
    Record::new(Version::from_bits(bits), now.plus(HOUR))
        .with_scope("session")
        .with_payload(vec![7; 200])
        .with_times(now, now)
}

async fn created(store: &FileStore, key: &Key, record: &Record) {
    assert_eq!(store.create(key, record).await.expect("a create"), Create::Created);
}

async fn found(store: &FileStore, key: &Key) -> Record {
    match store.load(key).await.expect("a load") {
        Lookup::Found(record) => record,
        other => panic!("{other:?}"),
    }
}

fn file_of(path: &Path, key: &Key) -> PathBuf {
    let name = key.to_hex();
    path.join(&name[..2]).join(name)
}

/// What is left of writes that did not end.
fn temporaries(path: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|folder| fs::read_dir(folder).expect("a folder"));
    let paths = files.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))).collect()
}

/// This program, to run one of its tests in a process of its own.
fn this(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--nocapture"]).env(DIRECTORY, path);
    command
}

/// The directory, in a process that a test started.
fn told() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// A process that is killed with its handle.
struct Process(Child);

impl Process {
    fn start(test: &str, path: &Path) -> Self {
        Self(this(test, path).stdout(Stdio::piped()).spawn().expect("a process"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
