//! Rules for when sessions and their cookies expire.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::base::clock::Timestamp;

/// The expiry of one session, set with [`Session::set_expiry`](crate::Session::set_expiry).
///
/// The configured `max_lifetime` also limits a session that has its own expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Expiry {
    /// The session expires as configured with `expiry` and `expire_at_browser_close`.
    #[default]
    Default,
    /// The browser removes the cookie when it is closed.
    ///
    /// The record in the store still lives for the configured `expiry`.
    BrowserClose,
    /// The session expires this long after the last save.
    After(Duration),
    /// The session expires at this time. Saves do not postpone it.
    At(OffsetDateTime),
}

impl From<Duration> for Expiry {
    /// Converts a duration. Zero becomes [`BrowserClose`](Expiry::BrowserClose), as in Django's `set_expiry(0)`.
    fn from(duration: Duration) -> Self {
        if duration.is_zero() { Self::BrowserClose } else { Self::After(duration) }
    }
}

impl From<time::Duration> for Expiry {
    /// Converts a duration like a [`Duration`]. A negative duration expires the session immediately.
    ///
    /// A negative duration does not count as zero, because a session whose deadline has passed must not live until the
    /// browser is closed.
    fn from(duration: time::Duration) -> Self {
        Duration::try_from(duration).map_or(Self::At(OffsetDateTime::UNIX_EPOCH), Self::from)
    }
}

impl From<u64> for Expiry {
    /// Converts a number of seconds, as in Django's `set_expiry(300)`. Zero becomes
    /// [`BrowserClose`](Expiry::BrowserClose).
    fn from(seconds: u64) -> Self {
        Duration::from_secs(seconds).into()
    }
}

impl From<Option<Duration>> for Expiry {
    /// Converts an optional duration. `None` becomes [`Default`](Expiry::Default), as in Django's `set_expiry(None)`.
    fn from(duration: Option<Duration>) -> Self {
        duration.map_or(Self::Default, Self::from)
    }
}

impl From<OffsetDateTime> for Expiry {
    fn from(date: OffsetDateTime) -> Self {
        Self::At(date)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoredExpiry {
    BrowserClose,
    /// Milliseconds.
    After(u64),
    /// Milliseconds since the epoch.
    At(i64),
}

impl StoredExpiry {
    /// Returns `None` for the default, which is not stored.
    pub(crate) fn of(expiry: Expiry) -> Option<Self> {
        Some(match expiry {
            Expiry::Default => return None,
            Expiry::BrowserClose => Self::BrowserClose,
            Expiry::After(duration) => Self::After(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
            Expiry::At(date) => Self::At(Timestamp::from(date).as_millis()),
        })
    }
}

impl From<StoredExpiry> for Expiry {
    fn from(stored: StoredExpiry) -> Self {
        match stored {
            StoredExpiry::BrowserClose => Self::BrowserClose,
            StoredExpiry::After(millis) => Self::After(Duration::from_millis(millis)),
            StoredExpiry::At(millis) => Self::At(Timestamp::from_millis(millis).to_date()),
        }
    }
}

/// The setting `refresh`: which requests renew a session that they do not change.
///
/// A renewal postpones the expiry, as a save does.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refresh {
    /// Only a save renews the session. This is the default, as in Django.
    OnSave,
    /// Every request with a session cookie or bearer token renews the session, as with Django's
    /// `SESSION_SAVE_EVERY_REQUEST`.
    ///
    /// Three kinds of requests do not renew the session: requests for parts of a page, such as images and scripts,
    /// requests whose response caches may store, and requests whose response has a status of 500 or above.
    Always,
    /// A request that reads the session renews it if at least this share of the idle timeout has passed since the last
    /// save or renewal.
    ///
    /// The share must be greater than 0 and less than 1. The exceptions of [`Always`](Self::Always) apply.
    Share(f64),
}

/// The settings of one session, which take precedence over the [`Policy`] of its type.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Lifetime {
    pub expiry: Expiry,
    /// This session's own absolute timeout, instead of the configured one.
    pub max: Option<Duration>,
    /// Whether nobody is logged in, in a session type that has an identity.
    pub is_anonymous: bool,
}

/// The largest difference between the clocks of two servers that counts as normal.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The longest lifetime of a cookie that browsers accept: 400 days (RFC 6265bis).
pub(crate) const MAX_AGE: Duration = Duration::from_hours(400 * 24);

/// The length of a period of [`Policy::cookie_period_end`] as a share of the idle timeout, unless `refresh` is a share.
const COOKIE_SHARE: f64 = 0.1;

/// The configured lifetimes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub idle_timeout: Duration,
    /// The idle timeout of sessions without identity.
    pub anonymous_idle_timeout: Duration,
    pub browser_close: bool,
    /// The absolute timeout.
    pub max_lifetime: Option<Duration>,
    pub refresh: Refresh,
}

impl Policy {
    /// Returns when a session that is saved at `now` expires.
    pub(crate) fn expires_at(&self, lifetime: &Lifetime, created_at: Timestamp, now: Timestamp) -> Timestamp {
        let idle = match lifetime.expiry {
            Expiry::At(date) => date.into(),
            _ => now.plus(self.idle_timeout(lifetime)),
        };
        self.cap_expiry(lifetime, idle, created_at)
    }

