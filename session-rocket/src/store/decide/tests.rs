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

/// What each call does when the key holds `held`. `None` means that the call writes.
struct Row {
    held: Lookup,
    load: Lookup,
    create: Option<Create>,
    update: Option<Update>,
    touch: Option<Touch>,
    retire_expected: Option<Retire>,
    retire_any: Option<Retire>,
}

impl Row {
    /// The key holds nothing, as far as the caller can see.
    fn absent(held: Lookup) -> Self {
        Self { load: Lookup::Absent, create: None, ..Self::ended(held, Update::Gone) }
    }

    /// The key holds a tombstone.
    fn ended(held: Lookup, update: Update) -> Self {
        Self {
            load: held.clone(),
            held,
            create: Some(Create::Taken),
            update: Some(update),
            touch: Some(Touch::Gone),
            retire_expected: Some(Retire::Gone),
            retire_any: Some(Retire::Gone),
        }
    }

    /// The key holds a live record.
    fn live(held: Lookup, update: Option<Update>, touch: Option<Touch>, retire_expected: Option<Retire>) -> Self {
        let (load, create) = (held.clone(), Some(Create::Taken));
        Self { held, load, create, update, touch, retire_expected, retire_any: None }
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

fn answer<W, A>(decision: Decision<W, A>) -> Option<A> {
    match decision {
        Decision::Write(_) => None,
        Decision::Answer(answer) => Some(answer),
    }
}

#[test]
fn every_call_follows_the_table() {
    for row in table() {
        let held = || Held::from(row.held.clone());
        assert_eq!(load(held(), NOW), row.load, "{:?}", row.held);
        assert_eq!(answer(create(held(), NOW)), row.create, "{:?}", row.held);
        assert_eq!(answer(update(held(), EXPECTED, NOW)), row.update, "{:?}", row.held);
        assert_eq!(answer(touch(held(), EXPECTED, LATER, NOW)), row.touch, "{:?}", row.held);
        assert_eq!(answer(retire(held(), Some(EXPECTED), NOW)), row.retire_expected, "{:?}", row.held);
        assert_eq!(answer(retire(held(), None, NOW)), row.retire_any, "{:?}", row.held);
    }
}
