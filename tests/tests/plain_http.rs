//! A site with `Secure` cookies that browsers reach over plain HTTP. The test has its own process, because it counts
//! log lines.

use rocket::http::Header;
use rocket::local::blocking::Client;
use rocket::{get, routes};
use session_rocket::{Config, Session};
use session_rocket_tests::logs;

#[derive(Session)]
struct Visitor {
    note: Option<String>,
}

#[get("/note")]
fn note(session: Session<Visitor>) {
    session.set_note("remember");
}

#[test]
fn a_site_over_plain_http_logs_what_a_proxy_must_do_and_that_cookies_do_not_come_back() {
    logs::capture();
    let figment = rocket::Config::figment().merge(("log_level", "normal")).select("release");
    let config = Config::new().store("memory:").secure(true);
    let fairing = Session::<Visitor>::fairing().config(config);
    let rocket = rocket::custom(figment).attach(fairing).mount("/", routes![note]);
    let client = Client::untracked(rocket).expect("the site launches");
    assert_eq!(logs::containing("Rocket serves plain HTTP").len(), 1);
    let warning = "keeps coming back without the `Secure` cookie";
    let visit = |headers: &[(&'static str, &str)]| {
        let request = client.get("/note");
        let header = |(name, value): &(&'static str, &str)| Header::new(*name, (*value).to_owned());
        headers.iter().fold(request, |request, pair| request.header(header(pair))).dispatch();
    };
    let browser = ("User-Agent", "Firefox");
    for _ in 0..10 {
        visit(&[browser, ("X-Forwarded-Proto", "https")]);
    }
    for n in 0..10 {
        visit(&[("User-Agent", &format!("visitor {n}"))]);
    }
    assert_eq!(logs::containing(warning).len(), 0, "a visitor behind a TLS proxy or a new visitor caused a warning");
    for _ in 0..6 {
        visit(&[browser]);
    }
    assert_eq!(logs::containing(warning).len(), 1);
}
