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
async fn a_call_waits_for_a_free_connection_and_uses_an_open_one() {
    let options = Options::new("sqlite::memory:");
    let connections = own(SqliteConnectOptions::from_str("sqlite::memory:").unwrap(), 1, &options);
    let mut first = connections.borrow().await.unwrap();
    Sqlite::run(first.get(), "CREATE TABLE only_here (id INTEGER)".to_owned()).await.unwrap();
    let mut waits = std::pin::pin!(connections.borrow());
    let is_pending = std::future::poll_fn(|context| Poll::Ready(waits.as_mut().poll(context).is_pending()));
    assert!(is_pending.await);
    // Its caller goes away, and the connection stays.
    drop(first);
    let mut second = waits.await.unwrap();
    Sqlite::run(second.get(), "INSERT INTO only_here VALUES (1)".to_owned()).await.unwrap();
}
