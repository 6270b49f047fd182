//! SQLite files that are moved, removed, replaced or damaged while a store has them open. No call succeeds on the wrong
//! file, the log says to restart the site, and a store that is opened again works.

use std::fs;
use std::future::poll_fn;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::{Duration, Instant};

use session_rocket::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use session_rocket::sqlx::{SqlitePool, query};
use session_rocket::store::sql::sqlite::SqliteStore;
use session_rocket::store::{Lookup, Migrate, Options, Store, conformance};
use session_rocket::{ErrorKind, Key, Record, Timestamp, Version};
use session_rocket_tests::logs;
use tempfile::TempDir;
use tokio::time::sleep;

const KEY: Key = Key::from_bytes([7; 32]);

fn options(path: &Path) -> Options {
    Options::new(format!("sqlite://{}", path.display())).timeout(Duration::from_secs(60))
}

fn record(bits: u64) -> Record {
    let now = Timestamp::from_millis(1_000_000);
    Record::new(Version::from_bits(bits), Timestamp::from_millis(i64::MAX))
        .with_scope("session")
        .with_payload(vec![7; 2000])
        .with_times(now, now)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Opens a pool that does not belong to the store.
async fn other_pool(path: &Path) -> SqlitePool {
    let connect = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqlitePoolOptions::new().connect_with(connect).await.expect("the pool opens")
}

/// Opens a store on `data/sessions.db` in a new directory, and creates `record(1)`.
async fn site() -> (TempDir, PathBuf, SqliteStore) {
    logs::capture();
    let directory = tempfile::tempdir().expect("a directory can be created");
    let path = directory.path().join("data/sessions.db");
    fs::create_dir(directory.path().join("data")).expect("a directory can be created");
    let store = SqliteStore::open(&options(&path)).await.expect("the store opens");
    store.create(&KEY, &record(1)).await.expect("the record is created");
    assert_eq!(store.load(&KEY).await.expect("the load succeeds"), Lookup::Found(record(1)));
    (directory, path, store)
}

/// Opens the store again, as a restart of the site does.
///
/// A restart follows the end of the old process. Here the old connections close in the background, and until then they
/// can make the open fail.
async fn reopen(options: &Options) -> SqliteStore {
    let started = Instant::now();
    loop {
        match SqliteStore::open(options).await {
            Ok(store) => return store,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(120), "the store does not open: {error:#}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Asserts that every call fails for every key, and that one log line says to restart the site.
async fn assert_calls_fail_until_restart(store: &SqliteStore, path: &Path) {
    assert_eq!(
        store.load(&KEY).await.expect_err("the load must not find an empty session").kind(),
        ErrorKind::Unavailable
    );
    let update = store.update(&KEY, Version::from_bits(1), &record(2)).await;
    let error = update.expect_err("the update must not be lost silently");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("restart the site"), "{error}");
    conformance::failures_are_errors(store).await;
    let lines = logs::containing(&path.display().to_string());
    assert_eq!(lines.iter().filter(|line| line.contains("restart the site")).count(), 1, "{lines:?}");
}

#[tokio::test]
async fn a_replaced_file_is_an_error_until_a_restart_and_the_old_wal_file_is_kept() {
    let (directory, path, store) = site().await;
    let new = directory.path().join("new.db");
    let other = other_pool(&new).await;
    let replacement = SqliteStore::from_shared_pool(other.clone(), &options(&new)).await.expect("the store opens");
    replacement.create(&Key::from_bytes([8; 32]), &record(8)).await.expect("the record is created");
    // When the last connection is closed, all content is in one file.
    other.close().await;
    let leftovers = [with_suffix(&path, "-wal"), with_suffix(&path, "-shm")]
        .map(|file| (fs::read(&file).expect("the file can be read"), file));
    fs::rename(&new, &path).expect("the rename succeeds");
    assert_calls_fail_until_restart(&store, &path).await;
    drop(store);
    for (content, file) in &leftovers {
        assert_eq!(&fs::read(file).expect("the store does not remove the file"), content, "{}", file.display());
        fs::remove_file(file).expect("the file can be removed");
    }
    let restarted = reopen(&options(&path)).await;
    assert_eq!(restarted.load(&KEY).await.expect("the load succeeds"), Lookup::Absent);
    assert_eq!(restarted.load(&Key::from_bytes([8; 32])).await.expect("the load succeeds"), Lookup::Found(record(8)));
    restarted.create(&KEY, &record(3)).await.expect("the record is created");
}

#[tokio::test]
async fn a_removed_file_is_an_error_until_a_restart() {
    let (_directory, path, store) = site().await;
    fs::remove_file(&path).expect("the removal succeeds");
    assert_calls_fail_until_restart(&store, &path).await;
    assert!(!path.exists(), "a call created a database");
    assert!(with_suffix(&path, "-wal").exists() && with_suffix(&path, "-shm").exists(), "a call removed a file");
}

/// SQLite would continue to write to the removed write-ahead log, and the changes would be lost when the process ends.
#[tokio::test]
async fn a_removed_wal_file_is_an_error_until_a_restart() {
    let (_directory, path, store) = site().await;
    fs::remove_file(with_suffix(&path, "-wal")).expect("the removal succeeds");
    assert_calls_fail_until_restart(&store, &path).await;
    drop(store);
    let restarted = reopen(&options(&path)).await;
    restarted.create(&Key::from_bytes([8; 32]), &record(2)).await.expect("the record is created");
}

/// The calls fail with `Unavailable`, not with `Config` as a launch does.
#[tokio::test]
async fn a_directory_that_is_moved_away_and_back_needs_a_restart_and_loses_nothing() {
    for migrate in [Migrate::Auto, Migrate::Check, Migrate::Off] {
        let (directory, path, first) = site().await;
        let store = SqliteStore::open(&options(&path).migrate(migrate)).await.expect("the store opens");
        drop(first);
        let [data, away] = ["data", "away"].map(|name| directory.path().join(name));
        fs::rename(&data, &away).expect("the rename succeeds");
        fs::create_dir(&data).expect("a directory can be created");
        assert_calls_fail_until_restart(&store, &path).await;
        assert!(!path.exists(), "{migrate:?}: a call created a database");
        fs::remove_dir(&data).expect("the removal succeeds");
        fs::rename(&away, &data).expect("the rename succeeds");
        // Connections that were opened in the meantime could belong to another file.
        conformance::failures_are_errors(&store).await;
        drop(store);
        let restarted = reopen(&options(&path).migrate(migrate)).await;
        assert_eq!(restarted.load(&KEY).await.expect("the load succeeds"), Lookup::Found(record(1)), "{migrate:?}");
    }
}

#[tokio::test]
async fn a_symbolic_link_is_followed_and_its_replacement_is_detected() {
    let (directory, one, first) = site().await;
    drop(first);
    let [two, link] = ["two.db", "link.db"].map(|name| directory.path().join(name));
    let other = SqliteStore::open(&options(&two)).await.expect("the store opens");
    other.create(&KEY, &record(2)).await.expect("the record is created");
    symlink(&one, &link).expect("the link can be created");
    let store = SqliteStore::open(&options(&link)).await.expect("the store opens");
    assert_eq!(store.load(&KEY).await.expect("the load succeeds"), Lookup::Found(record(1)));
    fs::remove_file(&link).expect("the removal succeeds");
    symlink(&two, &link).expect("the link can be created");
    assert_calls_fail_until_restart(&store, &link).await;
    let restarted = reopen(&options(&link)).await;
    assert_eq!(restarted.load(&KEY).await.expect("the load succeeds"), Lookup::Found(record(2)));
}

/// A loop of links is an example of an error that says nothing about the file itself. Permissions and network drives
/// cause others.
#[tokio::test]
async fn a_temporary_file_system_error_does_not_require_a_restart() {
    let (directory, path, first) = site().await;
    drop(first);
    let [link, moved] = ["link.db", "moved.db"].map(|name| directory.path().join(name));
    symlink(&path, &link).expect("the link can be created");
    let store = SqliteStore::open(&options(&link)).await.expect("the store opens");
    fs::rename(&link, &moved).expect("the rename succeeds");
    symlink(&link, &link).expect("the link can be created");
    conformance::failures_are_errors(&store).await;
    let error = store.load(&KEY).await.expect_err("the file cannot be checked");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.to_string().contains("restart the site"), "{error}");
    fs::rename(&moved, &link).expect("the rename succeeds");
    assert_eq!(store.load(&KEY).await.expect("the load succeeds"), Lookup::Found(record(1)));
}

/// After the lock is released, SQLite writes to the removed file, which no other connection can open.
#[tokio::test]
async fn a_write_that_waits_for_a_lock_while_its_file_is_removed_is_an_error() {
    let (_directory, path, store) = site().await;
    let app_pool = other_pool(&path).await;
    let mut other = app_pool.acquire().await.expect("a connection is free");
    query("BEGIN IMMEDIATE").execute(&mut *other).await.expect("the lock is taken");
    let (key, record) = (Key::from_bytes([8; 32]), record(2));
    let mut write = std::pin::pin!(store.create(&key, &record));
    // The write has reached SQLite's thread, or will reach it before the lock is released.
    let is_pending = poll_fn(|context| Poll::Ready(write.as_mut().poll(context).is_pending()));
    assert!(is_pending.await);
    query("SELECT 1").execute(&mut *other).await.expect("the runtime can run other tasks");
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(with_suffix(&path, suffix)).expect("the removal succeeds");
    }
    query("ROLLBACK").execute(&mut *other).await.expect("the lock is released");
    assert_eq!(write.await.expect_err("the file was removed").kind(), ErrorKind::Unavailable);
    assert_calls_fail_until_restart(&store, &path).await;
}

#[tokio::test]
async fn mode_rw_does_not_create_a_database() {
    let (_directory, path, first) = site().await;
    drop(first);
    let url = format!("sqlite://{}?mode=rw", path.display());
    let store = SqliteStore::open(&Options::new(url).timeout(Duration::from_secs(60))).await.expect("the store opens");
    fs::remove_file(&path).expect("the removal succeeds");
    conformance::failures_are_errors(&store).await;
    assert!(!path.exists(), "`mode=rw` created a database");
}

/// The first page, which identifies the file as a database, is intact.
#[tokio::test]
async fn damaged_pages_are_errors_until_they_are_repaired_and_the_site_is_restarted() {
    let (_directory, path, store) = site().await;
    for key in 10..30 {
        store.create(&Key::from_bytes([key; 32]), &record(1)).await.expect("the record is created");
    }
    query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&other_pool(&path).await).await.expect("the checkpoint succeeds");
    let content = fs::read(&path).expect("the file can be read");
    let mut damaged = content.clone();
    damaged[4096..].fill(0x5A);
    fs::write(&path, damaged).expect("the write succeeds");
    let mut errors = 0;
    for key in 10..30 {
        let key = Key::from_bytes([key; 32]);
        let results = [
            store.load(&key).await.map(|_| ()),
            store.touch(&key, Version::from_bits(9), record(1).expires_at).await.map(|_| ()),
        ];
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            assert!(error.to_string().contains("restart the site"), "{error}");
            errors += 1;
        }
    }
    assert!(errors > 0, "no call failed");
    fs::write(&path, &content).expect("the write succeeds");
    drop(store);
    let restarted = reopen(&options(&path)).await;
    for key in 10..30 {
        let key = Key::from_bytes([key; 32]);
        assert_eq!(restarted.load(&key).await.expect("the load succeeds"), Lookup::Found(record(1)));
        restarted.touch(&key, Version::from_bits(1), record(1).expires_at).await.expect("the touch succeeds");
    }
}

