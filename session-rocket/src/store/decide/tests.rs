use super::*;
use crate::base::id::Key;

const NOW: Timestamp = Timestamp::from_millis(1000);
const JUST_EXPIRED: Timestamp = NOW;
const LIVE: Timestamp = Timestamp::from_millis(1001);
const LATER: Timestamp = Timestamp::from_millis(2000);
const EXPECTED: Version = Version::from_bits(1);
const OTHER: Version = Version::from_bits(2);
const TO: Key = Key::from_bytes([7; 32]);

fn record(version: Version, expires_at: Timestamp) -> Record {
    Record::new(version, expires_at).with_scope("scope").with_payload("payload").with_times(NOW, NOW)
}

fn found(version: Version, expires_at: Timestamp) -> Lookup {
    Lookup::Found(record(version, expires_at))
}

fn tombstone(fate: Fate, expires_at: Timestamp) -> Lookup {
    Lookup::Tombstone(Tombstone { fate, expires_at })
}

/// What each call does when the key holds `entry`. `None` means that the call writes.
struct Row {
    entry: Lookup,
    load: Lookup,
    create: Option<Create>,
    update: Option<Update>,
    touch: Option<Touch>,
    retire_expected: Option<Retire>,
    retire_any: Option<Retire>,
}

impl Row {
    /// The key holds nothing, as far as the caller can see.
    fn absent(entry: Lookup) -> Self {
        Self { load: Lookup::Absent, create: None, ..Self::ended(entry, Update::Gone) }
    }

    fn ended(entry: Lookup, update: Update) -> Self {
        Self {
            load: entry.clone(),
            entry,
            create: Some(Create::Taken),
            update: Some(update),
            touch: Some(Touch::Gone),
            retire_expected: Some(Retire::Gone),
            retire_any: Some(Retire::Gone),
        }
    }

    fn live(entry: Lookup, update: Option<Update>, touch: Option<Touch>, retire_expected: Option<Retire>) -> Self {
        let (load, create) = (entry.clone(), Some(Create::Taken));
        Self { entry, load, create, update, touch, retire_expected, retire_any: None }
    }
}

fn table() -> Vec<Row> {
    let conflict = |at| (Some(Update::Conflict(record(OTHER, at))), Some(Retire::Conflict(record(OTHER, at))));
    let conflicting = |at| {
        let (update, retire) = conflict(at);
        Row::live(found(OTHER, at), update, Some(Touch::Conflict), retire)
    };
    vec![
        Row::absent(Lookup::Absent),
        Row::absent(found(EXPECTED, JUST_EXPIRED)),
        Row::absent(found(OTHER, JUST_EXPIRED)),
        Row::absent(tombstone(Fate::Ended, JUST_EXPIRED)),
        Row::absent(tombstone(Fate::Moved(TO), JUST_EXPIRED)),
        Row::ended(tombstone(Fate::Ended, LIVE), Update::Gone),
        Row::ended(tombstone(Fate::Moved(TO), LIVE), Update::Moved(TO)),
        Row::live(found(EXPECTED, LIVE), None, None, None),
        // The expiry never moves back.
        Row::live(found(EXPECTED, LATER), None, Some(Touch::Touched), None),
        conflicting(LIVE),
        conflicting(LATER),
    ]
}

fn reply<W, R>(decision: Decision<W, R>) -> Option<R> {
    match decision {
        Decision::Write(_) => None,
        Decision::Reply(reply) => Some(reply),
    }
}

#[test]
fn every_call_follows_the_table() {
    for row in table() {
        let entry = || row.entry.clone();
        assert_eq!(entry().unexpired(NOW), row.load, "{:?}", row.entry);
        assert_eq!(reply(create(entry(), NOW)), row.create, "{:?}", row.entry);
        assert_eq!(reply(update(entry(), EXPECTED, NOW)), row.update, "{:?}", row.entry);
        assert_eq!(reply(touch(entry(), EXPECTED, LATER, NOW)), row.touch, "{:?}", row.entry);
        assert_eq!(reply(retire(entry(), Some(EXPECTED), NOW)), row.retire_expected, "{:?}", row.entry);
        assert_eq!(reply(retire(entry(), None, NOW)), row.retire_any, "{:?}", row.entry);
    }
}
