//! The Lua scripts and their replies.

use bytes::Bytes;
use redis::{Value, from_redis_value};

use super::fault::unexpected_reply;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::store::{Lookup, envelope};

/// A script. After a server has run the script once, the hash is enough to run it again.
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
    pub add_to_index: Script,
    pub remove_from_index: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            create: Script::new(concat!(include_str!("entry.lua"), include_str!("create.lua"))),
            replace: Script::new(concat!(include_str!("entry.lua"), include_str!("replace.lua"))),
            touch: Script::new(concat!(include_str!("entry.lua"), include_str!("touch.lua"))),
            add_to_index: Script::new(include_str!("add_to_index.lua")),
            remove_from_index: Script::new(include_str!("remove_from_index.lua")),
        }
    }
}

/// The scope and the identity of a record.
type Owner = (String, String);

/// The result of a script that changes a session.
pub(super) enum ScriptReply {
    /// The script succeeded. Contains the owner of the old record, or `None` if it had no identity or did not exist.
    Changed(Option<Owner>),
    /// The script changed nothing, because the key holds this entry.
    Unchanged(Lookup),
}

impl ScriptReply {
    /// Reads the reply of `create`, `replace` or `touch`.
    pub(super) fn read(reply: Value, now: Timestamp) -> Result<Self> {
        match reply {
            Value::Nil => Ok(Self::Changed(None)),
            Value::Array(_) => {
                from_redis_value(reply).map(|owner| Self::Changed(Some(owner))).map_err(|_| unexpected_reply())
            }
            Value::BulkString(entry) if entry.is_empty() => Ok(Self::Unchanged(Lookup::Absent)),
            Value::BulkString(entry) => Ok(Self::Unchanged(envelope::decode_live(Bytes::from(entry), now)?)),
            _ => Err(unexpected_reply()),
        }
    }
}
