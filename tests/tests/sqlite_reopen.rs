//! SQLite files that are moved, removed, replaced or damaged while a store has them open: no call succeeds on the wrong
//! file, the log says to restart the site, and a store that is opened again works.

use std::fs;
use std::future::poll_fn;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::Duration;

use session_rocket::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use session_rocket::sqlx::{SqlitePool, query};
use session_rocket::store::sql::sqlite::SqliteStore;
use session_rocket::store::{Lookup, Migrate, Options, Store, conformance};
use session_rocket::{ErrorKind, Key, Record, Timestamp, Version};
use session_rocket_tests::logs;
use tempfile::TempDir;

const KEY: Key = Key::from_bytes([7; 32]);

fn options(path: &Path) -> Options {
    Options::new(format!("sqlite://{}", path.display())).timeout(Duration::from_secs(10))
}

fn record(bits: u64) -> Record {
    let now = Timestamp::from_millis(1_000_000);
    Record::new(Version::from_bits(bits), Timestamp::from_millis(i64::MAX))
        .with_scope("session")
        .with_payload(vec![7; 2000])
        .with_times(now, now)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A connection of somebody else.
async fn pool(path: &Path) -> SqlitePool {
    let connect = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqlitePoolOptions::new().connect_with(connect).await.expect("a pool")
}

/// A directory with the directory `data`, in it a database that holds `record(1)`, and a store that has the database open.
async fn site() -> (TempDir, PathBuf, SqliteStore) {
    logs::keep();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("data/sessions.db");
    fs::create_dir(directory.path().join("data")).expect("a directory");
    let store = SqliteStore::open(&options(&path)).await.expect("a store");
    store.create(&KEY, &record(1)).await.expect("a create");
    assert_eq!(store.load(&KEY).await.expect("a load"), Lookup::Found(record(1)));
    (directory, path, store)
}

/// Every call fails, whatever the key, and one line of the log says what to do.
async fn is_lost(store: &SqliteStore, path: &Path) {
    assert_eq!(store.load(&KEY).await.expect_err("no empty session").kind(), ErrorKind::Unavailable);
    let update = store.update(&KEY, Version::from_bits(1), &record(2)).await;
    let error = update.expect_err("no lost update");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("restart the site"), "{error}");
    conformance::errors_are_not_answers(store).await;
    let lines = logs::with(&path.display().to_string());
    assert_eq!(lines.iter().filter(|line| line.contains("restart the site")).count(), 1, "{lines:?}");
}

#[tokio::test]
async fn a_replaced_file_is_an_error_until_a_restart_and_its_log_stays() {
    let (directory, path, store) = site().await;
    let new = directory.path().join("new.db");
    let other = pool(&new).await;
    let aside = SqliteStore::from_shared_pool(other.clone(), &options(&new)).await.expect("a store");
    aside.create(&Key::from_bytes([8; 32]), &record(8)).await.expect("a create");
    // With its last connection closed, all its content is in one file.
    other.close().await;
    let kept = [beside(&path, "-wal"), beside(&path, "-shm")].map(|file| (fs::read(&file).expect("a file"), file));
    fs::rename(&new, &path).expect("a rename");
    is_lost(&store, &path).await;
    drop(store);
    for (content, file) in &kept {
        assert_eq!(&fs::read(file).expect("the store removes no file"), content, "{}", file.display());
        fs::remove_file(file).expect("the administrator removes the file");
    }
    let restarted = SqliteStore::open(&options(&path)).await.expect("a store");
    assert_eq!(restarted.load(&KEY).await.expect("a load"), Lookup::Absent);
    assert_eq!(restarted.load(&Key::from_bytes([8; 32])).await.expect("a load"), Lookup::Found(record(8)));
    restarted.create(&KEY, &record(3)).await.expect("a create");
}

#[tokio::test]
async fn a_removed_file_is_an_error_until_a_restart() {
    let (_directory, path, store) = site().await;
    fs::remove_file(&path).expect("a removal");
    is_lost(&store, &path).await;
    assert!(!path.exists(), "a call created a database");
    assert!(beside(&path, "-wal").exists() && beside(&path, "-shm").exists(), "a call removed a file");
}

