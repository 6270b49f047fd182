//! A response that arrives after the responses to later requests must not replace their cookie.

use session_rocket::Session;
use session_rocket_tests::chromium::Chromium;
use session_rocket_tests::served::Served;

use crate::site::{Visitor, run, site, user};
use crate::{Store, on_every_store, rounds};

/// Asserts that `ada` is logged in after each round. In each round, the response to a write is held after the script
/// `before`, and released after the script `meanwhile`.
fn assert_no_login_is_lost(store: &Store, before: &str, meanwhile: &str) {
    let rounds = rounds("BROWSER_LATE_RESPONSES", 10);
    let site = Served::configured(site(Session::<Visitor>::fairing()), ("session.store", &store.url));
    let browser = Chromium::start();
    browser.open(site.url("/"));
    let mut lost = 0;
    for _ in 0..rounds {
        browser.delete_cookies();
        let late = "const late = post('/write?held'); await post('/held');";
        run(&browser, &format!("{before}; {late} {meanwhile}; await post('/release'); await late"));
        lost += usize::from(user(&browser) != "ada");
    }
    assert_eq!(lost, 0, "logins lost in {rounds} rounds of `{meanwhile}`");
}

fn a_late_response_does_not_undo_a_login(store: &Store) {
    assert_no_login_is_lost(store, "await post('/write')", "await post('/login/ada')");
}

fn a_late_response_does_not_undo_a_rotation(store: &Store) {
    assert_no_login_is_lost(store, "await post('/login/ada')", "await post('/rotate')");
}

fn a_late_response_does_not_undo_a_logout_and_a_login(store: &Store) {
    assert_no_login_is_lost(store, "await post('/login/ada')", "await post('/logout'); await post('/login/ada')");
}

on_every_store! {
    a_late_response_does_not_undo_a_login
    a_late_response_does_not_undo_a_rotation
    a_late_response_does_not_undo_a_logout_and_a_login
}
