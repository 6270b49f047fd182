//! A SQLite store whose database is damaged or lost: calls fail, and after the database is restored and the site is
//! restarted, every acknowledged session is found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use session_rocket::sqlx::query;
use session_rocket::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use session_rocket::store::sql::sqlite::SqliteStore;
use session_rocket::store::{Create, Lookup, Options, Store, Update, conformance, revoke_all};
use session_rocket::{ErrorKind, Key, Record, Timestamp, Version};
use session_rocket_tests::logs;
use tempfile::TempDir;

/// A store in its own directory.
struct TestStore {
    directory: TempDir,
    store: SqliteStore,
}

impl TestStore {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory can be created");
        fs::create_dir(directory.path().join("data")).expect("a directory can be created");
        let store =
            SqliteStore::open(&options(&directory.path().join("data/sessions.db"))).await.expect("the store opens");
        let test = Self { directory, store };
        test.create(1).await;
        test
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The paths of the database, its write-ahead log and its shared memory.
    fn files(&self) -> Vec<PathBuf> {
        ["", "-wal", "-shm"].iter().map(|end| self.path(&format!("data/sessions.db{end}"))).collect()
    }

    async fn create(&self, key: u8) {
        let created = self.store.create(&Key::from_bytes([key; 32]), &record(key)).await;
        assert_eq!(created.expect("the record is created"), Create::Created);
    }

    /// Whether the store finds the record of this key.
    async fn contains(&self, key: u8) -> bool {
        match self.store.load(&Key::from_bytes([key; 32])).await.expect("the load succeeds") {
            Lookup::Found(loaded) if loaded == record(key) => true,
            Lookup::Absent => false,
            wrong => panic!("the store returned a wrong record: {wrong:?}"),
        }
    }

    /// Reopens the store, as the restart of a site does.
    async fn restart(self) -> Self {
        let Self { directory, store } = self;
        drop(store);
        let store =
            SqliteStore::open(&options(&directory.path().join("data/sessions.db"))).await.expect("the store opens");
        Self { directory, store }
    }
}

fn options(path: &Path) -> Options {
    Options::new(format!("sqlite://{}", path.display())).timeout(Duration::from_secs(60))
}

/// Returns the record of a key.
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
async fn calls_fail_while_the_directory_is_moved_away_and_no_session_is_lost() {
    let test = TestStore::new().await;
    fs::rename(test.path("data"), test.path("away")).expect("the rename succeeds");
    // The connection is still open, so without a check SQLite would write to the lost file.
    test.store.create(&Key::from_bytes([9; 32]), &record(9)).await.expect_err("the file is missing");
    conformance::failures_are_errors(&test.store).await;
    conformance::failures_are_errors(&test.store).await;
    fs::rename(test.path("away"), test.path("data")).expect("the rename succeeds");
    let test = test.restart().await;
    assert!(test.contains(1).await, "an acknowledged record is lost");
    test.create(2).await;
}

/// Otherwise the row would keep the user's other sessions from ending.
#[tokio::test]
async fn a_list_skips_a_malformed_row_and_the_users_other_sessions_can_be_ended() {
    logs::capture();
    let test = TestStore::new().await;
    let [malformed, intact] = [2, 3].map(|key| Key::from_bytes([key; 32]));
    for key in [malformed, intact] {
        test.store.create(&key, &record(3).with_identity("ada")).await.expect("the record is created");
    }
    let path = test.path("data/sessions.db");
    let pool = SqlitePoolOptions::new().connect_with(SqliteConnectOptions::new().filename(&path)).await;
    let damage = query("UPDATE rocket_session SET created_at = 'x' WHERE substr(key, 1, 1) = x'02'");
    damage.execute(&pool.expect("the database opens")).await.expect("the statement succeeds");
    let error = test.store.load(&malformed).await.expect_err("the row is malformed");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let listed = test.store.list("session", "ada").await.expect("the list succeeds");
    assert_eq!(listed, [(intact, record(3).with_identity("ada"))]);
    assert_eq!(logs::containing("WARN session_rocket skipped 1 malformed entries while listing sessions").len(), 1);
    let until = Timestamp::from_millis(i64::MAX);
    let ended = revoke_all(&test.store, "session", "ada", None, until).await.expect("the sessions end");
    assert_eq!(ended, [intact]);
}

