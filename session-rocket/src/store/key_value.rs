//! An adapter for back-ends that keep one value under each key: [`KeyValue::into_store`] turns a back-end into a [`Store`].
//!
//! The value is an entry as opaque bytes. A back-end replaces a value only if no other call has changed it since it
//! was loaded. The adapter makes all decisions of the [contract](super): it compares versions, leaves tombstones, and
//! treats expired entries as absent.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//!
//! use bytes::Bytes;
//! use session_rocket::store::key_value::KeyValue;
//! use session_rocket::{Key, Result, SystemClock, Timestamp};
//!
//! /// A back-end without versions of its own compares the bytes.
//! #[derive(Default)]
//! struct Map(Mutex<HashMap<Key, Bytes>>);
//!
//! impl KeyValue for Map {
//!     type Tag = Bytes;
//!
//!     async fn load(&self, key: &Key) -> Result<Option<(Bytes, Bytes)>> {
//!         Ok(self.0.lock().unwrap().get(key).map(|value| (value.clone(), value.clone())))
//!     }
//!
//!     async fn swap(&self, key: &Key, expected: Option<Bytes>, value: Bytes, _expires_at: Timestamp) -> Result<bool> {
//!         let mut entries = self.0.lock().unwrap();
//!         let is_unchanged = entries.get(key) == expected.as_ref();
//!         if is_unchanged {
//!             entries.insert(*key, value);
//!         }
//!         Ok(is_unchanged)
//!     }
//!
//!     async fn delete(&self, key: &Key) -> Result<()> {
//!         self.0.lock().unwrap().remove(key);
//!         Ok(())
//!     }
//! }
//!
//! let store = Map::default().into_store(Arc::new(SystemClock));
//! ```

use std::collections::HashSet;
use std::fmt;
use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;

use super::decide::{self, Decision};
use super::{Create, Lookup, Retire, Stats, Store, Touch, Update, envelope, warn_of_skipped};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};

/// The maximum number of times that [`Store::list`] follows one session to a new key.
const MAX_MOVES: usize = 100;

/// A back-end that keeps entries and replaces them atomically.
///
/// # Errors
/// Every method returns [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`] if the back-end fails. The error's context
/// must not contain a key or a value. The library drops a call that takes longer than the configured `timeout`. A
/// back-end that can hang should also have a time limit of its own.
///
/// # Cancellation
/// The caller may drop the future of any method at any await. The method must then take effect completely or not at
/// all. It may take effect after the future is dropped.
pub trait KeyValue: Send + Sync + 'static {
    /// Identifies the entry that [`load`](Self::load) returned. Two entries of one key must have different tags if their
    /// bytes differ. A back-end that does not count its writes can use the bytes as the tag.
    type Tag: Send + Sync + 'static;

    /// Returns the entry's bytes and tag, or `None` if the key holds no entry. May return an expired entry.
    fn load(&self, key: &Key) -> impl Future<Output = Result<Option<(Bytes, Self::Tag)>>> + Send;

    /// Stores `value` if the key still holds the entry with the tag `expected`, or still holds no entry if `expected` is
    /// `None`. Returns whether it stored `value`. The comparison and the write are one atomic step.
    ///
    /// The back-end may remove the entry at `expires_at` or later, but not earlier.
    fn swap(
        &self,
        key: &Key,
        expected: Option<Self::Tag>,
        value: Bytes,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Removes the key's entry, if the key holds one.
    fn delete(&self, key: &Key) -> impl Future<Output = Result<()>> + Send;

    /// Removes at most `limit` entries that expired at `now` or earlier. Returns how many it removed.
    ///
    /// _Default:_ removes nothing. This is correct only for a back-end that removes expired entries by itself.
    fn delete_expired(&self, limit: u32, now: Timestamp) -> impl Future<Output = Result<u64>> + Send {
        let _ = (limit, now);
        ready(Ok(0))
    }

    /// Whether the back-end implements [`scan`](Self::scan). If it does, the store supports [`list`](Store::list).
    ///
    /// _Default:_ `false`.
    fn can_scan(&self) -> bool {
        false
    }

    /// Passes every entry's key and bytes to `visit`, in any order. If an entry changes during the scan, passes its old
    /// or its new bytes. May leave out an entry that is created during the scan. The adapter implements
    /// [`list`](Store::list) and [`stats`](Store::stats) with this method.
    ///
    /// _Default:_ [`ErrorKind::Unsupported`].
    fn scan(&self, visit: &mut (dyn FnMut(Key, Bytes) + Send)) -> impl Future<Output = Result<()>> + Send {
        let _ = visit;
        ready(Err(Error::new(ErrorKind::Unsupported, "this store cannot list or count its sessions")))
    }

    /// Makes a store that keeps its entries in this back-end and compares their expiry with `clock`.
    fn into_store(self, clock: Arc<dyn Clock>) -> KeyValueStore<Self>
    where
        Self: Sized,
    {
        KeyValueStore { back_end: self, clock }
    }
}

/// A [`Store`] that keeps its entries in a [`KeyValue`] back-end.
pub struct KeyValueStore<K> {
    back_end: K,
    clock: Arc<dyn Clock>,
}

impl<K: KeyValue> KeyValueStore<K> {
    /// Loads the entry of `key` and passes it to `decide`. If `decide` returns a value to write, writes the value and
    /// returns `done`. Otherwise returns the reply of `decide`.
    ///
    /// If another call changes the entry before the write, starts again. The second argument of `decide` says whether
    /// this is a retry. The loop ends, because each retry means that another call succeeded.
    async fn replace<R>(
        &self,
        key: &Key,
        done: R,
        decide: impl Fn(Lookup, bool) -> Result<Decision<Encoded, R>>,
    ) -> Result<R> {
        let mut is_retry = false;
        loop {
            let (entry, tag) = match self.back_end.load(key).await? {
                Some((value, tag)) => (envelope::decode(value)?, Some(tag)),
                None => (Lookup::Absent, None),
            };
            match decide(entry, is_retry)? {
                Decision::Reply(reply) => return Ok(reply),
                Decision::Write((value, expires_at)) => {
                    if self.back_end.swap(key, tag, value, expires_at).await? {
                        return Ok(done);
                    }
                }
            }
            is_retry = true;
        }
    }

