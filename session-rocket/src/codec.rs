//! Between a payload and its fields: which bytes belong to which stored name.
//!
//! A payload is one byte that names the format, then the encoded fields. Fields are cut out, not decoded: a field that
//! nobody asks for is copied as it came.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::faithful;

/// The format byte of JSON.
const JSON: u8 = b'j';

/// One encoded value: JSON text.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw(Bytes);

/// Why a value was not encoded. Its text holds nothing of the value.
#[derive(Debug)]
pub(crate) struct Unencodable(String);

impl fmt::Display for Unencodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unencodable {}

impl Raw {
    /// Encodes `value`; refuses what would not read back as it was.
    pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, Unencodable> {
        faithful::check(value).map_err(|e| Unencodable(e.to_string()))?;
        // The text of a serializer's own error may hold the value: it is not passed on.
        let json = serde_json::to_vec(value).map_err(|e| {
            Unencodable(match e.classify() {
                serde_json::error::Category::Data => "its serializer returned an error".to_owned(),
                _ => "it has no form in JSON".to_owned(),
            })
        })?;
        Ok(Self(json.into()))
    }

    /// Decodes; `None` when this is not the form of a `T`. The reason may hold the value, so it is not told.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.0).ok()
    }

    pub(crate) fn size(&self) -> usize {
        self.0.len()
    }

    /// One value that holds all of `fields`.
    pub(crate) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Raw)>) -> Self {
        let mut json = Vec::new();
        write_object(&mut json, fields);
        Self(json.into())
    }

    /// The values that [`object`](Self::object) put together; `None` when this is no object.
    pub(crate) fn fields(&self) -> Option<Vec<(String, Raw)>> {
        split_object(&self.0)
    }
}

/// Why a payload could not be cut into fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Its format byte is not one this build knows.
    UnknownFormat,
    /// It is damaged.
    Corrupt,
}

/// Cuts a payload into its fields, in their order.
pub(crate) fn split(payload: &Bytes) -> Result<Vec<(String, Raw)>, Unreadable> {
    match payload.first() {
        Some(&JSON) => split_object(&payload.slice(1..)).ok_or(Unreadable::Corrupt),
        Some(_) => Err(Unreadable::UnknownFormat),
        None => Err(Unreadable::Corrupt),
    }
}

/// Puts fields together to a payload.
pub(crate) fn join<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Raw)>) -> Bytes {
    let mut payload = vec![JSON];
    write_object(&mut payload, fields);
    payload.into()
}

fn write_object<'a>(out: &mut Vec<u8>, fields: impl IntoIterator<Item = (&'a str, &'a Raw)>) {
    let mut separator = b'{';
    for (name, raw) in fields {
        out.push(separator);
        separator = b',';
        // Writing a string to a vector cannot fail: neither the text nor the memory can refuse.
        let _ = serde_json::to_writer(&mut *out, name);
        out.push(b':');
        out.extend_from_slice(&raw.0);
    }
    if separator == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

fn split_object(json: &Bytes) -> Option<Vec<(String, Raw)>> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let fields = deserializer.deserialize_map(Fields { json }).ok()?;
    deserializer.end().ok()?;
    Some(fields)
}

/// Collects the entries of an object as slices of its text.
struct Fields<'a> {
    json: &'a Bytes,
}

impl<'de> Visitor<'de> for Fields<'de> {
    type Value = Vec<(String, Raw)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            fields.push((name, Raw(self.json.slice_ref(value.get().as_bytes()))));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_reads_back_in_order_and_raw() {
        let fields = [("a", Raw::encode(&1.5).unwrap()), ("b\"\n", Raw::encode("x").unwrap())];
        let payload = join(fields.iter().map(|(name, raw)| (*name, raw)));
        assert_eq!(&payload[..], br#"j{"a":1.5,"b\"\n":"x"}"#);
        let read = split(&payload).unwrap();
        assert_eq!(read.len(), 2);
        for ((name, raw), (was_name, was_raw)) in read.iter().zip(&fields) {
            assert_eq!(name, was_name);
            assert!(raw == was_raw);
        }
        assert_eq!(split(&join([])).unwrap().len(), 0);
    }

    #[test]
    fn damaged_payloads_are_told_from_unknown_formats() {
        for corrupt in ["", "j", "j[]", "j{", "j{}x", "j{\"a\":}", "jnull", "j{\"a\":\u{0}1}"] {
            assert_eq!(split(&Bytes::from(corrupt)).err(), Some(Unreadable::Corrupt), "{corrupt:?}");
        }
        assert_eq!(split(&Bytes::from("m\u{1}")).err(), Some(Unreadable::UnknownFormat));
        assert_eq!(split(&Bytes::from_static(b"j{\"\xff\":1}")).err(), Some(Unreadable::Corrupt));
    }

    #[test]
    fn what_would_not_read_back_is_refused_without_telling_it() {
        assert!(Raw::encode(&f64::NAN).is_err());
        let secret = std::collections::HashMap::from([(vec!["hunter2"], 1)]);
        let error = Raw::encode(&secret).err().unwrap().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
