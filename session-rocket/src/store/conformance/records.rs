//! Clauses 1 to 6, one call at a time.

use super::{
    Clock, Create, HOUR, Lookup, MINUTE, Record, Retire, Subject, Timestamp, Touch, Update, Version, random_key,
    version,
};

pub(super) async fn payloads(on: Subject) {
    let all_bytes: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = all_bytes.iter().copied().cycle().take(256 * 1024).collect();
    for payload in [Vec::new(), vec![0], b"'\"\\;--\r\n".to_vec(), vec![0xff; 3], all_bytes, large] {
        let mut record = on.record("");
        record.payload = payload.into();
        let key = on.stored(&record).await;
        on.holds(&key, &record).await;
    }
}

pub(super) async fn versions_and_moments(on: Subject) {
    for bits in [0, 1, u64::MAX, i64::MAX.cast_unsigned(), i64::MIN.cast_unsigned()] {
        let mut record = on.record("versions");
        record.version = Version::from_bits(bits);
        let key = on.stored(&record).await;
        on.holds(&key, &record).await;
    }
    for (created, updated, expires) in [(0, 1, i64::MAX), (1, 1_000_000_000_123, 253_402_300_799_999)] {
        let mut record = on.record("moments");
        record.created_at = Timestamp::from_millis(created);
        record.updated_at = Timestamp::from_millis(updated);
        record.expires_at = Timestamp::from_millis(expires);
        let key = on.stored(&record).await;
        on.holds(&key, &record).await;
    }
}

pub(super) async fn texts(on: Subject) {
    let longest = "ü".repeat(127) + "x";
    for text in ["", " ", "a b ", "A", "1", "null", "a\0b", "'; DROP TABLE x; --", "日本語 🦀", &longest] {
        let record = on.record("identity").with_identity(text);
        let key = on.stored(&record).await;
        on.holds(&key, &record).await;
    }
    for scope in ["s", "a b:c/d", "Größe", &"ü".repeat(100)] {
        let mut record = on.record("scope");
        scope.clone_into(&mut record.scope);
        let key = on.stored(&record).await;
        on.holds(&key, &record).await;
    }
}

pub(super) async fn updated(on: Subject) {
    let old = on.record("old").with_identity("old");
    let key = on.stored(&old).await;
    let mut new = on.record("new, and longer than what was there").with_identity("new");
    new.updated_at = old.updated_at.plus(HOUR);
    new.expires_at = old.expires_at.plus(HOUR);
    assert_eq!(on.update(&key, old.version, &new).await, Update::Updated);
    on.holds(&key, &new).await;
    let nobody = Record { version: version(), identity: None, ..new.clone() };
    assert_eq!(on.update(&key, new.version, &nobody).await, Update::Updated);
    on.holds(&key, &nobody).await;
}

pub(super) async fn create_spares_the_living(on: Subject) {
    let first = on.record("first");
    let key = on.stored(&first).await;
    assert_eq!(on.create(&key, &on.record("second")).await, Create::Taken);
    on.holds(&key, &first).await;
}

pub(super) async fn create_spares_tombstones(on: Subject) {
    for tombstone in [on.ended(), on.moved(random_key())] {
        let key = on.buried(tombstone).await;
        assert_eq!(on.create(&key, &on.record("revenant")).await, Create::Taken);
        assert_eq!(on.load(&key).await, Lookup::Tombstone(tombstone));
    }
}

pub(super) async fn update_swaps(on: Subject) {
    let first = on.record("first");
    let (key, neighbour) = (on.stored(&first).await, on.stored(&first).await);
    let second = on.record("second");
    assert_eq!(on.update(&key, version(), &second).await, Update::Conflict(first.clone()), "a version nobody wrote");
    on.holds(&key, &first).await;
    assert_eq!(on.update(&key, first.version, &second).await, Update::Updated, "the version that is there");
    assert_eq!(on.update(&key, first.version, &on.record("late")).await, Update::Conflict(second.clone()));
    on.holds(&key, &second).await;
    on.holds(&neighbour, &first).await;
}

pub(super) async fn update_never_creates(on: Subject) {
    let (key, record) = (random_key(), on.record("from nothing"));
    for expected in [record.version, version(), Version::from_bits(0)] {
        assert_eq!(on.update(&key, expected, &record).await, Update::Gone);
    }
    assert_eq!(on.load(&key).await, Lookup::Absent, "an update created");
}

