//! The contract that every store of sessions must fulfill.
//!
//! Under each [`Key`], a store keeps at most one _entry_: the [`Record`] of a session, or a [`Tombstone`]. A tombstone
//! replaces the record if the session ends, or if it gets a new id and so moves to another key. An entry is _live_ until
//! it expires. A store never sees a session id or a decoded value.
//!
//! [`conformance`] tests the clauses of the contract on any store. If a back-end keeps each entry as one value, implement
//! [`key_value::KeyValue`] instead of [`Store`].
//!
//! 1. **Round trip.** [`load`](Store::load) returns exactly what [`create`](Store::create) or
//!    [`update`](Store::update) stored: the payload (any bytes), the version, the times, the identity (any string of at
//!    most 255 bytes) and the scope (any string of at most 200 bytes).
//! 2. **Create only inserts.** If the key holds a live entry, `create` returns [`Create::Taken`] and changes nothing. Of
//!    several concurrent creates of one key, exactly one returns [`Create::Created`].
//! 3. **Update compares and swaps atomically.** `update` replaces a live record only if its version is the expected one.
//!    If the record has another version, `update` returns [`Update::Conflict`] with that record. If the session moved,
//!    `update` returns [`Update::Moved`]. In all other cases, it returns [`Update::Gone`]. An update never creates a
//!    record. Of several concurrent updates that expect the same version, exactly one returns [`Update::Updated`].
//! 4. **Touch only postpones the expiry.** `touch` changes a live record only if its version is the expected one. It
//!    changes only `expires_at`, and only to a later time. It never creates a record.
//! 5. **Retire leaves a tombstone.** `retire` replaces a live record with a tombstone, if the record has the expected
//!    version or the caller expects no version. The store then no longer contains the payload and the identity. If the
//!    key holds no live record, `retire` returns [`Retire::Gone`] and changes nothing.
//! 6. **Delete.** `delete` removes the entry. Deleting an absent key succeeds.
//! 7. **Expired means absent.** From the millisecond `expires_at` on, every call treats an entry as absent, even if no
//!    sweep has removed it yet. So `create` can use the key again.
//! 8. **Sweep.** [`delete_expired`](Store::delete_expired) removes at most `limit` expired entries, and no live entry.
//! 9. **Identity index.** [`list`](Store::list) returns every session of one identity in one scope that is live during
//!    the whole call. If a session gets a new id during the call, `list` returns the record under the old key, the new
//!    key or both. To change an id, the library creates the record under the new key, and then retires the old key with
//!    a tombstone that names the new key. [`revoke_all`] relies on this clause. If a store cannot list, `list` returns
//!    [`ErrorKind::Unsupported`], and [`has_identity_index`](Store::has_identity_index) returns `false`.
//! 10. **Cancellation.** The caller may drop the future of any call at any await. The dropped call takes effect completely
//!     or not at all, and no other call receives its reply.
//! 11. **Failures are errors.** If the store cannot read or write, the call returns an error, and never `Absent` or `Gone`.
//!
//! # A cache in front
//! Any store can be a [cache](cached) in front of any other store: set `cache` and `cache_ttl` of [`Options`]. Every
//! change goes to the store first. If the cache is down, calls take longer, but do not fail. The module [`cached`] says
//! how old a loaded session may be.

use std::sync::Arc;

use async_trait::async_trait;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::{Record, Tombstone, Version};

pub mod cached;
pub mod conformance;
mod decide;
mod envelope;
#[cfg(all(feature = "file", unix))]
pub mod file;
pub mod key_value;
#[cfg(feature = "memcached")]
pub mod memcached;
pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub mod sql;
pub(crate) mod sweep;

pub use mask::mask_url;
pub use open::open;
pub(crate) use open::with_cache;
pub use options::{Migrate, Options};
pub use record::TOMBSTONE_LIFETIME;
pub(crate) use revoke::revoke_each;
pub use revoke::{revoke, revoke_all};

mod bounded;
mod mask;
mod open;
mod options;
pub(crate) mod record;
mod revoke;
pub(crate) mod scheme;

/// What a key holds.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// A live record.
    Found(Record),
    /// A live tombstone: the session ended or moved.
    Tombstone(Tombstone),
    /// The key holds nothing, or an expired entry.
    Absent,
}

