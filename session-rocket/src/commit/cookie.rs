//! The engine for sealed cookies: sessions that the server does not store.

use std::sync::Arc;

use super::candidates::{CookieValues, candidates};
use super::outcome::absent;
use super::rules::Rules;
use super::sealed::{Content, Sealer};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::data::values::Values;
use crate::state::{Committed, CookieEffect, Lifecycle, PendingCommit, Sealed, SessionStatus, State};

/// Loads and commits the sessions of one type in sealed cookies.
pub(crate) struct CookieEngine {
    pub rules: Rules,
    sealer: Sealer,
    bounds: CookieBounds,
}

/// The size limits of a `Set-Cookie` line, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CookieBounds {
    /// The length of the line without the value.
    pub overhead: usize,
    /// The maximum length of the line.
    pub limit: usize,
}

impl CookieEngine {
    pub(crate) fn new(rules: Rules, sealer: Sealer, bounds: CookieBounds) -> Self {
        Self { rules, sealer, bounds }
    }

    pub(super) fn has_former_keys(&self) -> bool {
        self.sealer.has_former_keys()
    }

    /// Returns the cookie value, or `None` if it is empty or longer than a cookie can be.
    pub(super) fn well_formed<'v>(&self, value: &'v str) -> Option<&'v str> {
        (!value.is_empty() && value.len() <= self.bounds.limit).then_some(value)
    }

    pub(super) fn load(&self, cookies: &mut CookieValues<'_, '_>) -> Result<State> {
        let now = self.rules.now();
        for cookie in candidates(cookies, |value| self.well_formed(value)) {
            let Some((content, by_former_key)) = self.sealer.open(cookie) else { continue };
            let Some(values) = self.read(&content)? else { continue };
            let Content { created_at, issued_at, .. } = content;
            // Limits that were lowered after the session was sealed apply too.
            let limit = self.rules.policy.expires_at(&values.lifetime(), created_at, issued_at);
            let expires_at = content.expires_at.min(limit);
            if now < expires_at {
                let sealed = Sealed { created_at, expires_at, cookie: None, by_former_key };
                return Ok(State::new(SessionStatus::Sealed(sealed), values, Vec::new()));
            }
        }
        Ok(State::new(SessionStatus::New { replaces: None }, Values::empty(self.rules.schema), Vec::new()))
    }

    /// Returns the values of a sealed session, or `None` if they are damaged.
    fn read(&self, content: &Content) -> Result<Option<Values>> {
        let values = self.rules.read(&content.payload, None)?;
        if values.is_none() {
            let name = self.rules.schema.type_name();
            log::error!(
                target: "session_rocket",
                "a session cookie of type `{name}` is damaged: the visitor starts with an empty session",
            );
        }
        Ok(values)
    }

    /// Commits the changes of a request to a new cookie.
    ///
    /// # Errors
    /// If a change cannot be encoded, or if the cookie would be too large. The browser then keeps its cookie.
    pub(crate) fn commit(&self, pending: Box<PendingCommit>) -> Result<Committed> {
        let flushed = pending.flushed;
        let ends = pending.lifecycle == Lifecycle::End && matches!(pending.status, SessionStatus::Sealed(_));
        let logged_out = ends && (flushed || !pending.login);
        let committed = match self.seal_changes(pending) {
            // The session ended, so the browser has to remove its cookie.
            Err(error) if flushed => {
                Ok(Committed { failure: Some(error), ..absent(self.rules.schema, CookieEffect::Remove) })
            }
            committed => committed,
        };
        committed.map(|committed| Committed { logged_out, ..committed })
    }

    fn seal_changes(&self, pending: Box<PendingCommit>) -> Result<Committed> {
        let PendingCommit { status, base, mut values, lifecycle, flushed, login, .. } = *pending;
        if values.is_blank() && (flushed || !matches!(status, SessionStatus::Sealed(_))) {
            return Ok(absent(self.rules.schema, if flushed { CookieEffect::Remove } else { CookieEffect::None }));
        }
        self.rules.encode(&mut values)?;
        let now = self.rules.now();
        let created_at = match (&status, lifecycle) {
            (SessionStatus::Sealed(sealed), Lifecycle::Keep)
                if values.is_identical_to(&base) && !self.is_due(sealed, &values, now) =>
            {
                return Ok(Committed::new(status, values, CookieEffect::None));
            }
            (SessionStatus::Sealed(sealed), Lifecycle::Keep) => sealed.created_at,
            // Authentication starts a new lifetime (NIST SP 800-63B-4, 5.2). `cycle_id` alone does not.
            (SessionStatus::Sealed(sealed), Lifecycle::Cycle) if !login => sealed.created_at,
            _ => now,
        };
        let expires_at = self.rules.expires_at(&values, created_at, now);
        if expires_at <= now {
            // Without the removal, the browser's older cookie could stay valid.
            return Ok(absent(self.rules.schema, CookieEffect::Remove));
        }
        self.seal(values, now, created_at, expires_at)
    }

    /// Whether a save at `now` moves the expiry into another cookie period (see `Policy::cookie_period_end`), so that the browser
    /// needs a new cookie.
    fn is_due(&self, sealed: &Sealed, values: &Values, now: Timestamp) -> bool {
        let Sealed { created_at, expires_at, .. } = *sealed;
        let end = |expires_at| self.rules.policy.cookie_period_end(&values.lifetime(), created_at, expires_at);
        let renewed = self.rules.expires_at(values, created_at, now);
        renewed > expires_at && end(renewed) != end(expires_at)
    }

    /// Makes a new cookie for a session that was only read, if a former key sealed it or a renewal is due.
    pub(super) fn refresh(&self, sealed: &Sealed, values: Values) -> Result<Option<Committed>> {
        let Sealed { created_at, expires_at, by_former_key, .. } = *sealed;
        let now = self.rules.now();
        let due = self.rules.policy.refreshed(&values.lifetime(), created_at, expires_at, now);
        if due.is_none() && !by_former_key {
            return Ok(None);
        }
        self.seal(values, now, created_at, due.unwrap_or(expires_at)).map(Some)
    }

    fn seal(
        &self,
        values: Values,
        issued_at: Timestamp,
        created_at: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Committed> {
        let payload = values.payload(self.rules.format);
        let content = Content { issued_at, created_at, expires_at, payload };
        let cookie = self.sealer.seal(&content)?;
        let size = self.bounds.overhead + cookie.len();
        if size > self.bounds.limit {
            let (name, limit) = (self.rules.schema.type_name(), self.bounds.limit);
            let context = format!(
                "the cookie of a session of type `{name}` has {size} bytes, but browsers accept {limit}: store less \
                     data, or set `store` to a database"
            );
            return Err(Error::new(ErrorKind::TooLarge, context));
        }
        let sealed = Sealed { created_at, expires_at, cookie: Some(Arc::from(cookie)), by_former_key: false };
        Ok(Committed::new(SessionStatus::Sealed(sealed), values, CookieEffect::Set))
    }
}
