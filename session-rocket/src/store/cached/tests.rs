//! Several processes with one database and one cache, each with a wire of its own to either, which can be cut.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::CachedStore;
use crate::base::clock::{Clock, ManualClock, Timestamp};
use crate::base::id::Key;
use crate::store::memory::MemoryStore;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Lookup, Store};
use crate::tests::schedules::Still;
use wire::Wire;

mod cuts;
mod deferred;
mod faults;
mod schedules;
mod wire;

const TTL: Duration = Duration::from_secs(60);
/// Short, for calls that hang are waited for; the time that is left to the cache is a share of it.
const TIMEOUT: Duration = Duration::from_millis(500);
const DAY: Duration = Duration::from_secs(86_400);
const START: Timestamp = Timestamp::from_millis(1_000_000);
const KEY: Key = Key::from_bytes([7; 32]);

/// A process: its store, and its wires.
struct Process {
    store: CachedStore,
    database: Arc<Wire>,
    cache: Arc<Wire>,
}

/// What all processes share, and what they were told.
struct World {
    database: Arc<MemoryStore>,
    cache: Arc<MemoryStore>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    told: Mutex<Position>,
}

impl World {
    fn new(clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        let memory = || Arc::new(MemoryStore::new(1000, clock.clone()));
        Self { database: memory(), cache: memory(), clock: clock.clone(), timeout, told: Mutex::default() }
    }

    /// On a clock that stands still, on which nothing takes too long.
    fn still() -> Arc<Self> {
        Arc::new(Self::new(Arc::new(Still), Duration::from_secs(5)))
    }

    fn process(&self) -> Process {
        let (database, cache) = (Wire::to(self.database.clone()), Wire::to(self.cache.clone()));
        let store = CachedStore::new(database.clone(), cache.clone(), TTL, self.timeout, self.clock.clone());
        Process { store, database, cache }
    }

    /// Puts the first version into the database.
    async fn begin(&self) {
        self.database.create(&KEY, &record(1)).await.unwrap();
    }

    fn tell(&self, position: Position) {
        let mut told = self.told.lock().unwrap();
        *told = (*told).max(position);
    }

    fn told(&self) -> Position {
        *self.told.lock().unwrap()
    }
}

/// What `World` is, on a clock that tests move.
fn world() -> (World, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START));
    (World::new(clock.clone(), TIMEOUT), clock)
}

/// Where a key is in its life: only forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Position {
    Version(u64, Timestamp),
    Over,
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
            Lookup::Tombstone(_) | Lookup::Absent => Self::Over,
        }
    }
}

/// Versions are counted here, so that it can be told which one is the older.
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
