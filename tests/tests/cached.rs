//! A site with a cache, and the log lines about the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rocket::local::asynchronous::Client;
use rocket::tokio::sync::Mutex;
use rocket::{get, routes};
use session_rocket::store::cached::CachedStore;
use session_rocket::store::memory::MemoryStore;
use session_rocket::store::{Create, Lookup, Retire, Store, Touch, Update};
use session_rocket::{
    Config, Error, ErrorKind, Key, ManualClock, Record, Result, Session, Timestamp, Tombstone, Version,
};
use session_rocket_tests::browser::Browser;
use session_rocket_tests::logs;
use session_rocket_tests::patient_clock::{PATIENT, PatientClock};
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::Redis;

/// Serializes the tests, because they share one log.
static LOG_LOCK: Mutex<()> = Mutex::const_new(());

#[derive(Session)]
struct Visitor {
    count: u32,
}

#[get("/count")]
fn count(session: Session<Visitor>) -> String {
    session.update_count(|count| *count += 1);
    session.count().to_string()
}

async fn launch(config: Config) -> std::result::Result<Client, rocket::Error> {
    let figment = rocket::Config::figment().merge(("log_level", "normal"));
    let rocket = logs::rocket(figment).mount("/", routes![count]);
    let fairing = Session::<Visitor>::fairing().config(config).clock(PatientClock);
    Client::untracked(rocket.attach(fairing)).await
}

#[rocket::async_test]
async fn a_site_with_a_cache_in_memory_works_and_logs_that_the_cache_is_local() {
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", directory.path().join("sessions.db").display());
    let client = launch(Config::new().store(&database).cache("memory:")).await.expect("the site launches");
    let mut browser = Browser::default();
    for number in 1..10 {
        assert_eq!(browser.get(&client, "/count").await.body, number.to_string());
    }
    assert_eq!(logs::containing("`cache` is in the memory of this process").len(), 1);
    assert_eq!(
        logs::containing("sessions.db (table `rocket_session`, migrate auto), cached in memory: for up to 1m").len(),
        1
    );
}

#[rocket::async_test]
async fn an_unreachable_cache_does_not_abort_the_launch_and_is_logged_once() {
    let _lock = LOG_LOCK.lock().await;
    for (cache, why) in [
        ("redis://:hunter2@127.0.0.1:1", "cannot connect to Redis"),
        ("redis+cluster://:hunter2@127.0.0.1:1", "cannot connect to Redis"),
        ("memcached://127.0.0.1:1", "the Memcached server `127.0.0.1:1` cannot be reached"),
        ("postgres://me:hunter2@127.0.0.1:1/x", "cannot connect to PostgreSQL at 127.0.0.1:1"),
        ("mysql://me:hunter2@127.0.0.1:1/x", "cannot connect to MySQL at 127.0.0.1:1"),
        ("sqlite:///nowhere/at/all.db", "the directory `/nowhere/at` of the SQLite file is missing"),
        #[cfg(unix)]
        ("file:/dev/full/sessions", "`/dev/full` is not a directory"),
    ] {
        let failures = || logs::containing("cache failed; reading sessions only from the store").len();
        let before = failures();
        let config = Config::new().store("memory:").cache(cache).timeout(Duration::from_secs(2));
        let client = launch(config).await;
        if cache.starts_with("file:") {
            // An invalid path is a configuration error, which a retry cannot fix.
            let error = client.map(|_| ()).expect_err("the URL is invalid");
            assert!(matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)), "{error}");
            assert_eq!(logs::containing("cannot open `cache`: cannot create `/dev/full/sessions`").len(), 1);
            continue;
        }
        let client = client.unwrap_or_else(|error| panic!("{cache}: {error}"));
        assert_eq!(failures(), before + 1, "the launch did not log a warning: {cache}");
        let mut browser = Browser::default();
        for number in 1..4 {
            assert_eq!(browser.get(&client, "/count").await.body, number.to_string());
        }
        assert_eq!(failures(), before + 1, "{cache}");
        let last = logs::containing("cache failed").pop().expect("a warning is logged");
        assert!(last.starts_with("WARN") && last.contains(&format!("cannot open `cache`: {why}")), "{last}");
    }
    assert_eq!(logs::containing("hunter2"), Vec::<String>::new());
    assert_eq!(logs::containing("cannot open `store`"), Vec::<String>::new());
}

