//! Sessions in the memory of this process: for tests, development, and sites that may forget.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use hashlink::LruCache;

use super::{Create, Lookup, Retire, Stats, Store, Touch, Update};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::Result;
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};

/// A store in the memory of this process. What it holds is gone when the process ends.
///
/// It holds at most `capacity` sessions and tombstones; the least recently used one makes room for the next.
pub struct MemoryStore {
    held: Mutex<Held>,
    clock: Arc<dyn Clock>,
}

/// What is in the memory.
struct Held {
    entries: LruCache<Key, Entry>,
    /// As many as there are session types.
    scopes: Vec<Arc<String>>,
}

impl Held {
    fn live(&mut self, record: &Record) -> Live {
        let known = self.scopes.iter().find(|scope| ***scope == record.scope).cloned();
        let scope = known.unwrap_or_else(|| {
            let scope = Arc::new(record.scope.clone());
            self.scopes.push(scope.clone());
            scope
        });
        Live {
            payload: (&record.payload[..]).into(),
            version: record.version,
            created_at: record.created_at,
            updated_at: record.updated_at,
            expires_at: record.expires_at,
            identity: record.identity.as_deref().map(Box::from),
            scope,
        }
    }
}

enum Entry {
    Live(Live),
    Ended(Box<Tombstone>),
}

impl Entry {
    fn ended(tombstone: Tombstone) -> Self {
        Self::Ended(Box::new(tombstone))
    }

    fn expires_at(&self) -> Timestamp {
        match self {
            Self::Live(live) => live.expires_at,
            Self::Ended(tombstone) => tombstone.expires_at,
        }
    }

    fn found(&self) -> Lookup {
        match self {
            Self::Live(live) => Lookup::Found(live.record()),
            Self::Ended(tombstone) => Lookup::Tombstone(**tombstone),
        }
    }
}

/// A [`Record`] in half of its room: sites hold many.
struct Live {
    payload: Arc<[u8]>,
    version: Version,
    created_at: Timestamp,
    updated_at: Timestamp,
    expires_at: Timestamp,
    identity: Option<Box<str>>,
    /// All of a session type share one, and its length.
    scope: Arc<String>,
}

impl Live {
    fn record(&self) -> Record {
        Record {
            payload: Bytes::from_owner(self.payload.clone()),
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            expires_at: self.expires_at,
            identity: self.identity.as_deref().map(str::to_owned),
            scope: (*self.scope).clone(),
        }
    }

    fn belongs(&self, scope: &str, identity: &str) -> bool {
        *self.scope == scope && self.identity.as_deref() == Some(identity)
    }
}

impl MemoryStore {
    /// An empty store for at most `capacity` sessions and tombstones, and for one at least.
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        // One that holds nothing would say that it created what is not there.
        let entries = LruCache::new(capacity.max(1));
        Self { held: Mutex::new(Held { entries, scopes: Vec::new() }), clock }
    }

    /// No call panics with the lock held: a poisoned lock guards whole entries.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `run` on what `key` holds, the expired left out.
    fn with<R>(&self, key: &Key, run: impl FnOnce(Option<&mut Entry>) -> R) -> R {
        let now = self.clock.now();
        run(self.lock().entries.get_mut(key).filter(|entry| entry.expires_at() > now))
    }

    /// Replaces the record of version `expected`, or tells why not.
    fn swap<R>(
        &self,
        key: &Key,
        expected: Option<Version>,
        swap: impl FnOnce(&mut Entry) -> R,
        refuse: impl FnOnce(Refusal<'_>) -> R,
    ) -> R {
        self.with(key, |entry| match entry {
            Some(Entry::Live(live)) if expected.is_some_and(|version| version != live.version) => {
                refuse(Refusal::Conflict(live))
            }
            Some(entry @ Entry::Live(_)) => swap(entry),
            Some(Entry::Ended(tombstone)) => refuse(match tombstone.fate {
                Fate::Moved(to) => Refusal::Moved(to),
                Fate::Ended => Refusal::Gone,
            }),
            None => refuse(Refusal::Gone),
        })
    }
}

