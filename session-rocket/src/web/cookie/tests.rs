use rocket::http::Header;
use rocket::local::blocking::Client;

use super::*;
use crate::base::clock::{Clock, SystemClock};
use crate::base::id::SessionId;
use crate::commit::candidates::{self, MAX_CANDIDATES};

fn settings() -> CookieSettings {
    CookieSettings {
        name: "sessionid".into(),
        path: "/".into(),
        domain: None,
        secure: false,
        http_only: true,
        same_site: SameSite::Lax,
        partitioned: false,
    }
}

fn id() -> SessionId {
    SessionId::random().unwrap()
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn client() -> Client {
    Client::untracked(rocket::custom(rocket::Config::figment().merge(("log_level", "off")))).unwrap()
}

/// Calls `look` with a request that has these `Cookie` headers.
fn with_cookies<R>(headers: &[String], look: impl FnOnce(&Request<'_>) -> R) -> R {
    let client = client();
    let request = headers.iter().fold(client.get("/"), |request, value| {
        let mut request = request;
        request.add_header(Header::new("Cookie", value.clone()));
        request
    });
    look(request.inner())
}

/// The ids that a request carries.
fn candidates(settings: &CookieSettings, request: &Request<'_>) -> Vec<SessionId> {
    candidates::candidates(&mut settings.values(request), SessionId::parse).collect()
}

fn exposed(ids: &[SessionId]) -> Vec<String> {
    ids.iter().map(SessionId::expose).collect()
}

fn all<'r>(response: &'r Response<'_>, name: &str) -> Vec<&'r str> {
    response.headers().get(name).collect()
}

#[test]
fn no_cookie_is_no_candidate() {
    with_cookies(&[], |request| {
        assert!(candidates(&settings(), request).is_empty());
        assert!(settings().count_in(request) == 0);
    });
    with_cookies(&[format!("other={}; SESSIONID={}", id().expose(), id().expose())], |request| {
        assert!(candidates(&settings(), request).is_empty());
        assert!(settings().count_in(request) == 0);
    });
}

#[test]
fn malformed_values_are_presented_and_are_no_candidates() {
    for bad in ["", "x", "../../etc/passwd", "a\"b", "%00", &"A".repeat(10_000), &format!("{}=", id().expose())] {
        with_cookies(&[format!("sessionid={bad}")], |request| {
            assert!(candidates(&settings(), request).is_empty(), "{bad}");
            assert!(settings().count_in(request) > 0, "{bad}");
        });
    }
}

#[test]
fn every_well_formed_value_of_all_headers_is_a_candidate_once() {
    let (a, b, c) = (id().expose(), id().expose(), id().expose());
    let headers =
        [format!("sessionid={a}; x=1; sessionid=junk; sessionid={b}"), format!("sessionid={c};sessionid={a}")];
    with_cookies(&headers, |request| {
        let mut found = exposed(&candidates(&settings(), request));
        found.sort();
        let mut expected = vec![a, b, c];
        expected.sort();
        assert_eq!(found, expected);
    });
}

#[test]
fn the_jar_is_asked_only_without_a_header() {
    let (own, header) = (id().expose(), id().expose());
    let client = client();
    let request = client.get("/").cookie(("sessionid", own.clone()));
    assert_eq!(exposed(&candidates(&settings(), request.inner())), [own]);
    let request = request.header(Header::new("Cookie", format!("sessionid={header}")));
    assert_eq!(exposed(&candidates(&settings(), request.inner())), [header]);
}

#[test]
fn only_the_exact_bytes_of_the_name_count() {
    let settings = CookieSettings { name: "__Host-sessionid".into(), secure: true, ..settings() };
    let (own, other) = (id().expose(), id().expose());
    for name in [
        "%5F_Host-sessionid",
        "_%5FHost-sessionid",
        "__Host%2Dsessionid",
        "__Host-%73essionid",
        "__host-sessionid",
        "__Host-sessionid\u{a0}",
        "\u{a0}__Host-sessionid",
        "\u{85}__Host-sessionid",
        "__Host-sessionid\u{85}",
        "\u{2000}__Host-sessionid",
        "__Host-sessionid\u{2003}",
        "\u{b}__Host-sessionid",
        "\"__Host-sessionid\"",
    ] {
        for header in [format!("{name}={other}"), format!("{name}={other}; \t__Host-sessionid\t={own}; {name}={other}")]
        {
            let expected = if header.contains(&own) { vec![own.clone()] } else { Vec::new() };
            with_cookies(&[header], |request| {
                assert_eq!(exposed(&candidates(&settings, request)), expected, "{name:?}");
            });
        }
    }
}

#[test]
fn a_second_cookie_of_a_host_only_name_is_never_the_browsers() {
    let settings = CookieSettings { name: "__Host-sessionid".into(), secure: true, ..settings() };
    let ids = [id().expose(), id().expose()];
    with_cookies(&[format!("__Host-sessionid={}; __Host-sessionid={}", ids[0], ids[1])], |request| {
        assert_eq!(exposed(&candidates(&settings, request)), ids[..1]);
    });
}

/// Whether a browser withholds the cookie from a request with these headers.
fn is_withheld(settings: &CookieSettings, method: Method, headers: &[(&'static str, &'static str)]) -> bool {
    let client = client();
    let request = headers
        .iter()
        .fold(client.req(method, "/"), |request, (name, value)| request.header(Header::new(*name, *value)));
    settings.is_withheld_from(request.inner())
}

#[test]
fn a_cookie_is_withheld_where_same_site_explains_that_it_is_missing() {
    let cross = ("Sec-Fetch-Site", "cross-site");
    let link = [cross, ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
    let frame = [cross, ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")];
    let fetch = [cross, ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")];
    let overridden = [link[0], link[1], link[2], ("Content-Type", "application/x-www-form-urlencoded")];
    let own = [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "cors")];
    let sibling = [("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "cors")];
    let cases = [
        (&link[..], Method::Get, [true, false, false]),
        (&link, Method::Head, [true, false, false]),
        (&link, Method::Post, [true, true, false]),
        (&overridden, Method::Get, [true, true, false]),
        (&frame, Method::Get, [true, true, false]),
        (&fetch, Method::Get, [true, true, false]),
        (&own, Method::Post, [false; 3]),
        (&sibling, Method::Post, [false; 3]),
        (&[], Method::Post, [false; 3]),
    ];
    for (headers, method, expected) in cases {
        for (same_site, expected) in [SameSite::Strict, SameSite::Lax, SameSite::None].into_iter().zip(expected) {
            let settings = CookieSettings { same_site, ..settings() };
            assert_eq!(is_withheld(&settings, method, headers), expected, "{same_site} {method} {headers:?}");
        }
    }
}

#[test]
fn other_forms_are_those_that_another_cookie_domain_left() {
    let lines = |settings: &CookieSettings, host: &'static str| {
        let client = client();
        let request = client.get("/").header(Header::new("Host", host));
        let mut request = request;
        request.inner_mut().set_host(rocket::http::uri::Host::from(rocket::http::uri::Authority::parse(host).unwrap()));
        settings.removal_lines_for_others(request.inner())
    };
    let domains = |settings: &CookieSettings, host| -> Vec<String> {
        lines(settings, host)
            .iter()
            .map(|line| line.split_once("Domain=").map_or("", |(_, rest)| rest.split(';').next().unwrap()).to_owned())
            .collect()
    };
    assert_eq!(domains(&settings(), "www.shop.test:8000"), ["www.shop.test", "shop.test"]);
    assert_eq!(domains(&settings(), "my-shop.test"), ["my-shop.test"]);
    assert_eq!(domains(&settings(), "www.shop.co.uk"), ["www.shop.co.uk", "shop.co.uk"]);
    assert_eq!(domains(&settings(), "ada.github.io"), ["ada.github.io"]);
    assert_eq!(domains(&settings(), "localhost"), [""; 0]);
    assert_eq!(domains(&settings(), "127.0.0.1:8000"), [""; 0]);
    let wide = CookieSettings { domain: Some("shop.test".into()), ..settings() };
    assert_eq!(domains(&wide, "www.shop.test"), [""]);
    let host = CookieSettings { name: "__Host-sessionid".into(), secure: true, ..settings() };
    assert_eq!(domains(&host, "www.shop.test"), [""; 0]);
}

#[test]
fn a_partitioned_cookie_and_its_removal_say_so() {
    let settings = CookieSettings {
        name: "__Host-Http-x".into(),
        secure: true,
        same_site: SameSite::None,
        partitioned: true,
        ..settings()
    };
    let attributes = "; HttpOnly; SameSite=None; Secure; Partitioned; Path=/";
    assert!(settings.set_line("v", None, now()).ends_with(attributes));
    assert!(settings.removal_line().contains(&format!("{attributes}; Max-Age=0")));
    assert_eq!(settings.overhead(), settings.set_line("", Some(MAX_AGE), now()).len());
    let client = client();
    let lines = settings.removal_lines_for_others(client.get("/").inner());
    assert!(lines.len() == 1 && !lines[0].contains("Partitioned"), "{lines:?}");
}

#[test]
fn a_partitioned_cookie_of_a_host_only_name_can_have_an_older_one_that_is_not() {
    let name = "__Host-sessionid";
    let settings = CookieSettings { name: name.into(), secure: true, partitioned: true, ..settings() };
    let ids = [id().expose(), id().expose(), id().expose()];
    let header = ids.each_ref().map(|id| format!("{name}={id}")).join("; ");
    with_cookies(&[header], |request| assert_eq!(exposed(&candidates(&settings, request)), ids[..2]));
}

#[test]
fn at_most_eight_candidates() {
    let many: Vec<String> = (0..50).map(|_| format!("sessionid={}", id().expose())).collect();
    with_cookies(&[many.join("; ")], |request| assert_eq!(candidates(&settings(), request).len(), MAX_CANDIDATES));
}

#[test]
fn a_persistent_cookie_has_max_age_and_expires() {
    let id = id();
    let text = settings().set_line(&id.expose(), Some(Duration::from_millis(90_900)), now());
    let cookie = Cookie::parse(text.as_str()).unwrap();
    assert!(text.starts_with(&format!("sessionid={}; HttpOnly; SameSite=Lax; Path=/; Max-Age=91; ", id.expose())));
    let left = cookie.expires_datetime().unwrap() - time::OffsetDateTime::now_utc();
    assert!(left > time::Duration::seconds(80) && left <= time::Duration::seconds(91), "{left}");
}

#[test]
fn dates_are_written_as_http_has_them() {
    for millis in [0, 951_782_400_000, 1_767_225_599_999, 4_102_444_800_000, 253_402_300_799_000, i64::MAX] {
        let now = Timestamp::from_millis(millis);
        let text = settings().set_line("x", Some(Duration::from_secs(1)), now);
        let expected = now.to_date().saturating_add(time::Duration::SECOND).replace_nanosecond(0).unwrap();
        assert_eq!(Cookie::parse(text.as_str()).unwrap().expires_datetime(), Some(expected), "{text}");
        assert!(text.ends_with(" GMT") && text.split("Expires=").nth(1).unwrap().len() == 29, "{text}");
    }
}

#[test]
fn a_lifetime_is_cut_to_400_days() {
    for age in [MAX_AGE + Duration::from_secs(1), Duration::MAX] {
        let text = settings().set_line(&id().expose(), Some(age), now());
        let cookie = Cookie::parse(text).unwrap();
        assert_eq!(cookie.max_age(), Some(time::Duration::days(400)));
    }
}

#[test]
fn a_browser_close_cookie_has_neither() {
    let text = settings().set_line(&id().expose(), None, now());
    assert!(!text.contains("Max-Age") && !text.contains("Expires"), "{text}");
}

#[test]
fn a_removal_has_the_attributes_of_the_cookie_it_removes() {
    let settings = CookieSettings {
        name: "__Secure-x".into(),
        path: "/shop".into(),
        domain: Some("example.com".into()),
        secure: true,
        http_only: false,
        same_site: SameSite::Strict,
        partitioned: false,
    };
    let attributes = "SameSite=Strict; Secure; Path=/shop; Domain=example.com";
    assert_eq!(
        settings.removal_line(),
        format!("__Secure-x=; {attributes}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    );
    let id = id();
    assert_eq!(settings.set_line(&id.expose(), None, now()), format!("__Secure-x={}; {attributes}", id.expose()));
}

#[test]
fn one_set_cookie_per_name() {
    let mut response = Response::new();
    response.adjoin_raw_header("Set-Cookie", "theme=dark; Path=/");
    response.adjoin_raw_header("Set-Cookie", "sessionid=old; Path=/");
    response.adjoin_raw_header("Set-Cookie", "sessionid2=other");
    set(&mut response, vec![settings().set_line(&id().expose(), None, now())]);
    let last = settings().removal_line();
    set(&mut response, vec![last.clone()]);
    assert_eq!(all(&response, "Set-Cookie"), ["theme=dark; Path=/", "sessionid2=other", &last]);
}

#[test]
fn an_unusual_name_is_written_as_it_is_read() {
    let settings = CookieSettings { name: "a|b^c`d~".into(), ..settings() };
    let id = id();
    let mut response = Response::new();
    set(&mut response, vec![settings.set_line(&id.expose(), None, now())]);
    let header = all(&response, "Set-Cookie")[0].split(';').next().unwrap().to_owned();
    with_cookies(&[header], |request| assert_eq!(exposed(&candidates(&settings, request)), [id.expose()]));
}

#[test]
fn a_response_that_sets_the_cookie_is_not_stored() {
    for (before, after) in [
        (None, "no-store"),
        (Some("public, max-age=60"), "no-store"),
        (Some("max-age=60"), "no-store"),
        (Some("Private, max-age=60"), "Private, max-age=60"),
        (Some("max-age=0, NO-STORE"), "max-age=0, NO-STORE"),
    ] {
        let mut response = Response::new();
        if let Some(before) = before {
            response.set_raw_header("Cache-Control", before);
        }
        set(&mut response, vec![settings().removal_line()]);
        assert_eq!(all(&response, "Cache-Control"), [after]);
    }
}

#[test]
fn a_response_with_nothing_but_an_earlier_session_cookie_gets_the_new_one_alone() {
    let mut response = Response::new();
    set(&mut response, vec![settings().set_line("first", None, now())]);
    let line = settings().set_line("second", None, now());
    set(&mut response, vec![line.clone()]);
    assert_eq!(all(&response, "Set-Cookie"), [line]);
}
