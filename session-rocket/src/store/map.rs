//! The `map:` store: entries in a map of this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::Options;
use super::key_value::{KeyValue, KeyValueStore};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::id::Key;

/// Entries by key, and when each expires.
#[derive(Default)]
pub(super) struct Map(Mutex<HashMap<Key, (Bytes, Timestamp)>>);

pub(super) type MapStore = KeyValueStore<Map>;

impl MapStore {
    pub(super) async fn open(options: &Options) -> Result<Self> {
        Ok(Self::new(Map::default(), options.clock.clone()))
    }
}

impl Map {
    fn with<R>(&self, run: impl FnOnce(&mut HashMap<Key, (Bytes, Timestamp)>) -> R) -> R {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl KeyValue for Map {
    type Tag = Bytes;

    async fn load(&self, key: &Key) -> Result<Option<(Bytes, Bytes)>> {
        Ok(self.with(|entries| entries.get(key).map(|(value, _)| (value.clone(), value.clone()))))
    }

    async fn swap(&self, key: &Key, expected: Option<Bytes>, value: Bytes, expires_at: Timestamp) -> Result<bool> {
        Ok(self.with(|entries| {
            let is_unchanged = entries.get(key).map(|(value, _)| value) == expected.as_ref();
            if is_unchanged {
                entries.insert(*key, (value, expires_at));
            }
            is_unchanged
        }))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.with(|entries| entries.remove(key));
        Ok(())
    }

    async fn delete_expired(&self, limit: u32, now: Timestamp) -> Result<u64> {
        Ok(self.with(|entries| {
            let expired = entries.extract_if(|_, (_, expires_at)| *expires_at <= now);
            expired.take(limit as usize).count() as u64
        }))
    }
}
