//! Between a payload and its fields: which bytes belong to which stored name.
//!
//! A payload is one byte that names the format, then the encoded fields. Fields are cut out, not decoded: a field that
//! nobody asks for is copied as it came, also into a payload of another format. There it stands under a name of the
//! library's own, so that a change of format loses nothing, back and forth.

mod json;
#[cfg(feature = "messagepack")]
mod messagepack;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::faithful;

/// How payloads are written. Every build reads all that it knows, whichever it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Format {
    /// JSON: readable in the store.
    #[default]
    Json,
    /// [MessagePack](https://msgpack.org): smaller, names of fields included. Needs the cargo feature `messagepack`.
    #[cfg(feature = "messagepack")]
    MessagePack,
}

/// One encoded value.
#[derive(Clone, PartialEq, Eq)]
pub enum Raw {
    /// JSON text.
    Json(Bytes),
    /// A value in `MessagePack`.
    #[cfg(feature = "messagepack")]
    MessagePack(Bytes),
    /// Values by name: the undeclared keys of a session.
    Fields(Fields),
}

/// Encoded values by name.
pub(crate) type Fields = Arc<[(String, Raw)]>;

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
    pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, format: Format) -> Result<Self, Unencodable> {
        faithful::check(value).map_err(|e| Unencodable(e.to_string()))?;
        match format {
            Format::Json => json::encode(value).map(Self::Json),
            #[cfg(feature = "messagepack")]
            Format::MessagePack => messagepack::encode(value).map(Self::MessagePack),
        }
    }

    /// Decodes; `None` when this is not the form of a `T`. The reason may hold the value, so it is not told.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Option<T> {
        match self {
            Self::Json(bytes) => serde_json::from_slice(bytes).ok(),
            #[cfg(feature = "messagepack")]
            Self::MessagePack(bytes) => messagepack::decode(bytes),
            Self::Fields(fields) => {
                // One that has no form in JSON is not seen, and kept as it is.
                let entries = fields.iter().filter_map(|(name, raw)| Some((name.clone(), raw.decode::<Json>()?)));
                serde_json::from_value(Json::Object(entries.collect::<Map<_, _>>())).ok()
            }
        }
    }

    /// At most as many bytes as it takes in a payload of any format.
    pub(crate) fn size_at_most(&self) -> usize {
        match self {
            // In the other format it has a length in front.
            Self::Json(bytes) => bytes.len() + 5,
            // In the other format it is base64.
            #[cfg(feature = "messagepack")]
            Self::MessagePack(bytes) => bytes.len().div_ceil(3) * 4 + 2,
            Self::Fields(fields) => fields.iter().map(|(name, raw)| name_at_most(name) + raw.size_at_most()).sum(),
        }
    }

    /// The values of an object by their names; `None` when this is none.
    pub(crate) fn fields(&self) -> Option<Fields> {
        match self {
            Self::Json(bytes) => json::split(bytes).map(Fields::from),
            #[cfg(feature = "messagepack")]
            Self::MessagePack(bytes) => messagepack::split(bytes).map(Fields::from),
            Self::Fields(fields) => Some(fields.clone()),
        }
    }
}

/// At most as many bytes as a name takes in a payload, with what stands about it.
pub(crate) fn name_at_most(name: &str) -> usize {
    // Six bytes are the longest escape of one; a name has two quotes, a colon and a comma about it.
    6 * name.len() + 4
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
    let fields = match payload.first() {
        Some(&json::TAG) => json::split(&payload.slice(1..)),
        #[cfg(feature = "messagepack")]
        Some(&messagepack::TAG) => messagepack::split(&payload.slice(1..)),
        Some(_) => return Err(Unreadable::UnknownFormat),
        None => None,
    };
    let fields = fields.ok_or(Unreadable::Corrupt)?;
    #[cfg(feature = "messagepack")]
    let fields = messagepack::unpack_foreign(fields);
    Ok(fields)
}

/// Puts fields together to a payload.
pub(crate) fn join<'a>(fields: impl Iterator<Item = (&'a str, &'a Raw)>, format: Format) -> Bytes {
    match format {
        Format::Json => json::join(fields),
        #[cfg(feature = "messagepack")]
        Format::MessagePack => messagepack::join(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Raw, Unencodable> {
        Raw::encode(value, Format::Json)
    }

    #[test]
    fn a_payload_reads_back_in_order_and_raw() {
        let fields = [("a", encode(&1.5).unwrap()), ("b\"\n", encode("x").unwrap())];
        let payload = join(fields.iter().map(|(name, raw)| (*name, raw)), Format::Json);
        assert_eq!(&payload[..], br#"j{"a":1.5,"b\"\n":"x"}"#);
        let read = split(&payload).unwrap();
        assert_eq!(read.len(), 2);
        for ((name, raw), (was_name, was_raw)) in read.iter().zip(&fields) {
            assert_eq!(name, was_name);
            assert!(raw == was_raw);
        }
        assert_eq!(split(&join(std::iter::empty(), Format::Json)).unwrap().len(), 0);
    }

    #[cfg(feature = "messagepack")]
    #[test]
    fn the_bytes_of_messagepack_are_fixed() {
        let (seven, text) = (Raw::encode(&7, Format::MessagePack).unwrap(), encode(&"x").unwrap());
        let payload = join([("count", &seven), ("a", &text)].into_iter(), Format::MessagePack);
        assert_eq!(&payload[..], b"m\xdf\0\0\0\x02\xa5count\x07\xa5_json\x81\xa1a\xa3\"x\"");
        let payload = join([("count", &seven), ("a", &text)].into_iter(), Format::Json);
        assert_eq!(&payload[..], br#"j{"a":"x","_messagepack":{"count":"Bw"}}"#);
        for corrupt in ["m", "m\u{7f}", "m\u{0}", "mx"] {
            assert_eq!(split(&Bytes::from(corrupt)).err(), Some(Unreadable::Corrupt), "{corrupt:?}");
        }
        for corrupt in [
            b"m\x81".as_slice(),
            b"m\x81\xa1a",
            b"m\x81\x01\x01",
            b"m\x80\x80",
            b"m\x81\xa1a\x01\x01",
            // A list of four thousand million values; one in another a hundred thousand times.
            b"m\x81\xa1a\xdd\xff\xff\xff\xff",
            &[b"m\x81\xa1a".as_slice(), &vec![0x91; 100_000], &[1]].concat(),
            b"m\xdf\xff\xff\xff\xff",
        ] {
            let payload = Bytes::copy_from_slice(corrupt);
            assert_eq!(split(&payload).err(), Some(Unreadable::Corrupt), "{} bytes", corrupt.len());
        }
    }

    #[test]
    fn damaged_payloads_are_told_from_unknown_formats() {
        for corrupt in ["", "j", "j[]", "j{", "j{}x", "j{\"a\":}", "jnull", "j{\"a\":\u{0}1}"] {
            assert_eq!(split(&Bytes::from(corrupt)).err(), Some(Unreadable::Corrupt), "{corrupt:?}");
        }
        assert_eq!(split(&Bytes::from("z\u{1}")).err(), Some(Unreadable::UnknownFormat));
        assert_eq!(split(&Bytes::from_static(b"j{\"\xff\":1}")).err(), Some(Unreadable::Corrupt));
    }

    #[test]
    fn what_would_not_read_back_is_refused_without_telling_it() {
        assert!(encode(&f64::NAN).is_err());
        let secret = std::collections::HashMap::from([(vec!["hunter2"], 1)]);
        let error = encode(&secret).err().unwrap().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