/// Why a record was not replaced.
enum Refusal<'a> {
    Conflict(&'a Live),
    Moved(Key),
    Gone,
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        Ok(self.with(key, |entry| entry.map_or(Lookup::Absent, |entry| entry.found())))
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        let now = self.clock.now();
        let mut held = self.lock();
        if held.entries.peek(key).is_some_and(|entry| entry.expires_at() > now) {
            return Ok(Create::Taken);
        }
        let live = held.live(record);
        held.entries.insert(*key, Entry::Live(live));
        Ok(Create::Created)
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let live = self.lock().live(record);
        let swap = |entry: &mut Entry| {
            *entry = Entry::Live(live);
            Update::Updated
        };
        Ok(self.swap(key, Some(expected), swap, |refusal| match refusal {
            Refusal::Conflict(fresh) => Update::Conflict(fresh.record()),
            Refusal::Moved(to) => Update::Moved(to),
            Refusal::Gone => Update::Gone,
        }))
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let swap = |entry: &mut Entry| {
            if let Entry::Live(live) = entry {
                live.expires_at = live.expires_at.max(expires_at);
            }
            Touch::Touched
        };
        Ok(self.swap(key, Some(expected), swap, |refusal| match refusal {
            Refusal::Conflict(_) => Touch::Conflict,
            Refusal::Moved(_) | Refusal::Gone => Touch::Gone,
        }))
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let swap = |entry: &mut Entry| {
            *entry = Entry::ended(tombstone);
            Retire::Retired
        };
        Ok(self.swap(key, expected, swap, |refusal| match refusal {
            Refusal::Conflict(fresh) => Retire::Conflict(fresh.record()),
            Refusal::Moved(_) | Refusal::Gone => Retire::Gone,
        }))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.lock().entries.remove(key);
        Ok(())
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        let now = self.clock.now();
        let entries = &mut self.lock().entries;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let expired: Vec<Key> =
            entries.iter().filter(|(_, entry)| entry.expires_at() <= now).map(|(key, _)| *key).take(limit).collect();
        for key in &expired {
            entries.remove(key);
        }
        Ok(u64::try_from(expired.len()).unwrap_or(u64::MAX))
    }

    fn has_identity_index(&self) -> bool {
        true
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let now = self.clock.now();
        Ok(self
            .lock()
            .entries
            .iter()
            .filter_map(|(key, entry)| match entry {
                Entry::Live(live) if live.expires_at > now && live.belongs(scope, identity) => {
                    Some((*key, live.record()))
                }
                Entry::Live(_) | Entry::Ended(_) => None,
            })
            .collect())
    }

    async fn retire_all(&self, scope: &str, identity: &str, except: Option<&Key>, until: Timestamp) -> Result<u64> {
        let now = self.clock.now();
        let mut retired = 0;
        for (key, entry) in &mut self.lock().entries {
            if let Entry::Live(live) = entry
                && live.expires_at > now
                && Some(key) != except
                && live.belongs(scope, identity)
            {
                *entry = Entry::ended(Tombstone { fate: Fate::Ended, expires_at: until });
                retired += 1;
            }
        }
        Ok(retired)
    }

    async fn stats(&self) -> Result<Stats> {
        let now = self.clock.now();
        let mut stats = Stats::default();
        for (_, entry) in &self.lock().entries {
            stats.add(&entry.found(), now);
        }
        Ok(stats)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("sessions", &self.lock().entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::ManualClock;

    const fn key(n: u8) -> Key {
        Key::from_bytes([n; 32])
    }

    async fn fill(store: &MemoryStore, keys: &[u8]) {
        let now = store.clock.now();
        for n in keys {
            let record = Record::new("s", vec![*n], Version::from_bits(1), now, now.plus(Duration::from_secs(60)));
            assert_eq!(store.create(&key(*n), &record).await.unwrap(), Create::Created);
        }
    }

    fn held(store: &MemoryStore) -> Vec<u8> {
        let held = store.lock();
        (0..10).filter(|n| held.entries.peek(&key(*n)).is_some()).collect()
    }

    #[tokio::test]
    async fn the_least_recently_used_goes_first() {
        let store = MemoryStore::new(3, Arc::new(ManualClock::default()));
        fill(&store, &[1, 2, 3]).await;
        assert!(matches!(store.load(&key(1)).await.unwrap(), Lookup::Found(_)));
        fill(&store, &[4]).await;
        assert_eq!(held(&store), [1, 3, 4]);
        let later = store.clock.now().plus(Duration::from_secs(90));
        store.touch(&key(3), Version::from_bits(1), later).await.unwrap();
        fill(&store, &[5, 6]).await;
        assert_eq!(held(&store), [3, 5, 6]);
    }

    #[tokio::test]
    async fn there_is_room_for_one_at_least() {
        let store = MemoryStore::new(0, Arc::new(ManualClock::default()));
        fill(&store, &[1]).await;
        assert!(matches!(store.load(&key(1)).await.unwrap(), Lookup::Found(_)));
    }
}