/// Only the application can reopen its pool, so a restart is not required.
#[tokio::test]
async fn a_store_in_a_shared_pool_works_again_when_the_pool_does() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let path = directory.path().join("application.db");
    let connect = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    // With these options, each call opens a new connection and so reads the current file.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(Duration::ZERO)
        .max_lifetime(Duration::ZERO)
        .connect_with(connect)
        .await
        .expect("the pool opens");
    let store = SqliteStore::from_shared_pool(pool.clone(), &options(&path)).await.expect("the store opens");
    assert_recovers_from_damage(&store, &path).await;
    pool.close().await;
    conformance::failures_are_errors(&store).await;
}

#[tokio::test]
async fn a_store_with_its_own_connections_recovers_from_damage_after_the_pool_is_closed() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let path = directory.path().join("application.db");
    let pool = other_pool(&path).await;
    let store = SqliteStore::from_pool(pool.clone(), &options(&path)).await.expect("the store opens");
    pool.close().await;
    assert_recovers_from_damage(&store, &path).await;
}

/// Asserts that calls fail while the file is damaged, and succeed when it is restored.
async fn assert_recovers_from_damage(store: &SqliteStore, path: &Path) {
    store.create(&KEY, &record(1)).await.expect("the record is created");
    let content = fs::read(path).expect("the file can be read");
    fs::write(path, vec![0x5A; content.len()]).expect("the write succeeds");
    conformance::failures_are_errors(store).await;
    fs::write(path, &content).expect("the write succeeds");
    assert_eq!(store.load(&Key::from_bytes([0; 32])).await.expect("the load succeeds"), Lookup::Absent);
    assert_eq!(store.load(&KEY).await.expect("the load succeeds"), Lookup::Found(record(1)));
}
