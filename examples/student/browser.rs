use std::time::Duration;

use rocket::Config;
use rocket::figment::Figment;
use session_rocket_tests::chromium::{Chromium, Tab};
use session_rocket_tests::served::Served;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn visits(tab: &Tab) -> u32 {
    let line = tab.text_of("p");
    line.strip_prefix("Visits of this page: ")
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn a_student_can_be_read_once() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/"));
    browser.click("Set the session");
    assert_eq!((browser.status(), browser.text()), (200, "session is set".into()));
    browser.screenshot("student-set");
    browser.back();
    browser.click("read it");
    assert_eq!((browser.status(), browser.text()), (200, "rajat rajat@example.com".into()));
    browser.screenshot("student-read");
    browser.reload();
    let advice = "no student in this session: visit /student/ssession first";
    assert_eq!((browser.status(), browser.text()), (404, advice.into()));
    browser.screenshot("student-gone");
    browser.open(site.url("/student/hello"));
    assert_eq!(browser.text(), "Hello, Guest!");
    browser.screenshot("student-hello");
}

#[test]
fn two_tabs_share_the_visit_counter() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/"));
    let second = browser.new_tab();
    second.open(site.url("/"));
    assert_eq!((visits(&browser), visits(&second)), (1, 2));
    for last in [4, 6, 8, 10] {
        browser.reload_with(&[&second]);
        let mut shown = [visits(&browser), visits(&second)];
        shown.sort_unstable();
        assert_eq!(shown, [last - 1, last], "each tab gets a different number, without a gap");
    }
    browser.screenshot("student-visits-tab-1");
    second.screenshot("student-visits-tab-2");
    let other = Chromium::start();
    other.open(site.url("/"));
    assert_eq!(visits(&other), 1, "another browser is another visitor");
}

#[test]
fn the_cookie_is_http_only_and_for_this_host() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/student/hello"));
    assert_eq!(browser.cookies(), vec![], "a visitor without a session gets no cookie");
    browser.open(site.url("/"));
    let cookies = browser.cookies();
    let [cookie] = cookies.as_slice() else { panic!("not one cookie: {cookies:?}") };
    assert_eq!((cookie.name.as_str(), cookie.path.as_str(), cookie.domain.as_str()), ("sessionid", "/", "127.0.0.1"));
    assert_eq!(cookie.same_site.as_deref(), Some("Lax"));
    assert!(cookie.http_only && !cookie.secure, "{cookie:?}");
    let lasts = cookie.lasts().unwrap();
    // The cookie lasts a little longer than the session, which lasts 14 days.
    assert!(lasts > 14 * DAY && lasts < 17 * DAY, "{lasts:?}");
    assert_eq!(browser.script("return document.cookie"), "", "a script on the page must not see the cookie");
    browser.screenshot("student-cookie");
}

#[test]
fn in_production_the_cookie_is_secure() {
    // Browsers accept a `Secure` cookie from 127.0.0.1 without TLS.
    let site = Served::configured(super::rocket(), Figment::new().select(Config::RELEASE_PROFILE));
    let browser = Chromium::start();
    browser.open(site.url("/"));
    let cookie = browser.cookie("__Host-sessionid").unwrap();
    assert!(cookie.secure && cookie.http_only, "{cookie:?}");
    browser.reload();
    assert_eq!((visits(&browser), browser.cookies().len()), (2, 1));
}

#[test]
fn without_cookies_each_visit_is_the_first() {
    let site = Served::start(super::rocket());
    let browser = Chromium::refusing_cookies();
    browser.open(site.url("/"));
    for _ in 0..3 {
        assert_eq!((browser.status(), visits(&browser), browser.cookies()), (200, 1, vec![]));
        browser.reload();
    }
    browser.screenshot("student-no-cookies");
    browser.click("Set the session");
    assert_eq!((browser.status(), browser.text()), (200, "session is set".into()));
    browser.open(site.url("/student/gsession"));
    assert_eq!(browser.status(), 404);
    browser.screenshot("student-no-cookies-gone");
}

#[test]
fn after_the_back_button_the_session_still_works() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/"));
    browser.click("Set the session");
    browser.back();
    // The browser may show the cached page or load it again. In both cases the session still exists.
    let back = visits(&browser);
    assert!((1..=2).contains(&back), "{back}");
    browser.screenshot("student-back");
    browser.reload();
    assert_eq!(visits(&browser), back + 1);
    browser.click("read it");
    assert_eq!(browser.text(), "rajat rajat@example.com");
}

#[test]
fn a_session_survives_a_restart_of_the_server() {
    let mut site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/"));
    let cookie = browser.cookie("sessionid");
    site.restart(super::rocket());
    browser.reload();
    assert_eq!(visits(&browser), 2);
    assert_eq!(browser.cookie("sessionid").map(|cookie| cookie.value), cookie.map(|cookie| cookie.value));
    browser.screenshot("student-restarted");
}
