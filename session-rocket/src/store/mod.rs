//! The store contract: what a place to keep sessions has to do.
//!
//! A store keeps opaque [`Record`]s under opaque [`Key`]s. It never sees a session id or a decoded value. The clauses
//! below are the contract; each is a test of [`conformance`], which every store of this crate passes and which is
//! public for authors of further stores.
//!
//! 1. **Round trip.** What [`create`](Store::create) or [`update`](Store::update) was given, [`load`](Store::load)
//!    gives back, to the bit: payload (any bytes), version, moments, identity (any text up to 255 bytes), scope (any
//!    text up to 200 bytes).
//! 2. **Create inserts only.** A key that holds a live record or a live tombstone is [`Create::Taken`], and what it
//!    holds is untouched. Of any number of concurrent creates of one key, exactly one is [`Create::Created`].
//! 3. **Update compares and swaps, atomically.** Only the version that was expected is replaced. Another version gives
//!    [`Update::Conflict`] with the record now there; an ended or absent key gives [`Update::Gone`]; a moved one
//!    [`Update::Moved`]. Never does an update create. Of any number of concurrent updates that expect one version,
//!    exactly one is [`Update::Updated`].
//! 4. **Touch moves the expiry only**, and never back: of two, the later moment stands. It changes neither version,
//!    payload nor `updated_at`, compares versions like an update, and never creates.
//! 5. **Retire leaves a tombstone.** It replaces the live record, whatever its version or only the expected one; the
//!    payload and the identity are gone from the store. A key that holds no live record is [`Retire::Gone`] and is
//!    left as it is.
//! 6. **Delete removes** record or tombstone; deleting what is absent is fine.
//! 7. **Expired is absent**, for records and tombstones, in every call, from the very millisecond of `expires_at` on,
//!    whether swept yet or not. An expired key can be created anew.
//! 8. **Sweep.** [`delete_expired`](Store::delete_expired) removes at most `limit` expired records and tombstones, says
//!    how many, and touches nothing live.
//! 9. **Identity index.** [`list`](Store::list) gives the live records of one identity in one scope;
//!    [`retire_all`](Store::retire_all) ends them, but for the exception, and leaves tombstones; also one that is given a
//!    new id meanwhile, which is created there before it is retired here. A store that cannot index answers
//!    [`ErrorKind::Unsupported`] to both.
//! 10. **Cancellation.** Dropping the future of any call, at any await, leaves the store whole: the call happened or it
//!     did not, and no later call gets another call's answer.
//! 11. **Errors are not answers.** What cannot be read or written is an error, never `Absent`, `Gone` or success.
//!
//! # A cache in front
//! Any store can be a [cache](cached) in front of any other: `cache` is its URL, `cache_ttl` how long it serves an entry
//! at most, 60 seconds by default. Every change goes to the store first. As long as every process reaches the cache, it
//! serves nothing older than a write that was answered. One that is down costs time and nothing else; what a process
//! changes while only it cannot reach the cache, the others see after `cache_ttl` at the latest.

use std::sync::Arc;

use async_trait::async_trait;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
#[cfg(doc)]
use crate::store::record::Fate;
use crate::store::record::{Record, Tombstone, Version};

pub mod cached;
pub mod conformance;
mod envelope;
#[cfg(all(feature = "file", unix))]
pub mod file;
#[cfg(feature = "memcached")]
pub mod memcached;
pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub mod sql;
pub(crate) mod sweep;

pub use mask::mask_url;
pub(crate) use open::with_cache;
pub use open::{Migrate, Options, open};

mod mask;
mod open;
pub(crate) mod record;
pub(crate) mod scheme;

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// A live record.
    Found(Record),
    /// The session that was here has ended or moved.
    Tombstone(Tombstone),
    /// Nothing, or something expired.
    Absent,
}

/// What [`Store::create`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// The record is stored.
    Created,
    /// The key was in use; nothing changed.
    Taken,
}

/// What [`Store::update`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The record is stored.
    Updated,
    /// Another version was there: this one. Nothing changed.
    Conflict(Record),
    /// The session lives on at this key. Nothing changed.
    Moved(Key),
    /// The session has ended, or never was. Nothing changed.
    Gone,
}

