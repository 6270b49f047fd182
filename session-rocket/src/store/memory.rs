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
/// It holds at most `capacity` sessions and tombstones. If it is full, the least recently used entry is removed.
pub type MemoryStore = KeyValueStore<Memory>;

/// The entries of a [`MemoryStore`].
pub struct Memory(Mutex<LruCache<Key, Bytes>>);

impl MemoryStore {
    /// An empty store for at most `capacity` sessions and tombstones, and for at least one.
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        // Without room for one entry, `create` would report a record that is not there.
        Memory(Mutex::new(LruCache::new(capacity.max(1)))).into_store(clock)
    }
}

impl Memory {
    /// A poisoned lock is fine: no call panics while it changes an entry.
    fn entries(&self) -> MutexGuard<'_, LruCache<Key, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyValue for Memory {
    type Tag = Bytes;

    async fn load(&self, key: &Key) -> Result<Option<(Bytes, Bytes)>> {
        Ok(self.entries().get(key).map(|value| (value.clone(), value.clone())))
    }

    async fn swap(&self, key: &Key, expected: Option<Bytes>, value: Bytes, _expires_at: Timestamp) -> Result<bool> {
        let mut entries = self.entries();
        match entries.peek_mut(key) {
            current if current.as_deref() != expected.as_ref() => return Ok(false),
            Some(current) => *current = value,
            None => _ = entries.insert(*key, value),
        }
        Ok(true)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.entries().remove(key);
        Ok(())
    }

    async fn delete_expired(&self, limit: u32, now: Timestamp) -> Result<u64> {
        let mut entries = self.entries();
        let is_expired = |value: &[u8]| envelope::expiry(value).is_some_and(|expires_at| expires_at <= now);
        let expired = entries.iter().filter(|(_, value)| is_expired(value)).map(|(key, _)| *key);
        let expired: Vec<Key> = expired.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
        for key in &expired {
            entries.remove(key);
        }
        Ok(u64::try_from(expired.len()).unwrap_or(u64::MAX))
    }

    fn can_scan(&self) -> bool {
        true
    }

    async fn scan(&self, visit: &mut (dyn FnMut(Key, Bytes) + Send)) -> Result<()> {
        for (key, value) in self.entries().iter() {
            visit(*key, value.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
