//! Lists the sessions of an identity.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures::future::try_join_all;

use super::index::IndexEntry;
use super::server::Server;
use crate::base::error::Result;
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone};
use crate::store::{Lookup, warn_of_skipped};

/// The number of records that are loaded at the same time.
const CONCURRENT_CALLS: usize = 32;
/// The number of index entries after which `list` removes stale index entries. If the call then times out, the next call
/// finds a shorter index.
const ENTRIES_PER_CLEANUP: usize = 1024;

/// The sessions that a call of `list` has loaded so far.
struct ListedSessions<'a> {
    server: &'a Server,
    scope: &'a str,
    identity: &'a str,
    sessions: HashMap<Key, Record>,
    /// The keys from which sessions have moved to other keys.
    moved_from: HashSet<Key>,
    /// The keys that hold malformed records. These keys stay in the index, because an operator may repair the records.
    malformed: HashSet<Key>,
}

impl ListedSessions<'_> {
    /// Loads the sessions at `keys`. Follows moved sessions, even to a key that has been loaded before and was empty.
    async fn load(&mut self, mut keys: Vec<Key>) -> Result<()> {
        while !keys.is_empty() {
            let mut moved = Vec::new();
            for keys in keys.chunks(CONCURRENT_CALLS) {
                let entries = try_join_all(keys.iter().map(|key| self.server.load_bytes(key))).await?;
                for (key, entry) in keys.iter().zip(entries) {
                    moved.extend(entry.and_then(|entry| self.add(*key, entry)));
                }
            }
            moved.retain(|to| !self.sessions.contains_key(to) && !self.moved_from.contains(to));
            keys = moved;
        }
        Ok(())
    }

    /// Adds what `key` holds. Returns the key to which the session has moved.
    fn add(&mut self, key: Key, entry: Bytes) -> Option<Key> {
        match self.server.decode(entry) {
            Ok(Lookup::Found(record)) if record.belongs_to(self.scope, self.identity) => {
                self.sessions.insert(key, record);
            }
            Ok(Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. })) => {
                self.moved_from.insert(key);
                return Some(to);
            }
            Ok(Lookup::Found(_) | Lookup::Tombstone(_) | Lookup::Absent) => {}
            Err(_) => {
                self.malformed.insert(key);
            }
        }
        None
    }

    /// Whether the key of an index entry neither holds a session nor leads to one.
    fn is_stale(&self, IndexEntry { key, .. }: &IndexEntry) -> bool {
        !self.sessions.contains_key(key) && !self.moved_from.contains(key) && !self.malformed.contains(key)
    }
}

impl Server {
    /// Returns the live sessions of an identity.
    ///
    /// Does not miss a session that gets a new id meanwhile. The new key is indexed and written before the old key is
    /// retired. So the list finds the new key in the index, or finds the record or the tombstone at the old key.
    pub(super) async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let index = self.index(scope, identity);
        let (sessions, moved_from, malformed) = (HashMap::new(), HashSet::new(), HashSet::new());
        let mut listed = ListedSessions { server: self, scope, identity, sessions, moved_from, malformed };
        for entries in self.index_entries(&index).await?.chunks(ENTRIES_PER_CLEANUP) {
            listed.load(entries.iter().map(|entry| entry.key).collect()).await?;
            let stale: Vec<IndexEntry> = entries.iter().filter(|entry| listed.is_stale(entry)).copied().collect();
            self.remove_stale_entries(&index, &stale).await?;
        }
        warn_of_skipped(listed.malformed.len());
        Ok(listed.sessions.into_iter().collect())
    }
}
