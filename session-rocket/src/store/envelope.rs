//! What a key holds, as bytes: the form that back-ends without columns keep it in.
//!
//! | bytes | live record | tombstone |
//! |---|---|---|
//! | 1 | `0x01` | `0x02` ended, `0x03` moved |
//! | 8 | expires | expires |
//! | 8 | version | the key it moved to, 32 bytes, if it did |
//! | 8 + 8 | created, updated | |
//! | 2 + n | the scope, after its length | |
//! | 2 + n | the identity, after its length; a length of `0xffff` alone: none | |
//! | n | the payload | |
//!
//! Numbers are big endian, moments milliseconds since the Unix epoch. What scripts in a server look at, the expiry,
//! the version and the lengths, is always in one place.

use bytes::Bytes;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Lookup, decide};

const LIVE: u8 = 1;
const ENDED: u8 = 2;
const MOVED: u8 = 3;
const NOBODY: u16 = u16::MAX;
/// All that comes before the scope of a live record.
const FRAME: usize = 1 + 4 * 8;

/// Puts a record into bytes.
///
/// # Errors
/// [`ErrorKind::TooLarge`] for a scope or an identity of 64 KiB or more.
pub(crate) fn seal_record(record: &Record) -> Result<Vec<u8>> {
    let owner = seal_owner(&record.scope, record.identity.as_deref())?;
    let mut bytes = Vec::with_capacity(FRAME + owner.len() + record.payload.len());
    bytes.push(LIVE);
    bytes.extend(record.expires_at.as_millis().to_be_bytes());
    bytes.extend(record.version.bits().to_be_bytes());
    bytes.extend(record.created_at.as_millis().to_be_bytes());
    bytes.extend(record.updated_at.as_millis().to_be_bytes());
    bytes.extend_from_slice(&owner);
    bytes.extend_from_slice(&record.payload);
    Ok(bytes)
}

/// Scope and identity, as they stand in a record's bytes.
///
/// # Errors
/// As [`seal_record`].
pub(crate) fn seal_owner(scope: &str, identity: Option<&str>) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(2 * 2 + scope.len() + identity.map_or(0, str::len));
    push_text(&mut bytes, scope)?;
    match identity {
        Some(identity) => push_text(&mut bytes, identity)?,
        None => bytes.extend(NOBODY.to_be_bytes()),
    }
    Ok(bytes)
}

/// Puts a tombstone into bytes.
pub(crate) fn seal_tombstone(tombstone: Tombstone) -> Vec<u8> {
    let (kind, to) = match &tombstone.fate {
        Fate::Ended => (ENDED, [].as_slice()),
        Fate::Moved(to) => (MOVED, to.as_bytes().as_slice()),
    };
    [&[kind], tombstone.expires_at.as_millis().to_be_bytes().as_slice(), to].concat()
}

/// Reads what a key holds. What expired by `now` is absent.
///
/// # Errors
/// As [`decode`].
pub(crate) fn open(bytes: Bytes, now: Timestamp) -> Result<Lookup> {
    Ok(decide::load(decode(bytes)?.into(), now))
}

/// Reads what a key holds, expired or not.
///
/// # Errors
/// [`ErrorKind::Unavailable`] for bytes that are neither a record nor a tombstone.
pub(crate) fn decode(bytes: Bytes) -> Result<Lookup> {
    read(bytes).ok_or_else(|| Error::new(ErrorKind::Unavailable, "malformed session entry in the store"))
}

/// When what begins with these bytes expires, if they are the beginning of a record or a tombstone.
#[cfg(all(feature = "file", unix))]
pub(crate) fn expiry(header: &[u8]) -> Option<Timestamp> {
    let mut reader = Reader(Bytes::copy_from_slice(header));
    matches!(reader.take(1)?[0], LIVE | ENDED | MOVED).then(|| reader.moment())?
}

fn read(bytes: Bytes) -> Option<Lookup> {
    let mut reader = Reader(bytes);
    let kind = reader.take(1)?[0];
    let expires_at = reader.moment()?;
    match kind {
        LIVE => {}
        ENDED if reader.0.is_empty() => return Some(Lookup::Tombstone(Tombstone { fate: Fate::Ended, expires_at })),
        MOVED => {
            let fate = Fate::Moved(Key::from_slice(&reader.0)?);
            return Some(Lookup::Tombstone(Tombstone { fate, expires_at }));
        }
        _ => return None,
    }
    let version = Version::from_bits(u64::from_be_bytes(reader.array()?));
    let (created_at, updated_at) = (reader.moment()?, reader.moment()?);
    let scope = reader.text()??;
    let identity = reader.text()?;
    let mut record = Record::new(scope, reader.0, version, updated_at, expires_at);
    record.created_at = created_at;
    record.identity = identity;
    Some(Lookup::Found(record))
}

