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
    /// Converts a duration as from a [`Duration`], except that a negative duration expires the session immediately.
    ///
    /// A negative duration does not count as zero, because a deadline that has passed must not become a session that
    /// lives until the browser is closed.
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

/// The stored form of an [`Expiry`].
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
/// Renewing a session postpones its expiry, as a save does.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refresh {
    /// Only a save renews the session. This is the default, as in Django.
    OnSave,
    /// Every request that carries the session cookie renews the session, as with Django's `SESSION_SAVE_EVERY_REQUEST`.
    ///
    /// Exceptions are requests for parts of a page, responses that caches may store, and responses with a status of 500
    /// or above.
    Always,
    /// A request that reads the session renews it if at least this share of its lifetime has passed since the last
    /// renewal.
    ///
    /// The share must be greater than 0 and less than 1. The exceptions are those of [`Always`](Self::Always).
    Share(f64),
}

/// The settings of one session that decide when it expires.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Lifetime {
    pub expiry: Expiry,
    /// This session's own absolute timeout, instead of the configured one.
    pub max: Option<Duration>,
    /// Whether nobody is logged in, in a session type that has an identity.
    pub is_anonymous: bool,
}

/// The tolerance for differing clocks of servers. A stored session whose expiry exceeds that of a save now by more than
/// this tolerance was saved while the configured `expiry` was longer.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The longest lifetime of a cookie that browsers accept: 400 days (RFC 6265bis).
pub(crate) const MAX_AGE: Duration = Duration::from_hours(400 * 24);

/// The length of a cookie period as a share of the session's lifetime, unless `refresh` is a share.
const COOKIE_SHARE: f64 = 0.1;

