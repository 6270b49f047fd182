//! The contract that every store of sessions must fulfill.
//!
//! A store keeps opaque [`Record`]s under opaque [`Key`]s. It never sees a session id or a decoded value.
//! [`conformance`] tests the clauses of the contract on any store. A back-end that keeps whole entries can implement
//! [`key_value::KeyValue`] instead of [`Store`].
//!
//! 1. **Round trip.** [`load`](Store::load) returns exactly what [`create`](Store::create) or
//!    [`update`](Store::update) stored: payload (any bytes), version, times, identity (any string of at most 255 bytes),
//!    scope (any string of at most 200 bytes).
//! 2. **Create only inserts.** If the key holds a live record or a live tombstone, `create` returns [`Create::Taken`]
//!    and changes nothing. Of several concurrent creates of one key, exactly one returns [`Create::Created`].
//! 3. **Update compares and swaps atomically.** `update` replaces a record only if its version is the expected one. If
//!    the record has another version, `update` returns [`Update::Conflict`] with that record; if the key is absent or
//!    its session ended, [`Update::Gone`]; if the session moved, [`Update::Moved`]. An update never creates a record.
//!    Of several concurrent updates that expect the same version, exactly one returns [`Update::Updated`].
//! 4. **Touch postpones only the expiry.** `touch` compares versions as `update` does. It does not change the version,
//!    the payload or `updated_at`, leaves a record that already expires later unchanged, and never creates a record.
//! 5. **Retire leaves a tombstone.** `retire` replaces a live record of any version, or only of the expected version.
//!    The store then no longer contains the payload and the identity. If the key holds no live record, `retire` returns
//!    [`Retire::Gone`] and changes nothing.
//! 6. **Delete removes** the record or the tombstone. Deleting an absent key succeeds.
//! 7. **Expired means absent**, for records and tombstones, in every call, from the millisecond `expires_at` on, even
//!    if the sweep has not removed them yet. So `create` can use the key again.
//! 8. **Sweep.** [`delete_expired`](Store::delete_expired) removes at most `limit` expired records and tombstones, and
//!    no live ones. It returns how many it removed.
//! 9. **Identity index.** [`list`](Store::list) returns every session of one identity in one scope that is live during
//!    the whole call. If a session gets a new id during the call, `list` returns its old key, its new key or both: the
//!    library creates the record under the new key before it retires the old key with a tombstone that leads to the new
//!    key. [`revoke_all`] relies on this clause. A store that cannot index returns [`ErrorKind::Unsupported`] from
//!    `list`, and `false` from [`has_identity_index`](Store::has_identity_index).
//! 10. **Cancellation.** The future of any call may be dropped at any await. The call then takes effect completely or not
//!     at all, and no later call receives the reply to another call.
//! 11. **Failures are errors.** If the store cannot read or write, the call returns an error, and never `Absent`, `Gone` or
//!     success.
//!
//! # A cache in front
//! Any store can be a [cache](cached) in front of any other store: set `cache` and `cache_ttl` of [`Options`]. Every
//! change goes to the store first. If the cache is down, calls take longer, but none fails. The module [`cached`] says
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
    /// Nothing, or an expired entry.
    Absent,
}

/// What [`Store::create`] did.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// The record is stored.
    Created,
    /// The key was in use. Nothing changed.
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
    /// The size of all payloads in bytes.
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

    /// Replaces the record whose version is `expected`. The store may assume that `created_at` and `scope` are unchanged.
    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update>;

    /// Moves the expiry of the record whose version is `expected` to `expires_at`, unless the record expires later.
    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch>;

    /// Replaces the record by `tombstone`, if the version is `expected` or `expected` is `None`.
    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire>;

    /// Removes what `key` holds.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// Removes at most `limit` expired records and tombstones. Returns how many it removed.
    async fn delete_expired(&self, limit: u32) -> Result<u64>;

    /// Returns the live records of `identity` in `scope` (clause 9 of the contract). Skips malformed entries, and logs
    /// a warning with their number.
    ///
    /// _Default:_ [`ErrorKind::Unsupported`].
    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let _ = (scope, identity);
        Err(Error::new(ErrorKind::Unsupported, "this store has no index of identities"))
    }

    /// Whether [`list`](Self::list) works. If not, the launch of a session type with an identity logs a warning.
    ///
    /// _Default:_ `false`.
    fn has_identity_index(&self) -> bool {
        false
    }

    /// Counts the entries. Reads all entries, so a call may take long. The library does not call it during a request.
    ///
    /// _Default:_ [`ErrorKind::Unsupported`].
    async fn stats(&self) -> Result<Stats> {
        Err(Error::new(ErrorKind::Unsupported, "this store cannot count its sessions"))
    }
}

/// Logs the number of malformed entries that a list skipped.
///
/// If a malformed entry made the list fail, the user's other sessions could not be ended.
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
