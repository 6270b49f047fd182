//! Sessions in the memory of this process: for tests, development, and data you can afford to lose.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hashlink::LruCache;

use super::envelope;
use super::key_value::{KeyValue, KeyValueStore};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::Result;
use crate::base::id::Key;

/// A store in the memory of this process. Its sessions end with the process.
///
/// The store holds at most `capacity` sessions and tombstones. If the store is full, each new entry replaces the entry
/// that was not used for the longest time.
pub type MemoryStore = KeyValueStore<Memory>;

/// The entries of a [`MemoryStore`].
pub struct Memory(Mutex<Entries>);

struct Entries {
    /// For each key, the number of the write that stored the entry, and the entry's bytes.
    values: LruCache<Key, (u64, Bytes)>,
    writes: u64,
}

impl MemoryStore {
    /// Creates an empty store for at most `capacity` sessions and tombstones. A capacity of zero counts as one.
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        // With a capacity of zero, `create` would report success but store nothing.
        let values = LruCache::new(capacity.max(1));
        Memory(Mutex::new(Entries { values, writes: 0 })).into_store(clock)
    }
}

impl Memory {
    /// Locks the entries. A poisoned lock is usable, because no call panics while it changes an entry.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyValue for Memory {
    type Tag = u64;

    async fn load(&self, key: &Key) -> Result<Option<(Bytes, u64)>> {
        Ok(self.entries().values.get(key).map(|(number, value)| (value.clone(), *number)))
    }

    async fn swap(&self, key: &Key, expected: Option<u64>, value: Bytes, _expires_at: Timestamp) -> Result<bool> {
        let Entries { values, writes } = &mut *self.entries();
        *writes += 1;
        match values.peek_mut(key) {
            current if current.as_ref().map(|(number, _)| *number) != expected => return Ok(false),
            Some(current) => *current = (*writes, value),
            None => _ = values.insert(*key, (*writes, value)),
        }
        Ok(true)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.entries().values.remove(key);
        Ok(())
    }

    async fn delete_expired(&self, limit: u32, now: Timestamp) -> Result<u64> {
        let values = &mut self.entries().values;
        let is_expired = |value: &[u8]| envelope::expiry(value).is_some_and(|expires_at| expires_at <= now);
        let expired = values.iter().filter(|(_, (_, value))| is_expired(value)).map(|(key, _)| *key);
        let expired: Vec<Key> = expired.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
        for key in &expired {
            values.remove(key);
        }
        Ok(u64::try_from(expired.len()).unwrap_or(u64::MAX))
    }

    fn can_scan(&self) -> bool {
        true
    }

    async fn scan(&self, visit: &mut (dyn FnMut(Key, Bytes) + Send)) -> Result<()> {
        // Copies the entries and releases the lock first, so that other calls do not wait for `visit`.
        let entries: Vec<_> = self.entries().values.iter().map(|(key, (_, value))| (*key, value.clone())).collect();
        entries.into_iter().for_each(|(key, value)| visit(key, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
