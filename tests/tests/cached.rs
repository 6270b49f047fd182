//! A site with a cache, and what the log says of it.

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
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::Redis;

/// One test at a time: there is one log.
static TURN: Mutex<()> = Mutex::const_new(());

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
    // Before the first Rocket, which would log by itself; and after, for it sets how much is logged.
    logs::keep();
    let figment = rocket::Config::figment().merge(("log_level", "normal"));
    let rocket = rocket::custom(figment).mount("/", routes![count]);
    let client = Client::untracked(rocket.attach(Session::<Visitor>::fairing().config(config))).await;
    logs::keep();
    client
}

#[rocket::async_test]
async fn a_site_counts_with_a_cache_and_says_that_it_is_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", directory.path().join("sessions.db").display());
    let client = launch(Config::new().store(&database).cache("memory:")).await.expect("the site launches");
    let mut browser = Browser::default();
    for number in 1..10 {
        assert_eq!(browser.get(&client, "/count").await.body, number.to_string());
    }
    assert_eq!(logs::with("`cache` is in the memory of this process").len(), 1);
    assert_eq!(
        logs::with("sessions.db (table `rocket_session`, migrate auto), cached in memory: for up to 1m").len(),
        1
    );
}

#[rocket::async_test]
async fn a_cache_that_is_down_does_not_stop_a_launch_and_is_reported_once() {
    let _turn = TURN.lock().await;
    for (cache, why) in [
        ("redis://:hunter2@127.0.0.1:1", "Redis does not answer"),
        ("redis+cluster://:hunter2@127.0.0.1:1", "Redis does not answer"),
        ("memcached://127.0.0.1:1", "no Memcached server answers at `127.0.0.1:1`"),
        ("postgres://me:hunter2@127.0.0.1:1/x", "cannot connect to PostgreSQL at 127.0.0.1:1"),
        ("mysql://me:hunter2@127.0.0.1:1/x", "cannot connect to MySQL at 127.0.0.1:1"),
        ("sqlite:///nowhere/at/all.db", "the directory `/nowhere/at` of the SQLite file is missing"),
        #[cfg(unix)]
        ("file:/dev/full/sessions", "`/dev/full` is not a directory"),
    ] {
        let told = || logs::with("cache failed; reading sessions from the store alone").len();
        let before = told();
        let config = Config::new().store("memory:").cache(cache).timeout(Duration::from_secs(2));
        let client = launch(config).await;
        if cache.starts_with("file:") {
            // The path is a mistake in the configuration, which does not go away.
            let error = client.map(|_| ()).expect_err("the URL is invalid");
            assert!(matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)), "{error}");
            assert_eq!(logs::with("cannot open `cache`: cannot create `/dev/full/sessions`").len(), 1);
            continue;
        }
        let client = client.unwrap_or_else(|error| panic!("{cache}: {error}"));
        assert_eq!(told(), before + 1, "the launch says nothing: {cache}");
        let mut browser = Browser::default();
        for number in 1..4 {
            assert_eq!(browser.get(&client, "/count").await.body, number.to_string());
        }
        assert_eq!(told(), before + 1, "{cache}");
        let last = logs::with("cache failed").pop().expect("a warning");
        assert!(last.starts_with("WARN") && last.contains(&format!("cannot open `cache`: {why}")), "{last}");
    }
    assert_eq!(logs::with("hunter2"), Vec::<String>::new());
    assert_eq!(logs::with("cannot open `store`"), Vec::<String>::new());
}

#[rocket::async_test]
async fn a_cache_that_starts_after_the_site_is_used() {
    if !is_wanted("redis") {
        return;
    }
    let _turn = TURN.lock().await;
    let mut redis = Redis::start();
    redis.kill();
    let directory = tempfile::tempdir().expect("a directory");
    let database = format!("sqlite://{}", directory.path().join("sessions.db").display());
    let config = Config::new().store(database).cache(redis.url()).cache_ttl(Duration::from_secs(1));
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
    let recovered = || logs::with("cache recovered; reading sessions from it again").len();
    let (before, started) = (recovered(), Instant::now());
    while recovered() == before {
        assert!(started.elapsed() < Duration::from_secs(30), "the cache is not used");
        visit().await;
    }
    visit().await;
    let entries = redis.ask(&["KEYS", "session:cache:*"]);
    assert_eq!(entries.lines().count(), 1, "{entries}");
}

/// A store in memory that can be out of order.
struct Fragile {
    store: MemoryStore,
    is_broken: AtomicBool,
}

impl Fragile {
    fn check(&self) -> Result<()> {
        let broken = || Err(Error::new(ErrorKind::Unavailable, "it is out of order"));
        if self.is_broken.load(Ordering::SeqCst) { broken() } else { Ok(()) }
    }
}

#[async_trait]
impl Store for Fragile {
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
async fn the_log_tells_once_that_the_cache_fails_and_once_that_it_is_well() {
    const TTL: Duration = Duration::from_secs(60);
    let _turn = TURN.lock().await;
    logs::keep();
    let clock = Arc::new(ManualClock::default());
    let memory = || MemoryStore::new(1000, clock.clone());
    let cache = Arc::new(Fragile { store: memory(), is_broken: AtomicBool::new(false) });
    let (timeout, database) = (Duration::from_secs(5), Arc::new(memory()));
    let store = CachedStore::new(database, cache.clone(), TTL, timeout, clock.clone());
    let key = Key::from_bytes([1; 32]);
    let told = || {
        let lines = |text| logs::with(text).iter().filter(|line| !line.contains("cannot open")).count();
        (lines("cache failed"), lines("cache recovered"))
    };
    let (failed, recovered) = told();
    let told = || (told().0 - failed, told().1 - recovered);
    for round in 1..3 {
        cache.is_broken.store(true, Ordering::SeqCst);
        for _ in 0..10 {
            store.load(&key).await.expect("the database is well");
            store.delete(&key).await.expect("the database is well");
            clock.advance(TTL);
        }
        assert_eq!(told(), (round, round - 1));
        cache.is_broken.store(false, Ordering::SeqCst);
        for _ in 0..10 {
            store.delete(&key).await.expect("the database is well");
            store.load(&key).await.expect("the database is well");
        }
        assert_eq!(told(), (round, round));
    }
}
