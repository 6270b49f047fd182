//! Clause 1: a record is loaded as it was stored.

use super::subject::{HOUR, Subject, version};
use crate::base::clock::Timestamp;
use crate::store::Lookup;
use crate::store::record::{Record, Version};

pub(super) async fn payloads(subject: Subject) {
    let all_bytes: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = all_bytes.iter().copied().cycle().take(256 * 1024).collect();
    for payload in [Vec::new(), vec![0], b"'\"\\;--\r\n".to_vec(), vec![0xff; 3], all_bytes, large] {
        subject.round_trip(subject.record("").with_payload(payload)).await;
    }
}

pub(super) async fn versions_and_times(subject: Subject) {
    for bits in [0, 1, u64::MAX, i64::MAX.cast_unsigned(), i64::MIN.cast_unsigned()] {
        subject.round_trip(Record { version: Version::from_bits(bits), ..subject.record("versions") }).await;
    }
    for times in [[0, 1, i64::MAX], [1, 1_000_000_000_123, 253_402_300_799_999]] {
        let [created_at, updated_at, expires_at] = times.map(Timestamp::from_millis);
        subject.round_trip(Record { expires_at, ..subject.record("times").with_times(created_at, updated_at) }).await;
    }
}

pub(super) async fn strings(subject: Subject) {
    let longest = "ü".repeat(127) + "x";
    for identity in ["", " ", "a b ", "A", "1", "null", "a\0b", "'; DROP TABLE x; --", "日本語 🦀", &longest] {
        subject.round_trip(subject.record("identity").with_identity(identity)).await;
    }
    for scope in ["s", "a b:c/d", "Größe", &"ü".repeat(100)] {
        subject.round_trip(subject.record("scope").with_scope(scope.to_owned())).await;
    }
}

pub(super) async fn updated(subject: Subject) {
    let old = subject.record("old").with_identity("old");
    let key = subject.create_new(&old).await;
    let mut new = subject.record("new, and longer than what was there").with_identity("new");
    new.updated_at = old.updated_at.plus(HOUR);
    new.expires_at = old.expires_at.plus(HOUR);
    subject.check_update(&key, Lookup::Found(old.clone()), old.version, &new).await;
    let nobody = Record { version: version(), identity: None, ..new.clone() };
    subject.check_update(&key, Lookup::Found(new.clone()), new.version, &nobody).await;
}
