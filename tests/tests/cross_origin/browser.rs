//! Requests of Chromium: from the site's own pages, a sibling host, another site and a trusted site.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rocket::figment::Figment;
use rocket::request::{FromRequest, Outcome};
use rocket::response::content::RawHtml;
use rocket::{Build, Request, Rocket, State, get, post, routes};
use session_rocket::CrossOriginProtection;
use session_rocket_tests::chromium::Chromium;
use session_rocket_tests::logs;
use session_rocket_tests::served::Served;
use tempfile::TempDir;

/// How often the handler of each path ran.
type Calls = Arc<Mutex<BTreeMap<String, usize>>>;

struct Counted;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Counted {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let calls = request.guard::<&State<Calls>>().await.expect("the site counts calls");
        *calls.lock().unwrap().entry(request.uri().path().to_string()).or_default() += 1;
        Outcome::Success(Self)
    }
}

#[get("/")]
fn page() -> RawHtml<&'static str> {
    RawHtml("<!doctype html><title>Page</title>")
}

#[post("/form")]
fn form(_counted: Counted) -> RawHtml<&'static str> {
    page()
}

#[post("/fetch")]
fn fetch(_counted: Counted) {}

#[get("/image")]
fn image(_counted: Counted) {}

#[get("/navigation")]
fn navigation(_counted: Counted) -> RawHtml<&'static str> {
    page()
}

/// Counts the handshakes of WebSockets, and refuses them.
#[get("/socket")]
fn socket(_counted: Counted) -> rocket::http::Status {
    rocket::http::Status::BadRequest
}

fn shop(calls: &Calls, trusted: &str) -> Rocket<Build> {
    logs::rocket(rocket::Config::figment())
        .attach(CrossOriginProtection::new().trusted_origin(trusted))
        .manage(calls.clone())
        .mount("/", routes![page, form, fetch, image, navigation, socket])
}

/// The script that sends a request to the path of this name.
const SCRIPTS: [(&str, &str); 5] = [
    (
        "form",
        "const form = Object.assign(document.createElement('form'), { method: 'post', action: url });
        document.body.append(form);
        form.submit()",
    ),
    ("fetch", "return fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include' }).then(() => 0)"),
    (
        "image",
        "return new Promise(done => Object.assign(new Image(), { onload: done, onerror: () => done(0) }).src = url)",
    ),
    ("socket", "return new Promise(done => new WebSocket(url.replace('http', 'ws')).onclose = () => done(0))"),
    ("navigation", "location = url"),
];

/// Sends all requests from a page, and returns the names of those that reached a handler.
fn reached(browser: &Chromium, from: &str, shop: &str, calls: &Calls) -> Vec<&'static str> {
    calls.lock().unwrap().clear();
    for (name, script) in SCRIPTS {
        browser.open(format!("{from}/"));
        let script = format!("const url = '{shop}/{name}'; {script}");
        if ["form", "navigation"].contains(&name) {
            browser.leave_with(&[], &script);
        } else {
            browser.script(&script);
        }
    }
    let calls = calls.lock().unwrap();
    assert!(calls.values().all(|count| *count == 1), "{from}: {calls:?}");
    let has_call = |name: &&str| calls.contains_key(&format!("/{name}"));
    SCRIPTS.map(|(name, _)| name).into_iter().filter(has_call).collect()
}

/// Checks a shop that Chromium reaches with this scheme.
fn check(scheme: &str, settings: &Figment) {
    let calls = Calls::default();
    let trusted = format!("{scheme}://pay.test");
    let shop = Served::configured(shop(&calls, &trusted), settings.clone());
    let others =
        Served::configured(logs::rocket(rocket::Config::figment()).mount("/", routes![page]), settings.clone());
    let port = if scheme == "https" { 443 } else { 80 };
    let (to_shop, to_others) = (shop.port(), others.port());
    let hosts =
        [("shop.test", to_shop), ("forum.shop.test", to_others), ("bank.test", to_others), ("pay.test", to_others)];
    let browser = Chromium::with_hosts_at(port, &hosts);
    let all = SCRIPTS.map(|(name, _)| name);
    let harmless = ["image", "navigation"];
    for (host, expected) in
        [("shop.test", &all[..]), ("pay.test", &all), ("forum.shop.test", &harmless), ("bank.test", &harmless)]
    {
        let from = format!("{scheme}://{host}");
        assert_eq!(reached(&browser, &from, &format!("{scheme}://shop.test"), &calls), expected, "{from}");
    }
}

/// Chromium sends `Sec-Fetch-Site` to HTTPS sites.
#[test]
fn over_tls_only_the_own_and_trusted_origins_reach_handlers_that_change_something() {
    let names = ["shop.test", "*.shop.test", "bank.test", "pay.test"].map(str::to_owned);
    let certified = rcgen::generate_simple_self_signed(names).expect("the certificate can be created");
    let folder = tempfile::tempdir().expect("a folder can be created");
    let write = |folder: &TempDir, file: &str, pem: String| {
        let path = folder.path().join(file);
        std::fs::write(&path, pem).expect("the certificate can be written");
        path
    };
    let settings = Figment::from(("tls.certs", write(&folder, "certificate.pem", certified.cert.pem())))
        .merge(("tls.key", write(&folder, "key.pem", certified.signing_key.serialize_pem())));
    check("https", &settings);
}

/// Chromium does not send `Sec-Fetch-Site` to plain HTTP sites.
#[test]
fn over_plain_http_only_the_own_and_trusted_origins_reach_handlers_that_change_something() {
    check("http", &Figment::new());
}
