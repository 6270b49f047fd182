//! The CSRF secrets of a request.
//!
//! The secret of a session in a store is derived from its key, unless the session contains a secret. A sealed session
//! contains its secret. A browser without a session keeps a secret in a separate cookie, so that a form on a public page
//! does not start a session.

use crate::base::error::{Error, ErrorKind, Result};
use crate::data::csrf::CsrfSecret;
use crate::state::change::Change;
use crate::state::inner::{Inner, State};
use crate::state::status::{Lifecycle, PendingCommit, SessionStatus};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CsrfCheck {
    Valid,
    /// The token does not belong to the session.
    Wrong,
    /// The browser has no session, and the token does not belong to its CSRF cookie.
    NoSession,
}

impl State {
    /// Returns the CSRF secret for a page. Draws a secret if there is none.
    ///
    /// # Errors
    /// If the operating system returns no random bytes, or if a new secret needs a cookie but the response head is
    /// already sent.
    #[track_caller]
    pub(crate) fn ensure_csrf_secret(&self) -> Result<CsrfSecret> {
        if let Some(secret) = self.lock().csrf_secret() {
            return Ok(secret);
        }
        if self.head_sent() {
            let context = "a new CSRF secret needs a cookie, but the response head is sent";
            return Err(Error::new(ErrorKind::TooLate, context));
        }
        // Drawn without the lock, because drawing may block. Another thread may set a secret in the meantime.
        let random = CsrfSecret::random()?;
        if self.lock().keeps_csrf_in_browser() {
            return Ok(self.lock().draw_browser_csrf(random));
        }
        self.write(|inner| inner.apply(Change::Csrf(random)));
        Ok(self.lock().csrf_secret().unwrap_or(random))
    }

    pub(crate) fn check_csrf(&self, token: &str) -> CsrfCheck {
        let inner = self.lock();
        if inner.csrf_secret().is_some_and(|secret| secret.verifies(token)) {
            CsrfCheck::Valid
        } else if inner.status.has_session() {
            CsrfCheck::Wrong
        } else {
            CsrfCheck::NoSession
        }
    }

    /// Returns the secret to send in a cookie, if this request drew one for a browser that still has no session.
    pub(crate) fn csrf_to_send(&self) -> Option<CsrfSecret> {
        let inner = self.lock();
        inner.browser_csrf.filter(|_| inner.drew_browser_csrf && !inner.status.has_session())
    }
}

impl Inner {
    /// Returns the CSRF secret of this request, if there is one.
    fn csrf_secret(&self) -> Option<CsrfSecret> {
        if let Some(stored) = self.values.csrf() {
            return Some(stored);
        }
        match &self.status {
            SessionStatus::Live(live) if self.keeps_id() => Some(CsrfSecret::of(&live.key)),
            _ if self.keeps_csrf_in_browser() => self.browser_csrf,
            _ => None,
        }
    }

    /// Whether a separate cookie keeps the secret, because the browser has no session and this request logs nobody in.
    fn keeps_csrf_in_browser(&self) -> bool {
        let has_session = self.status.has_session() && self.intent.requested != Lifecycle::End;
        !has_session && !self.intent.login
    }

    /// Returns the secret of the browser. If there is none, sets it to `random` first.
    fn draw_browser_csrf(&mut self, random: CsrfSecret) -> CsrfSecret {
        if let Some(secret) = self.browser_csrf {
            return secret;
        }
        self.drew_browser_csrf = true;
        *self.browser_csrf.insert(random)
    }
}

impl PendingCommit {
    /// Gives a new session the secret of the browser, so that the visitor's open forms stay valid.
    ///
    /// A session that starts with a login gets a new secret, because earlier tokens must become invalid.
    pub(super) fn inherit_csrf(&mut self, browser_csrf: Option<CsrfSecret>) {
        let is_new = !self.status.has_session() || self.flushed;
        if is_new && !self.login && !self.values.is_blank() && self.values.csrf().is_none() {
            self.values.set_csrf(browser_csrf);
        }
    }
}
