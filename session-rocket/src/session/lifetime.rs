//! The methods of `Session` about its expiry.

use std::time::Duration;

use time::OffsetDateTime;

use super::Session;
use crate::base::clock::Timestamp;
use crate::base::expiry::Expiry;
use crate::session::SessionData;
use crate::state::SessionStatus;

impl<T: SessionData> Session<T> {
    /// Sets when this session expires, instead of the configured `expiry`.
    ///
    /// | argument | the session expires |
    /// |---|---|
    /// | a [`Duration`] or a [`time::Duration`] | this long after the last save |
    /// | a `u64` | this number of seconds after the last save |
    /// | zero | when the browser is closed; the record lives for the configured `expiry` |
    /// | a negative [`time::Duration`] | immediately |
    /// | an [`OffsetDateTime`] | at this time |
    /// | `None` | as configured |
    ///
    /// The configured `max_lifetime` still limits the session, unless [`set_max_lifetime`](Self::set_max_lifetime)
    /// changes this limit.
    ///
    /// A login keeps both settings, unless it replaces another user. So a login handler should set or reset both.
    ///
    /// ```
    /// # use session_rocket::{Expiry, Session};
    /// # use std::time::Duration;
    /// # #[derive(Session)]
    /// # struct Visitor {}
    /// fn remember_me(session: &Session<Visitor>, remember: bool) {
    ///     let month = Duration::from_secs(30 * 86_400);
    ///     session.set_expiry(if remember { Expiry::After(month) } else { Expiry::BrowserClose });
    ///     session.set_max_lifetime(remember.then_some(month));
    /// }
    ///
    /// fn other_forms(session: &Session<Visitor>) {
    ///     session.set_expiry(300);
    ///     session.set_expiry(Duration::from_secs(300));
    ///     session.set_expiry(None);
    /// }
    /// ```
    #[track_caller]
    pub fn set_expiry(&self, expiry: impl Into<Expiry>) {
        let expiry = match expiry.into() {
            Expiry::After(duration) => Expiry::from(duration),
            other => other,
        };
        self.state().set_expiry(expiry);
    }

    /// Sets the absolute timeout of this session, counted from its creation or login, instead of the configured
    /// `max_lifetime`.
    ///
    /// `None` resets the timeout to the configured value. `Some(Duration::MAX)` means no absolute timeout. A login keeps
    /// this setting, unless it replaces another user.
    ///
    /// ```
    /// # use session_rocket::Session;
    /// # use std::time::Duration;
    /// # #[derive(Session)]
    /// # struct Visitor {}
    /// fn remember_me(session: &Session<Visitor>) {
    ///     let month = Duration::from_secs(30 * 86_400);
    ///     session.set_expiry(month);
    ///     session.set_max_lifetime(Some(month));
    /// }
    /// ```
    #[track_caller]
    pub fn set_max_lifetime(&self, limit: Option<Duration>) {
        self.state().set_max_lifetime(limit);
    }

    /// Returns the time until the session expires, or `None` if the session is not stored.
    ///
    /// Unsaved changes do not affect the result.
    pub fn time_left(&self) -> Option<Duration> {
        let expires_at = match self.state().status() {
            SessionStatus::Live(live) => live.expires_at,
            SessionStatus::Sealed(sealed) => sealed.expires_at,
            SessionStatus::New { .. } | SessionStatus::Ended | SessionStatus::Withheld => return None,
        };
        Some(self.core.engine.rules().now().until(expires_at))
    }

    /// Returns the time until the session expires if it is saved now.
    pub fn expiry_age(&self) -> Duration {
        let now = self.core.engine.rules().now();
        now.until(self.expires_at(now))
    }

    /// Returns when the session expires if it is saved now.
    pub fn expiry_date(&self) -> OffsetDateTime {
        self.expires_at(self.core.engine.rules().now()).to_date()
    }

    fn expires_at(&self, now: Timestamp) -> Timestamp {
        let created_at = match self.state().status() {
            SessionStatus::Live(live) => live.created_at,
            SessionStatus::Sealed(sealed) => sealed.created_at,
            SessionStatus::New { .. } | SessionStatus::Ended | SessionStatus::Withheld => now,
        };
        self.core.engine.rules().policy.expires_at(&self.values().lifetime(), created_at, now)
    }

    /// Returns whether the session cookie lasts only until the browser is closed.
    pub fn expires_at_browser_close(&self) -> bool {
        self.core.engine.rules().policy.at_browser_close(self.values().lifetime().expiry)
    }
}
