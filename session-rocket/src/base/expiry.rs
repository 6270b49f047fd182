//! How long a session lives.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::base::clock::Timestamp;

/// When a session expires; see `Session::set_expiry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Expiry {
    /// As configured: `expiry` and `expire_at_browser_close`.
    #[default]
    Default,
    /// The cookie ends with the browser; the record lives as long as configured.
    BrowserClose,
    /// This long after the last save.
    After(Duration),
    /// At this moment, whatever happens until then.
    At(OffsetDateTime),
}

impl From<Duration> for Expiry {
    /// A zero duration is [`BrowserClose`](Expiry::BrowserClose), as Django's `set_expiry(0)`.
    fn from(duration: Duration) -> Self {
        if duration.is_zero() { Self::BrowserClose } else { Self::After(duration) }
    }
}

impl From<time::Duration> for Expiry {
    /// As from a [`Duration`]. A negative duration is a moment in the past: the session expires at once. It does not count as
    /// zero, because a deadline that has passed must not become a session that lives until the browser is closed.
    fn from(duration: time::Duration) -> Self {
        Duration::try_from(duration).map_or(Self::At(OffsetDateTime::UNIX_EPOCH), Self::from)
    }
}

impl From<u64> for Expiry {
    /// Seconds, as Django's integers: `set_expiry(300)`. Zero is [`BrowserClose`](Expiry::BrowserClose).
    fn from(seconds: u64) -> Self {
        Duration::from_secs(seconds).into()
    }
}

impl From<Option<Duration>> for Expiry {
    /// `None` is [`Default`](Expiry::Default), as Django's `set_expiry(None)`.
    fn from(duration: Option<Duration>) -> Self {
        duration.map_or(Self::Default, Self::from)
    }
}

impl From<OffsetDateTime> for Expiry {
    fn from(date: OffsetDateTime) -> Self {
        Self::At(date)
    }
}

/// An [`Expiry`] as the session keeps it.
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
    /// Nothing for the default: it is not kept.
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

/// When a session that is used, but not changed, is renewed.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refresh {
    /// Only saving renews it (Django's default).
    OnSave,
    /// Every request that carries the session cookie renews it (Django's `SESSION_SAVE_EVERY_REQUEST`), except requests for
    /// parts of a page and responses that caches may store.
    Always,
    /// A request that reads it renews it once this share of its lifetime has passed.
    Share(f64),
}

/// What one session says about its own lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Lifetime {
    pub expiry: Expiry,
    /// This session's own absolute timeout, instead of the configured one.
    pub max: Option<Duration>,
    /// Whether nobody is logged in, in a session type that has an identity.
    pub is_anonymous: bool,
}

/// The tolerance for servers whose clocks differ: a stored session that expires later than a save and this tolerance
/// allow was saved under an earlier, longer setting.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The longest lifetime that browsers grant a cookie: 400 days (RFC 6265bis).
pub(crate) const MAX_AGE: Duration = Duration::from_hours(400 * 24);

/// The share of a session's lifetime after which a save sends the cookie again, unless `refresh` names another.
const COOKIE_SHARE: f64 = 0.1;