/// What [`Store::create`] did.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// The record is stored.
    Created,
    /// The key holds a live entry. Nothing changed.
    Taken,
}

/// What [`Store::update`] did.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The record is stored.
    Updated,
    /// The key holds this record, which has another version. Nothing changed.
    Conflict(Record),
    /// The session moved to this key. Nothing changed.
    Moved(Key),
    /// The session ended, or the key is absent. Nothing changed.
    Gone,
}

/// What [`Store::touch`] did.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// The record expires at the given time or later.
    Touched,
    /// The key holds a record of another version. Nothing changed.
    Conflict,
    /// The key holds no live record. Nothing changed.
    Gone,
}

/// What [`Store::retire`] did.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retire {
    /// The tombstone is stored.
    Retired,
    /// The key holds this record, which has another version. Nothing changed.
    Conflict(Record),
    /// The key holds no live record. Nothing changed.
    Gone,
}

/// The number and size of the entries in a store.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Live sessions.
    pub live: u64,
    /// Live tombstones.
    pub tombstones: u64,
    /// Expired sessions and tombstones that are not removed yet.
    pub expired: u64,
    /// The size of all payloads in bytes, including those of expired sessions.
    pub bytes: u64,
    /// When the oldest live session began.
    pub oldest: Option<Timestamp>,
}

impl Stats {
    /// Adds one entry, expired or not.
    pub(crate) fn add(&mut self, entry: &Lookup, now: Timestamp) {
        if let Lookup::Found(record) = entry {
            self.bytes += u64::try_from(record.payload.len()).unwrap_or(u64::MAX);
        }
        match entry {
            entry if entry.expires_at().is_some_and(|expires_at| expires_at <= now) => self.expired += 1,
            Lookup::Found(record) => {
                self.live += 1;
                self.oldest = Some(self.oldest.map_or(record.created_at, |oldest| oldest.min(record.created_at)));
            }
            Lookup::Tombstone(_) => self.tombstones += 1,
            Lookup::Absent => {}
        }
    }
}

/// A back-end that keeps sessions. The [module's documentation](self) has the contract.
///
/// # Errors
/// Every call returns [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`] if the back-end fails or sends no valid
/// reply. If a call that writes returns an error, the write may have happened: load the key to find out.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Returns what `key` holds.
    async fn load(&self, key: &Key) -> Result<Lookup>;

    /// Stores a new record.
    async fn create(&self, key: &Key, record: &Record) -> Result<Create>;

    /// Replaces the record whose version is `expected` with `record`.
    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update>;

    /// Postpones the record's expiry to `expires_at`, if the record's version is `expected` and its expiry is earlier.
    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch>;

    /// Replaces the record with `tombstone`, if the record's version is `expected` or `expected` is `None`.
    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire>;

    /// Removes the entry of `key`.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// Removes at most `limit` expired entries. Returns how many it removed.
    async fn delete_expired(&self, limit: u32) -> Result<u64>;

    /// Returns the live records of `identity` in `scope`, with their keys. Skips malformed entries, and logs a warning
    /// with their number.
    ///
    /// _Default:_ [`ErrorKind::Unsupported`].
    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let _ = (scope, identity);
        Err(Error::new(ErrorKind::Unsupported, "this store cannot list the sessions of a user"))
    }

    /// Whether the store supports [`list`](Self::list). If not, the launch logs a warning for each session type with an
    /// identity, or aborts if the type limits `max_sessions`.
    ///
    /// _Default:_ `false`.
    fn has_identity_index(&self) -> bool {
        false
    }

    /// Counts the entries. Reads all entries, so a call may take long. The library never calls this during a request.
    ///
    /// _Default:_ [`ErrorKind::Unsupported`].
    async fn stats(&self) -> Result<Stats> {
        Err(Error::new(ErrorKind::Unsupported, "this store cannot count its sessions"))
    }
}

/// Logs the number of malformed entries that a list skipped.
///
/// A malformed entry does not make a list fail, because nobody could then end the user's other sessions.
fn warn_of_skipped(malformed: usize) {
    if malformed > 0 {
        log::warn!(target: "session_rocket", "skipped {malformed} malformed entries while listing sessions");
    }
}

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

    fn has_identity_index(&self) -> bool {
        (**self).has_identity_index()
    }

    async fn stats(&self) -> Result<Stats> {
        (**self).stats().await
    }
}
