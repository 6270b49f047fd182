//! The scripts, each of which the server runs as a whole, and their replies.

use bytes::Bytes;
use redis::{Value, from_redis_value};

use super::fault::unexpected_reply;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::store::{Lookup, envelope};

/// A script. A server that has run it knows it by its hash.
pub(super) struct Script {
    pub code: &'static str,
    pub hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }
}

pub(super) struct Scripts {
    pub create: Script,
    pub replace: Script,
    pub touch: Script,
    pub enlist: Script,
    pub forget: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            create: Script::new(concat!(include_str!("entry.lua"), include_str!("create.lua"))),
            replace: Script::new(concat!(include_str!("entry.lua"), include_str!("replace.lua"))),
            touch: Script::new(concat!(include_str!("entry.lua"), include_str!("touch.lua"))),
            enlist: Script::new(include_str!("enlist.lua")),
            forget: Script::new(include_str!("forget.lua")),
        }
    }
}

/// The scope and the identity of a record.
type Owner = (String, String);

/// The result of a script that changes a session.
pub(super) enum Attempt {
    /// Done. The owner is that of the record that the script found, if the record has an identity.
    Done(Option<Owner>),
    /// Not done, because of what the key holds.
    Declined(Lookup),
}

impl Attempt {
    /// Reads the reply of a script that was run on a session.
    pub(super) fn read(reply: Value, now: Timestamp) -> Result<Self> {
        match reply {
            Value::Nil => Ok(Self::Done(None)),
            Value::Array(_) => {
                from_redis_value(reply).map(|owner| Self::Done(Some(owner))).map_err(|_| unexpected_reply())
            }
            Value::BulkString(entry) if entry.is_empty() => Ok(Self::Declined(Lookup::Absent)),
            Value::BulkString(entry) => Ok(Self::Declined(envelope::open(Bytes::from(entry), now)?)),
            _ => Err(unexpected_reply()),
        }
    }
}
