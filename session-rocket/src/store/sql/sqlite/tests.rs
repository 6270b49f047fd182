use std::future::poll_fn;
use std::task::Poll;

use super::super::driver::Driver;
use super::*;

#[tokio::test]
async fn every_commit_reaches_the_disk_unless_the_url_says_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("sessions.db").display());
    for (query, expected) in [("", 2), ("?synchronous=normal", 1), ("?synchronous=FULL", 2), ("?mode=rwc", 2)] {
        let store = SqliteStore::open(&Options::new(format!("{url}{query}"))).await.unwrap();
        let mut writer = store.client.writer.borrow().await.unwrap();
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(writer.get()).await.unwrap();
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(writer.get()).await.unwrap();
        assert_eq!((synchronous, journal.as_str()), (expected, "wal"), "{query}");
    }
}

#[tokio::test]
async fn a_new_file_has_small_pages_and_an_existing_file_keeps_its_own() {
    let directory = tempfile::tempdir().unwrap();
    for (name, existing, expected) in [("new.db", None, PAGE_SIZE), ("old.db", Some(4096), 4096)] {
        let path = directory.path().join(name);
        if let Some(size) = existing {
            let connect = SqliteConnectOptions::new().filename(&path).create_if_missing(true).page_size(size);
            let mut connection = SqliteConnection::connect_with(&connect).await.unwrap();
            Sqlite::run_script(&mut connection, "CREATE TABLE visits (id INTEGER)".to_owned()).await.unwrap();
            connection.close().await.unwrap();
        }
        let store = SqliteStore::open(&Options::new(format!("sqlite://{}", path.display()))).await.unwrap();
        let mut writer = store.client.writer.borrow().await.unwrap();
        let size: u32 = sqlx::query_scalar("PRAGMA page_size").fetch_one(writer.get()).await.unwrap();
        assert_eq!(size, expected, "{name}");
    }
}

#[tokio::test]
async fn a_connection_outlives_the_calls_that_are_cut_off_and_serves_the_next_one() {
    let options = Options::new("sqlite::memory:");
    let connections = own_connections(SqliteConnectOptions::from_str("sqlite::memory:").unwrap(), 1, &options);
    let mut first = connections.borrow().await.unwrap();
    Sqlite::run_script(first.get(), "CREATE TABLE only_here (id INTEGER)".to_owned()).await.unwrap();
    let mut waits = std::pin::pin!(connections.borrow());
    let is_pending = poll_fn(|context| Poll::Ready(waits.as_mut().poll(context).is_pending()));
    assert!(is_pending.await);
    // Both callers go away: the first while it has the connection, the second while the connection is tested. The
    // connection must stay open, because the database ends with it.
    drop(first);
    let _ = poll_fn(|context| Poll::Ready(waits.as_mut().poll(context).is_pending())).await;
    waits.set(connections.borrow());
    let mut second = waits.await.unwrap();
    Sqlite::run_script(second.get(), "INSERT INTO only_here VALUES (1)".to_owned()).await.unwrap();
}

#[tokio::test]
async fn a_path_that_cannot_contain_a_file_is_an_error_that_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    std::fs::write(directory.path().join("file"), "").unwrap();
    for (name, expected) in [
        ("missing/s.db", format!("the directory `{path}/missing` of the SQLite file is missing")),
        ("file/s.db", format!("`{path}/file` is not a directory")),
        ("file/below/s.db", format!("the directory `{path}/file/below` of the SQLite file cannot be opened")),
    ] {
        let opened = SqliteStore::open(&Options::new(format!("sqlite://{path}/{name}"))).await;
        let error = opened.map(drop).unwrap_err().to_string();
        assert!(error.contains(&expected), "{name}: {error}");
    }
}
