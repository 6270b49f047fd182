//! Tests with several processes that share one database and one cache. Each process's access to both can fail.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::CachedStore;
use crate::base::clock::{Clock, ManualClock, Timestamp};
use crate::base::id::Key;
use crate::store::memory::MemoryStore;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Lookup, Store};
use crate::tests::schedules::FrozenClock;
use faulty_store::FaultyStore;

mod deferred;
mod dropped_calls;
mod faults;
mod faulty_store;
mod schedules;

const TTL: Duration = Duration::from_secs(60);
/// Short, because tests wait for calls that hang.
const TIMEOUT: Duration = Duration::from_millis(500);
const DAY: Duration = Duration::from_secs(86_400);
const START: Timestamp = Timestamp::from_millis(1_000_000);
const KEY: Key = Key::from_bytes([7; 32]);

struct Process {
    store: CachedStore,
    database: Arc<FaultyStore>,
    cache: Arc<FaultyStore>,
}

/// The database and cache of all processes, and the newest state that any process has seen.
struct World {
    database: Arc<MemoryStore>,
    cache: Arc<MemoryStore>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    newest_seen: Mutex<Position>,
}

impl World {
    fn new(clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        let memory = || Arc::new(MemoryStore::new(1000, clock.clone()));
        Self { database: memory(), cache: memory(), clock: clock.clone(), timeout, newest_seen: Mutex::default() }
    }

    /// Creates a world whose clock never moves, so that no call times out.
    fn with_frozen_clock() -> Arc<Self> {
        Arc::new(Self::new(Arc::new(FrozenClock), Duration::from_secs(5)))
    }

    fn process(&self) -> Process {
        let (database, cache) = (FaultyStore::new(self.database.clone()), FaultyStore::new(self.cache.clone()));
        let store = CachedStore::new(database.clone(), cache.clone(), TTL, self.timeout, self.clock.clone());
        Process { store, database, cache }
    }

    /// Stores the first version in the database.
    async fn create_first_record(&self) {
        self.database.create(&KEY, &record(1)).await.unwrap();
    }

    fn record_seen(&self, position: Position) {
        let mut newest = self.newest_seen.lock().unwrap();
        *newest = (*newest).max(position);
    }

    fn newest_seen(&self) -> Position {
        *self.newest_seen.lock().unwrap()
    }
}

/// Creates a world with a clock that the test moves.
fn world() -> (World, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START));
    (World::new(clock.clone(), TIMEOUT), clock)
}

/// The state of a key. States only move forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Position {
    Version(u64, Timestamp),
    Gone,
}

impl Default for Position {
    fn default() -> Self {
        Self::Version(0, START)
    }
}

impl From<&Record> for Position {
    fn from(record: &Record) -> Self {
        Self::Version(record.version.bits(), record.expires_at)
    }
}

impl From<&Lookup> for Position {
    fn from(found: &Lookup) -> Self {
        match found {
            Lookup::Found(record) => record.into(),
            Lookup::Tombstone(_) | Lookup::Absent => Self::Gone,
        }
    }
}

/// Creates a record. Versions are consecutive numbers, so that tests can compare their age.
fn record(version: u64) -> Record {
    let now = START.plus(Duration::from_secs(version));
    Record::new(Version::from_bits(version), now.plus(DAY))
        .with_scope("s")
        .with_payload(version.to_string())
        .with_times(now, now)
        .with_identity("ada")
}

fn tombstone() -> Tombstone {
    Tombstone { fate: Fate::Ended, expires_at: START.plus(DAY) }
}

impl Process {
    async fn load(&self) -> Lookup {
        self.store.load(&KEY).await.expect("no fault of the cache is an error")
    }

    async fn version(&self) -> u64 {
        match self.load().await {
            Lookup::Found(record) => record.version.bits(),
            Lookup::Tombstone(_) | Lookup::Absent => 0,
        }
    }

    async fn update(&self, from: u64, to: u64) {
        let updated = self.store.update(&KEY, Version::from_bits(from), &record(to)).await;
        assert_eq!(updated.expect("no fault of the cache is an error"), crate::store::Update::Updated);
    }
}
