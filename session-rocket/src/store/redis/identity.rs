//! All sessions of an identity: listed, and ended.

use std::collections::{HashMap, HashSet};

use futures::future::{join_all, try_join_all};

use super::RedisStore;
use super::index::Member;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone};
use crate::store::{Lookup, envelope};

/// So many records are asked for at once.
const BATCH: usize = 32;
/// So many members of an index are looked at before those that are stale are forgotten.
const STRETCH: usize = 1024;

impl RedisStore {
    pub(super) async fn list_all(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let index = self.index(scope, identity);
        let (mut listed, mut moved, mut followed) = (HashMap::new(), Vec::new(), HashSet::new());
        // Forgotten as it goes on: a long list that is cut off is shorter the next time.
        for members in self.members(&index).await?.chunks(STRETCH) {
            let keys: Vec<Key> = members.iter().map(|member| member.key).collect();
            self.look_at(&keys, (scope, identity), &mut listed, &mut moved).await?;
            let stale: Vec<Member> =
                members.iter().copied().filter(|member| !listed.contains_key(&member.key)).collect();
            self.forget(&index, &stale).await?;
        }
        // To one that may not have been there when it was looked at.
        loop {
            moved.retain(|to| !listed.contains_key(to) && followed.insert(*to));
            if moved.is_empty() {
                return Ok(listed.into_iter().collect());
            }
            let keys = std::mem::take(&mut moved);
            self.look_at(&keys, (scope, identity), &mut listed, &mut moved).await?;
        }
    }

    /// Looks at sessions: lists those of an identity, and notes where others have moved to.
    async fn look_at(
        &self,
        keys: &[Key],
        (scope, identity): (&str, &str),
        listed: &mut HashMap<Key, Record>,
        moved: &mut Vec<Key>,
    ) -> Result<()> {
        for keys in keys.chunks(BATCH) {
            for (key, found) in keys.iter().zip(try_join_all(keys.iter().map(|key| self.look(key))).await?) {
                match found {
                    Lookup::Found(record) if is_of(&record, scope, identity) => _ = listed.insert(*key, record),
                    Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => moved.push(to),
                    Lookup::Found(_) | Lookup::Tombstone(_) | Lookup::Absent => {}
                }
            }
        }
        Ok(())
    }

    pub(super) async fn end_all(
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
        // A session may be given another id meanwhile: it is in the index and written under that one before it leaves
        // the other. So whoever moved is followed at once, and the index read until nobody new is there.
        loop {
            let mut members = self.members(&index).await?;
            members.retain(|member| Some(&member.key) != except && seen.insert(member.key));
            if members.is_empty() {
                return failure.map_or(Ok(ended), Err);
            }
            for members in members.chunks(STRETCH) {
                let mut keys: Vec<Key> = members.iter().map(|member| member.key).collect();
                while !keys.is_empty() {
                    let mut moved = Vec::new();
                    for keys in keys.chunks(BATCH) {
                        for answer in join_all(keys.iter().map(|key| self.end(key, &[], &owner, tombstone))).await {
                            match answer {
                                Ok(answer) => {
                                    ended += u64::from(answer.is_done());
                                    let to = answer.moved_to();
                                    moved.extend(to.filter(|to| Some(to) != except && followed.insert(*to)));
                                }
                                // The others are to end all the same.
                                Err(error) => failure = Some(error),
                            }
                        }
                    }
                    keys = moved;
                }
                self.forget(&index, members).await?;
            }
        }
    }
}

fn is_of(record: &Record, scope: &str, identity: &str) -> bool {
    record.scope == scope && record.identity.as_deref() == Some(identity)
}