/// The configured lifetimes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// The idle timeout.
    pub lifetime: Duration,
    /// The idle timeout of sessions without identity.
    pub anonymous_lifetime: Duration,
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
        self.limited(lifetime, idle, created_at)
    }

    /// Returns when a stored session expires, and applies limits that were lowered after it was saved.
    ///
    /// If the stored expiry is later than that of a save now, the session was saved while `expiry` was longer. Then its
    /// idle timeout is counted from its last save.
    pub(crate) fn expires_at_load(
        &self,
        lifetime: &Lifetime,
        record: (Timestamp, Timestamp, Timestamp),
        now: impl FnOnce() -> Timestamp,
    ) -> Timestamp {
        let (created_at, updated_at, expires_at) = record;
        let expires_at = self.limited(lifetime, expires_at, created_at);
        let is_configured = matches!(lifetime.expiry, Expiry::Default | Expiry::BrowserClose);
        let idle = self.idle_timeout(lifetime);
        let since_save = updated_at.plus(idle);
        // Most sessions were not renewed after their last save. The first two conditions avoid reading the clock for
        // them.
        if is_configured && expires_at > since_save && expires_at > now().plus(idle).plus(CLOCK_SKEW.max(idle / 10)) {
            return since_save;
        }
        expires_at
    }

    /// Returns the earlier of `expires_at` and the end of the absolute timeout.
    pub(crate) fn limited(&self, lifetime: &Lifetime, expires_at: Timestamp, created_at: Timestamp) -> Timestamp {
        self.absolute_timeout(lifetime).map_or(expires_at, |limit| expires_at.min(created_at.plus(limit)))
    }

    /// Whether the absolute timeout ends the session before the expiry that `set_expiry` gave it.
    pub(crate) fn cuts(&self, lifetime: &Lifetime, created_at: Timestamp) -> bool {
        let Some(limit) = self.absolute_timeout(lifetime) else { return false };
        match lifetime.expiry {
            Expiry::After(duration) => duration > limit,
            Expiry::At(date) => Timestamp::from(date) > created_at.plus(limit),
            Expiry::Default | Expiry::BrowserClose => false,
        }
    }

    /// Returns when the cookie of a session that expires at `expires_at` expires, or `None` if the browser removes it
    /// when it is closed.
    ///
    /// The cookie lives one period longer than the period in which the session expires, but not beyond the absolute
    /// timeout. A period is a tenth of the session's lifetime, or the share that `refresh` sets. A save needs no new
    /// cookie if the new expiry is in the same period as the old one. If the browser does not receive one response with
    /// a new cookie, the response of the next period still arrives before the cookie expires.
    pub(crate) fn cookie_expires_at(
        &self,
        lifetime: &Lifetime,
        created_at: Timestamp,
        expires_at: Timestamp,
    ) -> Option<Timestamp> {
        (!self.at_browser_close(lifetime.expiry)).then(|| self.period_end(lifetime, created_at, expires_at))
    }

    /// Returns the end of the period that follows the one in which the session expires. A save that moves the expiry
    /// into another period sends a cookie.
    pub(crate) fn period_end(&self, lifetime: &Lifetime, created_at: Timestamp, expires_at: Timestamp) -> Timestamp {
        let share = if let Refresh::Share(share) = self.refresh { share } else { COOKIE_SHARE };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let period = self.idle_timeout(lifetime).min(MAX_AGE).mul_f64(share);
        let period = millis(period).max(1000);
        let periods = millis(created_at.until(expires_at)) / period + 2;
        let end = Duration::from_millis(periods.saturating_mul(period));
        self.limited(lifetime, created_at.plus(end), created_at)
    }

    /// Whether the browser removes the cookie when it is closed.
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
            _ if lifetime.is_anonymous => self.anonymous_lifetime,
            _ => self.lifetime,
        }
    }

    fn absolute_timeout(&self, lifetime: &Lifetime) -> Option<Duration> {
        lifetime.max.or(self.max_lifetime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const START: Timestamp = Timestamp::from_millis(0);

    fn policy(refresh: Refresh) -> Policy {
        let lifetime = DAY * 14;
        Policy { lifetime, anonymous_lifetime: lifetime, browser_close: false, max_lifetime: None, refresh }
    }

    fn of(expiry: Expiry) -> Lifetime {
        Lifetime { expiry, ..Lifetime::default() }
    }

    #[test]
    fn integers_zero_and_none_convert_as_in_django() {
        assert_eq!(Expiry::from(Duration::ZERO), Expiry::BrowserClose);
        assert_eq!(Expiry::from(None), Expiry::Default);
        assert_eq!(Expiry::from(time::Duration::DAY), Expiry::After(DAY));
        assert_eq!(Expiry::from(time::Duration::ZERO), Expiry::BrowserClose);
        assert_eq!(Expiry::from(-time::Duration::NANOSECOND), Expiry::At(OffsetDateTime::UNIX_EPOCH));
        assert_eq!(Expiry::from(DAY), Expiry::After(DAY));
        assert_eq!([Expiry::from(300), Expiry::from(0)], [Expiry::After(DAY / 288), Expiry::BrowserClose]);
    }

    #[test]
    fn the_cookie_ends_with_the_browser_if_the_session_or_the_setting_says_so() {
        for (setting, expiry, closes) in [
            (false, Expiry::After(DAY), false),
            (false, Expiry::BrowserClose, true),
            (false, Expiry::Default, false),
            (true, Expiry::After(DAY), false),
            (true, Expiry::BrowserClose, true),
            (true, Expiry::Default, true),
        ] {
            let policy = Policy { browser_close: setting, ..policy(Refresh::OnSave) };
            assert_eq!(policy.at_browser_close(expiry), closes, "{setting} {expiry:?}");
            assert_eq!(policy.expires_at(&of(Expiry::BrowserClose), START, START), START.plus(DAY * 14));
        }
    }

    #[test]
    fn max_lifetime_is_counted_from_creation() {
        let policy = Policy { max_lifetime: Some(DAY * 20), ..policy(Refresh::Always) };
        let day_10 = START.plus(DAY * 10);
        assert_eq!(policy.expires_at(&of(Expiry::Default), START, day_10), START.plus(DAY * 20));
        assert_eq!(
            policy.expires_at(&of(Expiry::At(START.plus(DAY * 30).to_date())), START, day_10),
            START.plus(DAY * 20)
        );
    }

    #[test]
    fn only_an_expiry_from_set_expiry_beyond_the_absolute_timeout_is_cut() {
        let second = Duration::from_secs(1);
        let at = |after| Expiry::At(START.plus(DAY).plus(after).to_date());
        let limited = Policy { max_lifetime: Some(DAY), ..policy(Refresh::OnSave) };
        for cut in [Expiry::After(DAY + second), at(DAY + second)] {
            assert!(limited.cuts(&of(cut), START.plus(DAY)), "{cut:?}");
            assert!(!policy(Refresh::OnSave).cuts(&of(cut), START.plus(DAY)), "without an absolute timeout");
        }
        for kept in [Expiry::After(DAY), at(DAY), Expiry::Default, Expiry::BrowserClose] {
            assert!(!limited.cuts(&of(kept), START.plus(DAY)), "{kept:?}");
        }
    }

    #[test]
    fn a_refresh_is_due_after_its_share_and_never_shortens() {
        let share = policy(Refresh::Share(0.1));
        let expires = START.plus(DAY * 14);
        let due = DAY * 14 / 10;
        let before = Timestamp::from_millis(START.plus(due).as_millis() - 1);
        assert_eq!(share.refreshed(&of(Expiry::Default), START, expires, before), None);
        let at = START.plus(due);
        assert_eq!(share.refreshed(&of(Expiry::Default), START, expires, at), Some(at.plus(DAY * 14)));
        assert_eq!(share.refreshed(&of(Expiry::After(DAY)), START, expires, at), None);
        assert_eq!(policy(Refresh::OnSave).refreshed(&of(Expiry::Default), START, expires, at), None);
        let fixed = Expiry::At(expires.to_date());
        assert_eq!(policy(Refresh::Always).refreshed(&of(fixed), START, expires, at), None);
    }

    #[test]
    fn a_cookie_outlives_its_session_by_one_to_two_periods_and_changes_once_a_period() {
        let policy = policy(Refresh::OnSave);
        let (lifetime, period) = (of(Expiry::Default), DAY * 14 / 10);
        let cookie = |now: Timestamp| {
            let expires_at = policy.expires_at(&lifetime, START, now);
            let cookie = policy.cookie_expires_at(&lifetime, START, expires_at).unwrap();
            assert!(expires_at.plus(period) < cookie && expires_at.until(cookie) <= period * 2);
            cookie
        };
        let half = period / 2;
        assert_eq!(cookie(START), cookie(START.plus(half)));
        assert_ne!(cookie(START), cookie(START.plus(period)));
        assert_eq!(policy.cookie_expires_at(&of(Expiry::BrowserClose), START, START), None);
        let longest = of(Expiry::After(Duration::MAX));
        assert!(policy.cookie_expires_at(&longest, START, Timestamp::from_millis(i64::MAX)).is_some());
    }

    #[test]
    fn limits_that_were_lowered_apply_at_load() {
        let stored = (START, START.plus(DAY), START.plus(DAY * 15));
        let now = START.plus(DAY * 2);
        let load = |policy: Policy, lifetime| policy.expires_at_load(&lifetime, stored, || now);
        let unchanged = policy(Refresh::OnSave);
        assert_eq!(load(unchanged, of(Expiry::Default)), stored.2);
        let shorter = Policy { lifetime: DAY / 2, ..unchanged };
        assert_eq!(load(shorter, of(Expiry::Default)), START.plus(DAY * 3 / 2));
        assert_eq!(
            load(shorter, of(Expiry::After(DAY * 14))),
            stored.2,
            "the setting does not limit a session that has its own expiry"
        );
        let limited = Policy { max_lifetime: Some(DAY), ..unchanged };
        assert_eq!(load(limited, of(Expiry::Default)), START.plus(DAY));
        let own = Lifetime { max: Some(DAY * 30), ..Lifetime::default() };
        assert_eq!(load(limited, own), stored.2);
    }

    #[test]
    fn a_touch_by_a_server_whose_clock_is_ahead_ends_nothing() {
        let touched = (START, START, START.plus(DAY * 28).plus(CLOCK_SKEW / 2));
        let found = policy(Refresh::Always).expires_at_load(&Lifetime::default(), touched, || START.plus(DAY * 14));
        assert_eq!(found, touched.2);
    }

    #[test]
    fn anonymous_sessions_expire_earlier_if_configured() {
        let policy = Policy { anonymous_lifetime: DAY, ..policy(Refresh::OnSave) };
        let anonymous = Lifetime { is_anonymous: true, ..Lifetime::default() };
        assert_eq!(policy.expires_at(&anonymous, START, START), START.plus(DAY));
        assert_eq!(policy.expires_at(&Lifetime::default(), START, START), START.plus(DAY * 14));
    }
}
