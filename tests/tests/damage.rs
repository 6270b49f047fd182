//! What becomes of a SQLite store whose database is damaged: calls fail, and once the database is mended and the site
//! restarted, every acknowledged session is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use session_rocket::sqlx::query;
use session_rocket::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use session_rocket::store::sql::sqlite::SqliteStore;
use session_rocket::store::{Create, Lookup, Options, Store, Update, conformance};
use session_rocket::{ErrorKind, Key, Record, Timestamp, Version};
use tempfile::TempDir;

/// A store in a directory of its own.
struct Bed {
    directory: TempDir,
    store: SqliteStore,
}

impl Bed {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("data")).expect("a directory");
        let store = SqliteStore::open(&options(&directory.path().join("data/sessions.db"))).await.expect("a store");
        let bed = Self { directory, store };
        bed.create(1).await;
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The database and what SQLite keeps beside it.
    fn files(&self) -> Vec<PathBuf> {
        ["", "-wal", "-shm"].iter().map(|end| self.path(&format!("data/sessions.db{end}"))).collect()
    }

    async fn create(&self, key: u8) {
        let done = self.store.create(&Key::from_bytes([key; 32]), &record(key)).await;
        assert_eq!(done.expect("a create"), Create::Created);
    }

    async fn holds(&self, key: u8) -> bool {
        match self.store.load(&Key::from_bytes([key; 32])).await.expect("a load") {
            Lookup::Found(found) if found == record(key) => true,
            Lookup::Absent => false,
            wrong => panic!("not what was stored: {wrong:?}"),
        }
    }

    /// Opens the store again, as a site does that is restarted.
    async fn restart(self) -> Self {
        let Self { directory, store } = self;
        drop(store);
        let store = SqliteStore::open(&options(&directory.path().join("data/sessions.db"))).await.expect("a store");
        Self { directory, store }
    }
}

fn options(path: &Path) -> Options {
    Options::new(format!("sqlite://{}", path.display())).timeout(Duration::from_secs(10))
}

/// The same for the same key.
fn record(key: u8) -> Record {
    let now = Timestamp::from_millis(1_000_000);
    let mut record = Record::new(Version::from_bits(u64::from(key)), now)
        .with_scope("session")
        .with_payload(vec![key; 2000])
        .with_times(now, now);
    record.expires_at = Timestamp::from_millis(i64::MAX);
    record
}

#[tokio::test]
async fn a_directory_moved_away_and_back() {
    let bed = Bed::new().await;
    fs::rename(bed.path("data"), bed.path("away")).expect("a rename");
    // The writer's connection is open, and SQLite would write to a file that nobody finds.
    bed.store.create(&Key::from_bytes([9; 32]), &record(9)).await.expect_err("the file is not there");
    conformance::errors_are_not_answers(&bed.store).await;
    conformance::errors_are_not_answers(&bed.store).await;
    fs::rename(bed.path("away"), bed.path("data")).expect("a rename");
    let bed = bed.restart().await;
    assert!(bed.holds(1).await, "what was acknowledged is lost");
    bed.create(2).await;
}

#[tokio::test]
async fn a_directory_removed_and_made_anew() {
    let bed = Bed::new().await;
    fs::remove_dir_all(bed.path("data")).expect("a removal");
    // The writer's connection is open, and SQLite would write to a file that nobody finds.
    bed.store.create(&Key::from_bytes([9; 32]), &record(9)).await.expect_err("the file is not there");
    conformance::errors_are_not_answers(&bed.store).await;
    fs::create_dir(bed.path("data")).expect("a directory");
    conformance::errors_are_not_answers(&bed.store).await;
    let bed = bed.restart().await;
    assert!(!bed.holds(1).await);
    bed.create(2).await;
    let other = SqliteStore::open(&options(&bed.path("data/sessions.db"))).await.expect("a second store");
    assert_eq!(other.load(&Key::from_bytes([2; 32])).await.expect("a load"), Lookup::Found(record(2)));
}

const DATABASE: &str = "SESSION_ROCKET_TEST_DATABASE";