#[tokio::test]
async fn calls_fail_after_the_directory_was_removed_until_a_restart() {
    let test = TestStore::new().await;
    fs::remove_dir_all(test.path("data")).expect("the removal succeeds");
    // The connection is still open, so without a check SQLite would write to the lost file.
    test.store.create(&Key::from_bytes([9; 32]), &record(9)).await.expect_err("the file is missing");
    conformance::failures_are_errors(&test.store).await;
    fs::create_dir(test.path("data")).expect("a directory can be created");
    conformance::failures_are_errors(&test.store).await;
    let test = test.restart().await;
    assert!(!test.contains(1).await);
    test.create(2).await;
    let other = SqliteStore::open(&options(&test.path("data/sessions.db"))).await.expect("the store opens");
    assert_eq!(other.load(&Key::from_bytes([2; 32])).await.expect("the load succeeds"), Lookup::Found(record(2)));
}

const DATABASE: &str = "SESSION_ROCKET_TEST_DATABASE";

/// The next test runs this test in another process. Without the environment variable, it does nothing.
#[tokio::test]
async fn reads_the_database_of_the_environment() {
    let Some(path) = std::env::var_os(DATABASE) else { return };
    let store = SqliteStore::open(&options(Path::new(&path))).await.expect("the store opens");
    for (key, expected) in [(1, true), (2, true), (3, false), (4, true)] {
        let reply = store.load(&Key::from_bytes([key; 32])).await.expect("the load succeeds");
        assert_eq!(reply != Lookup::Absent, expected, "record {key}");
    }
}

#[tokio::test]
async fn calls_fail_after_the_file_was_replaced_and_a_restart_opens_the_new_file() {
    let test = TestStore::new().await;
    test.create(3).await;
    let new = test.path("new.db");
    let pool =
        SqlitePoolOptions::new().connect_with(SqliteConnectOptions::new().filename(&new).create_if_missing(true));
    let pool = pool.await.expect("the database opens");
    let store = SqliteStore::from_pool(pool.clone(), &options(&new)).await.expect("the store opens");
    for key in [1, 2] {
        store.create(&Key::from_bytes([key; 32]), &record(key)).await.expect("the record is created");
    }
    query("PRAGMA journal_mode = WAL").execute(&pool).await.expect("the mode can be set");
    // When the last connection is closed, all content is in one file, and SQLite in this process has forgotten the
    // file.
    pool.close().await;
    fs::rename(&new, test.path("data/sessions.db")).expect("the rename succeeds");
    conformance::failures_are_errors(&test.store).await;
    // The log files of the old database still exist. SQLite would use them with the new database.
    for leftover in &test.files()[1..] {
        fs::remove_file(leftover).expect("the store does not remove the file");
    }
    let test = test.restart().await;
    assert!(test.contains(1).await && test.contains(2).await, "a record of the new file is missing");
    assert!(!test.contains(3).await, "a record of the old file was found");
    test.create(4).await;
    // Another process never had a connection to the old file.
    let other = Command::new(std::env::current_exe().expect("the path of this program is known"))
        .args(["--exact", "reads_the_database_of_the_environment", "--nocapture"])
        .env(DATABASE, test.path("data/sessions.db"))
        .status();
    assert!(other.is_ok_and(|status| status.success()), "another process reads other records");
}

#[tokio::test]
async fn calls_during_the_removal_of_the_file_succeed_or_are_unavailable() {
    let mut test = TestStore::new().await;
    for round in 0..20_u8 {
        let calls = (0..16_u8).map(|n| {
            let store = &test.store;
            let files = test.files();
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
        for result in futures::future::join_all(calls).await {
            if let Err(error) = result {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            }
        }
        test = test.restart().await;
    }
}

#[tokio::test]
async fn no_call_returns_garbage_of_an_overwritten_database_and_a_restored_one_has_all_records() {
    let test = TestStore::new().await;
    for key in 2..20 {
        test.create(key).await;
    }
    let saved: Vec<_> =
        test.files().into_iter().map(|file| (fs::read(&file).expect("the file can be read"), file)).collect();
    for (content, file) in &saved {
        // Overwrites the content of the same file.
        fs::write(file, vec![0xA5; content.len()]).expect("the write succeeds");
    }
    let mut errors = 0;
    for key in 1..20 {
        let at = Key::from_bytes([key; 32]);
        match test.store.load(&at).await {
            // SQLite can still have the page in memory.
            Ok(reply) => assert_eq!(reply, Lookup::Found(record(key))),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                errors += 1;
            }
        }
        let mut next = record(key);
        next.version = Version::from_bits(1000);
        match test.store.update(&at, Version::from_bits(u64::from(key)), &next).await {
            Ok(Update::Updated) => panic!("a write to a damaged file was acknowledged"),
            Ok(wrong) => panic!("unexpected reply: {wrong:?}"),
            Err(error) => errors += usize::from(error.kind() == ErrorKind::Unavailable),
        }
    }
    println!("{errors} errors");
    for (content, file) in &saved {
        fs::write(file, content).expect("the write succeeds");
    }
    let test = test.restart().await;
    for key in 1..20 {
        assert!(test.contains(key).await, "an acknowledged record is lost");
    }
    test.create(20).await;
}

/// Creates records until the store is full, and returns how many were acknowledged.
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
    panic!("the disk does not become full");
}

