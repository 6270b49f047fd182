//! Tests of the file store that go beyond the contract: permissions, crashes, locks.
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
/// The timeout in tests in which a call waits until the timeout.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The environment variable with the session directory, for processes that a test starts.
const DIRECTORY: &str = "SESSION_ROCKET_TEST_DIRECTORY";
const KEY: Key = Key::from_bytes([0xAB; 32]);

/// Creates a folder, and returns it with the path of a session directory in it.
fn session_directory() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a directory can be created");
    let path = folder.path().join("sessions");
    (folder, path)
}

fn options(path: &Path) -> Options {
    Options::new(format!("file://{}", path.display())).timeout(Duration::from_secs(60))
}

async fn open(path: &Path) -> FileStore {
    FileStore::open(&options(path)).await.expect("the store opens")
}

/// Opens a store, asserts that this fails, and returns the error.
async fn open_error(path: &Path) -> Error {
    FileStore::open(&options(path)).await.expect_err("opening the store must fail")
}

fn record(bits: u64) -> Record {
    let now = ManualClock::default().now();
    Record::new(Version::from_bits(bits), now.plus(HOUR))
        .with_scope("session")
        .with_payload(vec![7; 200])
        .with_times(now, now)
}

async fn create(store: &FileStore, key: &Key, record: &Record) {
    assert_eq!(store.create(key, record).await.expect("the record is created"), Create::Created);
}

async fn load(store: &FileStore, key: &Key) -> Record {
    match store.load(key).await.expect("the load succeeds") {
        Lookup::Found(record) => record,
        other => panic!("{other:?}"),
    }
}

fn file_of(path: &Path, key: &Key) -> PathBuf {
    let name = key.to_hex();
    path.join(&name[..2]).join(name)
}

/// Returns the temporary files of writes that were not completed.
fn temporary_files(path: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(path)
        .expect("a directory can be created")
        .map(|entry| entry.expect("the entry can be read").path());
    let files =
        folders.filter(|path| path.is_dir()).flat_map(|folder| fs::read_dir(folder).expect("the folder can be read"));
    let paths = files.map(|entry| entry.expect("the entry can be read").path());
    paths.filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))).collect()
}

/// Returns a command that runs a test of this program in another process.
fn test_command(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program is known"));
    command.args(["--exact", test, "--nocapture"]).env(DIRECTORY, path);
    command
}

/// Returns the session directory in a process that a test started.
fn directory_from_environment() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// A process that is killed when the value is dropped.
struct Process(Child);

impl Process {
    fn start(test: &str, path: &Path) -> Self {
        Self(test_command(test, path).stdout(Stdio::piped()).spawn().expect("the process starts"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
