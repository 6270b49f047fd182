//! Requests from another site. Because of `SameSite`, the browser does not send the session cookie with them.

use rocket::http::SameSite;
use rocket::response::Redirect;
use rocket::response::content::RawHtml;
use rocket::{get, post, routes};
use session_rocket::{Config, Session};
use session_rocket_tests::chromium::Chromium;
use session_rocket_tests::served::Served;

use crate::site::{Certificate, NOBODY, Visitor, run, serve_tls, site, user};

const SHOP: &str = "https://shop.test/";
const BANK: &str = "https://bank.test/";

#[get("/")]
fn bank() -> RawHtml<&'static str> {
    RawHtml(
        "<!doctype html><title>Bank</title>
        <a href='https://shop.test/whoami'>link</a> <a href='https://shop.test/visited'>visit</a>
        <a href='https://shop.test/redirected'>redirect</a> <a href='https://shop.test/loaded'>page</a>
        <form method=post action='https://shop.test/write'><button>write</button></form>
        <form method=post action='https://shop.test/paid'><button>pay</button></form>",
    )
}

#[get("/redirected")]
fn redirected() -> Redirect {
    Redirect::to("/whoami")
}

/// A page that changes the session.
#[get("/visited")]
fn visited(session: Session<Visitor>) -> &'static str {
    session.update_writes(|writes| *writes += 1);
    "visited"
}

/// A page that loads another page by itself.
#[get("/loaded")]
fn loaded() -> RawHtml<&'static str> {
    RawHtml("<!doctype html><title>Shop</title><meta http-equiv=refresh content='0; url=/whoami'>")
}

#[post("/paid")]
fn paid() -> Redirect {
    Redirect::to("/whoami")
}

/// Starts a shop where the visitor is logged in as `ada`, and a bank with links and forms to the shop.
fn browser_at_shop(same_site: SameSite) -> (Chromium, [Served; 2]) {
    let certificate = Certificate::new();
    let sessions = Session::<Visitor>::fairing().config(Config::new().same_site(same_site));
    let shop = serve_tls(site(sessions).mount("/", routes![redirected, visited, loaded, paid]), &certificate);
    let other = serve_tls(rocket::build().mount("/", routes![bank]), &certificate);
    let browser = Chromium::with_hosts(&[("shop.test", shop.port()), ("bank.test", other.port())]);
    browser.open(SHOP);
    run(&browser, "await post('/login/ada')");
    (browser, [shop, other])
}

fn follow(browser: &Chromium, link: &str) {
    browser.open(BANK);
    browser.click(link);
}

/// A page of the site that loads another page by itself finds the session.
#[test]
fn a_link_to_a_strict_site_does_not_log_the_visitor_out() {
    let (browser, _servers) = browser_at_shop(SameSite::Strict);
    for link in ["link", "redirect"] {
        follow(&browser, link);
        assert_eq!(browser.text(), NOBODY, "{link}");
    }
    follow(&browser, "visit");
    assert_eq!(browser.text(), "visited");
    browser.open(SHOP);
    assert_eq!(user(&browser), "ada", "the visitor was logged out");
    follow(&browser, "page");
    browser.wait_for("ada");
}

/// After a redirect, the site finds the session.
#[test]
fn a_cross_site_post_to_a_lax_site_does_not_log_the_visitor_out() {
    let (browser, _servers) = browser_at_shop(SameSite::Lax);
    follow(&browser, "write");
    browser.open(SHOP);
    assert_eq!(user(&browser), "ada", "the visitor was logged out");
    follow(&browser, "pay");
    assert_eq!(browser.text(), "ada");
}
