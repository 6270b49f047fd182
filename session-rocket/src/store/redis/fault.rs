//! Errors of Redis, and the change of configuration that removes them.

use std::fmt;

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind};

use crate::base::error::{Error, ErrorKind};

const WRONG_PASSWORD: &str = "Redis refuses user or password: write `redis://:password@host` or \
                              `redis://user:password@host`, with special characters percent-encoded (`@` is `%40`)";

pub(super) const PART_OF_CLUSTER: &str = "this Redis is part of a cluster: write `redis+cluster:` for `redis:`, or \
                                          `rediss+cluster:` for `rediss:`";

/// Why a command has no reply.
#[derive(Debug)]
pub(super) enum CallError {
    /// No connection could be made, so the command was not sent.
    NotSent(RedisError),
    /// The connection was lost. It is unknown whether the command was run.
    Lost(RedisError),
    /// The server refused the command, so it was not run.
    Refused(RedisError),
}

/// The driver's error, without the arguments that a server may repeat, because they contain keys.
#[derive(Debug)]
struct Cause {
    text: String,
    advice: Option<&'static str>,
    is_from_server: bool,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Cause {}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        let (context, cause, is_from_server) = match &error {
            CallError::NotSent(cause) => ("Redis cannot be reached", cause, false),
            CallError::Lost(cause) => ("the connection to Redis was lost", cause, false),
            CallError::Refused(cause) => ("Redis refused a session's command", cause, true),
        };
        let kind = if cause.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Unavailable };
        let text = cause.to_string().split(", with args").next().unwrap_or_default().to_owned();
        Self::with_source(kind, context, Cause { text, advice: advice(cause), is_from_server })
    }
}

/// The error as a launch reports it, with the change of configuration that removes it.
pub(super) fn at_launch(error: Error) -> Error {
    let cause = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Cause>());
    match cause {
        _ if error.kind() == ErrorKind::Config => error,
        Some(Cause { text, advice: Some(advice), .. }) => Error::with_source(ErrorKind::Config, *advice, text.clone()),
        Some(Cause { is_from_server: true, .. }) => error,
        _ => {
            let context = "Redis does not answer: is it running, and are host, port and scheme of the URL right \
                           (`rediss:` for TLS)?";
            Error::with_source(error.kind(), context, error)
        }
    }
}

/// A reply that none of the store's commands and scripts has.
pub(super) fn unexpected_reply() -> Error {
    Error::new(ErrorKind::Unavailable, "Redis sent an unexpected reply")
}

/// Whether the error has the code `wanted`. Redis 6 reports an error in a script as text only.
pub(super) fn has_code(error: &RedisError, wanted: &str) -> bool {
    let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    code == wanted || code == "ERR" && detail.contains(wanted)
}

/// The change of configuration that removes the error; `None` if waiting may help.
fn advice(error: &RedisError) -> Option<&'static str> {
    let is = |wanted: &str| has_code(error, wanted);
    Some(match error.kind() {
        Kind::AuthenticationFailed => WRONG_PASSWORD,
        _ if is("WRONGPASS") || is("NOAUTH") || is("AUTH <password>") => WRONG_PASSWORD,
        _ if is("NOPERM") || is("user executing the script can't") => {
            "Redis does not let this user do what a session store does: give it `~<key_prefix>*` and `+get +set \
             +setrange +del +pexpire +pttl +zadd +zrem +zscore +zrange +zremrangebyscore +eval +evalsha +ping +hello \
             +info`, and in a cluster `+cluster +asking`"
        }
        _ if is("READONLY") => "this Redis is a replica, which takes no writes: name its primary",
        _ if is("cluster support disabled") => "this Redis is no cluster: write `redis:` for `redis+cluster:`",
        Kind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => PART_OF_CLUSTER,
        Kind::RESP3NotSupported => {
            "this server does not know `HELLO`: use Redis 6.0 or later, or write `?protocol=2` at the URL's end if a \
             proxy does not know `HELLO`"
        }
        _ if is("unknown command") => "this Redis does not know, or hides, a command: use Redis 6.0 or later",
        _ if is("DB index") => "the number at the URL's end is that of a database that this Redis does not have",
        Kind::Io if error.to_string().contains("certificate") => {
            "the server's certificate is not trusted: add its CA to those of this machine, or to the file that \
             the environment variable `SSL_CERT_FILE` names"
        }
        _ => return None,
    })
}
