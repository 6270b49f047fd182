//! Converts JSON to `MessagePack` and back.
//!
//! Values are encoded as JSON first, so that both formats accept the same values, and changing the format changes no
//! value. A value that `MessagePack` cannot represent exactly, such as a number of more than 64 bits, is stored as a
//! JSON string in a binary value.

use std::fmt;
use std::io::Cursor;

use bytes::Bytes;
use rmp_serde::{Deserializer, Serializer};
use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, de};
use serde_json::value::RawValue;

use super::json::{entries, items};

/// The maximum number of levels to read, the same as in JSON. The limit protects the stack from a damaged payload.
const MAX_DEPTH: usize = 128;

/// The maximum number of levels to write. Deeper parts of a value are stored as JSON strings in binary values.
const MAX_WRITTEN: usize = 100;

/// Appends the value of the JSON string `json` as `MessagePack`.
pub(super) fn put(out: &mut Vec<u8>, json: &Bytes) {
    // Writing to a vector cannot fail, and every part of a JSON string can be serialized.
    let _ = Text { json, depth: 0 }.serialize(&mut Serializer::new(out));
}

/// Converts one `MessagePack` value to JSON. Returns `None` if `bytes` is not exactly one valid value.
pub(super) fn to_json(bytes: &[u8]) -> Option<Bytes> {
    let mut deserializer = Deserializer::new(Cursor::new(bytes));
    deserializer.set_max_depth(MAX_DEPTH);
    let mut json = Vec::with_capacity(2 * bytes.len());
    Writer(&mut json).deserialize(&mut deserializer).ok()?;
    let end = usize::try_from(deserializer.position()).ok()?;
    (end == bytes.len()).then(|| json.into())
}

/// A JSON string that serializes as the value it contains.
struct Text<'j> {
    json: &'j Bytes,
    depth: usize,
}

impl Serialize for Text<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { json, depth } = *self;
        if depth == MAX_WRITTEN {
            return serializer.serialize_bytes(json);
        }
        let part = |json| Text { json, depth: depth + 1 };
        if let Some(entries) = entries(json) {
            return serializer.collect_map(entries.iter().map(|(name, json)| (name, part(json))));
        }
        if let Some(items) = items(json) {
            return serializer.collect_seq(items.iter().map(part));
        }
        // `serde_json::Number` is not used, because it serializes as a map if the feature `arbitrary_precision` is on.
        if let Some(value) = exact::<Option<bool>>(json) {
            return value.serialize(serializer);
        }
        if let Some(value) = exact::<u64>(json) {
            return serializer.serialize_u64(value);
        }
        if let Some(value) = exact::<i64>(json) {
            return serializer.serialize_i64(value);
        }
        if let Some(value) = exact::<f64>(json) {
            return serializer.serialize_f64(value);
        }
        match exact::<String>(json) {
            Some(value) => serializer.serialize_str(&value),
            None => serializer.serialize_bytes(json),
        }
    }
}

/// Parses a `T` whose JSON is exactly `json`.
fn exact<T: DeserializeOwned + Serialize>(json: &[u8]) -> Option<T> {
    let value = serde_json::from_slice(json).ok()?;
    serde_json::to_vec(&value).is_ok_and(|text| text == json).then_some(value)
}

/// Writes the value that it visits as JSON.
struct Writer<'o>(&'o mut Vec<u8>);

impl Writer<'_> {
    fn put<E: de::Error>(self, value: &(impl Serialize + ?Sized)) -> Result<(), E> {
        serde_json::to_writer(self.0, value).map_err(E::custom)
    }

    /// Ends an array or an object, and removes the comma after its last part.
    fn close(self, bracket: u8) {
        self.0.pop_if(|last| *last == b',');
        self.0.push(bracket);
    }
}

impl<'de> DeserializeSeed<'de> for Writer<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can represent")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.put(&())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.put(&value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.put(&value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.put(&value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        if value.is_finite() { self.put(&value) } else { Err(E::custom("not a finite number")) }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.put(value)
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<(), E> {
        self.put(serde_json::from_slice::<&RawValue>(value).map_err(E::custom)?)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.push(b'[');
        while seq.next_element_seed(Writer(self.0))?.is_some() {
            self.0.push(b',');
        }
        self.close(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.push(b'{');
        while let Some(name) = map.next_key::<String>()? {
            Writer(self.0).put(&name)?;
            self.0.push(b':');
            map.next_value_seed(Writer(self.0))?;
            self.0.push(b',');
        }
        self.close(b'}');
        Ok(())
    }
}
