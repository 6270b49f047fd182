//! What each call does when a key holds a record, a tombstone or nothing. Checks of one call and of many concurrent
//! calls share these expectations.

use super::subject::Subject;
use crate::base::clock::Timestamp;
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Touch, Update};

impl Subject {
    /// Creates `record` at `key`, which holds `held`.
    pub(super) async fn check_create(&self, key: &Key, held: Lookup, record: &Record) {
        let (answer, after) = match held {
            Lookup::Absent => (Create::Created, Lookup::Found(record.clone())),
            held => (Create::Taken, held),
        };
        assert_eq!(self.create(key, record).await, answer, "not the answer of create");
        assert_eq!(self.load(key).await, after, "not what the key should hold after create");
    }

    /// Updates `key`, which holds `held`.
    pub(super) async fn check_update(&self, key: &Key, held: Lookup, expected: Version, record: &Record) {
        let answer = match &held {
            Lookup::Found(found) if found.version == expected => Update::Updated,
            Lookup::Found(found) => Update::Conflict(found.clone()),
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => Update::Moved(*to),
            Lookup::Tombstone(_) | Lookup::Absent => Update::Gone,
        };
        assert_eq!(self.update(key, expected, record).await, answer, "not the answer of update");
        let after = if answer == Update::Updated { Lookup::Found(record.clone()) } else { held };
        assert_eq!(self.load(key).await, after, "not what the key should hold after update");
    }

    /// Touches `key`, which holds `held`.
    pub(super) async fn check_touch(&self, key: &Key, mut held: Lookup, expected: Version, expires_at: Timestamp) {
        let answer = match &mut held {
            Lookup::Found(found) if found.version == expected => {
                found.expires_at = found.expires_at.max(expires_at);
                Touch::Touched
            }
            Lookup::Found(_) => Touch::Conflict,
            Lookup::Tombstone(_) | Lookup::Absent => Touch::Gone,
        };
        assert_eq!(self.touch(key, expected, expires_at).await, answer, "not the answer of touch");
        assert_eq!(self.load(key).await, held, "not what the key should hold after touch");
    }

    /// Retires `key`, which holds `held`.
    pub(super) async fn check_retire(&self, key: &Key, held: Lookup, expected: Option<Version>, tombstone: Tombstone) {
        let answer = match &held {
            Lookup::Found(found) if expected.is_none_or(|expected| expected == found.version) => Retire::Retired,
            Lookup::Found(found) => Retire::Conflict(found.clone()),
            Lookup::Tombstone(_) | Lookup::Absent => Retire::Gone,
        };
        assert_eq!(self.retire(key, expected, tombstone).await, answer, "not the answer of retire");
        let after = if answer == Retire::Retired { Lookup::Tombstone(tombstone) } else { held };
        assert_eq!(self.load(key).await, after, "not what the key should hold after retire");
    }
}
