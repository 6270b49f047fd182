//! What went wrong with Redis, and what to do about it.

use std::fmt;

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind};

use crate::base::error::{Error, ErrorKind};

/// Why a command has no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No connection could be made: it was not sent.
    Unreached(RedisError),
    /// The connection was lost: whether it was run is not known.
    Lost(RedisError),
    /// The server refused it: it was not run.
    Refused(RedisError),
}

impl Trouble {
    fn cause(&self) -> &RedisError {
        match self {
            Self::Unreached(cause) | Self::Lost(cause) | Self::Refused(cause) => cause,
        }
    }
}

/// What Redis or its driver said, and which change of the configuration may help.
#[derive(Debug)]
struct Told {
    text: String,
    advice: Option<&'static str>,
    /// Whether the server answered at all.
    is_there: bool,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Told {}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        let cause = trouble.cause();
        let kind = if cause.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Unavailable };
        let context = match &trouble {
            Trouble::Unreached(_) => "Redis cannot be reached",
            Trouble::Lost(_) => "the connection to Redis was lost",
            Trouble::Refused(_) => "Redis refused a session's command",
        };
        let is_there = matches!(trouble, Trouble::Refused(_));
        Self::with_source(kind, context, Told { text: text(cause), advice: advice(cause), is_there })
    }
}

/// The same error as a launch reports it: where another configuration is needed, it says which.
pub(super) fn at_launch(error: Error) -> Error {
    let told = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Told>());
    match told {
        _ if error.kind() == ErrorKind::Config => error,
        Some(Told { text, advice: Some(advice), .. }) => Error::with_source(ErrorKind::Config, *advice, text.clone()),
        Some(Told { is_there: true, .. }) => error,
        _ => {
            let context = "Redis does not answer: is it running, and are host, port and scheme of the URL right \
                           (`rediss:` for TLS)?";
            Error::with_source(error.kind(), context, error)
        }
    }
}

/// What the driver says, without the arguments that a server may repeat: they hold keys.
fn text(error: &RedisError) -> String {
    let text = error.to_string();
    text.split(", with args").next().unwrap_or_default().to_owned()
}

/// Is that the error's code? Redis 6 tells of an error in a script in words only.
pub(super) fn says(error: &RedisError, wanted: &str) -> bool {
    let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    code == wanted || code == "ERR" && detail.contains(wanted)
}

/// What to change, where waiting does not help.
fn advice(error: &RedisError) -> Option<&'static str> {
    let is = |wanted: &str| says(error, wanted);
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
            "this server does not know `HELLO`: it takes Redis 6.0 or later, or `?protocol=2` at the URL's end for a \
             proxy that does not know it"
        }
        _ if is("unknown command") => "this Redis does not know, or hides, a command: it takes Redis 6.0 or later",
        _ if is("DB index") => "the number at the URL's end is that of a database that this Redis does not have",
        Kind::Io if error.to_string().contains("certificate") => {
            "the server's certificate is not trusted: put its CA among those of this machine, or into the file that \
             the environment's `SSL_CERT_FILE` names"
        }
        _ => return None,
    })
}

const WRONG_PASSWORD: &str = "Redis refuses user or password: write `redis://:password@host` or \
                              `redis://user:password@host`, with special characters percent-encoded (`@` is `%40`)";

pub(super) const PART_OF_CLUSTER: &str = "this Redis is part of a cluster: write `redis+cluster:` for `redis:`, or \
                                          `rediss+cluster:` for `rediss:`";
