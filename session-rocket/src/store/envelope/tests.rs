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
    fn records_come_back(record in records()) {
        prop_assume!(record.expires_at > START);
        let sealed = encode_record(&record).unwrap();
        prop_assert_eq!(&sealed[1..9], record.expires_at.as_millis().to_be_bytes());
        prop_assert_eq!(&sealed[9..17], record.version.bits().to_be_bytes());
        prop_assert_eq!(decode_live(sealed.clone().into(), START).unwrap(), Lookup::Found(record.clone()));
        prop_assert_eq!(decode_live(sealed.into(), record.expires_at).unwrap(), Lookup::Absent);
    }

    #[test]
    fn tombstones_come_back(tombstone in tombstones()) {
        prop_assume!(tombstone.expires_at > START);
        let sealed = encode_tombstone(tombstone);
        prop_assert_eq!(decode_live(sealed.clone().into(), START).unwrap(), Lookup::Tombstone(tombstone));
        prop_assert_eq!(decode_live(sealed.into(), tombstone.expires_at).unwrap(), Lookup::Absent);
    }

    #[test]
    fn any_bytes_are_something_or_an_error(bytes: Vec<u8>, kind in 0..5_u8) {
        let kind_said = [&[kind], bytes.as_slice()].concat();
        for bytes in [bytes, kind_said] {
            if let Err(error) = decode_live(bytes.into(), START) {
                prop_assert_eq!(error.kind(), ErrorKind::Unavailable);
            }
        }
    }

    #[test]
    fn cut_records_are_errors(record in records(), cut in 0..FIXED_LEN + 4) {
        let mut sealed = encode_record(&record).unwrap();
        sealed.truncate(cut);
        prop_assert!(decode_live(sealed.into(), START).is_err());
    }
}

#[test]
fn a_text_that_its_length_cannot_tell_is_refused() {
    for length in [usize::from(NO_IDENTITY), 100_000] {
        let record = Record::new(Version::from_bits(1), START).with_scope("x".repeat(length)).with_times(START, START);
        assert_eq!(encode_record(&record).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