    /// Returns when a stored session expires, even if the configured limits were lowered after its last save.
    ///
    /// If the stored expiry is later than the expiry that a save at the current time would set, the session was saved
    /// while `expiry` was longer. Then the current idle timeout is counted from the last save.
    pub(crate) fn expires_at_load(
        &self,
        lifetime: &Lifetime,
        record: (Timestamp, Timestamp, Timestamp),
        now: impl FnOnce() -> Timestamp,
    ) -> Timestamp {
        let (created_at, updated_at, expires_at) = record;
        let expires_at = self.cap_expiry(lifetime, expires_at, created_at);
        let is_configured = matches!(lifetime.expiry, Expiry::Default | Expiry::BrowserClose);
        let idle = self.idle_timeout(lifetime);
        let since_save = updated_at.plus(idle);
        // The first two conditions avoid reading the clock for most sessions, which were not renewed after their last
        // save. The tolerance is the clock skew, or a tenth of the idle timeout if that is longer.
        if is_configured && expires_at > since_save && expires_at > now().plus(idle).plus(CLOCK_SKEW.max(idle / 10)) {
            return since_save;
        }
        expires_at
    }

    /// Returns the earlier of `expires_at` and the end of the absolute timeout.
    pub(crate) fn cap_expiry(&self, lifetime: &Lifetime, expires_at: Timestamp, created_at: Timestamp) -> Timestamp {
        self.absolute_timeout(lifetime).map_or(expires_at, |limit| expires_at.min(created_at.plus(limit)))
    }

    /// Whether the absolute timeout ends the session before the expiry that `set_expiry` gave it.
    pub(crate) fn is_capped(&self, lifetime: &Lifetime, created_at: Timestamp) -> bool {
        let Some(limit) = self.absolute_timeout(lifetime) else { return false };
        match lifetime.expiry {
            Expiry::After(duration) => duration > limit,
            Expiry::At(date) => Timestamp::from(date) > created_at.plus(limit),
            Expiry::Default | Expiry::BrowserClose => false,
        }
    }

    /// Returns when the cookie of a session expires, or `None` if the browser removes the cookie when it is closed.
    pub(crate) fn cookie_expires_at(
        &self,
        lifetime: &Lifetime,
        created_at: Timestamp,
        expires_at: Timestamp,
    ) -> Option<Timestamp> {
        (!self.at_browser_close(lifetime.expiry)).then(|| self.cookie_period_end(lifetime, created_at, expires_at))
    }

    /// Returns when the cookie expires: one to two periods after the session, but not after the absolute timeout.
    ///
    /// The time since the creation of the session is divided into periods. A period is a tenth of the idle timeout, or
    /// the share that `refresh` sets. Only a save that moves the session's expiry into another period sends a cookie. If
    /// that response is lost, a save in the next period sends another cookie before the old cookie expires.
    pub(crate) fn cookie_period_end(
        &self,
        lifetime: &Lifetime,
        created_at: Timestamp,
        expires_at: Timestamp,
    ) -> Timestamp {
        let share = if let Refresh::Share(share) = self.refresh { share } else { COOKIE_SHARE };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let period = self.idle_timeout(lifetime).min(MAX_AGE).mul_f64(share);
        let period = millis(period).max(1000);
        let periods = millis(created_at.until(expires_at)) / period + 2;
        let end = Duration::from_millis(periods.saturating_mul(period));
        self.cap_expiry(lifetime, created_at.plus(end), created_at)
    }

    /// Whether the cookie lasts only until the browser is closed.
    pub(crate) fn at_browser_close(&self, expiry: Expiry) -> bool {
        match expiry {
            Expiry::Default => self.browser_close,
            Expiry::BrowserClose => true,
            Expiry::After(_) | Expiry::At(_) => false,
        }
    }

    /// Returns the new expiry of a session that a request only read, or `None` if no renewal is due.
    ///
    /// A renewal that postpones the expiry by less than one second is not worth a write.
    pub(crate) fn refreshed(
        &self,
        lifetime: &Lifetime,
        created_at: Timestamp,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let renewed = self.expires_at(lifetime, created_at, now);
        let gain = expires_at.until(renewed);
        let due = match self.refresh {
            Refresh::OnSave => return None,
            Refresh::Always => Duration::ZERO,
            Refresh::Share(share) => now.until(renewed).mul_f64(share),
        };
        (gain >= due.max(Duration::from_secs(1))).then_some(renewed)
    }

    fn idle_timeout(&self, lifetime: &Lifetime) -> Duration {
        match lifetime.expiry {
            Expiry::After(duration) => duration,
            _ if lifetime.is_anonymous => self.anonymous_idle_timeout,
            _ => self.idle_timeout,
        }
    }

    fn absolute_timeout(&self, lifetime: &Lifetime) -> Option<Duration> {
        lifetime.max.or(self.max_lifetime)
    }
}

#[cfg(test)]
mod tests;
