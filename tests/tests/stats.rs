//! The statistics that stores return.

use std::sync::Arc;
use std::time::Duration;

use session_rocket::store::{Create, Options, Retire, Stats, Store, open};
use session_rocket::{Clock, Fate, Key, ManualClock, Record, Timestamp, Tombstone, Version};
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::{MySql, Postgres, Redis, RedisCluster};

const MINUTE: Duration = Duration::from_secs(60);

/// Creates a record whose payload has `bytes` bytes.
async fn create(store: &dyn Store, number: u8, bytes: usize, created_at: Timestamp, expires_at: Timestamp) {
    let payload = vec![b'x'; bytes];
    let record = Record::new(Version::from_bits(1), expires_at)
        .with_scope("session")
        .with_payload(payload)
        .with_times(created_at, created_at);
    let created = store.create(&Key::from_bytes([number; 32]), &record).await.expect("the record is created");
    assert_eq!(created, Create::Created);
}

/// Retires a record to a tombstone.
async fn retire(store: &dyn Store, number: u8, fate: Fate, expires_at: Timestamp) {
    let mut tombstone = Tombstone::ended(expires_at);
    tombstone.fate = fate;
    let retired = store.retire(&Key::from_bytes([number; 32]), None, tombstone).await.expect("the record is retired");
    assert_eq!(retired, Retire::Retired);
}

/// Returns the numbers of live records, tombstones, expired records and bytes, and the creation time of the oldest
/// session in milliseconds after `start`.
fn figures(stats: Stats, start: Timestamp) -> ([u64; 4], Option<u128>) {
    let Stats { live, tombstones, expired, bytes, oldest, .. } = stats;
    ([live, tombstones, expired, bytes], oldest.map(|oldest| start.until(oldest).as_millis()))
}

#[tokio::test]
async fn the_statistics_of_a_store_match_its_records() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let file = format!("sqlite://{}", directory.path().join("sessions.db").display());
    let folder = format!("file://{}", directory.path().join("sessions").display());
    for url in ["memory:", "sqlite::memory:", &file, &folder] {
        assert_statistics(url, true).await;
    }
    if is_wanted("redis") {
        let server = Redis::start();
        assert_statistics(&server.url(), false).await;
    }
    if is_wanted("redis-cluster") {
        let cluster = RedisCluster::start();
        assert_statistics(&cluster.url(), false).await;
    }
    if is_wanted("postgres") {
        let server = Postgres::start();
        assert_statistics(&server.url(), true).await;
    }
    if is_wanted("mysql") {
        let server = MySql::start();
        assert_statistics(&server.url(), true).await;
    }
}

/// Creates and retires records, and checks the statistics. If `is_swept` is false, the store removes expired records by
/// itself.
async fn assert_statistics(url: &str, is_swept: bool) {
    let clock = Arc::new(ManualClock::default());
    let store = open(&Options::new(url).timeout(MINUTE).clock(clock.clone())).await.expect("the store opens");
    let start = clock.now();
    let at = |minutes: u32| start.plus(MINUTE * minutes);
    let counted = async || figures(store.stats().await.expect("the store has statistics"), start);
    assert_eq!(counted().await, ([0, 0, 0, 0], None), "{url}");

    // The oldest session is the first to expire.
    create(&*store, 1, 100, at(0), at(10)).await;
    create(&*store, 2, 20, at(1), at(30)).await;
    create(&*store, 3, 3, at(2), at(30)).await;
    for (number, minutes) in [(4, 10), (5, 30), (6, 30)] {
        create(&*store, number, 50, at(0), at(30)).await;
        let fate = if number == 5 { Fate::Moved(Key::from_bytes([1; 32])) } else { Fate::Ended };
        retire(&*store, number, fate, at(minutes)).await;
    }
    assert_eq!(counted().await, ([3, 3, 0, 123], Some(0)), "{url}");
    clock.advance(MINUTE * 10);
    assert_eq!(counted().await, ([2, 2, 2, 123], Some(60_000)), "{url}");
    if !is_swept {
        return;
    }
    assert_eq!(store.delete_expired(10).await.expect("the sweep succeeds"), 2);
    assert_eq!(counted().await, ([2, 2, 0, 23], Some(60_000)), "{url}");
    clock.advance(MINUTE * 20);
    assert_eq!(counted().await, ([0, 0, 4, 23], None), "{url}");
}
