//! The values that statements bind, and the row that a statement returns.

use crate::base::clock::Timestamp;
use crate::base::id::Key;
use crate::store::Lookup;
use crate::store::record::Version;

/// A value to bind.
#[derive(Clone, Copy)]
pub enum Value<'v> {
    /// A number, a time or a version.
    Int(Option<i64>),
    /// A key or a payload.
    Bytes(Option<&'v [u8]>),
    /// A scope.
    Scope(&'v str),
    /// An identity, which may contain any character.
    Identity(Option<&'v str>),
}

/// The values of a group of calls: one row for each call, and values of one kind in each column.
pub(super) type Rows<'r> = &'r [Vec<Value<'r>>];

/// A row of the session table.
pub struct StoredRow {
    pub key: Option<Key>,
    pub lookup: Lookup,
}

impl Value<'_> {
    /// The number of bytes, roughly.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Int(_) => size_of::<i64>(),
            Self::Bytes(bytes) => bytes.map_or(0, <[u8]>::len),
            Self::Scope(text) => text.len(),
            Self::Identity(text) => text.map_or(0, str::len),
        }
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Int(Some(number.into()))
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(time: Timestamp) -> Self {
        Self::Int(Some(time.as_millis()))
    }
}

impl From<Version> for Value<'_> {
    fn from(version: Version) -> Self {
        Self::Int(Some(version.bits().cast_signed()))
    }
}

impl<'v> From<&'v Key> for Value<'v> {
    fn from(key: &'v Key) -> Self {
        Self::Bytes(Some(key.as_bytes()))
    }
}
