//! Encodes records and tombstones as bytes, for back-ends that keep one value under each key.
//!
//! | bytes | live record | tombstone |
//! |---|---|---|
//! | 1 | `0x01` | `0x02` ended, `0x03` moved |
//! | 8 | expires | expires |
//! | 8 | version | if it moved: the new key (32 bytes) |
//! | 8 + 8 | created, updated | |
//! | 2 + n | the length of the scope, the scope | |
//! | 2 + n | the length of the identity, the identity; without an identity, only `0xffff` | |
//! | n | the payload | |
//!
//! Numbers are big endian. Times are milliseconds since the Unix epoch. The scripts of the Redis store also parse this
//! format.

use bytes::{Buf, BufMut, Bytes};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::Lookup;
use crate::store::record::{Fate, Record, Tombstone, Version};

const LIVE: u8 = 1;
const ENDED: u8 = 2;
const MOVED: u8 = 3;
const NO_IDENTITY: u16 = u16::MAX;
/// The length of everything before the scope of a live record.
const FIXED_LEN: usize = 1 + 4 * 8;

/// Encodes a record.
///
/// # Errors
/// [`ErrorKind::TooLarge`] for a scope or an identity of 65,535 bytes or more.
pub(crate) fn encode_record(record: &Record) -> Result<Vec<u8>> {
    let identity = record.identity.as_deref();
    let owner = 2 * 2 + record.scope.len() + identity.map_or(0, str::len);
    let mut bytes = Vec::with_capacity(FIXED_LEN + owner + record.payload.len());
    bytes.put_u8(LIVE);
    bytes.put_i64(record.expires_at.as_millis());
    bytes.put_u64(record.version.bits());
    bytes.put_i64(record.created_at.as_millis());
    bytes.put_i64(record.updated_at.as_millis());
    put_string(&mut bytes, &record.scope)?;
    match identity {
        Some(identity) => put_string(&mut bytes, identity)?,
        None => bytes.put_u16(NO_IDENTITY),
    }
    bytes.put_slice(&record.payload);
    Ok(bytes)
}

pub(crate) fn encode_tombstone(tombstone: Tombstone) -> Vec<u8> {
    let (kind, to) = match &tombstone.fate {
        Fate::Ended => (ENDED, [].as_slice()),
        Fate::Moved(to) => (MOVED, to.as_bytes().as_slice()),
    };
    [&[kind], tombstone.expires_at.as_millis().to_be_bytes().as_slice(), to].concat()
}

/// Decodes the entry of a key. An entry that expired at `now` or earlier is absent. Returns the same errors as [`decode`].
pub(crate) fn decode_live(bytes: Bytes, now: Timestamp) -> Result<Lookup> {
    Ok(decode(bytes)?.unexpired(now))
}

/// Decodes the entry of a key, even if the entry has expired.
///
/// # Errors
/// [`ErrorKind::Unavailable`] for bytes that are neither a record nor a tombstone.
pub(crate) fn decode(bytes: Bytes) -> Result<Lookup> {
    read(bytes).ok_or_else(|| {
        Error::new(
            ErrorKind::Unavailable,
            "a session in the store is malformed: delete it, or restore a backup of the store",
        )
    })
}

/// Returns the expiry of the entry that begins with `header`, or `None` if the entry is malformed.
pub(crate) fn expiry(mut header: &[u8]) -> Option<Timestamp> {
    matches!(header.try_get_u8().ok()?, LIVE | ENDED | MOVED).then(|| read_time(&mut header))?
}

#[inline]
fn read(mut bytes: Bytes) -> Option<Lookup> {
    let mut rest = &bytes[..];
    let kind = rest.try_get_u8().ok()?;
    let expires_at = read_time(&mut rest)?;
    match kind {
        LIVE => {
            let version = Version::from_bits(rest.try_get_u64().ok()?);
            let (created_at, updated_at) = (read_time(&mut rest)?, read_time(&mut rest)?);
            let (scope, identity) = (read_string(&mut rest)??.into(), read_string(&mut rest)?);
            bytes.advance(bytes.len() - rest.len());
            Some(Lookup::Found(Record { payload: bytes, version, created_at, updated_at, expires_at, identity, scope }))
        }
        ENDED if rest.is_empty() => Some(Lookup::Tombstone(Tombstone::ended(expires_at))),
        MOVED => Some(Lookup::Tombstone(Tombstone::moved(Key::from_slice(rest)?, expires_at))),
        _ => None,
    }
}

fn read_time(bytes: &mut &[u8]) -> Option<Timestamp> {
    bytes.try_get_i64().ok().map(Timestamp::from_millis)
}

/// Reads a string. The inner `None` means that the identity is missing.
#[expect(clippy::option_option, reason = "a missing identity is not the same as malformed bytes")]
#[inline]
fn read_string(bytes: &mut &[u8]) -> Option<Option<String>> {
    let length = bytes.try_get_u16().ok()?;
    if length == NO_IDENTITY {
        return Some(None);
    }
    let string = bytes.split_off(..usize::from(length))?;
    std::str::from_utf8(string).ok().map(|string| Some(string.to_owned()))
}

#[inline]
fn put_string(bytes: &mut Vec<u8>, string: &str) -> Result<()> {
    let length = u16::try_from(string.len()).ok().filter(|length| *length != NO_IDENTITY);
    let too_long = || Error::new(ErrorKind::TooLarge, "a session's scope or identity is longer than 64 KiB");
    bytes.put_u16(length.ok_or_else(too_long)?);
    bytes.put_slice(string.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests;
