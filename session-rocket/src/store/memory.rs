//! Sessions in the memory of this process: for tests, development, and data you can afford to lose.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
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
pub struct Memory(Mutex<LruCache<Key, Arc<[u8]>>>);

impl MemoryStore {
    /// An empty store for at most `capacity` sessions and tombstones, and for at least one.
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        // Without room for one entry, `create` would report a record that is not there.
        Memory(Mutex::new(LruCache::new(capacity.max(1)))).into_store(clock)
    }
}

impl Memory {
    /// A poisoned lock is fine: no call panics while it changes an entry.
    fn entries(&self) -> MutexGuard<'_, LruCache<Key, Arc<[u8]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeyValue for Memory {
    type Tag = Arc<[u8]>;

    async fn load(&self, key: &Key) -> Result<Option<(Bytes, Self::Tag)>> {
        let value = self.entries().get(key).cloned();
        Ok(value.map(|value| (Bytes::from_owner(value.clone()), value)))
    }

    async fn swap(&self, key: &Key, expected: Option<Self::Tag>, value: Bytes, _expires_at: Timestamp) -> Result<bool> {
        let mut entries = self.entries();
        let is_unchanged = entries.peek(key) == expected.as_ref();
        if is_unchanged {
            entries.insert(*key, value[..].into());
        }
        Ok(is_unchanged)
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
            visit(*key, Bytes::from_owner(value.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
