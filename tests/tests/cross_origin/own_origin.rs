//! Requests without `Sec-Fetch-Site`, whose `Origin` is compared with the site's own origin.

use rocket::http::uri::Host;
use rocket::http::{Header, Status};
use rocket::local::blocking::Client;
use rocket::{Build, Rocket, post, routes};
use session_rocket::CrossOriginProtection;
use session_rocket_tests::logs;
use session_rocket_tests::served::Served;

use crate::http::Connection;

#[post("/")]
fn change() {}

fn site(protection: CrossOriginProtection) -> Rocket<Build> {
    logs::rocket(rocket::Config::figment()).attach(protection).mount("/", routes![change])
}

/// Posts to a site with these headers, and returns whether the request passes.
fn passes(site: &Served, headers: &[(&str, &str)]) -> bool {
    match Connection::to(site.port()).send("POST", "/", headers, "").status {
        200 => true,
        403 => false,
        status => panic!("{status} for {headers:?}"),
    }
}

#[test]
fn without_a_setting_the_own_origin_is_that_of_the_host_header() {
    let site = Served::start(site(CrossOriginProtection::new()));
    for (host, origin, expected) in [
        ("shop.test", "http://shop.test", true),
        ("shop.test", "https://shop.test", true),
        ("shop.test", "https://shop.test:443", true),
        ("SHOP.test", "http://shop.TEST", true),
        ("shop.test:80", "http://shop.test", true),
        ("shop.test:443", "https://shop.test", true),
        ("[::1]:8000", "http://[::1]:8000", true),
        ("shop.test:443", "http://shop.test", false),
        ("shop.test:8000", "http://shop.test", false),
        ("shop.test", "http://shop.test:8000", false),
        ("shop.test", "http://shop.test.evil.test", false),
        ("shop.test", "http://evilshop.test", false),
        ("shop.test", "http://evil.test#shop.test", false),
        ("shop.test", "ftp://shop.test", false),
        ("a host", "http://shop.test", false),
    ] {
        assert_eq!(passes(&site, &[("Host", host), ("Origin", origin)]), expected, "{host} {origin}");
    }
    // Without a host, no origin is the site's own.
    assert!(!passes(&site, &[("Origin", "http://shop.test")]));
}

#[test]
fn a_site_behind_https_refuses_its_plain_http_origin() {
    let site = Served::start(site(CrossOriginProtection::new()));
    for proxy in [("X-Forwarded-Proto", "https"), ("Forwarded", "for=192.0.2.60;proto=https;by=203.0.113.43")] {
        assert!(passes(&site, &[("Host", "shop.test"), proxy, ("Origin", "https://shop.test")]));
        assert!(!passes(&site, &[("Host", "shop.test"), proxy, ("Origin", "http://shop.test")]));
    }
    assert!(passes(&site, &[("Host", "shop.test"), ("X-Forwarded-Proto", "http"), ("Origin", "http://shop.test")]));
}

#[test]
fn the_setting_replaces_the_host_header() {
    let protection =
        CrossOriginProtection::new().origin("https://Shop.test:443").trusted_origin("https://pay.test:8443");
    let site = Served::start(site(protection));
    for (origin, expected) in [
        ("https://shop.test", true),
        ("https://shop.test:443", true),
        ("HTTPS://SHOP.test", true),
        ("http://shop.test", false),
        ("https://shop.test:8443", false),
        ("https://backend.test", false),
        ("https://pay.test:8443", true),
        ("https://pay.test", false),
        ("http://pay.test:8443", false),
    ] {
        assert_eq!(passes(&site, &[("Host", "backend.test"), ("Origin", origin)]), expected, "{origin}");
    }
}

/// The local client never opens the files of the certificate.
#[test]
fn a_site_that_serves_https_refuses_its_plain_http_origin() {
    let tls = [("tls.certs", "certificate.pem"), ("tls.key", "key.pem"), ("log_level", "off")];
    let figment = tls.into_iter().fold(rocket::Config::figment(), |figment, setting| figment.merge(setting));
    let client = Client::untracked(site(CrossOriginProtection::new()).configure(figment)).expect("the site launches");
    for (origin, status) in [("https://shop.test", Status::Ok), ("http://shop.test", Status::Forbidden)] {
        let mut request = client.post("/").header(Header::new("Origin", origin));
        request.inner_mut().set_host(Host::parse("shop.test").expect("the host is valid"));
        assert_eq!(request.dispatch().status(), status, "{origin}");
    }
}
