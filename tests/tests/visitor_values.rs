//! Values that a visitor chooses: whatever they are, no response is a 5xx, and what was saved reads back.

use std::collections::BTreeMap;

use rocket::form::Form;
use rocket::http::{ContentType, Status};
use rocket::local::asynchronous::Client;
use rocket::response::status::Custom;
use rocket::{FromForm, get, post, routes};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use session_rocket::{Config, ErrorKind, Format, Session};
use session_rocket_tests::browser::{Answer, Browser};
use session_rocket_tests::logs;

const STORES: [&str; 3] = ["memory:", "cookie+signed:", "cookie+encrypted:"];
/// `serde_json` refuses a body that is nested deeper.
const DEEPEST: usize = 127;
/// A save refuses a value that is nested deeper.
const SAVED: usize = 120;

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

/// What Rocket's `Json` does with a body.
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

/// Returns the error of the save.
#[post("/passed", data = "<body>")]
async fn passed(session: Session<Visitor>, body: &str) -> session_rocket::Result<()> {
    session.set_settings(parsed::<Value>(body).unwrap_or_default());
    session.save().await
}

/// Answers with a page of its own.
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
    /// A site, and a visitor who has a session.
    async fn new(store: &str, format: Format) -> Self {
        logs::keep();
        let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let config = Config::new().store(store).format(format).secret_keys([key]).max_size(20_000);
        let routes = routes![settings, by_name, rest, entries, ratio, email, passed, handled, count, show];
        let figment = rocket::Config::figment().merge(("log_level", "normal")).merge(("limits.string", "1 MiB"));
        let rocket = rocket::custom(figment).mount("/", routes).attach(Session::<Visitor>::fairing().config(config));
        let client = Client::untracked(rocket).await.expect("the site launches");
        let mut site = Self { client, browser: Browser::default() };
        assert_eq!(site.post("/count", "").await.status, Status::Ok);
        site
    }

    async fn post(&mut self, path: &str, body: impl Into<String>) -> Answer {
        let kind = if path == "/ratio" { ContentType::Form } else { ContentType::JSON };
        let answer = self.browser.post(&self.client, path, kind, body.into()).await;
        self.browser.take(&answer);
        answer
    }

    async fn show(&mut self) -> String {
        let answer = self.browser.get(&self.client, "/show").await;
        assert_eq!(answer.status, Status::Ok);
        answer.body
    }

    /// The value is refused with 422 and a log line, and the session stays as it was.
    async fn refuses(&mut self, path: &str, body: &str, why: &str) {
        let (before, logged) = (self.show().await, logs::with(why).len());
        let answer = self.post(path, body).await;
        assert_eq!((answer.status, answer.set_cookie()), (Status::UnprocessableEntity, None), "{path} {why}");
        assert_eq!((answer.body.as_str(), answer.one("cache-control")), ("", Some("no-store")), "{path} {why}");
        assert!(logs::with(why).len() > logged, "{path}: no log line {why}");
        assert_eq!(self.show().await, before, "{path} {why}");
    }

    /// The value is saved, or refused; what was saved reads back in the next request.
    async fn saves_or_refuses(&mut self, path: &str, body: &str, is_saved: bool) {
        let before = self.show().await;
        let answer = self.post(path, body).await;
        let expected = if is_saved { Status::Ok } else { Status::UnprocessableEntity };
        assert_eq!(answer.status, expected, "{path} {} bytes", body.len());
        let after = self.show().await;
        assert_eq!((after.contains(body), after == before), (is_saved, !is_saved), "{path} {body}");
    }
}

async fn each(test: impl AsyncFn(Site, &str)) {
    for store in STORES {
        for format in [Format::Json, Format::MessagePack] {
            test(Site::new(store, format).await, store).await;
        }
    }
}

/// JSON with so many levels.
fn nested(levels: usize) -> String {
    format!("{}0{}", "[".repeat(levels), "]".repeat(levels))
}

