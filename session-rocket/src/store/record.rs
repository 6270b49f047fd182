//! What a store keeps: records and tombstones.

use std::borrow::Cow;
use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{Key, random_bytes};

/// The number of random versions that one system call draws, so that few saves need a system call. Versions are not
/// secret, so unused versions may stay in memory.
const BATCH: usize = 32;

/// The lifetime of a [`Tombstone`]: one minute. A late request with the old session id arrives within this time.
///
/// Every tombstone must have this lifetime, because the library computes from the expiry when the session ended.
pub const TOMBSTONE_LIFETIME: Duration = Duration::from_secs(60);

thread_local! {
    static UNUSED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The version of a record: 64 random bits.
///
/// Every save draws a new version. A version is random and not a counter, so that a writer that received no reply can
/// recognize its own record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// Creates a version from 64 bits that a store has stored.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the 64 bits to store. A database without unsigned integers stores `bits() as i64`.
    pub const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn random() -> Result<Self> {
        UNUSED.with_borrow_mut(|unused| {
            if unused.is_empty() {
                let bytes = random_bytes::<{ BATCH * size_of::<u64>() }>()?;
                unused.extend(bytes.as_chunks().0.iter().map(|eight| u64::from_be_bytes(*eight)));
            }
            unused.pop().map(Self).ok_or_else(|| Error::new(ErrorKind::Random, "the system returned no random bytes"))
        })
    }
}

/// A session as a store keeps it. A store compares the version and the expiry, and may index the scope and identity.
///
/// ```
/// use session_rocket::{Clock, Record, SystemClock, Version};
///
/// let now = SystemClock.now();
/// let record = Record::new(Version::from_bits(1), now).with_scope("visitor").with_times(now, now).with_identity("ada");
/// assert_eq!(record.identity.as_deref(), Some("ada"));
/// ```
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The encoded fields.
    pub payload: Bytes,
    /// Changes with every `update`. A `touch` does not change it.
    pub version: Version,
    /// When the session began.
    pub created_at: Timestamp,
    /// When the session was last saved.
    pub updated_at: Timestamp,
    /// The record counts as absent from this time on.
    pub expires_at: Timestamp,
    /// Identifies the user that the session belongs to, in at most 255 bytes.
    pub identity: Option<String>,
    /// Identifies the session type, in at most 200 bytes. Equal identities in two scopes are unrelated.
    pub scope: Cow<'static, str>,
}

impl Record {
    /// Creates a record with an empty payload, an empty scope and no identity. Its session began at the Unix epoch.
    pub fn new(version: Version, expires_at: Timestamp) -> Self {
        let epoch = Timestamp::from_millis(0);
        Self {
            payload: Bytes::new(),
            version,
            created_at: epoch,
            updated_at: epoch,
            expires_at,
            identity: None,
            scope: Cow::Borrowed(""),
        }
    }

    /// Sets the scope, which identifies the session type.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<Cow<'static, str>>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Sets the encoded fields.
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Sets when the session began and when it was last saved.
    #[must_use]
    pub fn with_times(mut self, created_at: Timestamp, updated_at: Timestamp) -> Self {
        (self.created_at, self.updated_at) = (created_at, updated_at);
        self
    }

    /// Sets the user that the session belongs to.
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Whether the session belongs to `identity` in `scope`.
    pub(crate) fn belongs_to(&self, scope: &str, identity: &str) -> bool {
        self.scope == scope && self.identity.as_deref() == Some(identity)
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("scope", &self.scope)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("version", &self.version)
            .field("created_at", &self.created_at)
            .field("updated_at", &self.updated_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Replaces the record of a session that ended, or that moved to another key because it got a new id.
///
/// Without tombstones, a late request with the old id could revive an ended session, or log the visitor out after a move.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// What happened to the session.
    pub fate: Fate,
    /// The tombstone counts as absent from this time on.
    pub expires_at: Timestamp,
}

impl Tombstone {
    /// Creates the tombstone of a session that ended.
    pub const fn ended(expires_at: Timestamp) -> Self {
        Self { fate: Fate::Ended, expires_at }
    }

    /// Creates the tombstone of a session that moved to the key `to`.
    pub const fn moved(to: Key, expires_at: Timestamp) -> Self {
        Self { fate: Fate::Moved(to), expires_at }
    }
}

/// What happened to a session that is no longer at its key.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The session ended, for example because it was logged out or revoked.
    Ended,
    /// The session got a new id and moved to this key.
    Moved(Key),
}