/// SQLite would continue to write to the removed log, and lose what it acknowledges with the process.
#[tokio::test]
async fn a_log_that_is_removed_alone_is_noticed() {
    let (_directory, path, store) = site().await;
    fs::remove_file(beside(&path, "-wal")).expect("a log to remove");
    is_lost(&store, &path).await;
    drop(store);
    let restarted = SqliteStore::open(&options(&path)).await.expect("a store");
    restarted.create(&Key::from_bytes([8; 32]), &record(2)).await.expect("a create");
}

/// A call that fails is `Unavailable`, and never a wrong configuration as for a launch.
#[tokio::test]
async fn a_directory_moved_away_and_back_needs_a_restart_and_loses_nothing() {
    for migrate in [Migrate::Auto, Migrate::Check, Migrate::Off] {
        let (directory, path, first) = site().await;
        let store = SqliteStore::open(&options(&path).migrate(migrate)).await.expect("a store");
        drop(first);
        let [data, away] = ["data", "away"].map(|name| directory.path().join(name));
        fs::rename(&data, &away).expect("a rename");
        fs::create_dir(&data).expect("a directory");
        is_lost(&store, &path).await;
        assert!(!path.exists(), "{migrate:?}: a call created a database");
        fs::remove_dir(&data).expect("a removal");
        fs::rename(&away, &data).expect("a rename");
        // Connections that were opened meanwhile might lead to another file.
        conformance::errors_are_not_answers(&store).await;
        drop(store);
        let restarted = SqliteStore::open(&options(&path).migrate(migrate)).await.expect("a store");
        assert_eq!(restarted.load(&KEY).await.expect("a load"), Lookup::Found(record(1)), "{migrate:?}");
    }
}

#[tokio::test]
async fn a_link_is_followed_and_watched() {
    let (directory, one, first) = site().await;
    drop(first);
    let [two, link] = ["two.db", "link.db"].map(|name| directory.path().join(name));
    let aside = SqliteStore::open(&options(&two)).await.expect("a store");
    aside.create(&KEY, &record(2)).await.expect("a create");
    symlink(&one, &link).expect("a link");
    let store = SqliteStore::open(&options(&link)).await.expect("a store");
    assert_eq!(store.load(&KEY).await.expect("a load"), Lookup::Found(record(1)));
    fs::remove_file(&link).expect("a removal");
    symlink(&two, &link).expect("a link");
    is_lost(&store, &link).await;
    let restarted = SqliteStore::open(&options(&link)).await.expect("a store");
    assert_eq!(restarted.load(&KEY).await.expect("a load"), Lookup::Found(record(2)));
}

/// A loop of links stands for all errors that say nothing about the file: of permissions, devices and network drives.
#[tokio::test]
async fn an_error_of_the_file_system_fails_only_the_calls_that_meet_it() {
    let (directory, path, first) = site().await;
    drop(first);
    let [link, aside] = ["link.db", "aside.db"].map(|name| directory.path().join(name));
    symlink(&path, &link).expect("a link");
    let store = SqliteStore::open(&options(&link)).await.expect("a store");
    fs::rename(&link, &aside).expect("a rename");
    symlink(&link, &link).expect("a link to itself");
    conformance::errors_are_not_answers(&store).await;
    let error = store.load(&KEY).await.expect_err("the file cannot be checked");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.to_string().contains("restart the site"), "{error}");
    fs::rename(&aside, &link).expect("a rename");
    assert_eq!(store.load(&KEY).await.expect("a load"), Lookup::Found(record(1)));
}

/// A write that waits for a lock while its file is removed reaches a file that nobody else sees.
#[tokio::test]
async fn a_write_to_a_file_removed_meanwhile_is_an_error() {
    let (_directory, path, store) = site().await;
    let theirs = pool(&path).await;
    let mut other = theirs.acquire().await.expect("a connection");
    query("BEGIN IMMEDIATE").execute(&mut *other).await.expect("a lock");
    let (key, record) = (Key::from_bytes([8; 32]), record(2));
    let mut write = std::pin::pin!(store.create(&key, &record));
    // The write goes as far as it can without the lock: SQLite's thread has it, or will before the lock is released.
    let waits = poll_fn(|context| Poll::Ready(write.as_mut().poll(context).is_pending()));
    assert!(waits.await);
    query("SELECT 1").execute(&mut *other).await.expect("a turn of the runtime");
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(beside(&path, suffix)).expect("a removal");
    }
    query("ROLLBACK").execute(&mut *other).await.expect("a release");
    assert_eq!(write.await.expect_err("nobody will read it").kind(), ErrorKind::Unavailable);
    is_lost(&store, &path).await;
}

