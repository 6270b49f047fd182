//! Every store against the whole contract, and the contract's suite against stores that break it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use session_rocket::sqlx::SqlitePool;
use session_rocket::sqlx::sqlite::SqliteConnectOptions;
use session_rocket::store::conformance::{self, Outcome};
use session_rocket::store::memory::MemoryStore;
use session_rocket::store::sql::IntoPool;
use session_rocket::store::{Create, Lookup, Options, Retire, Store, Touch, Update, open};
use session_rocket::{Clock, Error, ErrorKind, Key, ManualClock, Record, Result, Timestamp, Tombstone, Version};
use session_rocket_tests::report::{examine, is_wanted};
use session_rocket_tests::servers::{Memcached, MySql, Postgres, Redis, RedisCluster};

/// No check of the contract waits for a timeout; a busy machine can take longer than the default.
const PATIENCE: Duration = Duration::from_secs(60);

async fn opened(url: &str, clock: Arc<ManualClock>) -> Arc<dyn Store> {
    let options = Options::new(url).timeout(PATIENCE).clock(clock);
    open(&options).await.expect("a store that can be opened")
}

async fn cached(url: &str, cache: &str, clock: Arc<ManualClock>) -> Arc<dyn Store> {
    let options = Options::new(url).timeout(PATIENCE).cache(cache).clock(clock);
    open(&options).await.expect("a store and a cache that can be opened")
}

/// A pool with a file, and the options for a store in it.
async fn pooled(path: &Path, clock: Arc<ManualClock>) -> (SqlitePool, Options) {
    let connect = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    (SqlitePool::connect_with(connect).await.expect("a database"), Options::default().timeout(PATIENCE).clock(clock))
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    if !is_wanted("memory") {
        return;
    }
    examine("memory", true, async |clock| opened("memory:", clock).await).await;
}

