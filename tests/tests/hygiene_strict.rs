//! The code that the derive generates causes no warnings in a crate that denies missing docs and most clippy lints.
#![deny(warnings, missing_docs, missing_debug_implementations, unused_qualifications, unreachable_pub)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery)]

use std::fmt;

use session_rocket::Session;

/// A private struct with unused fields.
#[derive(Session)]
struct Unused {
    name: Option<String>,
    visits: u32,
}

/// A public struct with field names that lints check.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, Session)]
#[allow(unreachable_pub)]
pub struct Remembered {
    /// Documented.
    pub from_city: Option<String>,
    /// Documented.
    pub to_city: Option<String>,
    /// Documented.
    pub is_member: bool,
    /// Documented.
    pub as_guest: bool,
    /// Documented.
    pub new: u64,
    /// Documented.
    #[session(default = vec![1, 2, 3])]
    pub drop: Vec<u8>,
    /// Documented.
    #[session(default = Default::default())]
    pub default: u8,
    #[deprecated = "write `from_city`"]
    /// Documented.
    pub city: Option<String>,
    private: Option<Private>,
    #[session(with = "as_text")]
    grade: u8,
    #[session(skip)]
    scratch: u8,
}

// serde passes the value by reference, and two lints ask for opposite visibilities.
#[allow(clippy::trivially_copy_pass_by_ref, clippy::redundant_pub_crate)]
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &u8, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Private;

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in use")
    }
}

fn main() {
    fn uses(session: &Session<Remembered>) -> bool {
        session.is_member()
    }
    let _: fn(&Session<Remembered>) -> bool = uses;
}