#[tokio::test]
async fn with_mode_rw_no_database_is_created() {
    let (_directory, path, first) = site().await;
    drop(first);
    let url = format!("sqlite://{}?mode=rw", path.display());
    let store = SqliteStore::open(&Options::new(url).timeout(Duration::from_secs(10))).await.expect("a store");
    fs::remove_file(&path).expect("a removal");
    conformance::errors_are_not_answers(&store).await;
    assert!(!path.exists(), "`mode=rw` created a database");
}

/// Damaged pages are errors, and never malformed sessions. The first page, which says that the file is a database, is intact.
#[tokio::test]
async fn damaged_pages_are_errors_until_they_are_mended_and_the_site_restarted() {
    let (_directory, path, store) = site().await;
    for key in 10..30 {
        store.create(&Key::from_bytes([key; 32]), &record(1)).await.expect("a create");
    }
    query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&pool(&path).await).await.expect("a checkpoint");
    let content = fs::read(&path).expect("a file");
    let mut damaged = content.clone();
    damaged[4096..].fill(0x5A);
    fs::write(&path, damaged).expect("a write");
    let mut errors = 0;
    for key in 10..30 {
        let key = Key::from_bytes([key; 32]);
        let answers = [
            store.load(&key).await.map(|_| ()),
            store.touch(&key, Version::from_bits(9), record(1).expires_at).await.map(|_| ()),
        ];
        for error in answers.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            assert!(error.to_string().contains("restart the site"), "{error}");
            errors += 1;
        }
    }
    assert!(errors > 0, "no call met the damage");
    fs::write(&path, &content).expect("a write");
    drop(store);
    let restarted = SqliteStore::open(&options(&path)).await.expect("a store");
    for key in 10..30 {
        let key = Key::from_bytes([key; 32]);
        assert_eq!(restarted.load(&key).await.expect("a load"), Lookup::Found(record(1)));
        restarted.touch(&key, Version::from_bits(1), record(1).expires_at).await.expect("a touch");
    }
}

/// Only the application can open its pool anew. The store works again as soon as the pool does.
#[tokio::test]
async fn a_shared_pool_is_used_again_once_it_works() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("application.db");
    let connect = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    // Each call opens the database anew, so that the call meets what is there.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(Duration::ZERO)
        .max_lifetime(Duration::ZERO)
        .connect_with(connect)
        .await
        .expect("a pool");
    let store = SqliteStore::from_shared_pool(pool.clone(), &options(&path)).await.expect("a store");
    outlives_damage(&store, &path).await;
    pool.close().await;
    conformance::errors_are_not_answers(&store).await;
}

#[tokio::test]
async fn a_store_beside_a_pool_outlives_damage_and_the_pool() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("application.db");
    let pool = pool(&path).await;
    let store = SqliteStore::from_pool(pool.clone(), &options(&path)).await.expect("a store");
    pool.close().await;
    outlives_damage(&store, &path).await;
}

/// While the file is damaged, calls are errors; once the file is restored, the store is as before.
async fn outlives_damage(store: &SqliteStore, path: &Path) {
    store.create(&KEY, &record(1)).await.expect("a create");
    let content = fs::read(path).expect("a file");
    fs::write(path, vec![0x5A; content.len()]).expect("a write");
    conformance::errors_are_not_answers(store).await;
    fs::write(path, &content).expect("a write");
    assert_eq!(store.load(&Key::from_bytes([0; 32])).await.expect("a load"), Lookup::Absent);
    assert_eq!(store.load(&KEY).await.expect("a load"), Lookup::Found(record(1)));
}