/// Fills the disk and then frees the space of a file. Asserts that writes succeed again and that no record is lost.
async fn assert_recovers_from_a_full_disk(disk: &Path) {
    fs::write(disk.join("ballast"), vec![1; 512 * 1024]).expect("the disk has enough space");
    let store = SqliteStore::open(&options(&disk.join("sessions.db"))).await.expect("the store opens");
    let stored = fill(&store).await;
    assert!(stored > 0);
    for _ in 0..3 {
        let mut large = record(0);
        large.payload = vec![0; 256 * 1024].into();
        store.create(&Key::from_bytes([0; 32]), &large).await.expect_err("the disk is full");
    }
    fs::remove_file(disk.join("ballast")).expect("the removal succeeds");
    let mut tries = 0;
    while let Err(error) = store.create(&Key::from_bytes([0; 32]), &record(0)).await {
        tries += 1;
        assert!(tries < 3, "the store does not recover: {error:?}");
    }
    for key in 1..=stored {
        let loaded = store.load(&Key::from_bytes([key; 32])).await.expect("the load succeeds");
        assert!(matches!(loaded, Lookup::Found(record) if record.payload.len() == 64 * 1024), "record {key} is lost");
    }
}

const DISK: &str = "SESSION_ROCKET_TEST_DISK";

/// A small disk, which is unmounted when its value is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a small disk at `path`, if that is permitted.
    fn mount(path: &Path) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(path).output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let is_unmounted = done.is_ok_and(|status| status.success());
        assert!(is_unmounted || std::thread::panicking(), "the small disk could not be unmounted");
    }
}

#[tokio::test]
async fn no_session_is_lost_on_a_full_disk() {
    if let Some(disk) = std::env::var_os(DISK) {
        let _disk = SmallDisk::mount(Path::new(&disk)).expect("mounting in a new namespace succeeds");
        return assert_recovers_from_a_full_disk(Path::new(&disk)).await;
    }
    let directory = tempfile::tempdir().expect("a directory can be created");
    if Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success()) {
        println!("full disk: using a small tmpfs in a new namespace");
        let inner = Command::new("unshare")
            .args(["-rm", "--"])
            .arg(std::env::current_exe().expect("the path of this program is known"))
            .args(["--exact", "no_session_is_lost_on_a_full_disk", "--nocapture"])
            .env(DISK, directory.path())
            .status();
        assert!(
            inner.is_ok_and(|status| status.success()),
            "the test failed in the new namespace, see the output above"
        );
    } else if let Some(_disk) = SmallDisk::mount(directory.path()) {
        println!("full disk: using a small tmpfs");
        assert_recovers_from_a_full_disk(directory.path()).await;
    } else {
        println!("full disk: mounting is not permitted, so the size of the database is limited instead");
        assert_recovers_from_a_full_database(directory.path()).await;
    }
}

/// SQLite reports a database at its size limit in the same way as a full disk.
async fn assert_recovers_from_a_full_database(directory: &Path) {
    let path = directory.join("sessions.db");
    let connect = SqliteConnectOptions::new().filename(&path).create_if_missing(true).pragma("max_page_count", "200");
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(connect).await.expect("the database opens");
    let store = SqliteStore::from_pool(pool, &options(&path)).await.expect("the store opens");
    let stored = fill(&store).await;
    store.delete(&Key::from_bytes([1; 32])).await.expect("the delete succeeds");
    store.create(&Key::from_bytes([0; 32]), &record(0)).await.expect("the deleted record freed space");
    let loaded = store.load(&Key::from_bytes([stored; 32])).await.expect("the load succeeds");
    assert!(matches!(loaded, Lookup::Found(_)), "an acknowledged record is lost");
}

#[tokio::test]
async fn no_session_is_lost_in_a_full_database_of_an_application() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    assert_recovers_from_a_full_database(directory.path()).await;
}