/// Does nothing by itself: it is what the process of the next test runs.
#[tokio::test]
async fn sees_the_database_it_is_told() {
    let Some(path) = std::env::var_os(DATABASE) else { return };
    let store = SqliteStore::open(&options(Path::new(&path))).await.expect("a store");
    for (key, expected) in [(1, true), (2, true), (3, false), (4, true)] {
        let answer = store.load(&Key::from_bytes([key; 32])).await.expect("a load");
        assert_eq!(answer != Lookup::Absent, expected, "record {key}");
    }
}

#[tokio::test]
async fn a_file_replaced_by_another() {
    let bed = Bed::new().await;
    bed.create(3).await;
    let new = bed.path("new.db");
    let pool =
        SqlitePoolOptions::new().connect_with(SqliteConnectOptions::new().filename(&new).create_if_missing(true));
    let pool = pool.await.expect("a database");
    let store = SqliteStore::from_pool(pool.clone(), &options(&new)).await.expect("a store");
    for key in [1, 2] {
        store.create(&Key::from_bytes([key; 32]), &record(key)).await.expect("a create");
    }
    query("PRAGMA journal_mode = WAL").execute(&pool).await.expect("a mode");
    // With no connection left, all of it is in one file, and SQLite in this process knows nothing of it.
    pool.close().await;
    fs::rename(&new, bed.path("data/sessions.db")).expect("a rename");
    conformance::errors_are_not_answers(&bed.store).await;
    // The leftovers of the old file are still there. SQLite would take them for the new file's.
    for leftover in &bed.files()[1..] {
        fs::remove_file(leftover).expect("the store removes no file");
    }
    let bed = bed.restart().await;
    assert!(bed.holds(1).await && bed.holds(2).await, "what is in the new file is not seen");
    assert!(!bed.holds(3).await, "what was in the old file is still seen");
    bed.create(4).await;
    // Another process has no connection of the old file that it could mistake for one of the new.
    let other = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "sees_the_database_it_is_told", "--nocapture"])
        .env(DATABASE, bed.path("data/sessions.db"))
        .status();
    assert!(other.is_ok_and(|status| status.success()), "another process sees something else");
}

#[tokio::test]
async fn a_file_removed_under_calls_that_are_under_way() {
    let mut bed = Bed::new().await;
    for round in 0..20_u8 {
        let calls = (0..16_u8).map(|n| {
            let store = &bed.store;
            let files = bed.files();
            async move {
                if n == 8 {
                    for file in files {
                        let _ = fs::remove_file(file);
                    }
                }
                let key = Key::from_bytes([100 + n; 32]);
                let bits = u64::from(round) * 100 + u64::from(n);
                let mut record = record(n);
                record.version = Version::from_bits(bits);
                store.create(&key, &record).await.map(|_| ())
            }
        });
        for done in futures::future::join_all(calls).await {
            if let Err(error) = done {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            }
        }
        bed = bed.restart().await;
    }
}

#[tokio::test]
async fn a_database_overwritten_with_garbage_then_restored() {
    let bed = Bed::new().await;
    for key in 2..20 {
        bed.create(key).await;
    }
    let saved: Vec<_> = bed.files().into_iter().map(|file| (fs::read(&file).expect("a file"), file)).collect();
    for (content, file) in &saved {
        // In place: the file stays the same one.
        fs::write(file, vec![0xA5; content.len()]).expect("a write");
    }
    let mut errors = 0;
    for key in 1..20 {
        let at = Key::from_bytes([key; 32]);
        match bed.store.load(&at).await {
            // What SQLite still has in memory is right.
            Ok(answer) => assert_eq!(answer, Lookup::Found(record(key))),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                errors += 1;
            }
        }
        let mut next = record(key);
        next.version = Version::from_bits(1000);
        match bed.store.update(&at, Version::from_bits(u64::from(key)), &next).await {
            Ok(Update::Updated) => panic!("a write to garbage is acknowledged"),
            Ok(wrong) => panic!("a wrong answer: {wrong:?}"),
            Err(error) => errors += usize::from(error.kind() == ErrorKind::Unavailable),
        }
    }
    println!("{errors} errors");
    for (content, file) in &saved {
        fs::write(file, content).expect("a write");
    }
    let bed = bed.restart().await;
    for key in 1..20 {
        assert!(bed.holds(key).await, "what was acknowledged is lost");
    }
    bed.create(20).await;
}

