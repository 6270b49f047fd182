//! The encoding of payloads.
//!
//! A payload is one byte that names the format, followed by the encoded fields. Loading splits the payload into fields
//! without decoding them, so a field that nobody reads is written back unchanged. In memory, each value is a JSON string,
//! whatever the format.

mod json;
#[cfg(feature = "messagepack")]
mod messagepack;

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data::faithful::{self, Unencodable};

const JSON: u8 = b'j';

#[cfg(feature = "messagepack")]
const MESSAGEPACK: u8 = b'm';

/// The setting `format`: the encoding of sessions that are saved from now on.
///
/// Sessions in every format that the build supports can be read, regardless of this setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Format {
    /// JSON, which is readable in the store. This is the default.
    #[default]
    Json,
    /// [MessagePack](https://msgpack.org), which is smaller than JSON. Requires the cargo feature `messagepack`.
    ///
    /// Values have the same structure as in JSON, so a site can change the format at any time.
    #[cfg(feature = "messagepack")]
    MessagePack,
}

/// A value encoded as JSON, regardless of the format of the payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw(Bytes);

impl Raw {
    /// Encodes `value`.
    ///
    /// # Errors
    /// [`Unencodable`] if JSON cannot represent the value.
    pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, Unencodable> {
        faithful::check(value)?;
        json::encode(value).map(Self)
    }

    /// Encodes a value that the next request reads as a `T`.
    ///
    /// # Errors
    /// [`Unencodable`] if JSON cannot represent the value, or if the encoded value does not decode as a `T` and so
    /// would be missing in the next request.
    pub(crate) fn encode_faithfully<T: DeserializeOwned>(value: &impl Serialize) -> Result<Self, Unencodable> {
        let raw = Self::encode(value)?;
        raw.decode::<T>().map(|_| raw).ok_or(Unencodable::NotReadBack)
    }

    /// Creates an object from encoded entries.
    pub(crate) fn of_entries(entries: &[(String, Self)]) -> Self {
        let mut json = Vec::new();
        json::put_object(&mut json, entries.iter().map(|(name, raw)| (name.as_str(), &raw.0)));
        Self(json.into())
    }

    /// Decodes a `T`. Returns `None` instead of the decoding error, because the error may contain the value.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.0).ok()
    }

    /// Whether both represent the same value.
    ///
    /// Objects are equal regardless of the order of their keys, because an unordered map encodes its keys in any order.
    /// Numbers are compared as strings, because a float cannot represent every number.
    pub(crate) fn is_equivalent_to(&self, other: &Self) -> bool {
        json::is_equivalent(&self.0, &other.0)
    }

    /// Returns the names and values of an object in order, or `None` if this is not an object.
    pub(crate) fn entries(&self) -> Option<Vec<(String, Self)>> {
        json::entries(&self.0).map(|entries| entries.into_iter().map(|(name, json)| (name, Self(json))).collect())
    }
}

/// Returns an upper bound for the size of an entry in a payload of any format, in bytes.
pub(crate) fn size_at_most(name: &str, raw: &Raw) -> usize {
    // In JSON, an escaped byte takes up to six bytes, and each entry adds two quotes, a colon and a comma. In MessagePack,
    // a float of three characters takes nine bytes.
    6 * name.len() + 4 + 3 * raw.0.len() + 4
}

/// The reason why a payload could not be split into fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PayloadError {
    /// The format byte names a format that this build does not support.
    UnknownFormat,
    /// The payload is damaged.
    Corrupt,
}

/// Splits a payload into its fields, and calls `field` with each field in order.
///
/// # Errors
/// If the payload is damaged or its format is unknown. `field` may run before the error is found.
pub(crate) fn split(payload: &Bytes, mut field: impl FnMut(Cow<'_, str>, Raw)) -> Result<(), PayloadError> {
    let json = match payload.first() {
        Some(&JSON) => Some(payload.slice_ref(payload[1..].trim_ascii_start())),
        #[cfg(feature = "messagepack")]
        Some(&MESSAGEPACK) => messagepack::to_json(&payload[1..]),
        // Lower-case letters are reserved for formats of this library, including formats of later releases.
        Some(b'a'..=b'z') => return Err(PayloadError::UnknownFormat),
        Some(_) | None => None,
    };
    json.and_then(|json| json::for_each(&json, |name, value| field(name, Raw(value)))).ok_or(PayloadError::Corrupt)
}

/// Builds a payload from fields.
pub(crate) fn join<'a>(fields: impl Iterator<Item = (&'a str, &'a Raw)>, format: Format) -> Bytes {
    // Most sessions fit into this capacity, so one allocation suffices.
    let mut json = Vec::with_capacity(128);
    json.push(JSON);
    json::put_object(&mut json, fields.map(|(name, raw)| (name, &raw.0)));
    match format {
        Format::Json => json.into(),
        #[cfg(feature = "messagepack")]
        Format::MessagePack => {
            let mut payload = vec![MESSAGEPACK];
            messagepack::put(&mut payload, &Bytes::from(json).slice(1..));
            payload.into()
        }
    }
}

#[cfg(test)]
mod tests;