    /// Passes every entry to `visit`, except malformed entries.
    async fn scan(&self, mut visit: impl FnMut(Key, Lookup) + Send) -> Result<()> {
        let mut malformed = 0;
        let visit = &mut |key, value| match envelope::decode(value) {
            Ok(entry) => visit(key, entry),
            Err(_) => malformed += 1,
        };
        self.back_end.scan(visit).await?;
        warn_of_skipped(malformed);
        Ok(())
    }

    /// Returns what `key` holds. A malformed entry counts as absent, because a scan skips it too.
    async fn load_unless_malformed(&self, key: &Key) -> Result<Lookup> {
        let Some((value, _)) = self.back_end.load(key).await? else { return Ok(Lookup::Absent) };
        Ok(envelope::decode_live(value, self.clock.now()).unwrap_or(Lookup::Absent))
    }
}

#[async_trait]
impl<K: KeyValue> Store for KeyValueStore<K> {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        let Some((value, _)) = self.back_end.load(key).await? else { return Ok(Lookup::Absent) };
        envelope::decode_live(value, self.clock.now())
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        let (value, expires_at) = encode_record(record)?;
        // Almost every key is new, so the first attempt needs no load.
        if self.back_end.swap(key, None, value.clone(), expires_at).await? {
            return Ok(Create::Created);
        }
        let decide = |entry, _| decide::create(entry, self.clock.now()).try_map(|()| Ok((value.clone(), expires_at)));
        self.replace(key, Create::Created, decide).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let decide = |entry, is_retry| match entry {
            // The caller has sent this update before and stopped waiting. That call has now written the record.
            Lookup::Found(fresh) if is_retry && fresh.version == record.version => Ok(Decision::Reply(Update::Updated)),
            entry => decide::update(entry, expected, self.clock.now()).try_map(|()| encode_record(record)),
        };
        self.replace(key, Update::Updated, decide).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let decide = |entry, _| {
            decide::touch(entry, expected, expires_at, self.clock.now())
                .try_map(|record| encode_record(&Record { expires_at, ..record }))
        };
        self.replace(key, Touch::Touched, decide).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let decide =
            |entry, _| decide::retire(entry, expected, self.clock.now()).try_map(|()| Ok(encode_tombstone(tombstone)));
        self.replace(key, Retire::Retired, decide).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.back_end.delete(key).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        self.back_end.delete_expired(limit, self.clock.now()).await
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let now = self.clock.now();
        let mut listing = Listing::new(scope, identity);
        self.scan(|key, entry| listing.add(key, entry.unexpired(now))).await?;
        // A session may have moved during the scan to a key that the scan missed.
        for _ in 0..MAX_MOVES {
            let keys = listing.unseen_keys();
            if keys.is_empty() {
                return Ok(listing.sessions);
            }
            let entries = try_join_all(keys.iter().map(|key| self.load_unless_malformed(key))).await?;
            keys.into_iter().zip(entries).for_each(|(key, entry)| listing.add(key, entry));
        }
        let context = format!("gave up after {MAX_MOVES} moves: sessions of the identity keep getting new ids");
        Err(Error::new(ErrorKind::Timeout, context))
    }

    fn has_identity_index(&self) -> bool {
        self.back_end.can_scan()
    }

    async fn stats(&self) -> Result<Stats> {
        let (now, mut stats) = (self.clock.now(), Stats::default());
        self.scan(|_, entry| stats.add(&entry, now)).await?;
        Ok(stats)
    }
}

impl<K> fmt::Debug for KeyValueStore<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyValueStore").finish_non_exhaustive()
    }
}

/// The sessions of an identity that [`Store::list`] has found.
struct Listing<'a> {
    scope: &'a str,
    identity: &'a str,
    sessions: Vec<(Key, Record)>,
    seen: HashSet<Key>,
    /// The keys to which sessions moved, including those of other users, because a tombstone has no identity.
    moved_to: Vec<Key>,
}

impl<'a> Listing<'a> {
    fn new(scope: &'a str, identity: &'a str) -> Self {
        Self { scope, identity, sessions: Vec::new(), seen: HashSet::new(), moved_to: Vec::new() }
    }

    fn add(&mut self, key: Key, entry: Lookup) {
        self.seen.insert(key);
        match entry {
            Lookup::Found(record) if record.belongs_to(self.scope, self.identity) => self.sessions.push((key, record)),
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => self.moved_to.push(to),
            Lookup::Found(_) | Lookup::Tombstone(_) | Lookup::Absent => {}
        }
    }

    /// Empties `moved_to`, and returns those of its keys that are not in `seen`.
    fn unseen_keys(&mut self) -> Vec<Key> {
        self.moved_to.drain(..).filter(|to| !self.seen.contains(to)).collect()
    }
}

/// The bytes of an entry, and its expiry.
type Encoded = (Bytes, Timestamp);

fn encode_record(record: &Record) -> Result<Encoded> {
    Ok((envelope::encode_record(record)?.into(), record.expires_at))
}

fn encode_tombstone(tombstone: Tombstone) -> Encoded {
    (envelope::encode_tombstone(tombstone).into(), tombstone.expires_at)
}

#[cfg(test)]
mod tests;
