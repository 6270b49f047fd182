//! A site in a frame of another site, with a partitioned cookie (CHIPS).

use rocket::http::SameSite;
use rocket::response::content::RawHtml;
use rocket::shield::{Frame, Shield};
use rocket::{get, routes};
use session_rocket::{Config, Session};
use session_rocket_tests::chromium::Chromium;

use crate::site::{Certificate, NOBODY, Visitor, run, serve_tls, site, user};

const SHOP: &str = "https://shop.test/";
const NAME: &str = "__Host-sessionid";

/// A page of the shop that writes to its session when it loads, and then shows who is logged in.
#[get("/framed")]
fn framed() -> RawHtml<&'static str> {
    RawHtml(
        "<!doctype html><title>Framed</title><p>waiting</p><script>
        (async () => {
            await fetch('/login/framed', { method: 'POST' });
            const user = await (await fetch('/whoami', { cache: 'no-store' })).text();
            parent.postMessage(user, '*');
        })()</script>",
    )
}

#[get("/")]
fn bank() -> RawHtml<&'static str> {
    RawHtml(
        "<!doctype html><title>Bank</title><p>waiting</p>
        <script>onmessage = event => document.querySelector('p').textContent = 'framed user: ' + event.data</script>
        <iframe src='https://shop.test/framed'></iframe>",
    )
}

#[test]
fn a_partitioned_cookie_works_in_a_frame_of_another_site_and_is_separate_there() {
    let certificate = Certificate::new();
    let config = Config::new().same_site(SameSite::None).partitioned(true);
    let sessions = Session::<Visitor>::fairing().config(config);
    // By default, Rocket lets no page of another site show this one in a frame.
    let shield = Shield::default().disable::<Frame>();
    let shop = serve_tls(site(sessions).mount("/", routes![framed]).attach(shield), &certificate);
    let other = serve_tls(rocket::build().mount("/", routes![bank]), &certificate);
    let browser = Chromium::with_hosts(&[("shop.test", shop.port()), ("bank.test", other.port())]);
    browser.open(SHOP);
    run(&browser, "await post('/login/ada')");
    browser.open("https://bank.test/");
    browser.wait_for("framed user: framed");
    browser.open(SHOP);
    assert_eq!(user(&browser), "ada", "the frame shares the cookie of the shop");
}

/// After the setting `partitioned`, the browser sends the old cookie and the new one.
#[test]
fn a_visitor_with_a_cookie_from_before_partitioned_can_log_in_and_out() {
    let certificate = Certificate::new();
    let config = Config::new().same_site(SameSite::None);
    let sessions = |config: Config| Session::<Visitor>::fairing().config(config);
    let mut shop = serve_tls(site(sessions(config.clone())), &certificate);
    let browser = Chromium::with_hosts(&[("shop.test", shop.port())]);
    browser.open(SHOP);
    run(&browser, "await post('/login/ada')");
    shop.restart(site(sessions(config.partitioned(true))));
    browser.open(SHOP);
    run(&browser, "await post('/login/bob')");
    assert_eq!(user(&browser), "bob");
    run(&browser, "await post('/logout')");
    assert_eq!(user(&browser), NOBODY);
    assert!(browser.cookie(NAME).is_none(), "a session cookie is left");
    run(&browser, "await post('/login/cleo')");
    assert_eq!(user(&browser), "cleo");
}
