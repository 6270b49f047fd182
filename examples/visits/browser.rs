use session_rocket_tests::chromium::Chromium;
use session_rocket_tests::served::Served;

fn about(message: &str, visits: u32) -> String {
    format!("About page\n{message}\nCurrent visit count: {visits}")
}

#[test]
fn visits_are_counted_and_the_test_cookie_works_once() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/about/"));
    assert_eq!(browser.text(), about("Cookie not set or not supported", 0));
    browser.screenshot("visits-stranger");
    for visits in 1..=3 {
        browser.open(site.url("/"));
        assert_eq!(browser.text(), format!("Visit count: {visits}"));
    }
    browser.screenshot("visits-count");
    browser.open(site.url("/about/"));
    assert_eq!(browser.text(), about("Cookie Tested!", 3));
    browser.screenshot("visits-about");
    browser.reload();
    assert_eq!(browser.text(), about("Cookie not set or not supported", 3));
    browser.open(site.url("/reset/"));
    assert_eq!(browser.text(), "Visit count has been reset to 0");
    browser.screenshot("visits-reset");
    browser.open(site.url("/"));
    assert_eq!(browser.text(), "Visit count: 1");
}

#[test]
fn two_tabs_share_the_counter() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/"));
    let second = browser.new_tab();
    second.open(site.url("/"));
    for _ in 0..4 {
        browser.reload_with(&[&second]);
    }
    browser.open(site.url("/start/"));
    assert_eq!(browser.text_of(".big"), "10");
    browser.screenshot("visits-start");
}

#[test]
fn the_start_page_links_to_every_route() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/start/"));
    assert_eq!(browser.cookies(), vec![], "a page that only reads sets no cookie");
    for (link, path) in [("Visit", "/"), ("About", "/about/"), ("Reset", "/reset/")] {
        // The same link is also in the navigation bar, so rename this one.
        browser.script(&format!("document.querySelector('main a[href=\"{path}\"]').textContent = '{link} now'"));
        browser.click(&format!("{link} now"));
        assert_eq!((browser.status(), browser.url()), (200, site.url(path)));
        browser.back();
    }
    browser.resize(390, 844);
    browser.screenshot("visits-start-phone");
}

#[test]
fn each_profile_sets_the_lifetime_of_the_cookie() {
    for (profile, minutes) in [("thirty_minutes", Some(36)), ("browser_close", None)] {
        let site = Served::configured(super::rocket(), rocket::figment::Figment::new().select(profile));
        let browser = Chromium::start();
        browser.open(site.url("/"));
        let cookies = browser.cookies();
        let [cookie] = cookies.as_slice() else { panic!("not one cookie: {cookies:?}") };
        assert!(cookie.http_only && cookie.same_site.as_deref() == Some("Lax"), "{cookie:?}");
        let lasts = cookie.lasts().map(|lasts| lasts.as_secs().div_ceil(60));
        assert_eq!(lasts, minutes, "{profile}");
        browser.open(site.url("/start/"));
        browser.screenshot(&format!("visits-{profile}"));
    }
}

#[test]
fn without_cookies_each_visit_is_the_first() {
    let site = Served::start(super::rocket());
    let browser = Chromium::refusing_cookies();
    for _ in 0..3 {
        browser.open(site.url("/"));
        assert_eq!(browser.text(), "Visit count: 1");
    }
    browser.open(site.url("/about/"));
    assert_eq!(browser.text(), about("Cookie not set or not supported", 0));
}
