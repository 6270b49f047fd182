//! Every combination of method, headers, body and settings, over TCP. The expected results are in `matrix.txt`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rocket::http::Method;
use rocket::route::{Handler, Outcome};
use rocket::{Build, Data, Request, Rocket, Route};
use session_rocket::CrossOriginProtection;
use session_rocket_tests::logs;
use session_rocket_tests::served::Served;

use crate::http::Connection;

const HOST: &str = "shop.test:8000";
const TRUSTED: &str = "https://pay.test";

/// A table of `matrix.txt`: the names of the columns, and the rows with their names.
type Table<'t> = (Vec<&'t str>, Vec<(&'t str, Vec<&'t str>)>);

/// Reads the table whose first word is `corner`.
fn table(corner: &str) -> Table<'static> {
    let lines = include_str!("matrix.txt").lines().skip_while(|line| !line.starts_with(&format!("{corner} ")));
    let mut rows = lines.take_while(|line| !line.is_empty()).map(|line| {
        let mut words = line.split_whitespace();
        (words.next().expect("the row has a name"), words.collect::<Vec<_>>())
    });
    let (_, columns) = rows.next().expect("the table exists");
    let rows: Vec<_> = rows.collect();
    assert!(rows.iter().all(|(_, cells)| cells.len() == columns.len()), "a row of {corner} has too few cells");
    (columns, rows)
}

/// The values of the header `Sec-Fetch-Site`.
fn site_headers(site: &str) -> Vec<&str> {
    match site {
        "absent" => vec![],
        "garbage" => vec!["Same-Origin"],
        "two" => vec!["same-origin", "same-origin"],
        value => vec![value],
    }
}

/// The values of the header `Origin`.
fn origin_headers(origin: &str) -> Vec<&str> {
    match origin {
        "own" => vec!["http://shop.test:8000"],
        "port" => vec!["http://shop.test:8001"],
        "sibling" => vec!["http://www.shop.test:8000"],
        "other" => vec!["http://evil.test:8000"],
        "trusted" => vec![TRUSTED],
        "null" => vec!["null"],
        "absent" => vec![],
        "malformed" => vec!["shop.test:8000"],
        "two" => vec![TRUSTED, TRUSTED],
        other => panic!("unknown origin {other}"),
    }
}

/// The content type and the body.
fn content(body: &str) -> (Option<&str>, &str) {
    const FORM: Option<&str> = Some("application/x-www-form-urlencoded; charset=UTF-8");
    match body {
        "nothing" => (None, ""),
        "text" => (Some("text/plain"), "_method=put"),
        "form" => (FORM, "amount=100&to=5"),
        "put" => (FORM, "_method=put"),
        "delete" => (FORM, "_method=delete"),
        "get" => (FORM, "_method=get"),
        other => panic!("unknown body {other}"),
    }
}

/// Responds to every method, with the name of the method, and counts its calls.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

#[rocket::async_trait]
impl Handler for Counter {
    async fn handle<'r>(&self, request: &'r Request<'_>, _: Data<'r>) -> Outcome<'r> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Outcome::from(request, request.method().as_str())
    }
}

impl Counter {
    fn calls(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn site(&self, protection: CrossOriginProtection) -> Rocket<Build> {
        use Method::{Connect, Delete, Get, Head, Options, Patch, Post, Put, Trace};
        let methods = [Connect, Delete, Get, Head, Options, Patch, Post, Put, Trace];
        let routes = methods.map(|method| Route::ranked(isize::MIN + 1, method, "/<path..>", self.clone()));
        logs::rocket(rocket::Config::figment()).attach(protection).mount("/", routes)
    }
}

/// Sends every request to one site, and compares the results with the tables. Returns how many requests were refused.
fn check(strict: bool, report_only: bool) -> usize {
    let counter = Counter::default();
    let protection = CrossOriginProtection::new().trusted_origin(TRUSTED).strict(strict).report_only(report_only);
    let site = Served::start(counter.site(protection));
    let mut connection = Connection::to(site.port());
    let (bodies, methods) = table("judged");
    let (origins, sites) = table("site");
    let mut refused = 0;
    for (method, judged) in &methods {
        for (body, is_judged) in bodies.iter().zip(judged) {
            for upgrade in [false, true] {
                let is_judged = upgrade || *is_judged == "yes";
                for (site, verdicts) in &sites {
                    for (origin, verdict) in origins.iter().zip(verdicts) {
                        let passes =
                            report_only || !is_judged || *verdict == "pass" || (*verdict == "strict" && !strict);
                        let request = Case { method, body, upgrade, site, origin };
                        request.check(&mut connection, &counter, passes);
                        refused += usize::from(!passes);
                    }
                }
            }
        }
    }
    refused
}

#[derive(Debug)]
struct Case<'c> {
    method: &'c str,
    body: &'c str,
    upgrade: bool,
    site: &'c str,
    origin: &'c str,
}

impl Case<'_> {
    fn check(&self, connection: &mut Connection, counter: &Counter, passes: bool) {
        let (content_type, body) = content(self.body);
        let mut headers = vec![("Host", HOST)];
        headers.extend(site_headers(self.site).into_iter().map(|site| ("Sec-Fetch-Site", site)));
        headers.extend(origin_headers(self.origin).into_iter().map(|origin| ("Origin", origin)));
        headers.extend(content_type.map(|content_type| ("Content-Type", content_type)));
        if self.upgrade {
            headers.extend([("Connection", "Upgrade"), ("Upgrade", "websocket")]);
        }
        let before = counter.calls();
        let response = connection.send(self.method, "/a/path?and=query", &headers, body);
        let calls = counter.calls() - before;
        assert_eq!((response.status, calls), if passes { (200, 1) } else { (403, 0) }, "{self:?}");
        assert_eq!(response.header("cache-control"), (!passes).then_some("no-store"), "{self:?}");
        assert_eq!(response.header("vary"), (!passes).then_some("Sec-Fetch-Site, Origin"), "{self:?}");
        if passes {
            assert_eq!(response.body, if self.method == "HEAD" { "" } else { self.seen_method() }, "{self:?}");
        }
    }

    /// The method that the handler sees, and responds with.
    fn seen_method(&self) -> &str {
        match (self.method, self.body) {
            ("POST", "put") => "PUT",
            ("POST", "delete") => "DELETE",
            ("POST", "get") => "GET",
            _ => self.method,
        }
    }
}

#[test]
fn every_request_passes_or_is_refused_as_the_tables_say() {
    let settings = [(false, false), (true, false), (false, true), (true, true)];
    let sites = settings.map(|(strict, report_only)| thread::spawn(move || check(strict, report_only)));
    let refused = sites.map(|site| site.join().expect("the requests of each site pass the test"));
    assert!(refused[0] > 2000, "{refused:?}");
    assert!(refused[1] > refused[0], "`strict` refuses more requests: {refused:?}");
    assert_eq!(refused[2..], [0, 0], "`report_only` refuses none");
}
