//! Writes JSON, compares JSON, and splits it into parts without copying.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::data::faithful::Unencodable;

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Unencodable> {
    // After `faithful::check`, only a map key can still cause an error. The error is dropped, because its message may
    // contain the value.
    serde_json::to_vec(value).map(Bytes::from).map_err(|_| Unencodable::NotJson)
}

/// The number of levels that are compared part by part: the maximum depth that `serde_json` decodes. Deeper parts are
/// compared as strings.
const MAX_DEPTH: usize = 128;

/// Whether two JSON strings represent the same value, regardless of the order of keys in objects.
pub(super) fn is_equivalent(one: &Bytes, other: &Bytes) -> bool {
    is_equivalent_within(one, other, MAX_DEPTH)
}

fn is_equivalent_within(one: &Bytes, other: &Bytes, levels: usize) -> bool {
    if one == other || levels == 0 {
        return one == other;
    }
    let is_equivalent = |one, other| is_equivalent_within(one, other, levels - 1);
    if let (Some(one), Some(other)) = (sorted_entries(one), sorted_entries(other)) {
        return one.len() == other.len()
            && one.iter().zip(&other).all(|((a, x), (b, y))| a == b && is_equivalent(x, y));
    }
    if let (Some(one), Some(other)) = (items(one), items(other)) {
        return one.len() == other.len() && one.iter().zip(&other).all(|(x, y)| is_equivalent(x, y));
    }
    false
}

fn sorted_entries(json: &Bytes) -> Option<Vec<(String, Bytes)>> {
    let mut entries = entries(json)?;
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Some(entries)
}

/// Appends an object.
pub(super) fn put_object<'a>(out: &mut Vec<u8>, entries: impl Iterator<Item = (&'a str, &'a Bytes)>) {
    out.push(b'{');
    for (number, (name, json)) in entries.enumerate() {
        if number > 0 {
            out.push(b',');
        }
        // Writing a string to a vector cannot fail.
        let _ = serde_json::to_writer(&mut *out, name);
        out.push(b':');
        out.extend_from_slice(json);
    }
    out.push(b'}');
}

/// Returns the entries of an object in order, or `None` if `json` is not an object.
pub(super) fn entries(json: &Bytes) -> Option<Vec<(String, Bytes)>> {
    let mut entries = Vec::new();
    for_each(json, |name, json| entries.push((name.into_owned(), json)))?;
    Some(entries)
}

/// Calls `entry` with each entry of an object, in order. If `json` is not a valid object, returns `None`, but may have
/// called `entry` before.
pub(super) fn for_each(json: &Bytes, entry: impl FnMut(Cow<'_, str>, Bytes)) -> Option<()> {
    if json.first() != Some(&b'{') {
        return None;
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    deserializer.deserialize_map(Entries { json, entry }).ok()?;
    deserializer.end().ok()
}

/// Returns the items of an array, or `None` if `json` is not an array.
pub(super) fn items(json: &Bytes) -> Option<Vec<Bytes>> {
    if json.first() != Some(&b'[') {
        return None;
    }
    let items: Vec<&RawValue> = serde_json::from_slice(json).ok()?;
    Some(items.into_iter().map(|item| json.slice_ref(item.get().as_bytes())).collect())
}

struct Entries<'a, F> {
    json: &'a Bytes,
    entry: F,
}

/// The name of an entry. A name without escapes is borrowed.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de, F: FnMut(Cow<'_, str>, Bytes)> Visitor<'de> for Entries<'de, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((Name(name), value)) = map.next_entry::<Name<'_>, &RawValue>()? {
            (self.entry)(name, self.json.slice_ref(value.get().as_bytes()));
        }
        Ok(())
    }
}
