//! What a store keeps.

use std::cell::RefCell;

use bytes::Bytes;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{Key, random_bytes};

/// How many versions are drawn together: to ask the operating system for each would be a good part of a save. They are
/// no secrets.
const AT_ONCE: usize = 32;

thread_local! {
    static DRAWN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The version of a record: 64 random bits, drawn anew by whoever writes it.
///
/// Random rather than counted, so that a writer whose answer got lost can recognize its own write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// A version from the 64 bits a store kept.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits to keep. Databases without unsigned integers keep `bits() as i64`.
    pub const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn random() -> Result<Self> {
        DRAWN.with_borrow_mut(|drawn| {
            if drawn.is_empty() {
                let bytes = random_bytes::<{ AT_ONCE * size_of::<u64>() }>()?;
                drawn.extend(bytes.as_chunks().0.iter().map(|eight| u64::from_be_bytes(*eight)));
            }
            drawn.pop().map(Self).ok_or_else(|| Error::new(ErrorKind::Random, "no version was drawn"))
        })
    }
}

/// One session as a store keeps it: opaque to the store, but for the moments and the identity it indexes.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The encoded fields.
    pub payload: Bytes,
    /// Changes with every `update`; a `touch` leaves it.
    pub version: Version,
    /// When the session began.
    pub created_at: Timestamp,
    /// When it was last saved.
    pub updated_at: Timestamp,
    /// From this moment on, the record is absent.
    pub expires_at: Timestamp,
    /// The user this session belongs to, at most 255 bytes.
    pub identity: Option<String>,
    /// The session type it belongs to; `identity` is indexed within it.
    pub scope: String,
}

impl Record {
    /// A record of `scope`, created and updated at `now`, without an identity.
    pub fn new(
        scope: impl Into<String>,
        payload: impl Into<Bytes>,
        version: Version,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            payload: payload.into(),
            version,
            created_at: now,
            updated_at: now,
            expires_at,
            identity: None,
            scope: scope.into(),
        }
    }

    /// The same record, belonging to `identity`.
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
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

/// What stands at the key of a session that was ended or moved, until `expires_at`.
///
/// It is how a late request with the old id neither revives the session nor logs out its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// What became of the session.
    pub fate: Fate,
    /// From this moment on, the tombstone is absent.
    pub expires_at: Timestamp,
}

/// What became of a session that is no longer at its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was ended: logged out or revoked.
    Ended,
    /// Its id was cycled; it lives on at this key.
    Moved(Key),
}
