//! Listing and ending all sessions of an identity.

use std::collections::{HashMap, HashSet};

use futures::future::{join_all, try_join_all};

use super::index::IndexEntry;
use super::script::ScriptReply;
use super::server::Server;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone};
use crate::store::{Lookup, envelope};

/// The number of records that are loaded or ended at once.
const BATCH: usize = 32;
/// The number of index entries that are checked before the stale ones are removed, so that a call that is cut off has made
/// the index shorter.
const STRETCH: usize = 1024;

impl Server {
    pub(super) async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let index = self.index(scope, identity);
        let (mut listed, mut moved, mut followed) = (HashMap::new(), Vec::new(), HashSet::new());
        for entries in self.index_entries(&index).await?.chunks(STRETCH) {
            let keys: Vec<Key> = entries.iter().map(|entry| entry.key).collect();
            self.collect(&keys, (scope, identity), &mut listed, &mut moved).await?;
            let stale: Vec<IndexEntry> =
                entries.iter().copied().filter(|entry| !listed.contains_key(&entry.key)).collect();
            self.forget_entries(&index, &stale).await?;
        }
        // A session may have moved to a key that held nothing when it was looked at.
        loop {
            moved.retain(|to| !listed.contains_key(to) && followed.insert(*to));
            if moved.is_empty() {
                return Ok(listed.into_iter().collect());
            }
            let keys = std::mem::take(&mut moved);
            self.collect(&keys, (scope, identity), &mut listed, &mut moved).await?;
        }
    }

    /// Loads sessions. Adds those of an identity to `listed`, and the keys to which others have moved to `moved`.
    async fn collect(
        &self,
        keys: &[Key],
        (scope, identity): (&str, &str),
        listed: &mut HashMap<Key, Record>,
        moved: &mut Vec<Key>,
    ) -> Result<()> {
        for keys in keys.chunks(BATCH) {
            for (key, found) in keys.iter().zip(try_join_all(keys.iter().map(|key| self.load(key))).await?) {
                match found {
                    Lookup::Found(record) if is_of(&record, scope, identity) => _ = listed.insert(*key, record),
                    Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => moved.push(to),
                    Lookup::Found(_) | Lookup::Tombstone(_) | Lookup::Absent => {}
                }
            }
        }
        Ok(())
    }

    pub(super) async fn retire_all(
        &self,
        scope: &str,
        identity: &str,
        except: Option<&Key>,
        until: Timestamp,
    ) -> Result<u64> {
        let (index, owner) = (self.index(scope, identity), envelope::seal_owner(scope, Some(identity))?);
        let tombstone = Tombstone { fate: Fate::Ended, expires_at: until };
        let (mut seen, mut followed) = (HashSet::new(), HashSet::new());
        let (mut ended, mut failure) = (0, None);
        // A session may get another id in between. It is indexed and written under the new id before it leaves the old one.
        // So sessions that moved are followed at once, and the index is read until it has no new entry.
        loop {
            let mut entries = self.index_entries(&index).await?;
            entries.retain(|entry| Some(&entry.key) != except && seen.insert(entry.key));
            if entries.is_empty() {
                return failure.map_or(Ok(ended), Err);
            }
            for entries in entries.chunks(STRETCH) {
                let mut keys: Vec<Key> = entries.iter().map(|entry| entry.key).collect();
                while !keys.is_empty() {
                    let (number, moved, error) = self.end_each(&keys, &owner, tombstone).await;
                    ended += number;
                    failure = error.or(failure);
                    keys = moved;
                    keys.retain(|to| Some(to) != except && followed.insert(*to));
                }
                self.forget_entries(&index, entries).await?;
            }
        }
    }

    /// Ends sessions of `owner`. Returns the number of ended sessions, the keys to which others moved, and an error if a call
    /// failed.
    async fn end_each(&self, keys: &[Key], owner: &[u8], tombstone: Tombstone) -> (u64, Vec<Key>, Option<Error>) {
        let (mut ended, mut moved, mut failure) = (0, Vec::new(), None);
        for keys in keys.chunks(BATCH) {
            for reply in join_all(keys.iter().map(|key| self.end(key, None, owner, tombstone))).await {
                match reply {
                    Ok(ScriptReply::Done | ScriptReply::DoneFor(..)) => ended += 1,
                    Ok(ScriptReply::Held(Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }))) => moved.push(to),
                    Ok(ScriptReply::Held(_)) => {}
                    // The other sessions still have to end.
                    Err(error) => failure = Some(error),
                }
            }
        }
        (ended, moved, failure)
    }
}

fn is_of(record: &Record, scope: &str, identity: &str) -> bool {
    record.scope == scope && record.identity.as_deref() == Some(identity)
}
