//! How long a session lives.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::clock::Timestamp;

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
    /// Every request that carries the session cookie renews it (Django's `SESSION_SAVE_EVERY_REQUEST`).
    Always,
    /// A request that reads it renews it once this share of its lifetime has passed.
    Share(f64),
}

/// What the configuration says about lifetimes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub lifetime: Duration,
    pub browser_close: bool,
    pub max_lifetime: Option<Duration>,
    pub refresh: Refresh,
}

impl Policy {
    /// When a session saved at `now` expires.
    pub(crate) fn expires_at(&self, expiry: Expiry, created_at: Timestamp, now: Timestamp) -> Timestamp {
        let idle = match expiry {
            Expiry::Default | Expiry::BrowserClose => now.plus(self.lifetime),
            Expiry::After(duration) => now.plus(duration),
            Expiry::At(date) => date.into(),
        };
        self.limited(idle, created_at)
    }

    /// The earlier of `expires_at` and the end of the longest lifetime.
    pub(crate) fn limited(&self, expires_at: Timestamp, created_at: Timestamp) -> Timestamp {
        self.max_lifetime.map_or(expires_at, |limit| expires_at.min(created_at.plus(limit)))
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
    /// A gain below one second is none: cookies count in seconds.
    pub(crate) fn refreshed(
        &self,
        expiry: Expiry,
        created_at: Timestamp,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let renewed = self.expires_at(expiry, created_at, now);
        let gain = expires_at.until(renewed);
        let due = match self.refresh {
            Refresh::OnSave => return None,
            Refresh::Always => Duration::ZERO,
            Refresh::Share(share) => now.until(renewed).mul_f64(share),
        };
        (gain >= due.max(Duration::from_secs(1))).then_some(renewed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const START: Timestamp = Timestamp::from_millis(0);

    fn policy(refresh: Refresh) -> Policy {
        Policy { lifetime: DAY * 14, browser_close: false, max_lifetime: None, refresh }
    }

    #[test]
    fn django_integers_and_none() {
        assert_eq!(Expiry::from(Duration::ZERO), Expiry::BrowserClose);
        assert_eq!(Expiry::from(None), Expiry::Default);
        assert_eq!(Expiry::from(DAY), Expiry::After(DAY));
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
            assert_eq!(policy.expires_at(Expiry::BrowserClose, START, START), START.plus(DAY * 14));
        }
    }

    #[test]
    fn max_lifetime_counts_from_creation() {
        let policy = Policy { max_lifetime: Some(DAY * 20), ..policy(Refresh::Always) };
        let day_10 = START.plus(DAY * 10);
        assert_eq!(policy.expires_at(Expiry::Default, START, day_10), START.plus(DAY * 20));
        assert_eq!(policy.expires_at(Expiry::At(START.plus(DAY * 30).to_date()), START, day_10), START.plus(DAY * 20));
    }

    #[test]
    fn a_refresh_is_due_after_its_share_and_never_shortens() {
        let share = policy(Refresh::Share(0.1));
        let expires = START.plus(DAY * 14);
        let due = DAY * 14 / 10;
        let before = Timestamp::from_millis(START.plus(due).as_millis() - 1);
        assert_eq!(share.refreshed(Expiry::Default, START, expires, before), None);
        let at = START.plus(due);
        assert_eq!(share.refreshed(Expiry::Default, START, expires, at), Some(at.plus(DAY * 14)));
        assert_eq!(share.refreshed(Expiry::After(DAY), START, expires, at), None);
        assert_eq!(policy(Refresh::OnSave).refreshed(Expiry::Default, START, expires, at), None);
        let fixed = Expiry::At(expires.to_date());
        assert_eq!(policy(Refresh::Always).refreshed(fixed, START, expires, at), None);
    }
}
