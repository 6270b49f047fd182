//! Values that a visitor chooses never cause a 5xx response, and a saved value can be read back.

use std::collections::BTreeMap;

use rocket::form::Form;
use rocket::http::{ContentType, Status};
use rocket::local::asynchronous::Client;
use rocket::response::status::Custom;
use rocket::{FromForm, get, post, routes};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use session_rocket::{Config, ErrorKind, Format, Session};
use session_rocket_tests::browser::{Browser, Response};
use session_rocket_tests::logs;

const STORES: [&str; 3] = ["memory:", "cookie+signed:", "cookie+encrypted:"];
/// `serde_json` rejects a body with more levels.
const MAX_BODY_DEPTH: usize = 127;
/// A save fails for a value with more levels.
const MAX_SAVED_DEPTH: usize = 120;

#[derive(Session)]
struct Visitor {
    count: u32,
    settings: Value,
    ratio: f64,
    by_name: BTreeMap<String, Value>,
    entries: Vec<String>,
    #[session(identity)]
    email: Option<String>,
    #[session(extra)]
    rest: Map<String, Value>,
}

/// Parses a body as Rocket's `Json` does.
fn parsed<T: DeserializeOwned>(body: &str) -> Result<T, Status> {
    serde_json::from_str(body).map_err(|_| Status::BadRequest)
}

#[post("/settings", data = "<body>")]
fn settings(session: Session<Visitor>, body: &str) -> Result<(), Status> {
    session.set_settings(parsed::<Value>(body)?);
    Ok(())
}

#[post("/by_name", data = "<body>")]
fn by_name(session: Session<Visitor>, body: &str) -> Result<(), Status> {
    session.set_by_name(parsed::<BTreeMap<String, Value>>(body)?);
    Ok(())
}

#[post("/rest", data = "<body>")]
fn rest(session: Session<Visitor>, body: &str) -> Result<(), Status> {
    session.set_rest(parsed::<Map<String, Value>>(body)?);
    Ok(())
}

#[post("/entries", data = "<entry>")]
fn entries(session: Session<Visitor>, entry: String) {
    session.update_entries(move |entries| entries.push(entry.clone()));
}

#[derive(FromForm)]
struct Ratio {
    ratio: f64,
}

#[post("/ratio", data = "<form>")]
fn ratio(session: Session<Visitor>, form: Form<Ratio>) {
    session.set_ratio(form.ratio);
}

#[post("/email", data = "<email>")]
fn email(session: Session<Visitor>, email: String) {
    session.set_email(email);
}

/// Returns the error of the save as the response.
#[post("/passed", data = "<body>")]
async fn passed(session: Session<Visitor>, body: &str) -> session_rocket::Result<()> {
    session.set_settings(parsed::<Value>(body).unwrap_or_default());
    session.save().await
}

/// Responds to an error with its own page.
#[post("/handled", data = "<body>")]
async fn handled(session: Session<Visitor>, body: &str) -> Custom<&'static str> {
    session.set_settings(parsed::<Value>(body).unwrap_or_default());
    match session.save().await.map_err(|error| error.kind()) {
        Ok(()) => Custom(Status::Ok, "saved"),
        Err(ErrorKind::Encode) => Custom(Status::UnprocessableEntity, "nested too deeply"),
        Err(ErrorKind::TooLarge) => Custom(Status::UnprocessableEntity, "too long"),
        Err(_) => Custom(Status::ServiceUnavailable, "try again"),
    }
}

#[post("/count")]
fn count(session: Session<Visitor>) {
    session.update_count(|count| *count += 1);
}

#[get("/show")]
fn show(session: Session<Visitor>) -> String {
    let Visitor { count, settings, ratio, by_name, entries, email, rest } = session.get();
    json!([count, settings, ratio, by_name, entries, email, rest]).to_string()
}

struct Site {
    client: Client,
    browser: Browser,
}

impl Site {
    /// Launches a site with a visitor who has a session.
    async fn new(store: &str, format: Format) -> Self {
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let config = Config::new().store(store).format(format).secret_keys([key]).max_size(20_000);
        let routes = routes![settings, by_name, rest, entries, ratio, email, passed, handled, count, show];
        let figment = rocket::Config::figment().merge(("log_level", "normal")).merge(("limits.string", "1 MiB"));
        let rocket = logs::rocket(figment).mount("/", routes).attach(Session::<Visitor>::fairing().config(config));
        let client = Client::untracked(rocket).await.expect("the site launches");
        let mut site = Self { client, browser: Browser::default() };
        assert_eq!(site.post("/count", "").await.status, Status::Ok);
        site
    }

    async fn post(&mut self, path: &str, body: impl Into<String>) -> Response {
        let kind = if path == "/ratio" { ContentType::Form } else { ContentType::JSON };
        let response = self.browser.post(&self.client, path, kind, body.into()).await;
        self.browser.store_cookie(&response);
        response
    }

    async fn show(&mut self) -> String {
        let response = self.browser.get(&self.client, "/show").await;
        assert_eq!(response.status, Status::Ok);
        response.body
    }

    /// Asserts that the value is rejected with 422 and a log line, and that the session is unchanged.
    async fn assert_rejected(&mut self, path: &str, body: &str, why: &str) {
        let (before, logged) = (self.show().await, logs::containing(why).len());
        let response = self.post(path, body).await;
        assert_eq!((response.status, response.set_cookie()), (Status::UnprocessableEntity, None), "{path} {why}");
        assert_eq!((response.body.as_str(), response.header("cache-control")), ("", Some("no-store")), "{path} {why}");
        assert!(logs::containing(why).len() > logged, "{path}: missing log line: {why}");
        assert_eq!(self.show().await, before, "{path} {why}");
    }