/// What [`Store::touch`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// The expiry is set.
    Touched,
    /// Another version was there. Nothing changed.
    Conflict,
    /// No live record was there. Nothing changed.
    Gone,
}

/// What [`Store::retire`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retire {
    /// The tombstone stands.
    Retired,
    /// Another version was there: this one. Nothing changed.
    Conflict(Record),
    /// No live record was there: nothing, or a tombstone. Nothing changed.
    Gone,
}

/// How much a store holds.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Sessions that are alive.
    pub live: u64,
    /// Tombstones that stand.
    pub tombstones: u64,
    /// Sessions and tombstones that expired and were not swept yet.
    pub expired: u64,
    /// What the payloads of all sessions take, in bytes.
    pub bytes: u64,
    /// When the oldest living session began.
    pub oldest: Option<Timestamp>,
}

impl Stats {
    /// Counts one more key, which holds `held`, whether expired or not.
    pub(crate) fn add(&mut self, held: &Lookup, now: Timestamp) {
        let (expires_at, record) = match held {
            Lookup::Found(record) => (record.expires_at, Some(record)),
            Lookup::Tombstone(tombstone) => (tombstone.expires_at, None),
            Lookup::Absent => return,
        };
        self.bytes += record.map_or(0, |record| u64::try_from(record.payload.len()).unwrap_or(u64::MAX));
        match record {
            _ if expires_at <= now => self.expired += 1,
            None => self.tombstones += 1,
            Some(record) => {
                self.live += 1;
                self.oldest = Some(self.oldest.map_or(record.created_at, |oldest| oldest.min(record.created_at)));
            }
        }
    }

    /// Both together.
    #[cfg(all(feature = "file", unix))]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            live: self.live + other.live,
            tombstones: self.tombstones + other.tombstones,
            expired: self.expired + other.expired,
            bytes: self.bytes + other.bytes,
            oldest: self.oldest.into_iter().chain(other.oldest).min(),
        }
    }
}

/// A place to keep sessions. The contract is in the [module's documentation](self).
///
/// # Errors
/// Every call gives [`ErrorKind::Unavailable`] or
/// [`ErrorKind::Timeout`] when the back-end did not answer as it should. After an error of a
/// writing call it is not known whether the call happened; callers look.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What `key` holds.
    async fn load(&self, key: &Key) -> Result<Lookup>;

    /// Stores a new record.
    async fn create(&self, key: &Key, record: &Record) -> Result<Create>;

    /// Replaces the record whose version is `expected`. `created_at` and `scope` may be taken to be unchanged.
    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update>;

    /// Moves the expiry of the record whose version is `expected` to `expires_at`, unless it is later already.
    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch>;

    /// Puts `tombstone` in the place of the record, whatever its version or only if it is `expected`.
    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire>;

    /// Removes whatever `key` holds.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// Removes up to `limit` expired records and tombstones; says how many.
    async fn delete_expired(&self, limit: u32) -> Result<u64>;

    /// The live records of `identity` in `scope`.
    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let _ = (scope, identity);
        Err(unsupported())
    }

    /// Ends the live sessions of `identity` in `scope`, but for `except`, leaving tombstones that say
    /// [`Fate::Ended`] until `until`; says how many.
    async fn retire_all(&self, scope: &str, identity: &str, except: Option<&Key>, until: Timestamp) -> Result<u64> {
        let _ = (scope, identity, except, until);
        Err(unsupported())
    }

    /// How much there is. May take long, for it looks at everything; no part of serving a site.
    async fn stats(&self) -> Result<Stats> {
        Err(Error::new(ErrorKind::Unsupported, "this store cannot count what it holds"))
    }
}

/// A store that several session types, or a test, hold.
#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        (**self).load(key).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        (**self).create(key, record).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        (**self).update(key, expected, record).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        (**self).touch(key, expected, expires_at).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        (**self).retire(key, expected, tombstone).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        (**self).delete(key).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        (**self).delete_expired(limit).await
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        (**self).list(scope, identity).await
    }

    async fn retire_all(&self, scope: &str, identity: &str, except: Option<&Key>, until: Timestamp) -> Result<u64> {
        (**self).retire_all(scope, identity, except, until).await
    }

    async fn stats(&self) -> Result<Stats> {
        (**self).stats().await
    }
}

fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "this store keeps no index of identities")
}
