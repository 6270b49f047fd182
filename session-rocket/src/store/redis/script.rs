//! The scripts, each of which the server runs as a whole, and their replies.

use bytes::Bytes;
use redis::{Cmd, Value, cmd, from_redis_value};

use super::fault::unexpected_reply;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::store::{Lookup, envelope};

/// A script. A server that has run it knows it by its hash.
pub(super) struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    /// The command that runs the script if the server knows it.
    pub(super) fn by_hash(&self, name: &str, arguments: &[&[u8]]) -> Cmd {
        command("EVALSHA", &self.hash, name, arguments)
    }

    /// The command that runs the script and makes it known.
    pub(super) fn in_full(&self, name: &str, arguments: &[&[u8]]) -> Cmd {
        command("EVAL", self.code, name, arguments)
    }
}

fn command(verb: &str, script: &str, name: &str, arguments: &[&[u8]]) -> Cmd {
    let mut command = cmd(verb);
    command.arg(script).arg(1).arg(name).arg(arguments);
    command
}

pub(super) struct Scripts {
    pub create: Script,
    pub update: Script,
    pub touch: Script,
    pub retire: Script,
    pub enlist: Script,
    pub forget: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        macro_rules! on_held {
            ($file:literal) => {
                Script::new(concat!(include_str!("held.lua"), include_str!($file)))
            };
        }
        Self {
            create: on_held!("create.lua"),
            update: on_held!("update.lua"),
            touch: on_held!("touch.lua"),
            retire: on_held!("retire.lua"),
            enlist: Script::new(include_str!("enlist.lua")),
            forget: Script::new(include_str!("forget.lua")),
        }
    }
}

/// The reply of a script that was run on a session.
pub(super) enum ScriptReply {
    Done,
    /// Done to a session of this scope and identity.
    DoneFor(String, String),
    /// Not done, because of what the key holds.
    Held(Lookup),
}

impl ScriptReply {
    pub(super) fn read(value: Value, now: Timestamp) -> Result<Self> {
        match value {
            Value::Nil => Ok(Self::Done),
            Value::Array(_) => {
                let (scope, identity) = from_redis_value(value).map_err(|_| unexpected_reply())?;
                Ok(Self::DoneFor(scope, identity))
            }
            Value::BulkString(held) if held.is_empty() => Ok(Self::Held(Lookup::Absent)),
            Value::BulkString(held) => Ok(Self::Held(envelope::open(Bytes::from(held), now)?)),
            _ => Err(unexpected_reply()),
        }
    }
}
