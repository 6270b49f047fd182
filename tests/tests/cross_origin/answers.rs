//! How refused requests are answered and logged, and invalid settings.

use std::collections::BTreeSet;
use std::sync::Arc;

use rocket::error::ErrorKind;
use rocket::fairing::AdHoc;
use rocket::figment::Figment;
use rocket::figment::providers::{Format, Toml};
use rocket::http::{ContentType, Header, Method, Status};
use rocket::local::blocking::{Client, LocalRequest};
use rocket::route::{Handler, Outcome};
use rocket::{Build, Data, Request, Responder, Rocket, Route, catch, catchers, get, post, routes};
use session_rocket::CrossOriginProtection;
use session_rocket_tests::logs;

#[get("/")]
fn index() {}

#[post("/<_..>")]
fn change() {}

/// The handler of a route for TRACE, which has no attribute.
#[derive(Clone)]
struct Traced;

#[rocket::async_trait]
impl Handler for Traced {
    async fn handle<'r>(&self, request: &'r Request<'_>, _: Data<'r>) -> Outcome<'r> {
        Outcome::from(request, "traced")
    }
}

#[catch(403)]
fn forbidden(request: &Request<'_>) -> String {
    format!("site: {} {}", request.method(), request.uri())
}

#[catch(403)]
fn forbidden_in_api(request: &Request<'_>) -> String {
    format!("api: {} {}", request.method(), request.uri())
}

/// A fairing that gives each request the method in its query, even a GET.
fn method_override() -> AdHoc {
    AdHoc::on_request("method override", |request, _| {
        Box::pin(async move {
            if let Some(Ok(method)) = request.query_value::<&str>("_method").map(|name| name.unwrap_or("").parse()) {
                request.set_method(method);
            }
        })
    })
}

#[test]
fn a_fairing_attached_after_one_that_changes_the_method_refuses_each_forged_request() {
    let rocket = logs::rocket(quiet()).attach(method_override()).attach(CrossOriginProtection::new());
    let client = client(rocket.mount("/", routes![change]));
    for method in [Method::Get, Method::Post, Method::Put] {
        let response = forged(&client, method, "/order?_method=POST").dispatch();
        assert_eq!(response.status(), Status::Forbidden, "{method}");
    }
}

fn quiet() -> Figment {
    rocket::Config::figment().merge(("log_level", "off"))
}

fn site(protection: CrossOriginProtection) -> Rocket<Build> {
    logs::rocket(quiet())
        .attach(protection)
        .mount("/", routes![index, change])
        .mount("/", [Route::new(Method::Trace, "/traced", Traced)])
}

fn client(rocket: Rocket<Build>) -> Client {
    Client::untracked(rocket).expect("the site launches")
}

fn forged<'c>(client: &'c Client, method: Method, path: &str) -> LocalRequest<'c> {
    client.req(method, path.to_owned()).header(Header::new("Sec-Fetch-Site", "cross-site"))
}

#[test]
fn the_catcher_of_the_path_responds_to_a_refused_request() {
    let catchers = |rocket: Rocket<Build>| {
        rocket.register("/", catchers![forbidden]).register("/api/v1", catchers![forbidden_in_api])
    };
    let client = client(catchers(site(CrossOriginProtection::new())));
    for (path, expected) in [
        ("/", "site: TRACE /"),
        ("/orders/7/?page=2", "site: TRACE /orders/7/?page=2"),
        ("/api", "site: TRACE /api"),
        ("/api/v1", "api: TRACE /api/v1"),
        ("/api/v1/orders?page=2", "api: TRACE /api/v1/orders?page=2"),
        ("/a//b/", "site: TRACE /a//b/"),
    ] {
        let response = forged(&client, Method::Post, path).dispatch();
        assert_eq!((response.status(), response.into_string()), (Status::Forbidden, Some(expected.into())), "{path}");
    }
}

