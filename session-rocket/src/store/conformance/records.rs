//! Clauses 1 to 6, one call at a time.

use super::subject::{HOUR, MINUTE, Subject, any_versions, random_key, version};
use crate::base::clock::{Clock, Timestamp};
use crate::store::record::{Record, Version};
use crate::store::{Lookup, Retire, Update};

pub(super) async fn payloads(on: Subject) {
    let all_bytes: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = all_bytes.iter().copied().cycle().take(256 * 1024).collect();
    for payload in [Vec::new(), vec![0], b"'\"\\;--\r\n".to_vec(), vec![0xff; 3], all_bytes, large] {
        on.round_trip(on.record("").with_payload(payload)).await;
    }
}

pub(super) async fn versions_and_moments(on: Subject) {
    for bits in [0, 1, u64::MAX, i64::MAX.cast_unsigned(), i64::MIN.cast_unsigned()] {
        on.round_trip(Record { version: Version::from_bits(bits), ..on.record("versions") }).await;
    }
    for times in [[0, 1, i64::MAX], [1, 1_000_000_000_123, 253_402_300_799_999]] {
        let [created_at, updated_at, expires_at] = times.map(Timestamp::from_millis);
        on.round_trip(Record { expires_at, ..on.record("times").with_times(created_at, updated_at) }).await;
    }
}

pub(super) async fn texts(on: Subject) {
    let longest = "ü".repeat(127) + "x";
    for text in ["", " ", "a b ", "A", "1", "null", "a\0b", "'; DROP TABLE x; --", "日本語 🦀", &longest] {
        on.round_trip(on.record("identity").with_identity(text)).await;
    }
    for scope in ["s", "a b:c/d", "Größe", &"ü".repeat(100)] {
        on.round_trip(on.record("scope").with_scope(scope)).await;
    }
}

pub(super) async fn updated(on: Subject) {
    let old = on.record("old").with_identity("old");
    let key = on.stored(&old).await;
    let mut new = on.record("new, and longer than what was there").with_identity("new");
    new.updated_at = old.updated_at.plus(HOUR);
    new.expires_at = old.expires_at.plus(HOUR);
    on.check_update(&key, Lookup::Found(old.clone()), old.version, &new).await;
    let nobody = Record { version: version(), identity: None, ..new.clone() };
    on.check_update(&key, Lookup::Found(new.clone()), new.version, &nobody).await;
}

pub(super) async fn create_spares_the_living(on: Subject) {
    let first = on.record("first");
    let key = on.stored(&first).await;
    on.check_create(&key, Lookup::Found(first), &on.record("second")).await;
}

pub(super) async fn create_spares_tombstones(on: Subject) {
    for tombstone in on.tombstones() {
        let key = on.buried(tombstone).await;
        on.check_create(&key, Lookup::Tombstone(tombstone), &on.record("revenant")).await;
    }
}

pub(super) async fn update_swaps(on: Subject) {
    let (first, second) = (on.record("first"), on.record("second"));
    let (key, neighbour) = (on.stored(&first).await, on.stored(&first).await);
    on.check_update(&key, Lookup::Found(first.clone()), version(), &second).await;
    on.check_update(&key, Lookup::Found(first.clone()), first.version, &second).await;
    on.check_update(&key, Lookup::Found(second), first.version, &on.record("late")).await;
    on.holds(&neighbour, &first).await;
}

pub(super) async fn update_never_creates(on: Subject) {
    let (key, record) = (random_key(), on.record("from nothing"));
    for expected in any_versions(&record) {
        on.check_update(&key, Lookup::Absent, expected, &record).await;
    }
}

pub(super) async fn update_of_the_ended(on: Subject) {
    for tombstone in on.tombstones() {
        let record = on.record("live");
        let key = on.stored(&record).await;
        assert_eq!(on.retire(&key, None, tombstone).await, Retire::Retired);
        for expected in any_versions(&record) {
            on.check_update(&key, Lookup::Tombstone(tombstone), expected, &on.record("late")).await;
        }
    }
}

pub(super) async fn touch_moves_the_expiry_only(on: Subject) {
    let [created_at, updated_at] = [1, 2].map(Timestamp::from_millis);
    let mut record = on.record("touched").with_identity("somebody").with_times(created_at, updated_at);
    let (key, neighbour) = (on.stored(&record).await, on.stored(&record).await);
    let untouched = record.clone();
    // The second time is earlier: a late touch does not move the expiry back.
    for expires_at in [on.in_an_hour().plus(HOUR), on.clock.now().plus(MINUTE)] {
        on.check_touch(&key, Lookup::Found(record.clone()), record.version, expires_at).await;
        record.expires_at = on.in_an_hour().plus(HOUR);
    }
    on.holds(&neighbour, &untouched).await;
}

pub(super) async fn touch_compares(on: Subject) {
    let record = on.record("untouched");
    let key = on.stored(&record).await;
    on.check_touch(&key, Lookup::Found(record), version(), on.in_an_hour().plus(HOUR)).await;
}

pub(super) async fn touch_never_creates(on: Subject) {
    on.check_touch(&random_key(), Lookup::Absent, version(), on.in_an_hour()).await;
    for tombstone in on.tombstones() {
        let key = on.buried(tombstone).await;
        for expected in any_versions(&on.record("")) {
            on.check_touch(&key, Lookup::Tombstone(tombstone), expected, on.in_an_hour().plus(HOUR)).await;
        }
    }
}

pub(super) async fn retire_leaves_a_tombstone(on: Subject) {
    for tombstone in on.tombstones() {
        for any in [true, false] {
            let record = on.record("retired");
            let (key, neighbour) = (on.stored(&record).await, on.stored(&record).await);
            let expected = (!any).then_some(record.version);
            on.check_retire(&key, Lookup::Found(record.clone()), expected, tombstone).await;
            on.holds(&neighbour, &record).await;
        }
    }
}

pub(super) async fn retire_compares(on: Subject) {
    let record = on.record("stays");
    let key = on.stored(&record).await;
    on.check_retire(&key, Lookup::Found(record), Some(version()), on.ended()).await;
}

pub(super) async fn retire_of_nothing(on: Subject) {
    let key = random_key();
    for expected in [None, Some(version())] {
        on.check_retire(&key, Lookup::Absent, expected, on.ended()).await;
    }
    for tombstone in on.tombstones() {
        let key = on.buried(tombstone).await;
        for expected in [None, Some(version()), Some(Version::from_bits(0))] {
            on.check_retire(&key, Lookup::Tombstone(tombstone), expected, on.moved(random_key())).await;
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
        on.check_create(&key, Lookup::Absent, &record).await;
    }
    on.holds(&neighbour, &record).await;
}

pub(super) async fn delete_of_nothing(on: Subject) {
    let key = random_key();
    on.delete(&key).await;
    on.delete(&key).await;
    assert_eq!(on.load(&key).await, Lookup::Absent);
}
