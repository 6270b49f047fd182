//! The values that statements bind, and the calls that contain these values.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::clock::{Clock, Timestamp};
use crate::base::id::Key;
use crate::store::record::{Record, Version};

#[derive(Clone)]
pub enum Value {
    /// A number, a time or a version.
    Int(Option<i64>),
    /// The time when the statement is bound, because a call may wait in a queue, and a session may expire during the wait.
    Now(Arc<dyn Clock>),
    Key(Option<Key>),
    Payload(Bytes),
    Scope(Cow<'static, str>),
    /// An identity, which may contain any character.
    Identity(Option<String>),
}

impl Value {
    /// Returns the value as a number, or `None` for `NULL` and for values that are not numbers.
    pub(super) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => *number,
            Self::Now(clock) => Some(clock.now().as_millis()),
            _ => None,
        }
    }

    /// Returns the value as bytes, or `None` for `NULL` and for numbers.
    pub(super) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Int(_) | Self::Now(_) => None,
            Self::Key(key) => key.as_ref().map(|key| key.as_bytes().as_slice()),
            Self::Payload(payload) => Some(payload),
            Self::Scope(scope) => Some(scope.as_bytes()),
            Self::Identity(identity) => identity.as_deref().map(str::as_bytes),
        }
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Self::Int(Some(time.as_millis()))
    }
}

impl From<Version> for Value {
    fn from(version: Version) -> Self {
        Self::Int(Some(version.bits().cast_signed()))
    }
}

/// A call for one key, and the values of its statement. The key is the first value.
#[derive(Clone)]
pub struct Call {
    pub(super) key: Key,
    pub(super) values: Vec<Value>,
}

impl Call {
    pub(super) fn new(key: &Key, values: impl IntoIterator<Item = Value>) -> Self {
        Self { key: *key, values: std::iter::once(Value::Key(Some(*key))).chain(values).collect() }
    }

    /// Returns the approximate number of bytes that the call sends, including 16 for the type and length of each value.
    pub(super) fn weight(&self) -> usize {
        self.values.iter().map(|value| value.as_bytes().map_or(0, <[u8]>::len) + 16).sum()
    }
}

impl AsRef<[Value]> for Call {
    fn as_ref(&self) -> &[Value] {
        &self.values
    }
}

/// Returns the values of a record, in the order of the statements that write records.
pub(super) fn record_values(record: &Record) -> [Value; 7] {
    [
        Value::Scope(record.scope.clone()),
        Value::Identity(record.identity.clone()),
        Value::Payload(record.payload.clone()),
        record.version.into(),
        record.created_at.into(),
        record.updated_at.into(),
        record.expires_at.into(),
    ]
}