fn push_text(bytes: &mut Vec<u8>, text: &str) -> Result<()> {
    let length = u16::try_from(text.len()).ok().filter(|length| *length != NOBODY);
    let too_long = || Error::new(ErrorKind::TooLarge, "a session's scope or identity is longer than 64 KiB");
    bytes.extend(length.ok_or_else(too_long)?.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Takes bytes from the front.
struct Reader(Bytes);

impl Reader {
    fn take(&mut self, length: usize) -> Option<Bytes> {
        (self.0.len() >= length).then(|| self.0.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?[..].try_into().ok()
    }

    fn moment(&mut self) -> Option<Timestamp> {
        self.array().map(|bytes| Timestamp::from_millis(i64::from_be_bytes(bytes)))
    }

    /// A text, or the sign for none.
    #[expect(clippy::option_option, reason = "no text is not the same as bytes that are none")]
    fn text(&mut self) -> Option<Option<String>> {
        let length = u16::from_be_bytes(self.array()?);
        if length == NOBODY {
            return Some(None);
        }
        let bytes = self.take(length.into())?;
        std::str::from_utf8(&bytes).ok().map(|text| Some(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(i64::MIN);

    prop_compose! {
        fn records()(
            payload: Vec<u8>, version: u64, moments: [i64; 3], identity: Option<String>, scope: String,
        ) -> Record {
            let [created, updated, expires] = moments.map(Timestamp::from_millis);
            let mut record = Record::new(scope, payload, Version::from_bits(version), updated, expires);
            record.created_at = created;
            record.identity = identity;
            record
        }
    }

    fn tombstones() -> impl Strategy<Value = Tombstone> {
        let fate =
            any::<Option<[u8; 32]>>().prop_map(|to| to.map_or(Fate::Ended, |to| Fate::Moved(Key::from_bytes(to))));
        (fate, any::<i64>()).prop_map(|(fate, expires)| Tombstone { fate, expires_at: Timestamp::from_millis(expires) })
    }

    proptest! {
        #[test]
        fn records_come_back(record in records()) {
            prop_assume!(record.expires_at > START);
            let sealed = seal_record(&record).unwrap();
            prop_assert_eq!(&sealed[1..9], record.expires_at.as_millis().to_be_bytes());
            prop_assert_eq!(&sealed[9..17], record.version.bits().to_be_bytes());
            prop_assert_eq!(open(sealed.clone().into(), START).unwrap(), Lookup::Found(record.clone()));
            prop_assert_eq!(open(sealed.into(), record.expires_at).unwrap(), Lookup::Absent);
        }

        #[test]
        fn tombstones_come_back(tombstone in tombstones()) {
            prop_assume!(tombstone.expires_at > START);
            let sealed = seal_tombstone(tombstone);
            prop_assert_eq!(open(sealed.clone().into(), START).unwrap(), Lookup::Tombstone(tombstone));
            prop_assert_eq!(open(sealed.into(), tombstone.expires_at).unwrap(), Lookup::Absent);
        }

        #[test]
        fn any_bytes_are_something_or_an_error(bytes: Vec<u8>, kind in 0..5_u8) {
            let kind_said = [&[kind], bytes.as_slice()].concat();
            for bytes in [bytes, kind_said] {
                if let Err(error) = open(bytes.into(), START) {
                    prop_assert_eq!(error.kind(), ErrorKind::Unavailable);
                }
            }
        }

        #[test]
        fn cut_records_are_errors(record in records(), cut in 0..FRAME + 4) {
            let mut sealed = seal_record(&record).unwrap();
            sealed.truncate(cut);
            prop_assert!(open(sealed.into(), START).is_err());
        }
    }

    #[test]
    fn a_text_that_its_length_cannot_tell_is_refused() {
        for length in [usize::from(NOBODY), 100_000] {
            let record = Record::new("x".repeat(length), "", Version::from_bits(1), START, START);
            assert_eq!(seal_record(&record).unwrap_err().kind(), ErrorKind::TooLarge);
        }
    }
}
