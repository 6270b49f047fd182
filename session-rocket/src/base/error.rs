//! The one error type of this crate.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What went wrong: the part of an [`Error`] to match on.
///
/// A handler that returns the [`Error`] with `?` answers with a status that depends on the kind:
///
/// | status | kinds |
/// |---|---|
/// | 422 Unprocessable Entity | [`Encode`](Self::Encode), [`TooLarge`](Self::TooLarge) |
/// | 409 Conflict | [`Ended`](Self::Ended), [`Withheld`](Self::Withheld) |
/// | 503 Service Unavailable | [`Unavailable`](Self::Unavailable), [`Timeout`](Self::Timeout), [`Uncertain`](Self::Uncertain), [`Random`](Self::Random) |
/// | 500 Internal Server Error | all others |
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The store could not be reached, refused the call, or holds something this build cannot read.
    Unavailable,
    /// The store did not answer within the configured `timeout`, or a record was contended for that long.
    Timeout,
    /// A write was sent and its outcome is unknown. Its changes are dropped and never sent again.
    Uncertain,
    /// Another request logged out, or somebody logged in on the session after this request had loaded it, or the session
    /// expired. The changes are dropped.
    ///
    /// A login of the visitor in another tab is such a login, unless it is another login of the same user.
    Ended,
    /// The browser did not send its session cookie with this cross-site request, because of the cookie's `SameSite`
    /// attribute. The changes are dropped, because a new session would replace the visitor's own. The store was asked
    /// nothing, so a `flush` ends no session either.
    Withheld,
    /// A value does not encode faithfully.
    Encode,
    /// The encoded session is larger than the configured `max_size`, or the `Set-Cookie` line of a sealed cookie is longer
    /// than 4,096 bytes.
    TooLarge,
    /// An `update` closure or a serializer panicked while a change was replayed.
    Panicked,
    /// The response head is already sent and the change would need a new session cookie.
    TooLate,
    /// The back-end cannot do this.
    Unsupported,
    /// A configuration value is invalid. Occurs only at launch.
    Config,
    /// The session's fairing is not attached.
    NoFairing,
    /// The operating system gave no random bytes.
    Random,
}

impl ErrorKind {
    /// Whether a retry may help: the store failed, not the application.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable | Self::Timeout | Self::Uncertain | Self::Random)
    }

    /// Whether the changes were dropped on purpose. Nothing failed, and the response is sent as it is.
    pub(crate) fn is_drop(self) -> bool {
        matches!(self, Self::Ended | Self::Withheld)
    }
}

/// Why a session could not be loaded or saved.
///
/// Cheap to clone. Its text never holds a session id, a key or a session's value. `{}` shows what failed, and `{:#}` also
/// shows the causes, in one line.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `context` says what happened.
    ///
    /// Authors of stores: `context` must not hold a key or a payload.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, context: context.into(), source: None }))
    }

    /// As [`new`](Self::new), with the cause.
    pub fn with_source(
        kind: ErrorKind,
        context: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Inner { kind, context: context.into(), source: Some(source.into()) }))
    }

    /// What went wrong, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() { Chain(self).fmt(f) } else { f.write_str(&self.0.context) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.0.kind).field("context", &self.0.context);
        if let Some(source) = &self.0.source {
            debug.field("source", &source.to_string());
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// An error and its causes in one line, for the log.
pub(crate) struct Chain<'a>(pub &'a Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // The text of some errors includes that of their cause.
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// What this crate's fallible calls return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_tells_each_cause_once() {
        let cause = Error::with_source(ErrorKind::Unavailable, "the file: it is gone", "it is gone");
        let error = Error::with_source(ErrorKind::Unavailable, "cannot open", cause);
        assert_eq!(Chain(&error).to_string(), "cannot open: the file: it is gone");
        assert_eq!(format!("{error:#} {error}"), "cannot open: the file: it is gone cannot open");
    }
}