#[rocket::async_test]
async fn a_cache_that_starts_after_the_site_is_used() {
    if !is_wanted("redis") {
        return;
    }
    let _lock = LOG_LOCK.lock().await;
    let mut redis = Redis::start();
    redis.kill();
    let directory = tempfile::tempdir().expect("a directory can be created");
    let database = format!("sqlite://{}", directory.path().join("sessions.db").display());
    let config = Config::new().store(database).cache(redis.url()).cache_ttl(Duration::from_secs(1)).timeout(PATIENT);
    let client = launch(config).await.expect("the site launches");
    let (mut browser, mut count) = (Browser::default(), 0);
    let mut visit = async || {
        count += 1;
        assert_eq!(browser.get(&client, "/count").await.body, count.to_string());
    };
    for _ in 0..10 {
        visit().await;
    }
    redis.restart();
    let recovered = || logs::containing("cache recovered; reading sessions from it again").len();
    let (before, started) = (recovered(), Instant::now());
    while recovered() == before {
        assert!(started.elapsed() < Duration::from_secs(120), "the cache is not used");
        visit().await;
    }
    visit().await;
    let entries = redis.ask(&["KEYS", "session:cache:*"]);
    assert_eq!(entries.lines().count(), 1, "{entries}");
}

/// A store in memory whose calls can be made to fail.
struct FaultyStore {
    store: MemoryStore,
    fails: AtomicBool,
}

impl FaultyStore {
    fn check(&self) -> Result<()> {
        let failed = || Err(Error::new(ErrorKind::Unavailable, "the store is down"));
        if self.fails.load(Ordering::SeqCst) { failed() } else { Ok(()) }
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        self.check()?;
        self.store.load(key).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        self.check()?;
        self.store.create(key, record).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        self.check()?;
        self.store.update(key, expected, record).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        self.check()?;
        self.store.touch(key, expected, expires_at).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        self.check()?;
        self.store.retire(key, expected, tombstone).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.check()?;
        self.store.delete(key).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        self.check()?;
        self.store.delete_expired(limit).await
    }
}

#[tokio::test]
async fn the_failure_and_the_recovery_of_the_cache_are_each_logged_once() {
    const TTL: Duration = Duration::from_secs(60);
    let _lock = LOG_LOCK.lock().await;
    logs::capture();
    let clock = Arc::new(ManualClock::default());
    let memory = || MemoryStore::new(1000, clock.clone());
    let cache = Arc::new(FaultyStore { store: memory(), fails: AtomicBool::new(false) });
    let (timeout, database) = (Duration::from_secs(5), Arc::new(memory()));
    let store = CachedStore::new(database, cache.clone(), TTL, timeout, clock.clone());
    let key = Key::from_bytes([1; 32]);
    let log_lines = || {
        let lines = |text| logs::containing(text).iter().filter(|line| !line.contains("cannot open")).count();
        (lines("cache failed"), lines("cache recovered"))
    };
    let (failed, recovered) = log_lines();
    let log_lines = || (log_lines().0 - failed, log_lines().1 - recovered);
    for round in 1..3 {
        cache.fails.store(true, Ordering::SeqCst);
        for _ in 0..10 {
            store.load(&key).await.expect("the database works");
            store.delete(&key).await.expect("the database works");
            clock.advance(TTL);
        }
        assert_eq!(log_lines(), (round, round - 1));
        cache.fails.store(false, Ordering::SeqCst);
        for _ in 0..10 {
            store.delete(&key).await.expect("the database works");
            store.load(&key).await.expect("the database works");
        }
        assert_eq!(log_lines(), (round, round));
    }
}
