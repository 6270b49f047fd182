//! The decisions of the contract, as pure functions of what a key holds and the current time.
//!
//! After a decision to write, the write must fail if another call has changed the entry since it was loaded.

use crate::base::clock::Timestamp;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Touch, Update};

impl Lookup {
    /// When the entry expires or expired. `None` if the key holds no entry.
    #[inline]
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Found(record) => Some(record.expires_at),
            Self::Tombstone(tombstone) => Some(tombstone.expires_at),
            Self::Absent => None,
        }
    }

    /// Replaces an expired entry with [`Absent`](Self::Absent) (clause 7).
    #[inline]
    pub(crate) fn unexpired(self, now: Timestamp) -> Self {
        if self.expires_at().is_some_and(|expires_at| expires_at <= now) { Self::Absent } else { self }
    }
}

/// What a call does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision<W, R> {
    /// The call writes, and succeeds if the write succeeds.
    Write(W),
    /// The call changes nothing and returns this reply.
    Reply(R),
}

impl<W, R> Decision<W, R> {
    /// Applies `write` to the value of [`Write`](Self::Write), and leaves a reply unchanged.
    pub(crate) fn try_map<V, E>(self, write: impl FnOnce(W) -> Result<V, E>) -> Result<Decision<V, R>, E> {
        match self {
            Self::Write(value) => write(value).map(Decision::Write),
            Self::Reply(reply) => Ok(Decision::Reply(reply)),
        }
    }
}

/// Whether `create` inserts its record (clause 2).
pub(crate) fn create(entry: Lookup, now: Timestamp) -> Decision<(), Create> {
    match entry.unexpired(now) {
        Lookup::Absent => Decision::Write(()),
        Lookup::Found(_) | Lookup::Tombstone(_) => Decision::Reply(Create::Taken),
    }
}

/// Whether `update` replaces the record (clause 3).
#[inline]
pub(crate) fn update(entry: Lookup, expected: Version, now: Timestamp) -> Decision<(), Update> {
    match entry.unexpired(now) {
        Lookup::Found(record) if record.version == expected => Decision::Write(()),
        Lookup::Found(record) => Decision::Reply(Update::Conflict(record)),
        Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => Decision::Reply(Update::Moved(to)),
        Lookup::Tombstone(_) | Lookup::Absent => Decision::Reply(Update::Gone),
    }
}

/// Whether `touch` postpones the record's expiry to `later` (clause 4). If so, returns the record to change.
pub(crate) fn touch(entry: Lookup, expected: Version, later: Timestamp, now: Timestamp) -> Decision<Record, Touch> {
    match entry.unexpired(now) {
        Lookup::Found(record) if record.version != expected => Decision::Reply(Touch::Conflict),
        Lookup::Found(record) if record.expires_at >= later => Decision::Reply(Touch::Touched),
        Lookup::Found(record) => Decision::Write(record),
        Lookup::Tombstone(_) | Lookup::Absent => Decision::Reply(Touch::Gone),
    }
}

/// Whether `retire` replaces the record with a tombstone (clause 5).
pub(crate) fn retire(entry: Lookup, expected: Option<Version>, now: Timestamp) -> Decision<(), Retire> {
    match entry.unexpired(now) {
        Lookup::Found(record) if expected.is_none_or(|expected| expected == record.version) => Decision::Write(()),
        Lookup::Found(record) => Decision::Reply(Retire::Conflict(record)),
        Lookup::Tombstone(_) | Lookup::Absent => Decision::Reply(Retire::Gone),
    }
}

#[cfg(test)]
mod tests;
