//! How serde reads and writes sizes, and the settings that contain secrets.

use rocket::data::ByteUnit;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::store::mask_url;

pub(super) fn masked<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&mask_url(url))
}

#[expect(clippy::ref_option, reason = "serde calls the function with this type")]
pub(super) fn masked_option<S: Serializer>(url: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_deref().map(mask_url).serialize(serializer)
}

/// Writes `***` for each key.
pub(super) fn hidden<S: Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(keys.iter().map(|_| "***"))
}

/// Reads a list of keys, or one key. The error does not show the invalid value, which may be a secret.
pub(super) fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a list of keys, each of them a string")]
    enum Keys {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Keys::deserialize(deserializer)? {
        Keys::One(key) => vec![key],
        Keys::Many(keys) => keys,
    })
}

pub(super) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    ByteUnit::deserialize(deserializer).map(ByteUnit::as_u64)
}