/// One file for all checks: the store is not empty, and was closed and opened again.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract() {
    if !is_wanted("sqlite") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}", directory.path().join("sessions.db").display());
    examine("sqlite", true, async |clock| opened(&url, clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_in_memory_keeps_the_contract() {
    examine("sqlite-in-memory", true, async |clock| opened("sqlite::memory:", clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_beside_an_applications_pool_keeps_the_contract() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("application.db");
    let store = async |clock| {
        let (pool, options) = pooled(&path, clock).await;
        pool.into_pool().open(&options).await.expect("a store in the pool's database")
    };
    examine("sqlite-pool", true, store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_in_an_applications_pool_keeps_the_contract() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("application.db");
    let store = async |clock| {
        let (pool, options) = pooled(&path, clock).await;
        pool.into_pool().share(&options).await.expect("a store in the pool")
    };
    examine("sqlite-shared-pool", true, store).await;
}

/// One table for all checks, in every back-end that has a server.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract() {
    if !is_wanted("postgres") {
        return;
    }
    let server = Postgres::start();
    examine("postgres", true, async |clock| opened(&server.url(), clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_keeps_the_contract() {
    if !is_wanted("mysql") {
        return;
    }
    let server = MySql::start();
    examine("mysql", true, async |clock| opened(&server.url(), clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memcached_keeps_the_contract() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::start();
    examine("memcached", false, async |clock| opened(&server.url(), clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract() {
    if !is_wanted("redis") {
        return;
    }
    let server = Redis::start();
    examine("redis", true, async |clock| opened(&server.url(), clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster_keeps_the_contract() {
    if !is_wanted("redis-cluster") {
        return;
    }
    let cluster = RedisCluster::start();
    examine("redis-cluster", true, async |clock| opened(&cluster.url(), clock).await).await;
}

/// One directory for all checks, as one file above.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn files_keep_the_contract() {
    if !is_wanted("file") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("file://{}", directory.path().join("sessions").display());
    examine("file", true, async |clock| opened(&url, clock).await).await;
}

/// A cache in memory, in front of one file for all checks.
#[tokio::test(flavor = "multi_thread")]
async fn cached_in_memory_keeps_the_contract() {
    if !is_wanted("cached") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}", directory.path().join("sessions.db").display());
    examine("cached-in-memory", true, async |clock| cached(&url, "memory:", clock).await).await;
}

/// Any pair will do: here the one that has the most to write is the cache.
#[tokio::test(flavor = "multi_thread")]
async fn cached_in_sqlite_keeps_the_contract() {
    if !is_wanted("cached") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}", directory.path().join("cache.db").display());
    examine("cached-in-sqlite", true, async |clock| cached("memory:", &url, clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_keeps_the_contract() {
    if !is_wanted("cached") {
        return;
    }
    let (database, cache) = (Postgres::start(), Redis::start());
    examine("cached", true, async |clock| cached(&database.url(), &cache.url(), clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_in_memcached_keeps_the_contract() {
    if !is_wanted("cached") {
        return;
    }
    let cache = Memcached::start();
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}", directory.path().join("sessions.db").display());
    examine("cached-in-memcached", true, async |clock| cached(&url, &cache.url(), clock).await).await;
}

/// One place is both: what the cache holds is nobody's session.
#[tokio::test(flavor = "multi_thread")]
async fn cached_in_itself_keeps_the_contract() {
    if !is_wanted("cached") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}", directory.path().join("both.db").display());
    examine("cached-in-itself", true, async |clock| cached(&url, &url, clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_an_index_may_say_so() {
    let open = async |clock| Arc::new(Faulty::new(Fault::NoIndex, clock)) as Arc<dyn Store>;
    let outcomes = conformance::examine(open).await;
    let unsupported = |wanted| outcomes.iter().filter(move |(check, _)| check.clause() == 9).all(|(_, o)| *o == wanted);
    assert!(unsupported(Outcome::Unsupported), "{outcomes:?}");
    assert!(!outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Broken(_))), "{outcomes:?}");
}

/// The ways to break the contract that the suite must see, and the clause that each breaks.
const FAULTS: &[(Fault, u8)] = &[
    (Fault::TruncatesPayload, 1),
    (Fault::CreateOverwrites, 2),
    (Fault::UpdateUpserts, 3),
    (Fault::UpdateIgnoresVersion, 3),
    (Fault::UpdateIsNotAtomic, 3),
    (Fault::MovedIsGone, 3),
    (Fault::TouchCreates, 4),
    (Fault::TouchChangesVersion, 4),
    (Fault::RetireKeepsRecord, 5),
    (Fault::RetireRepeats, 5),
    (Fault::DeleteLeavesTombstone, 6),
    (Fault::VisibleAtBoundary, 7),
    (Fault::SweepsTheLiving, 8),
    (Fault::SweepIgnoresLimit, 8),
    (Fault::HalfAnIndex, 9),
    (Fault::ListIgnoresCase, 9),
    (Fault::RetireAllIgnoresException, 9),
    (Fault::HalfAnUpdate, 10),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_sees_what_is_broken() {
    for (fault, clause) in FAULTS {
        let open = async |clock| Arc::new(Faulty::new(*fault, clock)) as Arc<dyn Store>;
        let outcomes = conformance::examine(open).await;
        let broken: Vec<_> = outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Broken(_))).collect();
        println!("{fault:?}: {} checks", broken.len());
        assert!(broken.iter().any(|(check, _)| check.clause() == *clause), "{fault:?} is not seen: {broken:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "clause 3: update replaces only a live record of the expected version")]
async fn a_run_ends_with_the_names_of_what_is_broken() {
    conformance::run(async |clock| Arc::new(Faulty::new(Fault::UpdateUpserts, clock)) as Arc<dyn Store>).await;
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    NoIndex,
    TruncatesPayload,
    CreateOverwrites,
    UpdateUpserts,
    UpdateIgnoresVersion,
    UpdateIsNotAtomic,
    MovedIsGone,
    TouchCreates,
    TouchChangesVersion,
    RetireKeepsRecord,
    RetireRepeats,
    DeleteLeavesTombstone,
    VisibleAtBoundary,
    SweepsTheLiving,
    SweepIgnoresLimit,
    HalfAnIndex,
    ListIgnoresCase,
    RetireAllIgnoresException,
    HalfAnUpdate,
}

/// A store in memory, but for one fault.
struct Faulty {
    fault: Fault,
    store: MemoryStore,
    clock: Arc<ManualClock>,
    /// What a fault needs to know of the keys there are.
    keys: std::sync::Mutex<Vec<Key>>,
}

/// For a clock that is a millisecond slow.
struct Slow(Arc<ManualClock>);

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.now().as_millis() - 1)
    }

    fn sleep(&self, duration: std::time::Duration) -> session_rocket::Sleep {
        self.0.sleep(duration)
    }
}

impl Faulty {
    fn new(fault: Fault, clock: Arc<ManualClock>) -> Self {
        let its: Arc<dyn Clock> =
            if fault == Fault::VisibleAtBoundary { Arc::new(Slow(clock.clone())) } else { clock.clone() };
        Self { fault, store: MemoryStore::new(100_000, its), clock, keys: std::sync::Mutex::default() }
    }

    /// Puts `record` there, whatever there is.
    async fn force(&self, key: &Key, record: &Record) -> Result<Create> {
        self.store.delete(key).await?;
        self.store.create(key, record).await
    }
}

fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "no index")
}

#[async_trait]
impl Store for Faulty {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        self.store.load(key).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        self.keys.lock().expect("no panic holds it").push(*key);
        let mut record = record.clone();
        match self.fault {
            Fault::TruncatesPayload => record.payload.truncate(1000),
            Fault::CreateOverwrites => return self.force(key, &record).await,
            Fault::ListIgnoresCase => record.identity = record.identity.map(|identity| identity.to_lowercase()),
            _ => {}
        }
        self.store.create(key, &record).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        match (self.fault, self.store.load(key).await?) {
            (Fault::UpdateUpserts, Lookup::Absent) => {
                self.force(key, record).await?;
                return Ok(Update::Updated);
            }
            (Fault::UpdateIgnoresVersion, Lookup::Found(found)) => {
                return self.store.update(key, found.version, record).await;
            }
            (Fault::UpdateIsNotAtomic, Lookup::Found(found)) if found.version == expected => {
                rocket::tokio::task::yield_now().await;
                self.force(key, record).await?;
                return Ok(Update::Updated);
            }
            (Fault::HalfAnUpdate, Lookup::Found(found)) if found.version == expected => {
                self.store.delete(key).await?;
                rocket::tokio::task::yield_now().await;
                self.store.create(key, record).await?;
                return Ok(Update::Updated);
            }
            (Fault::MovedIsGone, Lookup::Tombstone(_)) => return Ok(Update::Gone),
            _ => {}
        }
        self.store.update(key, expected, record).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        match (self.fault, self.store.load(key).await?) {
            (Fault::TouchCreates, Lookup::Absent) => {
                let record = Record::new(expected, expires_at)
                    .with_scope("conformance")
                    .with_times(self.clock.now(), self.clock.now());
                self.store.create(key, &record).await?;
            }
            (Fault::TouchChangesVersion, Lookup::Found(mut found)) if found.version == expected => {
                found.expires_at = expires_at;
                found.version = Version::from_bits(found.version.bits().wrapping_add(1));
                self.force(key, &found).await?;
                return Ok(Touch::Touched);
            }
            _ => {}
        }
        self.store.touch(key, expected, expires_at).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let before = self.store.load(key).await?;
        let done = self.store.retire(key, expected, tombstone).await?;
        match (self.fault, before) {
            (Fault::RetireKeepsRecord, Lookup::Found(found)) if done == Retire::Retired => {
                self.force(key, &found).await?;
            }
            (Fault::RetireRepeats, Lookup::Tombstone(_)) => {
                let record = Record::new(Version::from_bits(0), tombstone.expires_at)
                    .with_times(self.clock.now(), self.clock.now());
                self.force(key, &record).await?;
                return self.store.retire(key, None, tombstone).await;
            }
            _ => {}
        }
        Ok(done)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        if self.fault == Fault::DeleteLeavesTombstone {
            let tombstone = Tombstone::ended(Timestamp::from_millis(i64::MAX));
            return self.store.retire(key, None, tombstone).await.map(|_| ());
        }
        self.store.delete(key).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        match self.fault {
            Fault::SweepIgnoresLimit => return self.store.delete_expired(u32::MAX).await,
            Fault::SweepsTheLiving => {
                let keys = std::mem::take(&mut *self.keys.lock().expect("no panic holds it"));
                for key in &keys {
                    self.store.delete(key).await?;
                }
                return Ok(0);
            }
            _ => {}
        }
        self.store.delete_expired(limit).await
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        if self.fault == Fault::NoIndex {
            return Err(unsupported());
        }
        self.store.list(scope, identity).await
    }

    async fn retire_all(&self, scope: &str, identity: &str, except: Option<&Key>, until: Timestamp) -> Result<u64> {
        let except = match self.fault {
            Fault::NoIndex | Fault::HalfAnIndex => return Err(unsupported()),
            Fault::RetireAllIgnoresException => None,
            _ => except,
        };
        self.store.retire_all(scope, identity, except, until).await
    }

    fn has_identity_index(&self) -> bool {
        self.fault != Fault::NoIndex
    }
}