/// What the configuration says about lifetimes.
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
    /// When a session saved at `now` expires.
    pub(crate) fn expires_at(&self, lifetime: &Lifetime, created_at: Timestamp, now: Timestamp) -> Timestamp {
        let idle = match lifetime.expiry {
            Expiry::At(date) => date.into(),
            _ => now.plus(self.idle_timeout(lifetime)),
        };
        self.limited(lifetime, idle, created_at)
    }

    /// When a stored session expires. Applies limits that were lowered after it was saved.
    ///
    /// A session that outlives what a save would give it now was saved under a longer `expiry`, and its idle time counts
    /// from its last save.
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
        // Mostly the session was not renewed since it was saved, and nobody needs to look at the clock.
        if is_configured && expires_at > since_save && expires_at > now().plus(idle).plus(CLOCK_SKEW.max(idle / 10)) {
            return since_save;
        }
        expires_at
    }

    /// The earlier of `expires_at` and the end of the absolute timeout.
    pub(crate) fn limited(&self, lifetime: &Lifetime, expires_at: Timestamp, created_at: Timestamp) -> Timestamp {
        self.absolute_timeout(lifetime).map_or(expires_at, |limit| expires_at.min(created_at.plus(limit)))
    }

    /// Whether the absolute timeout ends the session earlier than its own expiry from `set_expiry`.
    pub(crate) fn cuts(&self, lifetime: &Lifetime, created_at: Timestamp) -> bool {
        let Some(limit) = self.absolute_timeout(lifetime) else { return false };
        match lifetime.expiry {
            Expiry::After(duration) => duration > limit,
            Expiry::At(date) => Timestamp::from(date) > created_at.plus(limit),
            Expiry::Default | Expiry::BrowserClose => false,
        }
    }

    /// Until when the browser keeps the cookie of a session that expires at `expires_at`; `None`: until it is closed.
    ///
    /// The cookie lives one period longer than the period in which the session expires, but not beyond the absolute timeout.
    /// A period is a tenth of the session's lifetime, or the share that `refresh` names. A save that does not leave the
    /// period needs no new cookie. If one response with a new cookie is lost, the next one comes in time.
    pub(crate) fn cookie_expires_at(
        &self,
        lifetime: &Lifetime,
        created_at: Timestamp,
        expires_at: Timestamp,
    ) -> Option<Timestamp> {
        (!self.at_browser_close(lifetime.expiry)).then(|| self.period_end(lifetime, created_at, expires_at))
    }

    /// The end of the period after that in which a session expires. A save that moves the expiry into another period is
    /// worth a cookie.
    pub(crate) fn period_end(&self, lifetime: &Lifetime, created_at: Timestamp, expires_at: Timestamp) -> Timestamp {
        let share = if let Refresh::Share(share) = self.refresh { share } else { COOKIE_SHARE };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let period = self.idle_timeout(lifetime).min(MAX_AGE).mul_f64(share);
        let period = millis(period).max(1000);
        let periods = millis(created_at.until(expires_at)) / period + 2;
        let end = Duration::from_millis(periods.saturating_mul(period));
        self.limited(lifetime, created_at.plus(end), created_at)
    }

    /// Whether the cookie is to end with the browser.
    pub(crate) fn at_browser_close(&self, expiry: Expiry) -> bool {
        match expiry {
            Expiry::Default => self.browser_close,
            Expiry::BrowserClose => true,
            Expiry::After(_) | Expiry::At(_) => false,
        }
    }

    /// The later expiry that a request which only read the session gives it, if a refresh is due.
    ///
    /// A gain of less than one second does not justify a write.
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
    fn django_integers_and_none() {
        assert_eq!(Expiry::from(Duration::ZERO), Expiry::BrowserClose);
        assert_eq!(Expiry::from(None), Expiry::Default);
        assert_eq!(Expiry::from(time::Duration::DAY), Expiry::After(DAY));
        assert_eq!(Expiry::from(time::Duration::ZERO), Expiry::BrowserClose);
        assert_eq!(Expiry::from(-time::Duration::NANOSECOND), Expiry::At(OffsetDateTime::UNIX_EPOCH));
        assert_eq!(Expiry::from(DAY), Expiry::After(DAY));
        assert_eq!([Expiry::from(300), Expiry::from(0)], [Expiry::After(DAY / 288), Expiry::BrowserClose]);
    }

    #[test]
    fn browser_close_matrix() {
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
    fn max_lifetime_counts_from_creation() {
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
    fn limits_that_were_lowered_hold_at_load() {
        let stored = (START, START.plus(DAY), START.plus(DAY * 15));
        let now = START.plus(DAY * 2);
        let load = |policy: Policy, lifetime| policy.expires_at_load(&lifetime, stored, || now);
        let unchanged = policy(Refresh::OnSave);
        assert_eq!(load(unchanged, of(Expiry::Default)), stored.2);
        let shorter = Policy { lifetime: DAY / 2, ..unchanged };
        assert_eq!(load(shorter, of(Expiry::Default)), START.plus(DAY * 3 / 2));
        assert_eq!(load(shorter, of(Expiry::After(DAY * 14))), stored.2, "its own expiry is not the setting's");
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
    fn nobody_lives_shorter_than_a_user_if_so_configured() {
        let policy = Policy { anonymous_lifetime: DAY, ..policy(Refresh::OnSave) };
        let nobody = Lifetime { is_anonymous: true, ..Lifetime::default() };
        assert_eq!(policy.expires_at(&nobody, START, START), START.plus(DAY));
        assert_eq!(policy.expires_at(&Lifetime::default(), START, START), START.plus(DAY * 14));
    }
}