/// Fills the store until it refuses. How many were acknowledged.
async fn fill(store: &SqliteStore) -> u8 {
    for key in 1..=255_u8 {
        let mut record = record(key);
        record.payload = vec![key; 64 * 1024].into();
        if let Err(error) = store.create(&Key::from_bytes([key; 32]), &record).await {
            println!("full after {key} records: {error:?}");
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            return key - 1;
        }
    }
    panic!("the disk is never full");
}

/// The store on a disk that becomes full, in which `ballast` keeps some space.
async fn outlives_a_full_disk(disk: &Path) {
    fs::write(disk.join("ballast"), vec![1; 512 * 1024]).expect("space for the ballast");
    let store = SqliteStore::open(&options(&disk.join("sessions.db"))).await.expect("a store");
    let stored = fill(&store).await;
    assert!(stored > 0);
    for _ in 0..3 {
        let mut large = record(0);
        large.payload = vec![0; 256 * 1024].into();
        store.create(&Key::from_bytes([0; 32]), &large).await.expect_err("the disk is full");
    }
    fs::remove_file(disk.join("ballast")).expect("a removal");
    let mut tries = 0;
    while let Err(error) = store.create(&Key::from_bytes([0; 32]), &record(0)).await {
        tries += 1;
        assert!(tries < 3, "no recovery: {error:?}");
    }
    for key in 1..=stored {
        let found = store.load(&Key::from_bytes([key; 32])).await.expect("a load");
        assert!(matches!(found, Lookup::Found(found) if found.payload.len() == 64 * 1024), "record {key} is lost");
    }
}

const DISK: &str = "SESSION_ROCKET_TEST_DISK";

/// Mounts a small disk at `path`, if that is permitted.
fn mount(path: &Path) -> bool {
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(path).output();
    mount.is_ok_and(|output| output.status.success())
}

fn unmount(path: &Path) {
    let done = Command::new("umount").arg("--lazy").arg(path).status();
    assert!(done.is_ok_and(|status| status.success()), "the small disk stays mounted");
}

#[tokio::test]
async fn a_full_disk() {
    if let Some(disk) = std::env::var_os(DISK) {
        // Within a namespace of its own: the mount ends with the process.
        assert!(mount(Path::new(&disk)), "no mount in an own namespace");
        return outlives_a_full_disk(Path::new(&disk)).await;
    }
    let directory = tempfile::tempdir().expect("a directory");
    if Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success()) {
        println!("disk full: a small tmpfs in a namespace of its own");
        let inner = Command::new("unshare")
            .args(["-rm", "--"])
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", "a_full_disk", "--nocapture"])
            .env(DISK, directory.path())
            .status();
        assert!(inner.is_ok_and(|status| status.success()), "see the output above");
    } else if mount(directory.path()) {
        println!("disk full: a small tmpfs");
        outlives_a_full_disk(directory.path()).await;
        unmount(directory.path());
    } else {
        println!("disk full: no mount is permitted, so the database is limited instead");
        a_full_database(directory.path()).await;
    }
}

/// Where no disk can be mounted: SQLite reports a database at its limit as it does a full disk.
async fn a_full_database(directory: &Path) {
    let path = directory.join("sessions.db");
    let connect = SqliteConnectOptions::new().filename(&path).create_if_missing(true).pragma("max_page_count", "200");
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(connect).await.expect("a database");
    let store = SqliteStore::from_pool(pool, &options(&path)).await.expect("a store");
    let stored = fill(&store).await;
    store.delete(&Key::from_bytes([1; 32])).await.expect("a delete");
    store.create(&Key::from_bytes([0; 32]), &record(0)).await.expect("space was freed");
    let found = store.load(&Key::from_bytes([stored; 32])).await.expect("a load");
    assert!(matches!(found, Lookup::Found(_)), "an acknowledged record is lost");
}

#[tokio::test]
async fn a_full_database_of_an_application() {
    let directory = tempfile::tempdir().expect("a directory");
    a_full_database(directory.path()).await;
}
