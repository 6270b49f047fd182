//! A browser that still has the id of a session that was ended by another client.

use std::sync::Arc;
use std::time::Duration;

use session_rocket::{ManualClock, Session};
use session_rocket_tests::chromium::Chromium;
use session_rocket_tests::served::Served;

use crate::site::{NOBODY, Visitor, run, site, user};

/// Ends the session with a copy of its cookie.
fn log_out_elsewhere(site: &Served, id: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    let request = reqwest::Client::new().post(site.url("/logout")).header("Cookie", format!("sessionid={id}"));
    let response = runtime.block_on(request.send()).expect("the site responds");
    assert_eq!(response.status(), 200);
}

#[test]
fn a_browser_with_an_ended_id_can_log_in_by_a_form_eleven_seconds_later() {
    let clock = Arc::new(ManualClock::default());
    let site = Served::start(site(Session::<Visitor>::fairing().clock(clock.clone())));
    let browser = Chromium::start();
    browser.open(site.url("/"));
    run(&browser, "await post('/login/ada')");
    let id = browser.cookie("sessionid").expect("the visitor has a session").value;
    log_out_elsewhere(&site, &id);
    assert_eq!(user(&browser), NOBODY);
    run(&browser, "await post('/write')");
    assert_eq!(user(&browser), NOBODY, "a write brought the ended session back");

    clock.advance(Duration::from_secs(11));
    browser.open(site.url("/form"));
    browser.fill("user", "ada");
    browser.submit();
    assert_eq!((browser.status(), browser.text()), (200, "Hello, ada!".into()));
    assert_eq!(user(&browser), "ada");
    assert_ne!(browser.cookie("sessionid").expect("the login set a cookie").value, id);
}
