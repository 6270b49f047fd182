//! A browser with two session cookies of the same name: a host-only cookie, and one with `Domain`.

use session_rocket::{Config, Session};
use session_rocket_tests::chromium::Chromium;

use crate::site::{Certificate, NOBODY, Visitor, run, serve_tls, site, user};

const SHOP: &str = "https://shop.test/";
const WWW: &str = "https://www.shop.test/";

/// Returns the values of all session cookies that the browser sends to the page.
fn session_ids(browser: &Chromium) -> Vec<String> {
    browser.cookies().into_iter().filter(|cookie| cookie.name == "sessionid").map(|cookie| cookie.value).collect()
}

/// The visitor logs in at `shop.test`. Then the site sets `cookie_domain`, and the visitor logs in at `www.shop.test`,
/// where the browser does not send the first cookie.
#[test]
fn a_logout_with_a_host_only_cookie_and_one_with_a_domain_ends_both_sessions() {
    let config = Config::new().cookie_name("sessionid");
    let fairing = |config: &Config| Session::<Visitor>::fairing().config(config.clone());
    let certificate = Certificate::new();
    let mut shop = serve_tls(site(fairing(&config)), &certificate);
    let browser = Chromium::with_hosts(&[("shop.test", shop.port()), ("www.shop.test", shop.port())]);
    browser.open(SHOP);
    run(&browser, "await post('/login/ada')");
    shop.restart(site(fairing(&config.cookie_domain("shop.test"))));
    browser.open(WWW);
    run(&browser, "await post('/login/ada')");
    browser.open(SHOP);
    let ids = session_ids(&browser);
    assert_eq!((ids.len(), user(&browser)), (2, "ada".into()), "the test needs two sessions of one visitor");

    run(&browser, "await post('/logout')");
    for host in [SHOP, WWW] {
        browser.open(host);
        assert_eq!((user(&browser), session_ids(&browser)), (NOBODY.into(), Vec::new()), "{host}");
    }
    for id in ids {
        browser.delete_cookies();
        browser.add_cookie("sessionid", &id);
        assert_eq!(user(&browser), NOBODY, "a session of the visitor is still live");
    }
}
