//! The error type of this crate.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The category of an [`Error`].
///
/// If a handler returns the error with `?`, its kind decides the status of the response:
///
/// | status | kinds |
/// |---|---|
/// | 400 Bad Request | [`AmbiguousCredentials`](Self::AmbiguousCredentials) |
/// | 422 Unprocessable Entity | [`Encode`](Self::Encode), [`TooLarge`](Self::TooLarge) |
/// | 409 Conflict | [`Ended`](Self::Ended), [`Withheld`](Self::Withheld), [`TooManySessions`](Self::TooManySessions) |
/// | 503 Service Unavailable | [`Unavailable`](Self::Unavailable), [`Timeout`](Self::Timeout), [`Uncertain`](Self::Uncertain), [`Random`](Self::Random) |
/// | 500 Internal Server Error | all others |
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The store could not be reached, refused the call, or returned a record that this build cannot read.
    Unavailable,
    /// The store did not reply within the configured `timeout`, or other requests changed the session at the same time.
    ///
    /// In the second case, other requests usually changed the session during every attempt, until `timeout` passed. If a
    /// [`transact`](crate::Session::transact) changes the user, one change by another request is enough.
    Timeout,
    /// The store received a write, but its outcome is unknown.
    ///
    /// The changes are dropped and never sent again.
    Uncertain,
    /// The session ended before the changes of this request were saved, so the changes are dropped.
    ///
    /// The session expired, or another request logged the user out or logged in a different user. If nobody was logged
    /// in, the visitor's own login in another tab also ends the session for this request.
    Ended,
    /// The browser did not send its session cookie with this cross-site request, so the changes are dropped.
    ///
    /// The reason is the `SameSite` attribute of the cookie. Saving the changes would start a new session, whose cookie
    /// would replace the visitor's own, so only a login is saved. Because the request does not know the visitor's
    /// session, `flush` does not end that session.
    Withheld,
    /// The request has several credentials: a bearer token and a session cookie, or several `Authorization` headers.
    ///
    /// This error occurs only if [`transport`](field@crate::Config::transport) allows bearer tokens.
    AmbiguousCredentials,
    /// The user already has [`max_sessions`](field@crate::Config::max_sessions) sessions, and
    /// [`when_full`](field@crate::Config::when_full) is [`RefuseLogin`](crate::WhenFull::RefuseLogin). The login is not
    /// saved.
    TooManySessions,
    /// A value cannot be encoded, or would not decode to the same value.
    Encode,
    /// The encoded session is larger than the configured `max_size`.
    ///
    /// With sealed cookies, this error also means that the `Set-Cookie` line would be longer than 4,096 bytes.
    TooLarge,
    /// Code of the application, such as an `update` closure or a `Serialize` implementation, panicked during a save.
    Panicked,
    /// The change needs a new session cookie, but the response head is already sent.
    TooLate,
    /// The store does not support the operation.
    Unsupported,
    /// The configuration is invalid. This error occurs only at launch.
    Config,
    /// The session's fairing is not attached.
    NoFairing,
    /// The operating system returned no random bytes.
    Random,
}

impl ErrorKind {
    /// Returns whether the same request may succeed later.
    ///
    /// True for the kinds whose status is 503.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable | Self::Timeout | Self::Uncertain | Self::Random)
    }

    /// Whether the changes were dropped without a failure, so that the fairing sends the response unchanged.
    pub(crate) fn is_drop(self) -> bool {
        matches!(self, Self::Ended | Self::Withheld)
    }
}

/// The reason why a session could not be loaded or saved.
///
/// `{}` shows what failed, and `{:#}` also shows the causes, in one line. The message never contains a session id, a
/// key or a value of a session. Cloning an error is cheap.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error of `kind`. `context` says what happened.
    ///
    /// `context` must not contain a key or a payload, because errors are logged.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, context: context.into(), source: None }))
    }

    /// Creates an error of `kind` that `source` caused. The rules of [`new`](Self::new) apply to `context`.
    pub fn with_source(
        kind: ErrorKind,
        context: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Inner { kind, context: context.into(), source: Some(source.into()) }))
    }

    /// Returns the category of the error.
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

/// Displays an error and its causes in one line.
pub(crate) struct Chain<'a>(pub &'a Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some error messages already end with the message of their cause.
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// The result type of this crate, whose error is [`Error`] by default.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests;
