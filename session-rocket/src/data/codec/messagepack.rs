//! Payloads in `MessagePack`: the tag `m` and a map with names for keys, structs included.
//!
//! Values have the shape that they have in JSON (serde's human-readable one), so that what is refused there is refused
//! here, and a struct may change in the same ways.

use std::collections::{BTreeMap, HashSet};
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use rmp_serde::config::SerializerConfig;
use rmp_serde::decode::ReadReader;
use rmp_serde::{Deserializer, Serializer};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::{Raw, Unencodable};

/// The format byte.
pub(super) const TAG: u8 = b'm';

/// How many levels are read, as in JSON; a damaged payload with more is refused before the stack is used up.
const MAX_DEPTH: usize = 128;

/// In a payload of the other format: the values that were written in `MessagePack`, by name, in base64.
pub(super) const FOREIGN: &str = "_messagepack";

/// In a payload of this format: the values that were written in JSON, by name, as text.
const FOREIGN_JSON: &str = "_json";

/// Encodes what JSON would take as well, map keys included: so a change of format loses nothing.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Unencodable> {
    super::json::check(value)?;
    let mut bytes = Vec::new();
    let mut serializer = Serializer::new(&mut bytes).with_struct_map().with_human_readable();
    // The text of a serializer's own error may hold the value: it is not passed on.
    value.serialize(&mut serializer).map_err(|_| Unencodable("its serializer returned an error".to_owned()))?;
    Ok(bytes.into())
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut deserializer = Deserializer::new(Cursor::new(bytes)).with_human_readable();
    deserializer.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut deserializer).ok()?;
    // Lengths stand in front: with one that a serializer told wrong, something is left, or missing.
    is_at_end(&deserializer, bytes).then_some(value)
}

pub(super) fn join<'a>(fields: impl Iterator<Item = (&'a str, &'a Raw)>) -> Bytes {
    // A map with its number of entries in four bytes, most significant first; they are filled in at the end.
    const COUNT: usize = 2;
    let mut payload = vec![TAG, 0xdf, 0, 0, 0, 0];
    let mut count = 0_u32;
    let mut foreign = BTreeMap::new();
    for (name, raw) in fields {
        match raw {
            Raw::MessagePack(bytes) => {
                put_name(&mut payload, name);
                payload.extend_from_slice(bytes);
                count += 1;
            }
            // JSON is text: it was read as such.
            Raw::Json(json) => _ = foreign.insert(name, String::from_utf8_lossy(json)),
            // The undeclared keys stand beside the others, not under a name of theirs.
            Raw::Fields(_) => {}
        }
    }
    if !foreign.is_empty() {
        put_name(&mut payload, FOREIGN_JSON);
        payload.extend_from_slice(&encode(&foreign).expect("texts by text encode"));
        count += 1;
    }
    payload[COUNT..COUNT + size_of::<u32>()].copy_from_slice(&count.to_be_bytes());
    payload.into()
}

fn put_name(entries: &mut Vec<u8>, name: &str) {
    // Writing a string to a vector cannot fail: neither the text nor the memory can refuse.
    let _ = name.serialize(&mut Serializer::new(entries));
}

/// Cuts a map into its entries; `None` for anything else.
pub(super) fn split(bytes: &Bytes) -> Option<Vec<(String, Raw)>> {
    let (start, count) = header(bytes)?;
    let entries = bytes.slice(start..);
    let mut deserializer = Deserializer::new(Cursor::new(&entries[..]));
    deserializer.set_max_depth(MAX_DEPTH);
    let mut fields = Vec::new();
    for _ in 0..count {
        let name = String::deserialize(&mut deserializer).ok()?;
        let from = usize::try_from(deserializer.position()).ok()?;
        IgnoredAny::deserialize(&mut deserializer).ok()?;
        let to = usize::try_from(deserializer.position()).ok()?;
        fields.push((name, Raw::MessagePack(entries.slice(from..to))));
    }
    is_at_end(&deserializer, &entries).then_some(fields)
}

/// Where the entries of a map begin, and how many there are.
fn header(bytes: &[u8]) -> Option<(usize, u32)> {
    match bytes {
        [marker @ 0x80..=0x8f, ..] => Some((1, u32::from(marker & 0x0f))),
        [0xde, a, b, ..] => Some((3, u32::from(u16::from_be_bytes([*a, *b])))),
        [0xdf, a, b, c, d, ..] => Some((5, u32::from_be_bytes([*a, *b, *c, *d]))),
        _ => None,
    }
}

/// Whether these bytes are one value, and nothing else.
fn is_value(bytes: &[u8]) -> bool {
    let mut deserializer = Deserializer::new(Cursor::new(bytes));
    deserializer.set_max_depth(MAX_DEPTH);
    IgnoredAny::deserialize(&mut deserializer).is_ok() && is_at_end(&deserializer, bytes)
}

fn is_at_end<C: SerializerConfig>(deserializer: &Deserializer<ReadReader<Cursor<&[u8]>>, C>, bytes: &[u8]) -> bool {
    usize::try_from(deserializer.get_ref().position()) == Ok(bytes.len())
}

pub(super) fn to_text(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

/// Puts the values that were written in the other format in their places. Where a name is there twice, a release that
/// does not know of them has written it since: that one counts.
pub(super) fn unpack_foreign(fields: Vec<(String, Raw)>) -> Vec<(String, Raw)> {
    if !fields.iter().any(|(name, _)| name == FOREIGN || name == FOREIGN_JSON) {
        return fields;
    }
    let mut unpacked = Vec::new();
    let (foreign, own): (Vec<_>, Vec<_>) =
        fields.into_iter().partition(|(name, _)| name == FOREIGN || name == FOREIGN_JSON);
    for (name, raw) in foreign {
        match entries(&name, &raw) {
            Some(entries) => unpacked.extend(entries),
            // Not what this library writes: it is kept as it is.
            None => unpacked.push((name, raw)),
        }
    }
    let names: HashSet<&str> = own.iter().map(|(name, _)| name.as_str()).collect();
    unpacked.retain(|(name, _)| !names.contains(name.as_str()));
    unpacked.extend(own);
    unpacked
}

/// The values that stand under a name of the library's own; `None` unless each is one value, and nothing else.
fn entries(name: &str, raw: &Raw) -> Option<Vec<(String, Raw)>> {
    let texts: BTreeMap<String, String> = raw.decode()?;
    let from_text = |text: String| match name {
        FOREIGN_JSON => super::json::is_value(&text).then(|| Raw::Json(text.into())),
        _ => {
            let bytes = STANDARD_NO_PAD.decode(text).ok().filter(|bytes| is_value(bytes))?;
            Some(Raw::MessagePack(bytes.into()))
        }
    };
    texts.into_iter().map(|(name, text)| Some((name, from_text(text)?))).collect()
}
