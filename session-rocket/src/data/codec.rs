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

use super::faithful;

/// How payloads are written. Every build reads all that it knows, whichever it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Format {
    /// JSON: readable in the store.
    #[default]
    Json,
    /// [MessagePack](https://msgpack.org): smaller, names of fields included. Needs the cargo feature `messagepack`.
    ///
    /// A few types come back from JSON alone, among them `RawValue` and a unit struct in an untagged enum: to save one is an
    /// error that names the field.
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

/// What is told of a value that does not come back.
const UNREADABLE: &str = "its `Deserialize` does not read back what its `Serialize` writes";

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
        Self::encode_checked(value, format)
    }

    /// As [`encode`](Self::encode), of a value that is to be read again as a `T`: what `T` does not take would be missing
    /// in the next request.
    pub(crate) fn encode_to_keep<T: Serialize + DeserializeOwned>(
        value: &impl Serialize,
        format: Format,
    ) -> Result<Self, Unencodable> {
        let checked = faithful::check(value).map_err(|e| Unencodable(e.to_string()))?;
        let raw = Self::encode_checked(value, format)?;
        let read = raw.decode::<T>().ok_or_else(|| Unencodable(UNREADABLE.to_owned()))?;
        if checked.wide && format != Format::Json {
            // Written as bytes, which a type that takes several forms may read as something else.
            let read = Self::encode_checked(&read, Format::Json)?;
            if !read.same_json(&Self::encode_checked(value, Format::Json)?) {
                return Err(Unencodable(UNREADABLE.to_owned()));
            }
        }
        Ok(raw)
    }

    fn encode_checked<T: Serialize + ?Sized>(value: &T, format: Format) -> Result<Self, Unencodable> {
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

    /// Whether both are one value in JSON. Maps without an order encode in any, so the texts may differ where the
    /// values do not; numbers are compared as they are written, for a float does not hold every one.
    pub(crate) fn same_json(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json(one), Self::Json(other)) => json::same(one, other),
            _ => self == other,
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
    /// Its format byte is reserved for formats of this library, and this build does not know it.
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
        // Lower-case letters name formats of this library, also those of later releases.
        Some(b'a'..=b'z') => return Err(Unreadable::UnknownFormat),
        Some(_) | None => None,
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
    use std::collections::BTreeMap;

    use serde::ser::SerializeMap;

    use super::*;

    #[cfg(feature = "messagepack")]
    const FORMATS: &[Format] = &[Format::Json, Format::MessagePack];
    #[cfg(not(feature = "messagepack"))]
    const FORMATS: &[Format] = &[Format::Json];

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
        for unknown in ["z", "z\u{1}", "a{}"] {
            assert_eq!(split(&Bytes::from(unknown)).err(), Some(Unreadable::UnknownFormat), "{unknown:?}");
        }
        for foreign in ["{}", "\0", "J{}", "\u{80}", "1", " j{}"] {
            assert_eq!(split(&Bytes::from(foreign)).err(), Some(Unreadable::Corrupt), "{foreign:?}");
        }
        assert_eq!(split(&Bytes::from_static(b"j{\"\xff\":1}")).err(), Some(Unreadable::Corrupt));
    }

    /// A map that tells its length wrong, as a `Serialize` written by hand may.
    #[derive(serde::Deserialize)]
    struct Short(BTreeMap<String, u8>);

    impl Serialize for Short {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(self.0.len() + 1))?;
            self.0.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
            map.end()
        }
    }

    /// What reads a 128-bit integer through a buffer that has no room for one.
    #[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u128),
        Text(String),
        Named { number: u128 },
    }

    #[test]
    fn what_its_own_type_does_not_read_back_is_refused() {
        for (value, in_json, in_messagepack) in [
            (Untagged::Number(5), false, false),
            (Untagged::Number(u128::MAX), false, false),
            (Untagged::Text("5".into()), true, true),
            (Untagged::Named { number: 5 }, false, false),
        ] {
            for (format, comes_back) in FORMATS.iter().zip([in_json, in_messagepack]) {
                let raw = Raw::encode_to_keep::<Untagged>(&value, *format).ok();
                assert_eq!(raw.is_some(), comes_back, "{value:?} {format:?}");
                assert!(raw.is_none_or(|raw| raw.decode() == Some(value.clone())), "{value:?} {format:?}");
            }
        }
        for format in FORMATS {
            assert!(Raw::encode_to_keep::<u128>(&u128::MAX, *format).is_ok());
            let short = Short(BTreeMap::from([("a".to_owned(), 1)]));
            assert_eq!(Raw::encode_to_keep::<Short>(&short, *format).is_ok(), *format == Format::Json);
        }
    }

    #[test]
    fn values_are_the_same_whatever_the_order_of_their_keys_and_to_the_last_digit() {
        let json = |text: &str| Raw::Json(Bytes::copy_from_slice(text.as_bytes()));
        for (one, other, same) in [
            ("[1]", "[1]", true),
            ("{}", "{}", true),
            ("[]", "{}", false),
            (r#"{"a":1,"b":[{"c":2,"d":3}]}"#, r#"{"b":[{"d":3,"c":2}],"a":1}"#, true),
            (r#"{"a":1,"b":2}"#, r#"{"a":1}"#, false),
            (r#"{"a":1}"#, r#"{"b":1}"#, false),
            ("[1,2]", "[2,1]", false),
            ("[1]", "[1,1]", false),
            ("0.0", "-0.0", false),
            ("340282366920938463463374607431768211455", "340282366920938463463374607431768211454", false),
            ("[340282366920938463463374607431768211455]", "[340282366920938463463374607431768211455]", true),
            (r#""1""#, "1", false),
        ] {
            assert_eq!(json(one).same_json(&json(other)), same, "{one} {other}");
        }
    }

    #[test]
    fn what_would_not_read_back_is_refused_without_telling_it() {
        assert!(encode(&f64::NAN).is_err());
        let secret = std::collections::HashMap::from([(vec!["hunter2"], 1)]);
        let error = encode(&secret).err().unwrap().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