#[derive(Responder)]
struct Cacheable((), Header<'static>);

#[catch(403)]
fn cacheable(request: &Request<'_>) -> Cacheable {
    let value: &str = request.query_value("cache").and_then(Result::ok).unwrap_or("public");
    Cacheable((), Header::new("Cache-Control", format!("{value}, max-age=600")))
}

/// No cache may serve the refusal of a forged request to the site's own pages.
#[test]
fn a_refusal_is_not_stored_whatever_the_catcher_says() {
    let client = client(site(CrossOriginProtection::new()).register("/", catchers![cacheable]));
    for path in ["/", "/?cache=private", "/?cache=private%3D%22x-user%22"] {
        let refused = forged(&client, Method::Get, path).header(ContentType::Form).dispatch();
        let header = |name| refused.headers().get(name).collect::<Vec<_>>();
        assert_eq!(refused.status(), Status::Forbidden, "{path}");
        assert_eq!(header("Cache-Control"), ["no-store"], "{path}");
        assert_eq!(header("Vary"), ["Sec-Fetch-Site, Origin"], "{path}");
    }
}

#[test]
fn two_sites_with_one_fairing_have_their_own_settings() {
    let fairing = Arc::new(CrossOriginProtection::new());
    let site = |setting| {
        let figment = quiet().merge((setting, true));
        client(logs::rocket(figment).attach(fairing.clone()).mount("/", routes![index, change]))
    };
    let (trial, live) = (site("cross_origin.report_only"), site("cross_origin.strict"));
    for (client, status) in [(trial, Status::Ok), (live, Status::Forbidden)] {
        assert_eq!(forged(&client, Method::Post, "/").dispatch().status(), status);
        assert_eq!(client.post("/").dispatch().status(), status);
    }
}

#[test]
fn without_a_catcher_rocket_responds_with_403() {
    let client = client(site(CrossOriginProtection::new()));
    assert_eq!(forged(&client, Method::Post, "/").dispatch().status(), Status::Forbidden);
    assert_eq!(client.post("/").dispatch().status(), Status::Ok);
}

/// The route of refused requests has the method TRACE.
#[test]
fn trace_requests_that_are_not_refused_reach_the_site() {
    let client = client(site(CrossOriginProtection::new()));
    for (path, status) in [("/traced", Status::Ok), ("/nowhere", Status::NotFound)] {
        assert_eq!(client.req(Method::Trace, path).dispatch().status(), status, "{path}");
        assert_eq!(forged(&client, Method::Trace, path).dispatch().status(), Status::Forbidden, "{path}");
    }
}

#[test]
fn the_last_of_two_fairings_counts() {
    let protection = CrossOriginProtection::new().strict(true);
    let client = client(site(protection).attach(CrossOriginProtection::new()));
    assert_eq!(client.post("/").dispatch().status(), Status::Ok);
    assert_eq!(forged(&client, Method::Post, "/").dispatch().status(), Status::Forbidden);
}

/// Posts with these headers, and returns the different log lines that contain `start` and `mark`, without the text before
/// `start`. Other tests of this process log too.
fn logged(client: &Client, headers: &[(&'static str, &str)], start: &str, mark: &str) -> BTreeSet<String> {
    let mut request = client.post("/secret-path?secret-query");
    for (name, value) in headers {
        request.add_header(Header::new(*name, (*value).to_owned()));
    }
    request.dispatch();
    let lines = logs::containing(start).into_iter().filter(|line| line.contains(mark));
    lines.map(|line| line.strip_prefix("WARN session_rocket ").expect("it is a warning").to_owned()).collect()
}

/// A refused request, and its line in the log.
struct Logged {
    headers: &'static [(&'static str, &'static str)],
    /// A part of the line that no other test logs.
    mark: &'static str,
    /// The line after the method.
    line: &'static str,
}

const REFUSALS: [Logged; 7] = [
    Logged {
        headers: &[("Origin", "https://a.test"), ("Sec-Fetch-Site", "same-site")],
        mark: "https://a.test",
        line: "(Origin \"https://a.test\", Sec-Fetch-Site \"same-site\"): the request comes from another origin; if the site \
               trusts this origin, add it to `cross_origin.trusted_origins`",
    },
    Logged {
        headers: &[("Origin", "https://b.test")],
        mark: "https://b.test",
        line: "(Origin \"https://b.test\", no Sec-Fetch-Site): the origin does not match the site's own origin; if this is the \
               site's own page, set `cross_origin.origin`; if the site trusts this origin, add it to \
               `cross_origin.trusted_origins`",
    },
    Logged {
        headers: &[("Sec-Fetch-Site", "cross-site")],
        mark: "no Origin, Sec-Fetch-Site \"cross-site\"",
        line: "(no Origin, Sec-Fetch-Site \"cross-site\"): `Origin` is missing, `null` or malformed, and `Sec-Fetch-Site` does \
               not show that the request is from the site's own pages; no setting accepts such requests",
    },
    Logged {
        headers: &[("Origin", "https://e.test"), ("Sec-Fetch-Site", "garbage")],
        mark: "Sec-Fetch-Site \"garbage\"",
        line: "(Origin \"https://e.test\", Sec-Fetch-Site \"garbage\"): the value of `Sec-Fetch-Site` is unknown; no setting \
               accepts such requests",
    },
    Logged {
        headers: &[("Origin", "null")],
        mark: "Origin \"null\", no Sec-Fetch-Site",
        line: "(Origin \"null\", no Sec-Fetch-Site): the browser hides the origin; if this is the site's own page, serve HTTPS \
               or change its `Referrer-Policy`",
    },
    Logged {
        headers: &[("Origin", "https://c.test"), ("Origin", "https://d.test")],
        mark: "https://c.test",
        line: "(Origin \"https://c.test\", no Sec-Fetch-Site): the request has several `Origin` headers; no setting accepts such \
               requests",
    },
    Logged {
        headers: &[],
        mark: "no Origin, no Sec-Fetch-Site",
        line: "(no Origin, no Sec-Fetch-Site): the request has neither `Origin` nor `Sec-Fetch-Site`; to accept such requests, set \
               `cross_origin.strict = false`",
    },
];

#[test]
fn a_refusal_is_logged_with_the_setting_that_would_accept_the_request() {
    let site = client(site(CrossOriginProtection::new().strict(true)));
    for Logged { headers, mark, line } in REFUSALS {
        let expected = BTreeSet::from([format!("refused a POST request {line}")]);
        assert_eq!(logged(&site, headers, "refused a POST", mark), expected);
    }
    // Rocket's own log has the path and the query.
    let leaks = |line: &String| line.contains(" session_rocket ");
    assert!(!logs::containing("secret-").iter().any(leaks), "the library's log has a path or a query");
}

#[test]
fn the_log_shows_the_origin_escaped_and_shortened() {
    let site = client(site(CrossOriginProtection::new()));
    let long = format!("https://long.test/\u{1b}[31m\u{202e}{}", "x".repeat(500));
    let shown = format!("(Origin \"https://long.test/\\u{{1b}}[31m\\u{{202e}}{}…\", no", "x".repeat(56));
    let lines = logged(&site, &[("Origin", &long)], "refused a POST", "https://long.test");
    assert_eq!(lines.len(), 1);
    assert!(lines.iter().all(|line| line.contains(&shown)), "{lines:?}");
}

#[test]
fn report_only_logs_a_request_and_lets_it_pass() {
    let client = client(site(CrossOriginProtection::new().report_only(true)));
    let headers = [("Origin", "https://reported.test"), ("Sec-Fetch-Site", "cross-site")];
    let start = "would refuse a POST request, but `cross_origin.report_only` is on";
    let lines = logged(&client, &headers, start, "https://reported.test");
    assert_eq!(lines.len(), 1);
    assert_eq!(forged(&client, Method::Post, "/").dispatch().status(), Status::Ok);
}

#[test]
fn an_invalid_setting_aborts_the_launch() {
    let figment = quiet().merge(Toml::string("[default.cross_origin]\ntrusted_origin = []").nested());
    let error = Client::untracked(logs::rocket(figment).attach(CrossOriginProtection::new()));
    // Rocket's error panics when it is dropped, unless its kind was read.
    assert!(matches!(error.expect_err("the launch is aborted").kind(), ErrorKind::FailedFairings(_)));
    let lines = logs::containing("the cross-origin protection cannot be attached");
    let expected =
        "`cross_origin.trusted_origin` (in TOML source string): unknown key; did you mean `trusted_origins`?";
    assert!(lines.len() == 1 && lines[0].ends_with(expected), "{lines:?}");
}

#[test]
fn the_launch_logs_the_effective_settings() {
    let figment = quiet().merge(("cross_origin.origin", "https://logged.test"));
    client(logs::rocket(figment).attach(CrossOriginProtection::new()));
    let lines = logs::containing("https://logged.test");
    assert_eq!(lines, ["INFO session_rocket cross-origin protection: own origin https://logged.test"]);
}