pub(super) async fn update_of_the_ended(on: Subject) {
    let to = random_key();
    for (tombstone, told) in [(on.ended(), Update::Gone), (on.moved(to), Update::Moved(to))] {
        let record = on.record("live");
        let key = on.stored(&record).await;
        assert_eq!(on.retire(&key, None, tombstone).await, Retire::Retired);
        for expected in [record.version, version(), Version::from_bits(0)] {
            assert_eq!(on.update(&key, expected, &on.record("late")).await, told);
        }
        assert_eq!(on.load(&key).await, Lookup::Tombstone(tombstone), "an update revived the session");
    }
}

pub(super) async fn touch_moves_the_expiry_only(on: Subject) {
    let mut record = on.record("touched").with_identity("somebody");
    record.created_at = Timestamp::from_millis(1);
    record.updated_at = Timestamp::from_millis(2);
    let (key, neighbour) = (on.stored(&record).await, on.stored(&record).await);
    let untouched = record.clone();
    for expires_at in [on.in_an_hour().plus(HOUR), on.clock.now().plus(MINUTE)] {
        assert_eq!(on.touch(&key, record.version, expires_at).await, Touch::Touched);
        // The second is earlier: a refresh that comes late takes nothing back.
        record.expires_at = record.expires_at.max(expires_at);
        on.holds(&key, &record).await;
    }
    on.holds(&neighbour, &untouched).await;
}

pub(super) async fn touch_compares(on: Subject) {
    let record = on.record("untouched");
    let key = on.stored(&record).await;
    assert_eq!(on.touch(&key, version(), on.in_an_hour().plus(HOUR)).await, Touch::Conflict);
    on.holds(&key, &record).await;
}

pub(super) async fn touch_never_creates(on: Subject) {
    let key = random_key();
    assert_eq!(on.touch(&key, version(), on.in_an_hour()).await, Touch::Gone);
    assert_eq!(on.load(&key).await, Lookup::Absent, "a touch created");
    for tombstone in [on.ended(), on.moved(random_key())] {
        let key = on.buried(tombstone).await;
        for expected in [version(), Version::from_bits(0)] {
            assert_eq!(on.touch(&key, expected, on.in_an_hour().plus(HOUR)).await, Touch::Gone);
        }
        assert_eq!(on.load(&key).await, Lookup::Tombstone(tombstone), "a touch changed a tombstone");
    }
}

pub(super) async fn retire_leaves_a_tombstone(on: Subject) {
    for tombstone in [on.ended(), on.moved(random_key())] {
        for any in [true, false] {
            let record = on.record("retired");
            let (key, neighbour) = (on.stored(&record).await, on.stored(&record).await);
            let expected = (!any).then_some(record.version);
            assert_eq!(on.retire(&key, expected, tombstone).await, Retire::Retired);
            assert_eq!(on.load(&key).await, Lookup::Tombstone(tombstone));
            on.holds(&neighbour, &record).await;
        }
    }
}

pub(super) async fn retire_compares(on: Subject) {
    let record = on.record("stays");
    let key = on.stored(&record).await;
    assert_eq!(on.retire(&key, Some(version()), on.ended()).await, Retire::Conflict(record.clone()));
    on.holds(&key, &record).await;
}

pub(super) async fn retire_of_nothing(on: Subject) {
    let key = random_key();
    for expected in [None, Some(version())] {
        assert_eq!(on.retire(&key, expected, on.ended()).await, Retire::Gone);
        assert_eq!(on.load(&key).await, Lookup::Absent, "a retire created a tombstone");
    }
    for tombstone in [on.ended(), on.moved(random_key())] {
        let key = on.buried(tombstone).await;
        for expected in [None, Some(version()), Some(Version::from_bits(0))] {
            assert_eq!(on.retire(&key, expected, on.moved(random_key())).await, Retire::Gone);
            assert_eq!(on.load(&key).await, Lookup::Tombstone(tombstone), "a retire changed a tombstone");
        }
    }
}

pub(super) async fn delete_removes(on: Subject) {
    let record = on.record("deleted");
    let (key, neighbour) = (on.stored(&record).await, on.stored(&record).await);
    for key in [key, on.buried(on.ended()).await, on.buried(on.moved(neighbour)).await] {
        on.delete(&key).await;
        assert_eq!(on.load(&key).await, Lookup::Absent);
        assert_eq!(on.update(&key, record.version, &record).await, Update::Gone);
        assert_eq!(on.create(&key, &record).await, Create::Created);
    }
    on.holds(&neighbour, &record).await;
}

pub(super) async fn delete_of_nothing(on: Subject) {
    let key = random_key();
    on.delete(&key).await;
    on.delete(&key).await;
    assert_eq!(on.load(&key).await, Lookup::Absent);
}
