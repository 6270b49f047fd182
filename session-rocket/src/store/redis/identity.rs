//! Lists and ends all sessions of an identity.

use std::collections::{HashMap, HashSet};

use futures::future::join_all;

use super::index::IndexEntry;
use super::script::Attempt;
use super::server::Server;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone};
use crate::store::{Lookup, envelope};

/// The number of records that are loaded or ended concurrently.
const CONCURRENT_CALLS: usize = 32;
/// The number of index entries after which stale entries are removed. If a call runs out of time, its next attempt then finds
/// a shorter index.
const ENTRIES_PER_CLEANUP: usize = 1024;

/// The progress of a call that visits all sessions of an identity.
struct Visits<'a, T> {
    /// The session to skip.
    except: Option<&'a Key>,
    /// The keys of the visited sessions of the identity, and the results of the visits.
    done: HashMap<Key, T>,
    /// The keys whose sessions have moved to other keys. They need no second visit.
    moved_from: HashSet<Key>,
}

impl<'a, T> Visits<'a, T> {
    fn new(except: Option<&'a Key>) -> Self {
        Self { except, done: HashMap::new(), moved_from: HashSet::new() }
    }

    /// Visits the sessions of `entries`. If a session has moved, also visits its new key, even if that key was visited before
    /// and was empty.
    ///
    /// # Errors
    /// Returns an error if a visit fails, after it has visited the other sessions.
    async fn visit<F>(&mut self, entries: &[IndexEntry], visit: impl Fn(Key) -> F) -> Result<()>
    where
        F: Future<Output = Result<Attempt<T>>>,
    {
        let mut failure = None;
        let mut keys: Vec<Key> = entries.iter().map(|entry| entry.key).collect();
        while !keys.is_empty() {
            let mut moved = Vec::new();
            for keys in keys.chunks(CONCURRENT_CALLS) {
                let visits = join_all(keys.iter().map(|key| visit(*key))).await;
                for (key, visited) in keys.iter().zip(visits) {
                    match visited {
                        Ok(Attempt::Done(result)) => _ = self.done.insert(*key, result),
                        Ok(Attempt::Declined(Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }))) => {
                            self.moved_from.insert(*key);
                            moved.push(to);
                        }
                        Ok(Attempt::Declined(_)) => {}
                        Err(error) => failure = Some(error),
                    }
                }
            }
            moved.retain(|to| Some(to) != self.except && !self.done.contains_key(to) && !self.moved_from.contains(to));
            keys = moved;
        }
        failure.map_or(Ok(()), Err)
    }
}

impl Server {
    pub(super) async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let index = self.index(scope, identity);
        let load = |key| async move {
            Ok(match self.load(&key).await? {
                Lookup::Found(record) if record.belongs_to(scope, identity) => Attempt::Done(record),
                other => Attempt::Declined(other),
            })
        };
        let mut visits = Visits::new(None);
        for entries in self.index_entries(&index).await?.chunks(ENTRIES_PER_CLEANUP) {
            visits.visit(entries, load).await?;
            let is_stale = |entry: &&IndexEntry| !visits.done.contains_key(&entry.key);
            let stale: Vec<IndexEntry> = entries.iter().filter(is_stale).copied().collect();
            self.remove_stale_entries(&index, &stale).await?;
        }
        Ok(visits.done.into_iter().collect())
    }

    pub(super) async fn retire_all(
        &self,
        scope: &str,
        identity: &str,
        except: Option<&Key>,
        until: Timestamp,
    ) -> Result<u64> {
        let (index, tombstone, mut owner) = (self.index(scope, identity), Tombstone::ended(until), Vec::new());
        envelope::encode_owner(&mut owner, scope, Some(identity))?;
        let owner = &owner;
        let retire = |key| async move { self.retire(&key, None, owner, tombstone).await };
        let (mut visits, mut seen, mut failure) = (Visits::new(except), HashSet::new(), None);
        // A session may get a new id during this call. It is indexed and written under the new key before the old key gets a
        // tombstone. So this call follows tombstones, and reads the index again until it has no new entry.
        loop {
            let mut entries = self.index_entries(&index).await?;
            entries.retain(|entry| Some(&entry.key) != except && seen.insert(entry.key));
            if entries.is_empty() {
                let ended = u64::try_from(visits.done.len()).unwrap_or(u64::MAX);
                return failure.map_or(Ok(ended), Err);
            }
            for entries in entries.chunks(ENTRIES_PER_CLEANUP) {
                // If a session cannot be ended, its entry stays in the index, so that the next call finds it.
                match visits.visit(entries, retire).await {
                    Ok(()) => self.remove_stale_entries(&index, entries).await?,
                    Err(error) => failure = Some(error),
                }
            }
        }
    }
}
