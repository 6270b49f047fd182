use std::sync::Arc;
use std::time::Duration;

use session_rocket::ManualClock;
use session_rocket_tests::chromium::{Chromium, Tab};
use session_rocket_tests::served::Served;

const PASSWORD: &str = "a long password";

fn fill_and_submit(tab: &Tab, button: &str, username: &str, password: &str) {
    tab.fill("username", username);
    tab.fill("password", password);
    tab.click(button);
    assert_eq!(tab.text_of("h1"), username);
}

fn register(site: &Served, tab: &Tab) {
    tab.open(site.url("/register/"));
    fill_and_submit(tab, "Create", "ada", PASSWORD);
}

fn log_in(site: &Served, tab: &Tab) {
    tab.open(site.url("/login/"));
    fill_and_submit(tab, "Continue", "ada", PASSWORD);
}

#[track_caller]
fn assert_logged_out(site: &Served, tab: &Tab) {
    tab.open(site.url("/devices/"));
    assert_eq!((tab.url(), tab.text_of("h1")), (site.url("/login/"), "Log in".into()));
}

/// Takes screenshots at the width of a phone and of a laptop.
fn screenshots(tab: &Tab, name: &str) {
    for (suffix, width) in [("-phone", 400), ("", 1100)] {
        tab.resize(width, 800);
        let overflows = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
        assert_eq!(tab.script(overflows), false, "{name} is wider than the window of {width} pixels");
        tab.screenshot(&format!("account-{name}{suffix}"));
    }
}

#[test]
fn a_device_that_another_one_logs_out_says_so_and_shows_the_login_page() {
    let site = Served::start(super::rocket());
    let (laptop, phone) = (Chromium::start(), Chromium::start());
    laptop.open(site.url("/"));
    screenshots(&laptop, "welcome");
    laptop.open(site.url("/register/"));
    screenshots(&laptop, "register");
    register(&site, &laptop);
    screenshots(&laptop, "home");
    log_in(&site, &phone);
    assert!(!phone.text().contains("You were logged out."));
    laptop.click("Devices");
    assert_eq!(laptop.text().matches("Chrome on Linux").count(), 2, "{}", laptop.text());
    screenshots(&laptop, "devices");
    laptop.click("Log out this device");
    assert!(laptop.text().contains("The device is logged out."), "{}", laptop.text());
    phone.wait_for("You were logged out.");
    screenshots(&phone, "ended");
    assert_logged_out(&site, &phone);
    screenshots(&phone, "login");
    laptop.reload();
    assert!(!laptop.text().contains("The device is logged out."), "the message is shown once");
    laptop.click("Activity");
    screenshots(&laptop, "activity");
}

#[test]
fn the_single_page_app_logs_out_another_device_without_a_new_page() {
    let site = Served::start(super::rocket());
    let (laptop, phone) = (Chromium::start(), Chromium::start());
    register(&site, &laptop);
    log_in(&site, &phone);
    laptop.click("Devices");
    laptop.click("single-page app");
    laptop.wait_for("Log out this device");
    let rows = || laptop.script("return document.querySelectorAll('#devices li').length");
    assert_eq!((rows(), laptop.text().matches("This device").count()), (2.into(), 1));
    screenshots(&laptop, "app");
    laptop.script("window.isSamePage = true; document.querySelector('#devices button').click()");
    laptop.wait_for("Chrome on Linux is logged out.");
    assert_eq!((rows(), laptop.script("return window.isSamePage")), (1.into(), true.into()));
    screenshots(&laptop, "app-after");
    phone.wait_for("You were logged out.");
    assert_logged_out(&site, &phone);
}

#[test]
fn a_logout_in_one_tab_reaches_the_other_tab() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    register(&site, &browser);
    let second = browser.new_tab();
    second.open(site.url("/devices/"));
    browser.click("Log out");
    assert!(browser.text().contains("You are logged out."), "{}", browser.text());
    second.wait_for("You were logged out.");
    // The browser does not cache the pages of a user.
    browser.back();
    assert!(!browser.text().contains("Chrome on Linux"), "{}", browser.text());
}

#[test]
fn a_change_of_the_password_ends_the_other_device_and_keeps_the_theme() {
    let site = Served::start(super::rocket());
    let (laptop, phone) = (Chromium::start(), Chromium::start());
    register(&site, &laptop);
    log_in(&site, &phone);
    laptop.script("document.querySelector('[name=theme]').value = 'Dark'");
    laptop.click("Save");
    laptop.click("Password");
    screenshots(&laptop, "password");
    laptop.fill("password", "another password");
    laptop.click("Change");
    assert!(laptop.text().contains("Your password is changed."), "{}", laptop.text());
    assert_eq!(laptop.script("return document.documentElement.dataset.theme"), "dark");
    screenshots(&laptop, "dark");
    assert_logged_out(&site, &phone);
    fill_and_submit(&phone, "Continue", "ada", "another password");
    laptop.open(site.url("/devices/"));
    assert_eq!(laptop.text().matches("Chrome on Linux").count(), 2, "{}", laptop.text());
}

#[test]
fn a_fourth_login_ends_the_oldest_device() {
    let site = Served::start(super::rocket());
    let browsers = [(); 4].map(|()| Chromium::start());
    register(&site, &browsers[0]);
    for browser in &browsers[1..] {
        log_in(&site, browser);
    }
    browsers[0].wait_for("You were logged out.");
    assert_logged_out(&site, &browsers[0]);
    browsers[3].open(site.url("/devices/"));
    assert_eq!(browsers[3].text().matches("Chrome on Linux").count(), 3, "{}", browsers[3].text());
}

#[test]
fn five_minutes_after_the_login_the_password_page_asks_for_the_password() {
    let clock = Arc::new(ManualClock::default());
    let site = Served::start(super::site(clock.clone()));
    let browser = Chromium::start();
    register(&site, &browser);
    clock.advance(Duration::from_secs(301));
    browser.click("Password");
    assert_eq!(browser.text_of("h1"), "Confirm your password");
    browser.fill("password", "a wrong password");
    browser.click("Continue");
    assert_eq!((browser.status(), browser.text_of("form [role=alert]")), (401, "This is not your password.".into()));
    screenshots(&browser, "confirm");
    browser.fill("password", PASSWORD);
    browser.click("Continue");
    assert_eq!(browser.text_of("h1"), "Change your password");
    // The confirmation rotated the session id, and the page's event stream continues.
    assert!(!browser.text().contains("You were logged out."));
}
