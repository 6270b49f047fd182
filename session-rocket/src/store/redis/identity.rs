//! Listing and ending all sessions of an identity.

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

/// The number of records that are loaded or ended at once.
const BATCH: usize = 32;
/// The number of index entries that are checked before the stale ones are removed, so that a call that is cut off has made
/// the index shorter.
const STRETCH: usize = 1024;

/// The sessions that a call has visited.
struct Walk<'a, T> {
    /// The session that the call must not visit.
    except: Option<&'a Key>,
    /// The keys of the identity's sessions, and what the visits returned.
    done: HashMap<Key, T>,
    /// The keys that sessions have left for other keys. They need no second visit.
    moved_from: HashSet<Key>,
}

impl<'a, T> Walk<'a, T> {
    fn new(except: Option<&'a Key>) -> Self {
        Self { except, done: HashMap::new(), moved_from: HashSet::new() }
    }

    /// Visits the sessions of `entries`. If a session has moved, visits its new key, and visits that key again if it was empty
    /// before.
    ///
    /// # Errors
    /// If a visit fails. The other sessions are visited first.
    async fn visit<F>(&mut self, entries: &[IndexEntry], visit: impl Fn(Key) -> F) -> Result<()>
    where
        F: Future<Output = Result<Attempt<T>>>,
    {
        let mut failure = None;
        let mut keys: Vec<Key> = entries.iter().map(|entry| entry.key).collect();
        while !keys.is_empty() {
            let mut moved = Vec::new();
            for keys in keys.chunks(BATCH) {
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
        let mut walk = Walk::new(None);
        for entries in self.index_entries(&index).await?.chunks(STRETCH) {
            walk.visit(entries, load).await?;
            let is_stale = |entry: &&IndexEntry| !walk.done.contains_key(&entry.key);
            let stale: Vec<IndexEntry> = entries.iter().filter(is_stale).copied().collect();
            self.forget_entries(&index, &stale).await?;
        }
        Ok(walk.done.into_iter().collect())
    }

    pub(super) async fn retire_all(
        &self,
        scope: &str,
        identity: &str,
        except: Option<&Key>,
        until: Timestamp,
    ) -> Result<u64> {
        let (index, tombstone, mut owner) = (self.index(scope, identity), Tombstone::ended(until), Vec::new());
        envelope::put_owner(&mut owner, scope, Some(identity))?;
        let owner = &owner;
        let end = |key| async move { self.end(&key, None, owner, tombstone).await };
        let (mut walk, mut seen, mut failure) = (Walk::new(except), HashSet::new(), None);
        // A session may get another id in between. It is indexed and written under the new id before it leaves the old one.
        // So sessions that moved are followed at once, and the index is read until it has no new entry.
        loop {
            let mut entries = self.index_entries(&index).await?;
            entries.retain(|entry| Some(&entry.key) != except && seen.insert(entry.key));
            if entries.is_empty() {
                let ended = u64::try_from(walk.done.len()).unwrap_or(u64::MAX);
                return failure.map_or(Ok(ended), Err);
            }
            for entries in entries.chunks(STRETCH) {
                // A session that could not be ended stays in the index, so that the next call finds it.
                match walk.visit(entries, end).await {
                    Ok(()) => self.forget_entries(&index, entries).await?,
                    Err(error) => failure = Some(error),
                }
            }
        }
    }
}
