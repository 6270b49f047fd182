//! Events in the life of a session, for audit logs and metrics.

use std::fmt;

use crate::base::clock::Timestamp;
use crate::base::id::SessionHandle;

/// An event in the life of a session, which the store has confirmed.
///
/// [`SessionFairing::on_event`](crate::SessionFairing::on_event) receives events. `Debug` hides the identity.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The public name of the session.
    pub handle: SessionHandle,
    /// The user of the session as a string, or `None` if nobody is logged in.
    ///
    /// If the browser sent several session cookies, `flush` also ends the sessions that the request did not load. For
    /// these sessions, the identity is `None`.
    pub identity: Option<String>,
    /// When this process received the store's confirmation.
    pub at: Timestamp,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("kind", &self.kind)
            .field("handle", &self.handle)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// What happened to a session.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A visitor who is not logged in got a session.
    Started,
    /// A user logged in.
    LoggedIn {
        /// The former name of the session, or `None` if the visitor had no session.
        from: Option<SessionHandle>,
    },
    /// The user of the session authenticated again, which gave the session a new id.
    Reauthenticated {
        /// The former name of the session.
        from: SessionHandle,
    },
    /// The session got a new id and kept its data.
    Rotated {
        /// The former name of the session.
        from: SessionHandle,
    },
    /// This process ended the session.
    ///
    /// If a session ends while its login is still being saved, this event can precede `LoggedIn`.
    Ended {
        /// Why the session ended.
        reason: EndReason,
    },
}

/// Writes a name for logs and metrics: `started`, `logged in`, `reauthenticated`, `rotated` or `ended`.
impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Started => "started",
            Self::LoggedIn { .. } => "logged in",
            Self::Reauthenticated { .. } => "reauthenticated",
            Self::Rotated { .. } => "rotated",
            Self::Ended { .. } => "ended",
        })
    }
}

/// Why a session ended.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EndReason {
    /// A request called `flush`, logged the user out, or logged in another user on the session.
    #[default]
    Logout,
    /// [`Sessions`](crate::Sessions) ended the session.
    Revoked,
    /// A newer login of the user exceeded [`max_sessions`](field@crate::Config::max_sessions).
    Replaced,
    /// [`CurrentUser`](crate::CurrentUser) found no account for the session.
    UserGone,
    /// [`LoadUser::auth_hash`](crate::LoadUser::auth_hash) changed after the login, for example with the password.
    AuthHashChanged,
}

/// Writes a name for logs and metrics: `logout`, `revoked`, `replaced`, `user gone` or `auth hash changed`.
impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
            Self::UserGone => "user gone",
            Self::AuthHashChanged => "auth hash changed",
        })
    }
}

pub(crate) type OnEvent = dyn Fn(&Event) + Send + Sync;
