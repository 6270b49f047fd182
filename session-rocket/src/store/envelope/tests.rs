//! Entries are decoded as they were encoded, and malformed bytes are errors.

use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::from_millis(i64::MIN);

prop_compose! {
    fn records()(
        payload: Vec<u8>, version: u64, moments: [i64; 3], identity: Option<String>, scope: String,
    ) -> Record {
        let [created, updated, expires] = moments.map(Timestamp::from_millis);
        let mut record = Record::new(Version::from_bits(version), expires).with_scope(scope).with_payload(payload).with_times(created, updated);
        record.identity = identity;
        record
    }
}

fn tombstones() -> impl Strategy<Value = Tombstone> {
    let fate = any::<Option<[u8; 32]>>().prop_map(|to| to.map_or(Fate::Ended, |to| Fate::Moved(Key::from_bytes(to))));
    (fate, any::<i64>()).prop_map(|(fate, expires)| Tombstone { fate, expires_at: Timestamp::from_millis(expires) })
}

proptest! {
    #[test]
    fn a_record_is_decoded_as_it_was_encoded(record in records()) {
        prop_assume!(record.expires_at > START);
        let encoded = encode_record(&record).unwrap();
        prop_assert_eq!(&encoded[1..9], record.expires_at.as_millis().to_be_bytes());
        prop_assert_eq!(&encoded[9..17], record.version.bits().to_be_bytes());
        prop_assert_eq!(decode_live(encoded.clone().into(), START).unwrap(), Lookup::Found(record.clone()));
        prop_assert_eq!(decode_live(encoded.into(), record.expires_at).unwrap(), Lookup::Absent);
    }

    #[test]
    fn a_tombstone_is_decoded_as_it_was_encoded(tombstone in tombstones()) {
        prop_assume!(tombstone.expires_at > START);
        let encoded = encode_tombstone(tombstone);
        prop_assert_eq!(decode_live(encoded.clone().into(), START).unwrap(), Lookup::Tombstone(tombstone));
        prop_assert_eq!(decode_live(encoded.into(), tombstone.expires_at).unwrap(), Lookup::Absent);
    }

    #[test]
    fn any_bytes_are_decoded_or_rejected(bytes: Vec<u8>, kind in 0..5_u8) {
        let with_kind = [&[kind], bytes.as_slice()].concat();
        for bytes in [bytes, with_kind] {
            if let Err(error) = decode_live(bytes.into(), START) {
                prop_assert_eq!(error.kind(), ErrorKind::Unavailable);
            }
        }
    }

    #[test]
    fn a_truncated_record_is_an_error(record in records(), length in 0..FIXED_LEN + 4) {
        let mut encoded = encode_record(&record).unwrap();
        encoded.truncate(length);
        prop_assert!(decode_live(encoded.into(), START).is_err());
    }
}

#[test]
fn a_scope_that_is_too_long_for_its_length_field_is_rejected() {
    for length in [usize::from(NO_IDENTITY), 100_000] {
        let record = Record::new(Version::from_bits(1), START).with_scope("x".repeat(length)).with_times(START, START);
        assert_eq!(encode_record(&record).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
