//! Concurrent requests of one browser. The browser must keep the cookie of the login.

use session_rocket::Session;
use session_rocket_tests::chromium::Chromium;
use session_rocket_tests::served::Served;

use crate::site::{Visitor, run, site, user};
use crate::{Store, on_every_store, rounds};

const WRITES: usize = 5;

fn a_login_concurrent_with_five_writes_is_never_lost(store: &Store) {
    let rounds = rounds("BROWSER_RACES", 100);
    let site = Served::configured(site(Session::<Visitor>::fairing()), ("session.store", &store.url));
    let browser = Chromium::start();
    browser.open(site.url("/"));
    let mut lost = 0;
    for round in 0..rounds {
        browser.delete_cookies();
        let mut paths = vec!["/write"; WRITES];
        paths.insert(round % (WRITES + 1), "/login/ada");
        run(&browser, &format!("await post('/write'); await Promise.all({paths:?}.map(post))"));
        lost += usize::from(user(&browser) != "ada");
    }
    assert_eq!(lost, 0, "logins lost in {rounds} rounds");
}

on_every_store! { a_login_concurrent_with_five_writes_is_never_lost }
