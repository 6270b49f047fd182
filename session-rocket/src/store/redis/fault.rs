//! Converts errors of Redis, and adds advice on how to fix them.

use std::fmt;

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind};

use crate::base::error::{Error, ErrorKind};

const WRONG_PASSWORD: &str = "Redis refused the user name or password: write `redis://:password@host` or \
                              `redis://user:password@host`, and percent-encode special characters (`%40` for `@`)";

pub(super) const PART_OF_CLUSTER: &str = "this Redis server is part of a cluster: write `redis+cluster:` instead of \
                                          `redis:`, or `rediss+cluster:` instead of `rediss:`";

/// Why a command failed.
#[derive(Debug, Clone)]
pub(super) enum CallError {
    /// No connection could be made, so the command was not sent.
    NotSent(RedisError),
    /// The connection was lost. It is unknown whether the command was run.
    Lost(RedisError),
    /// The server refused the command, so it was not run.
    Refused(RedisError),
}

/// The driver's error, without the arguments of the command. Servers may repeat the arguments, which contain keys.
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
            CallError::NotSent(cause) => ("Redis cannot be reached: check that it is running", cause, false),
            CallError::Lost(cause) => ("the connection to Redis was lost", cause, false),
            CallError::Refused(cause) => ("Redis refused a command", cause, true),
        };
        let kind = if cause.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Unavailable };
        let text = cause.to_string().split(", with args").next().unwrap_or_default().to_owned();
        Self::with_source(kind, context, Cause { text, advice: advice(cause), is_from_server })
    }
}

/// Adds advice to an error at launch.
pub(super) fn at_launch(error: Error) -> Error {
    let cause = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Cause>());
    match cause {
        _ if error.kind() == ErrorKind::Config => error,
        Some(Cause { text, advice: Some(advice), .. }) => Error::with_source(ErrorKind::Config, *advice, text.clone()),
        Some(Cause { is_from_server: true, .. }) => error,
        _ => {
            let context = "cannot connect to Redis: check that it is running, and check host, port and scheme of the URL \
                           (`rediss:` for TLS)";
            Error::with_source(error.kind(), context, error)
        }
    }
}

/// The error for a reply that does not fit the command or script.
pub(super) fn unexpected_reply() -> Error {
    Error::new(ErrorKind::Unavailable, "Redis sent an unexpected reply: check that the URL leads to a Redis server")
}

/// Whether the error has the code `wanted`. Also searches the text, because Redis 6 reports errors in scripts without a
/// code.
pub(super) fn has_code(error: &RedisError, wanted: &str) -> bool {
    let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    code == wanted || code == "ERR" && detail.contains(wanted)
}

/// Returns how to fix the configuration, or `None` if a retry may help.
fn advice(error: &RedisError) -> Option<&'static str> {
    let is = |wanted: &str| has_code(error, wanted);
    Some(match error.kind() {
        Kind::AuthenticationFailed => WRONG_PASSWORD,
        _ if is("WRONGPASS") || is("NOAUTH") || is("AUTH <password>") => WRONG_PASSWORD,
        _ if is("NOPERM") || is("user executing the script can't") => {
            "this Redis user lacks a right: grant it `~<key_prefix>*` and `+get +set +setrange +del +pexpire +pttl +zadd \
             +zrem +zscore +zrange +zremrangebyscore +eval +evalsha +ping +hello +info`, and in a cluster `+cluster \
             +asking`"
        }
        _ if is("READONLY") => "this Redis server is a read-only replica: use the URL of its primary",
        _ if is("cluster support disabled") => {
            "this Redis server is not part of a cluster: write `redis:` instead of `redis+cluster:`"
        }
        Kind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => PART_OF_CLUSTER,
        Kind::RESP3NotSupported => {
            "this server does not support `HELLO`: use Redis 6.0 or later; if a proxy does not support `HELLO`, append \
             `?protocol=2` to the URL"
        }
        _ if is("unknown command") => {
            "this Redis server does not support a command, or has renamed it: use Redis 6.0 or later, without renamed \
             commands"
        }
        _ if is("DB index") => {
            "this Redis server does not have the database whose number is at the end of the URL: write another number"
        }
        Kind::Io if error.to_string().contains("certificate") => {
            "the server's certificate is not trusted: add its CA to the trusted CAs of this machine, or to the file that \
             the environment variable `SSL_CERT_FILE` names"
        }
        _ => return None,
    })
}
