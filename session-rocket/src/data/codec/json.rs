//! Payloads in JSON: the tag `j` and an object.

use std::fmt;

use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::{Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{Raw, Unencodable};

/// The format byte.
pub(super) const TAG: u8 = b'j';

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Unencodable> {
    serde_json::to_vec(value).map(Bytes::from).map_err(unencodable)
}

/// Whether a value has a form in JSON.
#[cfg(feature = "messagepack")]
pub(super) fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), Unencodable> {
    serde_json::to_writer(std::io::sink(), value).map_err(unencodable)
}

/// Whether a text is one value, and nothing else.
#[cfg(feature = "messagepack")]
pub(super) fn is_value(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Whether two texts are one value, whatever the order of their objects' keys.
pub(super) fn same(one: &Bytes, other: &Bytes) -> bool {
    if one == other {
        return true;
    }
    match (one.first(), other.first()) {
        (Some(b'{'), Some(b'{')) => {
            let sorted = |json| {
                let mut entries = split(json)?;
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                Some(entries)
            };
            let (Some(one), Some(other)) = (sorted(one), sorted(other)) else { return false };
            one.len() == other.len() && one.iter().zip(&other).all(|((a, x), (b, y))| a == b && x.same_json(y))
        }
        (Some(b'['), Some(b'[')) => {
            let items = |json| serde_json::from_slice::<Vec<&RawValue>>(json).ok();
            let (Some(first), Some(second)) = (items(one), items(other)) else { return false };
            let raw = |json: &Bytes, item: &RawValue| json.slice_ref(item.get().as_bytes());
            first.len() == second.len() && first.iter().zip(&second).all(|(a, b)| same(&raw(one, a), &raw(other, b)))
        }
        _ => false,
    }
}

/// The text of a serializer's own error may hold the value: it is not passed on.
fn unencodable(error: serde_json::Error) -> Unencodable {
    Unencodable(match error.classify() {
        serde_json::error::Category::Data => "its serializer returned an error".to_owned(),
        _ => "it has no form in JSON, whose map keys are texts, numbers or switches".to_owned(),
    })
}

pub(super) fn join<'a>(fields: impl Iterator<Item = (&'a str, &'a Raw)>) -> Bytes {
    // Most sessions are small: one piece of memory does.
    let mut out = Vec::with_capacity(128);
    out.push(TAG);
    let mut separator = b'{';
    let mut put = |out: &mut Vec<u8>, name: &str, json: &[u8]| {
        out.push(std::mem::replace(&mut separator, b','));
        // Writing a string to a vector cannot fail: neither the text nor the memory can refuse.
        let _ = serde_json::to_writer(&mut *out, name);
        out.push(b':');
        out.extend_from_slice(json);
    };
    #[cfg(feature = "messagepack")]
    let mut foreign = serde_json::Map::new();
    for (name, raw) in fields {
        match raw {
            Raw::Json(json) => put(&mut out, name, json),
            #[cfg(feature = "messagepack")]
            Raw::MessagePack(bytes) => _ = foreign.insert(name.to_owned(), super::messagepack::to_text(bytes).into()),
            // The undeclared keys stand beside the others, not under a name of theirs.
            Raw::Fields(_) => {}
        }
    }
    #[cfg(feature = "messagepack")]
    if !foreign.is_empty() {
        put(&mut out, super::messagepack::FOREIGN, serde_json::Value::Object(foreign).to_string().as_bytes());
    }
    if separator == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
    out.into()
}

/// Cuts an object into its entries; `None` for anything else.
pub(super) fn split(json: &Bytes) -> Option<Vec<(String, Raw)>> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let fields = deserializer.deserialize_map(Entries { json }).ok()?;
    deserializer.end().ok()?;
    Some(fields)
}

/// Collects the entries of an object as slices of its text.
struct Entries<'a> {
    json: &'a Bytes,
}

impl<'de> Visitor<'de> for Entries<'de> {
    type Value = Vec<(String, Raw)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            fields.push((name, Raw::Json(self.json.slice_ref(value.get().as_bytes()))));
        }
        Ok(fields)
    }
}
