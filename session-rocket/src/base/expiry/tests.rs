use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const START: Timestamp = Timestamp::from_millis(0);

fn policy(refresh: Refresh) -> Policy {
    let idle_timeout = DAY * 14;
    Policy { idle_timeout, anonymous_idle_timeout: idle_timeout, browser_close: false, max_lifetime: None, refresh }
}

fn of(expiry: Expiry) -> Lifetime {
    Lifetime { expiry, ..Lifetime::default() }
}

#[test]
fn integers_zero_and_none_convert_as_in_django() {
    assert_eq!(Expiry::from(Duration::ZERO), Expiry::BrowserClose);
    assert_eq!([Expiry::from(None), Expiry::from(Some(DAY))], [Expiry::Default, Expiry::After(DAY)]);
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
    assert_eq!(policy.expires_at(&of(Expiry::At(START.plus(DAY * 30).to_date())), START, day_10), START.plus(DAY * 20));
}

#[test]
fn only_an_expiry_from_set_expiry_beyond_the_absolute_timeout_is_cut() {
    let second = Duration::from_secs(1);
    let at = |after| Expiry::At(START.plus(DAY).plus(after).to_date());
    let capped = Policy { max_lifetime: Some(DAY), ..policy(Refresh::OnSave) };
    for beyond in [Expiry::After(DAY + second), at(DAY + second)] {
        assert!(capped.is_capped(&of(beyond), START.plus(DAY)), "{beyond:?}");
        assert!(!policy(Refresh::OnSave).is_capped(&of(beyond), START.plus(DAY)), "without an absolute timeout");
    }
    for within in [Expiry::After(DAY), at(DAY), Expiry::Default, Expiry::BrowserClose] {
        assert!(!capped.is_capped(&of(within), START.plus(DAY)), "{within:?}");
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
    for (refresh, period) in [(Refresh::OnSave, DAY * 14 / 10), (Refresh::Share(0.5), DAY * 7)] {
        let (policy, lifetime) = (policy(refresh), of(Expiry::Default));
        let cookie = |now: Timestamp| {
            let expires_at = policy.expires_at(&lifetime, START, now);
            let cookie = policy.cookie_expires_at(&lifetime, START, expires_at).unwrap();
            assert!(expires_at.plus(period) < cookie && expires_at.until(cookie) <= period * 2);
            cookie
        };
        let half = period / 2;
        assert_eq!(cookie(START), cookie(START.plus(half)));
        assert_ne!(cookie(START), cookie(START.plus(period)));
    }
    let policy = policy(Refresh::OnSave);
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
    let shorter = Policy { idle_timeout: DAY / 2, ..unchanged };
    assert_eq!(load(shorter, of(Expiry::Default)), START.plus(DAY * 3 / 2));
    assert_eq!(load(Policy { idle_timeout: DAY * 7, ..unchanged }, of(Expiry::Default)), START.plus(DAY * 8));
    assert_eq!(
        load(shorter, of(Expiry::After(DAY * 14))),
        stored.2,
        "the setting does not limit a session that has its own expiry"
    );
    assert_eq!(load(shorter, of(Expiry::At(stored.2.to_date()))), stored.2);
    let capped = Policy { max_lifetime: Some(DAY), ..unchanged };
    assert_eq!(load(capped, of(Expiry::Default)), START.plus(DAY));
    let own = Lifetime { max: Some(DAY * 30), ..Lifetime::default() };
    assert_eq!(load(capped, own), stored.2);
}

#[test]
fn a_touch_by_a_server_whose_clock_is_ahead_ends_nothing() {
    let touched = (START, START, START.plus(DAY * 28).plus(CLOCK_SKEW / 2));
    let found = policy(Refresh::Always).expires_at_load(&Lifetime::default(), touched, || START.plus(DAY * 14));
    assert_eq!(found, touched.2);
}

#[test]
fn anonymous_sessions_expire_earlier_if_configured() {
    let policy = Policy { anonymous_idle_timeout: DAY, ..policy(Refresh::OnSave) };
    let anonymous = Lifetime { is_anonymous: true, ..Lifetime::default() };
    assert_eq!(policy.expires_at(&anonymous, START, START), START.plus(DAY));
    assert_eq!(policy.expires_at(&Lifetime::default(), START, START), START.plus(DAY * 14));
}
