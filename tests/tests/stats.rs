//! What stores say of how much they hold.

use std::sync::Arc;
use std::time::Duration;

use session_rocket::store::{Create, Options, Retire, Stats, Store, open};
use session_rocket::{Clock, Fate, Key, ManualClock, Record, Timestamp, Tombstone, Version};
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::{MySql, Postgres, Redis, RedisCluster};

const MINUTE: Duration = Duration::from_secs(60);

async fn put(store: &dyn Store, number: u8, bytes: usize, created_at: Timestamp, expires_at: Timestamp) {
    let payload = vec![b'x'; bytes];
    let record = Record::new(Version::from_bits(1), expires_at)
        .with_scope("session")
        .with_payload(payload)
        .with_times(created_at, created_at);
    let created = store.create(&Key::from_bytes([number; 32]), &record).await.expect("a create");
    assert_eq!(created, Create::Created);
}

async fn end(store: &dyn Store, number: u8, fate: Fate, expires_at: Timestamp) {
    let mut tombstone = Tombstone::ended(expires_at);
    tombstone.fate = fate;
    let retired = store.retire(&Key::from_bytes([number; 32]), None, tombstone).await.expect("a retire");
    assert_eq!(retired, Retire::Retired);
}

/// Live, tombstones, expired, bytes, and when the oldest began, in milliseconds after `start`.
fn told(stats: Stats, start: Timestamp) -> ([u64; 4], Option<u128>) {
    let Stats { live, tombstones, expired, bytes, oldest, .. } = stats;
    ([live, tombstones, expired, bytes], oldest.map(|oldest| start.until(oldest).as_millis()))
}

#[tokio::test]
async fn stores_tell_what_was_put_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = format!("sqlite://{}", directory.path().join("sessions.db").display());
    let folder = format!("file://{}", directory.path().join("sessions").display());
    for url in ["memory:", "sqlite::memory:", &file, &folder] {
        count_on(url, true).await;
    }
    if is_wanted("redis") {
        let server = Redis::start();
        count_on(&server.url(), false).await;
    }
    if is_wanted("redis-cluster") {
        let cluster = RedisCluster::start();
        count_on(&cluster.url(), false).await;
    }
    if is_wanted("postgres") {
        let server = Postgres::start();
        count_on(&server.url(), true).await;
    }
    if is_wanted("mysql") {
        let server = MySql::start();
        count_on(&server.url(), true).await;
    }
}

/// Counts what is put in; a store that is not swept removes by itself what expired.
async fn count_on(url: &str, is_swept: bool) {
    let clock = Arc::new(ManualClock::default());
    let store = open(&Options::new(url).clock(clock.clone())).await.expect("a store");
    let start = clock.now();
    let at = |minutes: u32| start.plus(MINUTE * minutes);
    let counted = async || told(store.stats().await.expect("stats"), start);
    assert_eq!(counted().await, ([0, 0, 0, 0], None), "{url}");

    // The oldest is the first to go.
    put(&*store, 1, 100, at(0), at(10)).await;
    put(&*store, 2, 20, at(1), at(30)).await;
    put(&*store, 3, 3, at(2), at(30)).await;
    for (number, minutes) in [(4, 10), (5, 30), (6, 30)] {
        put(&*store, number, 50, at(0), at(30)).await;
        let fate = if number == 5 { Fate::Moved(Key::from_bytes([1; 32])) } else { Fate::Ended };
        end(&*store, number, fate, at(minutes)).await;
    }
    assert_eq!(counted().await, ([3, 3, 0, 123], Some(0)), "{url}");
    clock.advance(MINUTE * 10);
    assert_eq!(counted().await, ([2, 2, 2, 123], Some(60_000)), "{url}");
    if !is_swept {
        return;
    }
    assert_eq!(store.delete_expired(10).await.expect("a sweep"), 2);
    assert_eq!(counted().await, ([2, 2, 0, 23], Some(60_000)), "{url}");
    clock.advance(MINUTE * 20);
    assert_eq!(counted().await, ([0, 0, 4, 23], None), "{url}");
}
