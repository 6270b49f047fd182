//! Cookies that a sibling host plants under a name that resembles that of the session cookie.

use std::collections::BTreeSet;

use rocket::http::Header;
use rocket::response::Responder;
use rocket::{get, routes};
use session_rocket::Session;
use session_rocket_tests::chromium::Chromium;

use crate::site::{Certificate, NOBODY, Visitor, run, serve_tls, site, user};

const NAME: &str = "__Host-sessionid";
const SHOP: &str = "https://shop.test/";

/// Names that a server could confuse with the session cookie's, if it decodes percent-encoding, trims white space or
/// ignores case.
const SPELLINGS: [&str; 18] = [
    "%5F_Host-sessionid",
    "_%5FHost-sessionid",
    "%5f%5fHost-sessionid",
    "__%48ost-sessionid",
    "__Host%2Dsessionid",
    "__Host-%73essionid",
    "__Host-session%69d",
    "\u{a0}__Host-sessionid",
    "__Host-sessionid\u{a0}",
    "\u{85}__Host-sessionid",
    "__Host-sessionid\u{85}",
    "\u{2000}__Host-sessionid",
    "__Host-sessionid\u{2000}",
    "\u{2003}__Host-sessionid",
    "__Host-sessionid\u{2003}",
    "__HOST-SESSIONID",
    "__host-sessionid",
    "__Host-sessionid",
];

/// Chromium rejects a cookie with `Domain` if its name starts with this prefix in any case. Cookies with the other names
/// reach the site.
const PREFIX: &str = "__host-";

/// Returns the names of the cookies that each attack plants.
fn attacks() -> Vec<Vec<String>> {
    let mut attacks: Vec<Vec<String>> = SPELLINGS.map(|name| vec![name.to_owned()]).into();
    // Each of the nine names decodes to the name of the session cookie.
    let name = NAME.as_bytes();
    let encoded = |at: usize| {
        let letters = name.iter().enumerate();
        letters.map(|(n, c)| if n == at { format!("%{c:02X}") } else { char::from(*c).to_string() }).collect()
    };
    attacks.push((0..9).map(encoded).collect());
    attacks.push((0..9).map(|n| format!("junk%{n}0")).collect());
    attacks.push(SPELLINGS.map(str::to_owned).into());
    attacks
}

/// The attacker's page, which sets these cookies.
struct Planted(Vec<String>);

impl<'r> Responder<'r, 'static> for Planted {
    fn respond_to(self, _: &'r rocket::Request<'_>) -> rocket::response::Result<'static> {
        let mut response = rocket::Response::build();
        for line in self.0 {
            response.header_adjoin(Header::new("Set-Cookie", line));
        }
        response.ok()
    }
}

#[get("/<attack>/<id>")]
fn plant(attack: usize, id: &str) -> Planted {
    let names = attacks().remove(attack).into_iter();
    Planted(names.map(|name| format!("{name}={id}; Domain=shop.test; Path=/; Secure")).collect())
}

/// Logs the attacker in and returns the id of the attacker's session.
fn attackers_id(attacker: &Chromium) -> String {
    attacker.delete_cookies();
    attacker.open(SHOP);
    run(attacker, "await post('/login/mallory')");
    assert_eq!(user(attacker), "mallory");
    attacker.cookie(NAME).expect("the attacker has a session").value
}

/// Returns the names of the cookies with this value that the browser sends to the page.
fn names_with(browser: &Chromium, value: &str) -> BTreeSet<String> {
    let cookies = browser.cookies().into_iter().filter(|cookie| cookie.value == value);
    cookies.map(|cookie| cookie.name).collect()
}

/// Returns the names that Chromium accepts from a sibling host.
fn accepted(names: &[String]) -> BTreeSet<String> {
    names.iter().filter(|name| !name.to_ascii_lowercase().starts_with(PREFIX)).cloned().collect()
}

#[test]
fn a_neighbouring_host_cannot_plant_a_session() {
    let certificate = Certificate::new();
    let shop = serve_tls(site(Session::<Visitor>::fairing()), &certificate);
    let evil = serve_tls(rocket::build().mount("/", routes![plant]), &certificate);
    let attacker = Chromium::with_hosts(&[("shop.test", shop.port())]);
    let browser = Chromium::with_hosts(&[("shop.test", shop.port()), ("evil.shop.test", evil.port())]);
    let mut failures = Vec::new();
    let mut expect = |who: &str, attack: &[String], when: &str| {
        let actual = user(&browser);
        if actual != who {
            failures.push(format!("{actual} instead of {who} {when}, with {attack:?}"));
        }
    };
    for (number, attack) in attacks().iter().enumerate() {
        let visit_attacker = || {
            let id = attackers_id(&attacker);
            browser.open(format!("https://evil.shop.test/{number}/{id}"));
            browser.open(SHOP);
            assert_eq!(names_with(&browser, &id), accepted(attack), "the planted cookies that reach the site");
        };
        browser.delete_cookies();
        visit_attacker();
        expect(NOBODY, attack, "before the login");
        run(&browser, "await post('/login/ada')");
        expect("ada", attack, "after the login");

        browser.delete_cookies();
        run(&browser, "await post('/login/ada')");
        visit_attacker();
        expect("ada", attack, "when the cookies were planted");
        run(&browser, "await post('/write')");
        expect("ada", attack, "after a write");
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
