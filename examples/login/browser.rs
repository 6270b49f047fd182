use session_rocket_tests::chromium::{Chromium, Tab};
use session_rocket_tests::served::Served;

struct Site {
    served: Served,
    _directory: tempfile::TempDir,
}

impl Site {
    /// Starts the site with its demo user and a new database.
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}", directory.path().join("login.db").display());
        let served = Served::configured(super::rocket(), ("database", database));
        Self { served, _directory: directory }
    }

    fn url(&self, path: &str) -> String {
        self.served.url(path)
    }

    fn log_in(&self, tab: &Tab) {
        tab.open(self.url("/login/"));
        tab.fill("username", "rajat");
        tab.fill("password", "rajat-learns-rocket");
        tab.submit();
        assert_eq!((tab.url(), tab.text_of("h1")), (self.url("/dashboard/"), "Welcome to the Dashboard".into()));
    }
}

#[test]
fn after_a_logout_the_back_button_shows_no_dashboard() {
    let site = Site::start();
    let browser = Chromium::start();
    browser.open(site.url("/dashboard/"));
    assert_eq!((browser.url(), browser.text_of("h1")), (site.url("/login/"), "Login".into()));
    browser.screenshot("login-form");
    assert!(browser.cookie("sessionid").is_none(), "the login form starts no session");
    site.log_in(&browser);
    browser.screenshot("login-dashboard");
    browser.click("Logout");
    assert_eq!(browser.url(), site.url("/login/"));
    browser.back();
    browser.wait_for("Remember me");
    assert!(!browser.text().contains("Welcome to the Dashboard"), "{}", browser.text());
    browser.screenshot("login-back-after-logout");
    browser.open(site.url("/dashboard/"));
    assert_eq!(browser.url(), site.url("/login/"));
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_page() {
    let site = Site::start();
    let browser = Chromium::start();
    for (user, password) in [("rajat", "wrong"), ("nobody", "rajat-learns-rocket")] {
        browser.open(site.url("/login/"));
        browser.fill("username", user);
        browser.fill("password", password);
        browser.submit();
        assert_eq!((browser.status(), browser.text_of("[role=alert]")), (401, "Invalid credentials".into()));
        browser.screenshot("login-invalid");
    }
    site.log_in(&browser);
}

#[test]
fn two_tabs_share_the_login_and_the_logout() {
    let site = Site::start();
    let browser = Chromium::start();
    site.log_in(&browser);
    let second = browser.new_tab();
    second.open(site.url("/dashboard/"));
    assert_eq!(second.text_of("h1"), "Welcome to the Dashboard");
    second.click("Logout");
    browser.reload();
    assert_eq!(browser.url(), site.url("/login/"));
}

#[test]
fn a_form_opened_before_a_login_in_another_tab_is_rejected() {
    let site = Site::start();
    let browser = Chromium::start();
    browser.open(site.url("/login/"));
    let second = browser.new_tab();
    site.log_in(&second);
    browser.fill("username", "rajat");
    browser.fill("password", "rajat-learns-rocket");
    browser.submit();
    assert_eq!((browser.status(), browser.text_of("h1")), (403, "This form has expired".into()));
    browser.screenshot("login-out-of-date");
    browser.click("Continue to the dashboard");
    assert_eq!(browser.text_of("h1"), "Welcome to the Dashboard");
}

#[test]
fn the_cookie_lasts_over_thirty_days_with_remember_me_and_otherwise_until_the_browser_closes() {
    let site = Site::start();
    let browser = Chromium::start();
    site.log_in(&browser);
    let cookie = browser.cookie("sessionid").unwrap();
    assert_eq!((cookie.lasts(), cookie.http_only, cookie.same_site.as_deref()), (None, true, Some("Lax")));
    assert_eq!(browser.script("return document.cookie"), "");
    browser.click("Logout");
    browser.script("document.querySelector('[name=remember]').click()");
    browser.fill("username", "rajat");
    browser.fill("password", "rajat-learns-rocket");
    browser.submit();
    let days = browser.cookie("sessionid").unwrap().lasts().unwrap().as_secs().div_ceil(86_400);
    assert_eq!(days, 36, "the cookie lasts longer than the session");
    browser.resize(390, 844);
    browser.screenshot("login-dashboard-phone");
}

#[test]
fn without_cookies_the_403_page_gives_the_reason() {
    let site = Site::start();
    let browser = Chromium::refusing_cookies();
    browser.open(site.url("/login/"));
    browser.fill("username", "rajat");
    browser.fill("password", "rajat-learns-rocket");
    browser.submit();
    assert_eq!(browser.status(), 403);
    assert!(browser.text().contains("your browser rejects cookies"), "{}", browser.text());
    browser.screenshot("login-no-cookies");
}