    /// Asserts that the value is saved and can be read back, or, if `is_saved` is false, that it is rejected.
    async fn assert_saved_or_rejected(&mut self, path: &str, body: &str, is_saved: bool) {
        let before = self.show().await;
        let response = self.post(path, body).await;
        let expected = if is_saved { Status::Ok } else { Status::UnprocessableEntity };
        assert_eq!(response.status, expected, "{path} {} bytes", body.len());
        let after = self.show().await;
        assert_eq!((after.contains(body), after == before), (is_saved, !is_saved), "{path} {body}");
    }
}

/// Runs a test with each store and format.
async fn with_each_store(test: impl AsyncFn(Site, &str)) {
    for store in STORES {
        for format in [Format::Json, Format::MessagePack] {
            test(Site::new(store, format).await, store).await;
        }
    }
}

/// Returns JSON with `levels` levels.
fn nested(levels: usize) -> String {
    format!("{}0{}", "[".repeat(levels), "]".repeat(levels))
}

#[rocket::async_test]
async fn deeply_nested_json_is_saved_or_422() {
    with_each_store(async |mut site, _| {
        for levels in 118..=MAX_BODY_DEPTH {
            site.assert_saved_or_rejected("/settings", &nested(levels), levels <= MAX_SAVED_DEPTH).await;
            // The map adds one level to the value.
            let named = format!("{{\"{levels}\":{}}}", nested(levels - 1));
            site.assert_saved_or_rejected("/by_name", &named, levels <= MAX_SAVED_DEPTH).await;
            site.assert_saved_or_rejected("/rest", &named, levels <= MAX_SAVED_DEPTH).await;
            let objects = format!("{}{levels}{}", "{\"a\":".repeat(levels), "}".repeat(levels));
            site.assert_saved_or_rejected("/settings", &objects, levels <= MAX_SAVED_DEPTH).await;
        }
        assert_eq!(site.post("/settings", nested(MAX_BODY_DEPTH + 1)).await.status, Status::BadRequest);
        site.assert_rejected("/settings", &nested(MAX_BODY_DEPTH), "it is nested too deeply").await;
    })
    .await;
}

#[rocket::async_test]
async fn a_handler_can_return_the_error_or_respond_itself() {
    with_each_store(async |mut site, _| {
        let before = site.show().await;
        let passed = site.post("/passed", nested(125)).await;
        assert_eq!((passed.status, passed.set_cookie()), (Status::UnprocessableEntity, None));
        assert_eq!(passed.header("cache-control"), Some("no-store"));
        let handled = site.post("/handled", nested(125)).await;
        assert_eq!((handled.status, handled.body.as_str()), (Status::UnprocessableEntity, "nested too deeply"));
        assert_eq!(site.show().await, before);
        assert_eq!(site.post("/handled", nested(5)).await.body, "saved");
        assert!(site.show().await.contains(&nested(5)));
    })
    .await;
}

#[rocket::async_test]
async fn a_reserved_or_declared_key_in_the_extra_field_is_422() {
    with_each_store(async |mut site, _| {
        for key in ["_expiry", "_csrf", "_json", "_messagepack", "_", "_x", "count", "settings", "email"] {
            let body = json!({ "fine": 1, key: { "a": "b" } }).to_string();
            site.assert_rejected("/rest", &body, "contains a key that is declared as a field or starts with `_`").await;
        }
        for key in ["", "a", "ä", "\"", "\0", "Count", "rest"] {
            let body = json!({ key: [1, 2] }).to_string();
            site.assert_saved_or_rejected("/rest", &body, true).await;
        }
    })
    .await;
}

/// Returns 1,500 letters that do not compress.
fn noise(seed: u64) -> String {
    let mut state = seed;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + u8::try_from((state >> 33) % 26).expect("the remainder is less than 26"))
    };
    (0..1500).map(|_| letter()).collect()
}

#[rocket::async_test]
async fn an_entry_that_makes_the_session_too_large_is_422_and_the_saved_entries_remain() {
    with_each_store(async |mut site, store| {
        let mut saved = 0;
        while site.post("/entries", noise(saved)).await.status == Status::Ok {
            saved += 1;
            assert!(saved < 1000, "the session has no size limit");
        }
        let why = if store == "memory:" { "`max_size` is 20000" } else { "browsers accept 4096" };
        site.assert_rejected("/entries", &noise(saved), why).await;
        let shown = site.show().await;
        assert!(saved > 0 && (0..saved).all(|seed| shown.contains(&noise(seed))) && !shown.contains(&noise(saved)));
    })
    .await;
}

#[rocket::async_test]
async fn nan_and_a_too_long_identity_are_422() {
    with_each_store(async |mut site, store| {
        for number in ["NaN", "nan", "inf", "-inf", "infinity"] {
            site.assert_rejected("/ratio", &format!("ratio={number}"), "a float in it is NaN or infinite").await;
        }
        assert_eq!(site.post("/ratio", "ratio=0.5").await.status, Status::Ok);
        if store == "memory:" {
            site.assert_rejected("/email", &"x".repeat(256), "is longer than 255 bytes").await;
            assert_eq!(site.post("/email", "x".repeat(255)).await.status, Status::Ok);
        }
    })
    .await;
}
