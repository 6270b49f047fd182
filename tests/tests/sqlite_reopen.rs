//! What the SQLite store notices of its files, and what it does about an application's pool.

use std::fs;
use std::path::Path;
use std::time::Duration;

use session_rocket::sqlx::query;
use session_rocket::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use session_rocket::store::sql::sqlite::SqliteStore;
use session_rocket::store::{Lookup, Migrate, Options, Store, conformance};
use session_rocket::{ErrorKind, Key, Record, Timestamp, Version};

const KEY: Key = Key::from_bytes([7; 32]);

fn options(path: &Path) -> Options {
    Options::new(format!("sqlite://{}", path.display())).timeout(Duration::from_secs(10))
}

/// So that no connection is opened when files have changed, which would meet the change by itself.
fn one_reader(path: &Path) -> Options {
    options(path).max_connections(1)
}

fn record(bits: u64) -> Record {
    let now = Timestamp::from_millis(1_000_000);
    Record::new(Version::from_bits(bits), Timestamp::from_millis(i64::MAX))
        .with_scope("session")
        .with_payload(vec![7; 2000])
        .with_times(now, now)
}

fn beside(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether it answers again within a few calls.
async fn recovers(store: &SqliteStore) -> bool {
    for _ in 0..3 {
        match store.load(&Key::from_bytes([0; 32])).await {
            Ok(answer) => return answer == Lookup::Absent,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
        }
    }
    false
}

/// SQLite would go on writing to the unlinked log: what it acknowledges then is gone with the process.
#[tokio::test]
async fn a_log_removed_alone_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sessions.db");
    let store = SqliteStore::open(&one_reader(&path)).await.expect("a store");
    store.create(&KEY, &record(1)).await.expect("a create");
    assert_eq!(store.load(&KEY).await.expect("a load"), Lookup::Found(record(1)));
    fs::remove_file(beside(&path, "-wal")).expect("a log to remove");
    assert!(recovers(&store).await);
    let other = Key::from_bytes([8; 32]);
    store.create(&other, &record(2)).await.expect("a create");
    let second = SqliteStore::open(&options(&path)).await.expect("a second store");
    assert_eq!(second.load(&other).await.expect("a load"), Lookup::Found(record(2)));
}

/// Connections that have the pages in memory do not see it; whoever opens the database next would.
#[tokio::test]
async fn a_database_overwritten_behind_a_checkpoint_is_noticed_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sessions.db");
    let store = SqliteStore::open(&one_reader(&path)).await.expect("a store");
    store.create(&KEY, &record(1)).await.expect("a create");
    let connect = SqliteConnectOptions::new().filename(&path);
    let theirs = SqlitePoolOptions::new().connect_with(connect).await.expect("a connection");
    query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&theirs).await.expect("a checkpoint");
    // A checkpoint is no damage.
    assert_eq!(store.load(&KEY).await.expect("a load"), Lookup::Found(record(1)));
    let content = fs::read(&path).expect("a file");
    fs::write(&path, vec![0x5A; content.len()]).expect("a write");
    conformance::errors_are_not_answers(&store).await;
    fs::write(&path, &content).expect("a write");
    assert!(recovers(&store).await);
    assert_eq!(store.load(&KEY).await.expect("a load"), Lookup::Found(record(1)));
}

/// SQLite keeps the pages it has read, the damaged ones too: connections that met damage are not used again.
#[tokio::test]
async fn pages_damaged_then_mended_are_read_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sessions.db");
    let store = SqliteStore::open(&one_reader(&path)).await.expect("a store");
    for key in 1..20 {
        store.create(&Key::from_bytes([key; 32]), &record(1)).await.expect("a create");
    }
    let connect = SqliteConnectOptions::new().filename(&path);
    let theirs = SqlitePoolOptions::new().connect_with(connect).await.expect("a connection");
    query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&theirs).await.expect("a checkpoint");
    let content = fs::read(&path).expect("a file");
    let mut damaged = content.clone();
    // All but the first page, which says that it is a database and what is in it.
    damaged[4096..].fill(0x5A);
    fs::write(&path, damaged).expect("a write");
    let mut errors = 0;
    for key in 1..20 {
        let key = Key::from_bytes([key; 32]);
        let answers = [
            store.load(&key).await.map(|_| ()),
            store.touch(&key, Version::from_bits(9), record(1).expires_at).await.map(|_| ()),
        ];
        for error in answers.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            errors += 1;
        }
    }
    assert!(errors > 0, "nobody met the damage");
    fs::write(&path, &content).expect("a write");
    assert!(recovers(&store).await);
    for key in 1..20 {
        let key = Key::from_bytes([key; 32]);
        assert_eq!(store.load(&key).await.expect("a load"), Lookup::Found(record(1)));
        store.touch(&key, Version::from_bits(1), record(1).expires_at).await.expect("a touch");
    }
}

