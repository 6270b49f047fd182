//! The contract's decisions: what a call does when a key holds a live record, an expired record, a tombstone or nothing.
//!
//! Each function takes what the key holds and the current time, and has no side effects. A back-end calls the function
//! while nobody else can change the key, or compares the key's entry again when it writes.

use crate::base::clock::Timestamp;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Touch, Update};

/// What a key holds, expired or not. `R` is the record in the back-end's own form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held<R> {
    Record { version: Version, expires_at: Timestamp, record: R },
    Tombstone(Tombstone),
    Nothing,
}

impl<R> Held<R> {
    /// What the key holds for the caller: expired entries count as absent (clause 7).
    #[inline]
    fn live(self, now: Timestamp) -> Self {
        if self.is_expired(now) { Self::Nothing } else { self }
    }

    #[inline]
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        match self {
            Self::Record { expires_at, .. } | Self::Tombstone(Tombstone { expires_at, .. }) => *expires_at <= now,
            Self::Nothing => false,
        }
    }
}

impl From<Lookup> for Held<Record> {
    fn from(lookup: Lookup) -> Self {
        match lookup {
            Lookup::Found(record) => Self::Record { version: record.version, expires_at: record.expires_at, record },
            Lookup::Tombstone(tombstone) => Self::Tombstone(tombstone),
            Lookup::Absent => Self::Nothing,
        }
    }
}

/// What a call does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision<W, A> {
    /// The call writes, and succeeds if the write does.
    Write(W),
    /// The call changes nothing and returns this answer.
    Answer(A),
}

impl<W, A> Decision<W, A> {
    /// Replaces what is written by `write`'s result.
    pub(crate) fn try_map<V, E>(self, write: impl FnOnce(W) -> Result<V, E>) -> Result<Decision<V, A>, E> {
        match self {
            Self::Write(replaced) => write(replaced).map(Decision::Write),
            Self::Answer(answer) => Ok(Decision::Answer(answer)),
        }
    }
}

/// What `load` returns.
#[inline]
pub(crate) fn load<R: Into<Record>>(held: Held<R>, now: Timestamp) -> Lookup {
    match held {
        held if held.is_expired(now) => Lookup::Absent,
        Held::Record { record, .. } => Lookup::Found(record.into()),
        Held::Tombstone(tombstone) => Lookup::Tombstone(tombstone),
        Held::Nothing => Lookup::Absent,
    }
}

/// Whether `create` inserts its record (clause 2).
#[inline]
pub(crate) fn create<R>(held: Held<R>, now: Timestamp) -> Decision<(), Create> {
    match held.live(now) {
        Held::Nothing => Decision::Write(()),
        Held::Record { .. } | Held::Tombstone(_) => Decision::Answer(Create::Taken),
    }
}

/// Which record `update` replaces (clause 3).
#[inline]
pub(crate) fn update<R: Into<Record>>(held: Held<R>, expected: Version, now: Timestamp) -> Decision<R, Update> {
    match held.live(now) {
        Held::Record { version, record, .. } if version == expected => Decision::Write(record),
        Held::Record { record, .. } => Decision::Answer(Update::Conflict(record.into())),
        Held::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => Decision::Answer(Update::Moved(to)),
        Held::Tombstone(_) | Held::Nothing => Decision::Answer(Update::Gone),
    }
}

/// Which record's expiry `touch` moves to `later` (clause 4).
#[inline]
pub(crate) fn touch<R>(held: Held<R>, expected: Version, later: Timestamp, now: Timestamp) -> Decision<R, Touch> {
    match held.live(now) {
        Held::Record { version, .. } if version != expected => Decision::Answer(Touch::Conflict),
        Held::Record { expires_at, .. } if expires_at >= later => Decision::Answer(Touch::Touched),
        Held::Record { record, .. } => Decision::Write(record),
        Held::Tombstone(_) | Held::Nothing => Decision::Answer(Touch::Gone),
    }
}

/// Which record `retire` replaces by a tombstone (clause 5).
#[inline]
pub(crate) fn retire<R: Into<Record>>(held: Held<R>, expected: Option<Version>, now: Timestamp) -> Decision<R, Retire> {
    match held.live(now) {
        Held::Record { version, record, .. } if expected.is_none_or(|expected| expected == version) => {
            Decision::Write(record)
        }
        Held::Record { record, .. } => Decision::Answer(Retire::Conflict(record.into())),
        Held::Tombstone(_) | Held::Nothing => Decision::Answer(Retire::Gone),
    }
}

#[cfg(test)]
mod tests;
