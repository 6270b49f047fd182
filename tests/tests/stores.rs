//! Runs the conformance suite on every store, and checks that the suite detects stores that violate the contract.

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
use session_rocket_tests::report::{assert_conformance, is_wanted};
use session_rocket_tests::servers::{Memcached, MySql, Postgres, Redis, RedisCluster};

/// No check waits for a timeout, but on a busy machine a call can take longer than the default timeout.
const TIME_LIMIT: Duration = Duration::from_secs(60);

async fn open_store(url: &str, clock: Arc<ManualClock>) -> Arc<dyn Store> {
    let options = Options::new(url).timeout(TIME_LIMIT).clock(clock);
    open(&options).await.expect("the store opens")
}

async fn open_cached_store(url: &str, cache: &str, clock: Arc<ManualClock>) -> Arc<dyn Store> {
    let options = Options::new(url).timeout(TIME_LIMIT).cache(cache).clock(clock);
    open(&options).await.expect("the store and the cache open")
}

/// Opens a pool on a file, and returns it with the options for a store.
async fn pool_and_options(path: &Path, clock: Arc<ManualClock>) -> (SqlitePool, Options) {
    let connect = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    (
        SqlitePool::connect_with(connect).await.expect("the database opens"),
        Options::default().timeout(TIME_LIMIT).clock(clock),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_fulfils_the_contract() {
    if !is_wanted("memory") {
        return;
    }
    assert_conformance("memory", true, async |clock| open_store("memory:", clock).await).await;
}

/// All checks share one file, so the store is not empty and is reopened.
#[tokio::test(flavor = "multi_thread")]
async fn sqlite_fulfils_the_contract() {
    if !is_wanted("sqlite") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory can be created");
    let url = format!("sqlite://{}", directory.path().join("sessions.db").display());
    assert_conformance("sqlite", true, async |clock| open_store(&url, clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_in_memory_fulfils_the_contract() {
    assert_conformance("sqlite-in-memory", true, async |clock| open_store("sqlite::memory:", clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_with_its_own_connections_to_an_applications_database_fulfils_the_contract() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let path = directory.path().join("application.db");
    let store = async |clock| {
        let (pool, options) = pool_and_options(&path, clock).await;
        pool.into_pool().open(&options).await.expect("the store opens")
    };
    assert_conformance("sqlite-pool", true, store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_in_a_shared_pool_of_an_application_fulfils_the_contract() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let path = directory.path().join("application.db");
    let store = async |clock| {
        let (pool, options) = pool_and_options(&path, clock).await;
        pool.into_pool().share(&options).await.expect("the store opens")
    };
    assert_conformance("sqlite-shared-pool", true, store).await;
}

/// All checks share one table. The same is true for the other servers.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_fulfils_the_contract() {
    if !is_wanted("postgres") {
        return;
    }
    let server = Postgres::start();
    assert_conformance("postgres", true, async |clock| open_store(&server.url(), clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_fulfils_the_contract() {
    if !is_wanted("mysql") {
        return;
    }
    let server = MySql::start();
    assert_conformance("mysql", true, async |clock| open_store(&server.url(), clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memcached_fulfils_the_contract() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::start();
    assert_conformance("memcached", false, async |clock| open_store(&server.url(), clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_fulfils_the_contract() {
    if !is_wanted("redis") {
        return;
    }
    let server = Redis::start();
    assert_conformance("redis", true, async |clock| open_store(&server.url(), clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster_fulfils_the_contract() {
    if !is_wanted("redis-cluster") {
        return;
    }
    let cluster = RedisCluster::start();
    assert_conformance("redis-cluster", true, async |clock| open_store(&cluster.url(), clock).await).await;
}

/// All checks share one directory.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn files_fulfil_the_contract() {
    if !is_wanted("file") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory can be created");
    let url = format!("file://{}", directory.path().join("sessions").display());
    assert_conformance("file", true, async |clock| open_store(&url, clock).await).await;
}

/// All checks share one file. Each has its own cache in memory.
#[tokio::test(flavor = "multi_thread")]
async fn cached_in_memory_fulfils_the_contract() {
    if !is_wanted("cached") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory can be created");
    let url = format!("sqlite://{}", directory.path().join("sessions.db").display());
    assert_conformance("cached-in-memory", true, async |clock| open_cached_store(&url, "memory:", clock).await).await;
}

/// The cache can be slower than the store.
#[tokio::test(flavor = "multi_thread")]
async fn cached_in_sqlite_fulfils_the_contract() {
    if !is_wanted("cached") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory can be created");
    let url = format!("sqlite://{}", directory.path().join("cache.db").display());
    assert_conformance("cached-in-sqlite", true, async |clock| open_cached_store("memory:", &url, clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_fulfils_the_contract() {
    if !is_wanted("cached") {
        return;
    }
    let (database, cache) = (Postgres::start(), Redis::start());
    assert_conformance("cached", true, async |clock| open_cached_store(&database.url(), &cache.url(), clock).await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_in_memcached_fulfils_the_contract() {
    if !is_wanted("cached") {
        return;
    }
    let cache = Memcached::start();
    let directory = tempfile::tempdir().expect("a directory can be created");
    let url = format!("sqlite://{}", directory.path().join("sessions.db").display());
    assert_conformance("cached-in-memcached", true, async |clock| open_cached_store(&url, &cache.url(), clock).await)
        .await;
}

/// Store and cache share one table. No cache entry may be taken for a session.
#[tokio::test(flavor = "multi_thread")]
async fn cached_in_itself_fulfils_the_contract() {
    if !is_wanted("cached") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory can be created");
    let url = format!("sqlite://{}", directory.path().join("both.db").display());
    assert_conformance("cached-in-itself", true, async |clock| open_cached_store(&url, &url, clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_an_index_of_identities_is_allowed() {
    let open = async |clock| Arc::new(FaultyStore::new(Fault::NoIndex, clock)) as Arc<dyn Store>;
    let outcomes = conformance::examine(open).await;
    let unsupported = |wanted| outcomes.iter().filter(move |(check, _)| check.clause() == 9).all(|(_, o)| *o == wanted);
    assert!(unsupported(Outcome::Unsupported), "{outcomes:?}");
    assert!(!outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Failed(_))), "{outcomes:?}");
}

/// The violations that the suite must detect, each with the clause of the contract.
const FAULTS: &[(Fault, u8)] = &[
    (Fault::TruncatesPayload, 1),
    (Fault::CreateOverwrites, 2),
    (Fault::UpdateUpserts, 3),
    (Fault::UpdateIgnoresVersion, 3),
    (Fault::UpdateIsNotAtomic, 3),
    (Fault::UpdateReportsMovedAsGone, 3),
    (Fault::TouchCreates, 4),
    (Fault::TouchChangesVersion, 4),
    (Fault::RetireKeepsRecord, 5),
    (Fault::RetireReplacesTombstone, 5),
    (Fault::DeleteLeavesTombstone, 6),
    (Fault::VisibleAtBoundary, 7),
    (Fault::SweepDeletesLiveRecords, 8),
    (Fault::SweepIgnoresLimit, 8),
    (Fault::IndexIsIncomplete, 9),
    (Fault::ListIgnoresCase, 9),
    (Fault::ListMissesRotatedSessions, 9),
    (Fault::UpdateIsInterruptible, 10),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_detects_each_violation_of_the_contract() {
    for (fault, clause) in FAULTS {
        let open = async |clock| Arc::new(FaultyStore::new(*fault, clock)) as Arc<dyn Store>;
        let outcomes = conformance::examine(open).await;
        let failed: Vec<_> = outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_))).collect();
        println!("{fault:?}: {} failed checks", failed.len());
        assert!(failed.iter().any(|(check, _)| check.clause() == *clause), "{fault:?} is not detected: {failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "clause 3: update replaces only a live record of the expected version")]
async fn a_failed_run_panics_with_the_names_of_the_failed_checks() {
    conformance::run(async |clock| Arc::new(FaultyStore::new(Fault::UpdateUpserts, clock)) as Arc<dyn Store>).await;
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    NoIndex,
    TruncatesPayload,
    CreateOverwrites,
    UpdateUpserts,
    UpdateIgnoresVersion,
    UpdateIsNotAtomic,
    UpdateReportsMovedAsGone,
    TouchCreates,
    TouchChangesVersion,
    RetireKeepsRecord,
    RetireReplacesTombstone,
    DeleteLeavesTombstone,
    VisibleAtBoundary,
    SweepDeletesLiveRecords,
    SweepIgnoresLimit,
    IndexIsIncomplete,
    ListIgnoresCase,
    ListMissesRotatedSessions,
    UpdateIsInterruptible,
}

/// A store in memory with one fault.
struct FaultyStore {
    fault: Fault,
    store: MemoryStore,
    clock: Arc<ManualClock>,
    /// The created keys, for the faults that need them.
    keys: std::sync::Mutex<Vec<Key>>,
}

/// A clock that is a millisecond slow.
struct SlowClock(Arc<ManualClock>);

impl Clock for SlowClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.now().as_millis() - 1)
    }

    fn sleep(&self, duration: std::time::Duration) -> session_rocket::Sleep {
        self.0.sleep(duration)
    }
}

impl FaultyStore {
    fn new(fault: Fault, clock: Arc<ManualClock>) -> Self {
        let store_clock: Arc<dyn Clock> =
            if fault == Fault::VisibleAtBoundary { Arc::new(SlowClock(clock.clone())) } else { clock.clone() };
        Self { fault, store: MemoryStore::new(100_000, store_clock), clock, keys: std::sync::Mutex::default() }
    }

    /// Replaces whatever is stored under the key by `record`.
    async fn force(&self, key: &Key, record: &Record) -> Result<Create> {
        self.store.delete(key).await?;
        self.store.create(key, record).await
    }
}

fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "no index")
}

#[async_trait]
impl Store for FaultyStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        self.store.load(key).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        self.keys.lock().expect("the lock is not poisoned").push(*key);
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
            (Fault::UpdateIsInterruptible, Lookup::Found(found)) if found.version == expected => {
                self.store.delete(key).await?;
                rocket::tokio::task::yield_now().await;
                self.store.create(key, record).await?;
                return Ok(Update::Updated);
            }
            (Fault::UpdateReportsMovedAsGone, Lookup::Tombstone(_)) => return Ok(Update::Gone),
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
        let reply = self.store.retire(key, expected, tombstone).await?;
        match (self.fault, before) {
            (Fault::RetireKeepsRecord, Lookup::Found(found)) if reply == Retire::Retired => {
                self.force(key, &found).await?;
            }
            (Fault::RetireReplacesTombstone, Lookup::Tombstone(_)) => {
                let record = Record::new(Version::from_bits(0), tombstone.expires_at)
                    .with_times(self.clock.now(), self.clock.now());
                self.force(key, &record).await?;
                return self.store.retire(key, None, tombstone).await;
            }
            _ => {}
        }
        Ok(reply)
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
            Fault::SweepDeletesLiveRecords => {
                let keys = std::mem::take(&mut *self.keys.lock().expect("the lock is not poisoned"));
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
        match self.fault {
            Fault::NoIndex | Fault::IndexIsIncomplete => return Err(unsupported()),
            Fault::ListMissesRotatedSessions => {}
            _ => return self.store.list(scope, identity).await,
        }
        let (mut listed, keys) = (Vec::new(), self.keys.lock().expect("the lock is not poisoned").clone());
        for key in keys {
            rocket::tokio::task::yield_now().await;
            match self.store.load(&key).await? {
                Lookup::Found(record) if record.scope == scope && record.identity.as_deref() == Some(identity) => {
                    listed.push((key, record));
                }
                _ => {}
            }
        }
        Ok(listed)
    }

    fn has_identity_index(&self) -> bool {
        self.fault != Fault::NoIndex
    }
}
