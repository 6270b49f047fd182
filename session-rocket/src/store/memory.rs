//! Sessions in the memory of this process: for tests, development, and data you can afford to lose.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use hashlink::LruCache;

use super::decide::{self, Decision, Held};
use super::{Create, Lookup, Retire, Stats, Store, Touch, Update};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::Result;
use crate::base::id::Key;
use crate::store::record::{Record, Tombstone, Version};

/// A store in the memory of this process. Its sessions end with the process.
///
/// It holds at most `capacity` sessions and tombstones. If it is full, the least recently used entry is removed.
pub struct MemoryStore {
    memory: Mutex<Memory>,
    clock: Arc<dyn Clock>,
}

struct Memory {
    entries: LruCache<Key, Entry>,
    scopes: Scopes,
}

/// Each scope once: there are as many as session types.
#[derive(Default)]
struct Scopes(Vec<Arc<String>>);

impl Scopes {
    fn share(&mut self, scope: &String) -> Arc<String> {
        if let Some(known) = self.0.iter().find(|known| ***known == *scope) {
            return known.clone();
        }
        let shared = Arc::new(scope.clone());
        self.0.push(shared.clone());
        shared
    }
}

enum Entry {
    Live(Live),
    Ended(Box<Tombstone>),
}

impl Entry {
    #[inline]
    fn held(&self) -> Held<&Live> {
        match self {
            Self::Live(live) => Held::Record { version: live.version, expires_at: live.expires_at, record: live },
            Self::Ended(tombstone) => Held::Tombstone(**tombstone),
        }
    }
}

#[inline]
fn held(entry: Option<&Entry>) -> Held<&Live> {
    entry.map_or(Held::Nothing, Entry::held)
}

/// A [`Record`] in half of the memory, because a site keeps many.
struct Live {
    payload: Arc<[u8]>,
    version: Version,
    created_at: Timestamp,
    updated_at: Timestamp,
    expires_at: Timestamp,
    identity: Option<Box<str>>,
    scope: Arc<String>,
}

impl Live {
    fn new(record: &Record, scopes: &mut Scopes) -> Self {
        Self {
            payload: (&record.payload[..]).into(),
            version: record.version,
            created_at: record.created_at,
            updated_at: record.updated_at,
            expires_at: record.expires_at,
            identity: record.identity.as_deref().map(Box::from),
            scope: scopes.share(&record.scope),
        }
    }

    fn belongs(&self, scope: &str, identity: &str) -> bool {
        *self.scope == scope && self.identity.as_deref() == Some(identity)
    }
}

impl From<&Live> for Record {
    fn from(live: &Live) -> Self {
        Self {
            payload: Bytes::from_owner(live.payload.clone()),
            version: live.version,
            created_at: live.created_at,
            updated_at: live.updated_at,
            expires_at: live.expires_at,
            identity: live.identity.as_deref().map(str::to_owned),
            scope: (*live.scope).clone(),
        }
    }
}

impl MemoryStore {
    /// An empty store for at most `capacity` sessions and tombstones, and for at least one.
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        // Without room for one entry, `create` would report a record that is not there.
        let entries = LruCache::new(capacity.max(1));
        Self { memory: Mutex::new(Memory { entries, scopes: Scopes::default() }), clock }
    }

    /// A poisoned lock is fine: no call panics while it changes an entry.
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `write` change what `key` holds if `decide` says so, and returns `done`; or returns the answer of `decide`.
    #[inline]
    fn change<A>(
        &self,
        key: &Key,
        done: A,
        decide: impl FnOnce(Held<&Live>, Timestamp) -> Decision<&Live, A>,
        write: impl FnOnce(&mut Entry, &mut Scopes),
    ) -> A {
        let now = self.clock.now();
        let mut memory = self.lock();
        let Memory { entries, scopes } = &mut *memory;
        let mut entry = entries.get_mut(key);
        if let Decision::Answer(answer) = decide(held(entry.as_deref()), now) {
            return answer;
        }
        if let Some(entry) = &mut entry {
            write(entry, scopes);
        }
        done
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        let now = self.clock.now();
        Ok(decide::load(held(self.lock().entries.get(key)), now))
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        let now = self.clock.now();
        let mut memory = self.lock();
        if let Decision::Answer(answer) = decide::create(held(memory.entries.peek(key)), now) {
            return Ok(answer);
        }
        let live = Live::new(record, &mut memory.scopes);
        memory.entries.insert(*key, Entry::Live(live));
        Ok(Create::Created)
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let write = |entry: &mut Entry, scopes: &mut Scopes| *entry = Entry::Live(Live::new(record, scopes));
        Ok(self.change(key, Update::Updated, |held, now| decide::update(held, expected, now), write))
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let write = |entry: &mut Entry, _: &mut Scopes| {
            if let Entry::Live(live) = entry {
                live.expires_at = expires_at;
            }
        };
        Ok(self.change(key, Touch::Touched, |held, now| decide::touch(held, expected, expires_at, now), write))
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let write = |entry: &mut Entry, _: &mut Scopes| *entry = Entry::Ended(tombstone.into());
        Ok(self.change(key, Retire::Retired, |held, now| decide::retire(held, expected, now), write))
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
            entries.iter().filter(|(_, entry)| entry.held().is_expired(now)).map(|(key, _)| *key).take(limit).collect();
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
                    Some((*key, live.into()))
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
                *entry = Entry::Ended(Tombstone::ended(until).into());
                retired += 1;
            }
        }
        Ok(retired)
    }

    async fn stats(&self) -> Result<Stats> {
        let now = self.clock.now();
        let mut stats = Stats::default();
        for (_, entry) in &self.lock().entries {
            stats.add(&decide::load(entry.held(), Timestamp::from_millis(i64::MIN)), now);
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
mod tests;
