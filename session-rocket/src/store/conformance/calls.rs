//! Checks the reply and the effect of each call. `entry` is what the key holds before the call.

use super::subject::Subject;
use crate::base::clock::Timestamp;
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Touch, Update};

impl Subject {
    pub(super) async fn check_create(&self, key: &Key, entry: Lookup, record: &Record) {
        let (reply, after) = match entry {
            Lookup::Absent => (Create::Created, Lookup::Found(record.clone())),
            entry => (Create::Taken, entry),
        };
        assert_eq!(self.create(key, record).await, reply, "wrong reply from create");
        assert_eq!(self.load(key).await, after, "wrong entry after create");
    }

    pub(super) async fn check_update(&self, key: &Key, entry: Lookup, expected: Version, record: &Record) {
        let reply = match &entry {
            Lookup::Found(found) if found.version == expected => Update::Updated,
            Lookup::Found(found) => Update::Conflict(found.clone()),
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => Update::Moved(*to),
            Lookup::Tombstone(_) | Lookup::Absent => Update::Gone,
        };
        assert_eq!(self.update(key, expected, record).await, reply, "wrong reply from update");
        let after = if reply == Update::Updated { Lookup::Found(record.clone()) } else { entry };
        assert_eq!(self.load(key).await, after, "wrong entry after update");
    }

    pub(super) async fn check_touch(&self, key: &Key, mut entry: Lookup, expected: Version, expires_at: Timestamp) {
        let reply = match &mut entry {
            Lookup::Found(found) if found.version == expected => {
                found.expires_at = found.expires_at.max(expires_at);
                Touch::Touched
            }
            Lookup::Found(_) => Touch::Conflict,
            Lookup::Tombstone(_) | Lookup::Absent => Touch::Gone,
        };
        assert_eq!(self.touch(key, expected, expires_at).await, reply, "wrong reply from touch");
        assert_eq!(self.load(key).await, entry, "wrong entry after touch");
    }

    pub(super) async fn check_retire(&self, key: &Key, entry: Lookup, expected: Option<Version>, tombstone: Tombstone) {
        let reply = match &entry {
            Lookup::Found(found) if expected.is_none_or(|expected| expected == found.version) => Retire::Retired,
            Lookup::Found(found) => Retire::Conflict(found.clone()),
            Lookup::Tombstone(_) | Lookup::Absent => Retire::Gone,
        };
        assert_eq!(self.retire(key, expected, tombstone).await, reply, "wrong reply from retire");
        let after = if reply == Retire::Retired { Lookup::Tombstone(tombstone) } else { entry };
        assert_eq!(self.load(key).await, after, "wrong entry after retire");
    }
}