/// A session store that fails while it serves is unavailable: wrong configuration is for launches.
#[tokio::test]
async fn what_a_launch_would_refuse_is_unavailable_to_a_call() {
    let directory = tempfile::tempdir().expect("a directory");
    let [data, away] = ["data", "away"].map(|name| directory.path().join(name));
    let path = data.join("sessions.db");
    fs::create_dir(&data).expect("a directory");
    let first = SqliteStore::open(&options(&path)).await.expect("a store that makes its table");
    for migrate in [Migrate::Check, Migrate::Off] {
        let store = SqliteStore::open(&options(&path).migrate(migrate)).await.expect("a store");
        // With its log and all, and in its place a directory in which a database without a table is made.
        fs::rename(&data, &away).expect("a rename");
        fs::create_dir(&data).expect("a directory");
        conformance::errors_are_not_answers(&store).await;
        conformance::errors_are_not_answers(&store).await;
        fs::remove_dir_all(&data).expect("a removal");
        fs::rename(&away, &data).expect("a rename");
        assert!(recovers(&store).await, "{migrate:?}");
    }
    assert!(recovers(&first).await);
}

/// A write that waits for a lock while its file is removed reaches a file that nobody else sees.
#[tokio::test]
async fn a_write_to_a_file_removed_meanwhile_is_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sessions.db");
    let store = SqliteStore::open(&options(&path).timeout(Duration::from_secs(30))).await;
    let store = store.expect("a store");
    let theirs = SqlitePoolOptions::new().connect_with(SqliteConnectOptions::new().filename(&path)).await;
    let theirs = theirs.expect("a pool");
    let mut other = theirs.acquire().await.expect("a connection");
    query("BEGIN IMMEDIATE").execute(&mut *other).await.expect("a lock");
    let record = record(1);
    let mut write = std::pin::pin!(store.create(&KEY, &record));
    // It goes as far as it can without the lock: SQLite's thread has it then, or will before the lock is released.
    let waits = std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context).is_pending()));
    assert!(waits.await);
    query("SELECT 1").execute(&mut *other).await.expect("a turn of the runtime");
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(beside(&path, suffix)).expect("a removal");
    }
    query("ROLLBACK").execute(&mut *other).await.expect("a release");
    assert_eq!(write.await.expect_err("nobody will read it").kind(), ErrorKind::Unavailable);
    assert!(recovers(&store).await);
}

#[tokio::test]
async fn with_mode_rw_no_database_is_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    fs::create_dir(&data).expect("a directory");
    let path = data.join("sessions.db");
    drop(SqliteStore::open(&options(&path)).await.expect("a store that makes its table"));
    let url = format!("sqlite://{}?mode=rw", path.display());
    let store = SqliteStore::open(&Options::new(url).timeout(Duration::from_secs(10))).await.expect("a store");
    fs::remove_file(&path).expect("a removal");
    // The readers are opened when they are first wanted.
    conformance::errors_are_not_answers(&store).await;
    assert!(!path.exists(), "`mode=rw` made a database");
}

/// Opening it anew is the application's affair; all the store can do is to use it again once it works.
#[tokio::test]
async fn a_shared_pool_is_used_again_once_it_works() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("application.db");
    let connect = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    // Each call opens the database anew, so that it meets what is there.
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
    let connect = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePoolOptions::new().connect_with(connect).await.expect("a pool");
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
    assert!(recovers(store).await);
    assert_eq!(store.load(&KEY).await.expect("a load"), Lookup::Found(record(1)));
}

#[tokio::test]
async fn a_link_is_followed_and_watched() {
    let directory = tempfile::tempdir().expect("a directory");
    let [one, two, link] = ["one.db", "two.db", "link.db"].map(|name| directory.path().join(name));
    let aside = SqliteStore::open(&options(&two)).await.expect("a store");
    aside.create(&KEY, &record(2)).await.expect("a create");
    drop(SqliteStore::open(&options(&one)).await.expect("a store"));
    std::os::unix::fs::symlink(&one, &link).expect("a link");
    let store = SqliteStore::open(&options(&link)).await.expect("a store");
    store.create(&KEY, &record(1)).await.expect("a create");
    fs::remove_file(&link).expect("a removal");
    std::os::unix::fs::symlink(&two, &link).expect("a link");
    assert!(recovers(&store).await);
    assert_eq!(store.load(&KEY).await.expect("a load"), Lookup::Found(record(2)));
}
