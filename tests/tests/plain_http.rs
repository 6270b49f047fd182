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
    let figment = rocket::Config::figment().merge(("log_level", "normal")).select("release");
    let launch = |figment: &rocket::figment::Figment, secure| {
        let fairing = Session::<Visitor>::fairing().config(Config::new().store("memory:").secure(secure));
        let rocket = logs::rocket(figment).attach(fairing).mount("/", routes![note]);
        Client::untracked(rocket).expect("the site launches")
    };
    let (at_launch, again) = ("Rocket serves plain HTTP", "does not send the `Secure` cookie back");
    let debug = launch(&figment.clone().select("debug"), true);
    let insecure = launch(&figment, false);
    (0..10).for_each(|_| _ = insecure.get("/note").dispatch());
    assert_eq!(logs::containing(at_launch).len(), 0, "a debug build, and cookies that are not `Secure`");
    assert_eq!(logs::containing(again).len(), 0, "cookies that are not `Secure`");
    drop((debug, insecure));
    let client = launch(&figment, true);
    assert_eq!(logs::containing(at_launch).len(), 1);
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
    assert_eq!(logs::containing(again).len(), 0, "a visitor behind a TLS proxy or a new visitor caused a warning");
    for _ in 0..6 {
        visit(&[browser]);
    }
    assert_eq!(logs::containing(again).len(), 1);
}