#[rocket::async_test]
async fn json_of_every_depth_that_a_body_may_have_is_saved_or_422() {
    each(async |mut site, _| {
        for levels in 118..=DEEPEST {
            site.saves_or_refuses("/settings", &nested(levels), levels <= SAVED).await;
            // One level more than the value has.
            let named = format!("{{\"{levels}\":{}}}", nested(levels - 1));
            site.saves_or_refuses("/by_name", &named, levels <= SAVED).await;
            site.saves_or_refuses("/rest", &named, levels <= SAVED).await;
            let objects = format!("{}{levels}{}", "{\"a\":".repeat(levels), "}".repeat(levels));
            site.saves_or_refuses("/settings", &objects, levels <= SAVED).await;
        }
        assert_eq!(site.post("/settings", nested(DEEPEST + 1)).await.status, Status::BadRequest);
        site.refuses("/settings", &nested(DEEPEST), "it is nested too deeply").await;
    })
    .await;
}

#[rocket::async_test]
async fn a_handler_may_pass_the_error_on_or_answer_itself() {
    each(async |mut site, _| {
        let before = site.show().await;
        let passed = site.post("/passed", nested(125)).await;
        assert_eq!((passed.status, passed.set_cookie()), (Status::UnprocessableEntity, None));
        assert_eq!(passed.one("cache-control"), Some("no-store"));
        let handled = site.post("/handled", nested(125)).await;
        assert_eq!((handled.status, handled.body.as_str()), (Status::UnprocessableEntity, "nested too deeply"));
        assert_eq!(site.show().await, before);
        assert_eq!(site.post("/handled", nested(5)).await.body, "saved");
        assert!(site.show().await.contains(&nested(5)));
    })
    .await;
}

#[rocket::async_test]
async fn reserved_and_declared_keys_in_the_extra_field_are_422() {
    each(async |mut site, _| {
        for key in ["_expiry", "_csrf", "_json", "_messagepack", "_", "_x", "count", "settings", "email"] {
            let body = json!({ "fine": 1, key: { "a": "b" } }).to_string();
            site.refuses("/rest", &body, "holds a key that is declared as a field or starts with `_`").await;
        }
        for key in ["", "a", "ä", "\"", "\0", "Count", "rest"] {
            let body = json!({ key: [1, 2] }).to_string();
            site.saves_or_refuses("/rest", &body, true).await;
        }
    })
    .await;
}

/// 1,500 letters that do not compress.
fn noise(seed: u64) -> String {
    let mut state = seed;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + u8::try_from((state >> 33) % 26).expect("a letter"))
    };
    (0..1500).map(|_| letter()).collect()
}

#[rocket::async_test]
async fn a_list_that_outgrows_the_session_is_422_and_keeps_its_entries() {
    each(async |mut site, store| {
        let mut saved = 0;
        while site.post("/entries", noise(saved)).await.status == Status::Ok {
            saved += 1;
            assert!(saved < 1000, "no limit");
        }
        let why = if store == "memory:" { "`max_size` is 20000" } else { "browsers accept 4096" };
        site.refuses("/entries", &noise(saved), why).await;
        let shown = site.show().await;
        assert!(saved > 0 && (0..saved).all(|seed| shown.contains(&noise(seed))) && !shown.contains(&noise(saved)));
    })
    .await;
}

#[rocket::async_test]
async fn nan_and_an_identity_that_is_too_long_are_422() {
    each(async |mut site, store| {
        for number in ["NaN", "nan", "inf", "-inf", "infinity"] {
            site.refuses("/ratio", &format!("ratio={number}"), "a float in it is NaN or infinite").await;
        }
        assert_eq!(site.post("/ratio", "ratio=0.5").await.status, Status::Ok);
        if store == "memory:" {
            site.refuses("/email", &"x".repeat(256), "is longer than 255 bytes").await;
            assert_eq!(site.post("/email", "x".repeat(255)).await.status, Status::Ok);
        }
    })
    .await;
}
