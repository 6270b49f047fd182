//! The promises, each over Rocket: requests in, responses out.

use std::sync::Arc;

use rocket::http::{Method, Status};
use rocket::local::asynchronous::Client;
use rocket::response::Redirect;
use rocket::tokio::sync::Semaphore;
use rocket::{Build, Request, Rocket, State, catch, catchers, get, routes};
use session_rocket::{Config, Error, ManualClock, Refresh, Session};
use session_rocket_tests::browser::Browser;
use session_rocket_tests::spy::Spy;

#[derive(Session)]
struct Visitor {
    name: Option<String>,
    count: u32,
    #[session(identity)]
    user_id: Option<String>,
    ratio: f64,
    brittle: Option<Brittle>,
}

/// A value whose serializer panics.
#[derive(Clone, serde::Deserialize)]
struct Brittle;

impl serde::Serialize for Brittle {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("a serializer that panics")
    }
}

/// Where held requests wait, between load and save.
struct Gate {
    arrived: Semaphore,
    open: Semaphore,
}

impl Gate {
    async fn pass(&self) {
        self.arrived.add_permits(1);
        self.open.acquire().await.expect("never closed").forget();
    }

    async fn arrival(&self) {
        self.arrived.acquire().await.expect("never closed").forget();
    }
}

#[get("/count")]
fn count(session: Session<Visitor>) -> String {
    session.update_count(|count| *count += 1);
    session.count().to_string()
}

#[get("/show")]
fn show(session: Session<Visitor>) -> String {
    let user = session.user_id().unwrap_or_default();
    format!("{}|{}|{user}", session.name().unwrap_or_default(), session.count())
}

#[get("/hello")]
fn hello(visitor: &Visitor) -> String {
    format!("{} {}", visitor.name.as_deref().unwrap_or("nobody"), visitor.count)
}

#[get("/name/<name>")]
fn name(session: Session<Visitor>, name: &str) {
    session.set_name(name);
}

#[get("/held/name/<name>")]
async fn held_name(session: Session<Visitor>, name: &str, gate: &State<Arc<Gate>>) {
    gate.pass().await;
    session.set_name(name);
}

#[get("/held/login/<user>")]
async fn held_login(session: Session<Visitor>, user: &str, gate: &State<Arc<Gate>>) {
    gate.pass().await;
    session.set_user_id(user);
}

#[get("/login/<user>")]
fn login(session: Session<Visitor>, user: &str) {
    session.set_user_id(user);
}

#[get("/logout")]
fn logout(session: Session<Visitor>) {
    session.flush();
}

#[get("/cycle")]
fn cycle(session: Session<Visitor>) {
    session.cycle_id();
}

#[get("/status/<code>/<action>")]
fn status(session: Session<Visitor>, code: u16, action: &str) -> Status {
    session.set_count(100);
    match action {
        "flush" => session.flush(),
        "cycle" => session.cycle_id(),
        "login" => session.set_user_id("x"),
        _ => {}
    }
    Status::new(code)
}

#[get("/redirect")]
fn redirect(session: Session<Visitor>) -> Redirect {
    session.set_count(7);
    Redirect::to("/show")
}

#[get("/panic")]
fn panics(session: Session<Visitor>) -> String {
    session.set_count(99);
    panic!("a handler that panics")
}

#[get("/panic-in-closure")]
fn panics_in_closure(session: Session<Visitor>) {
    session.set_count(99);
    session.update_count(|_| panic!("a closure that panics"));
}

#[get("/nan")]
fn nan(session: Session<Visitor>) {
    session.set_ratio(f64::NAN);
}

#[get("/panic-in-serializer")]
fn panics_in_serializer(session: Session<Visitor>) {
    session.set_count(99);
    session.set_brittle(Brittle);
}

#[get("/plain")]
fn plain() -> &'static str {
    "plain"
}

#[get("/sees-the-error")]
async fn sees_the_error(session: Session<Visitor>) -> String {
    session.update_count(|count| *count += 1);
    match session.save().await {
        Ok(()) => "saved".into(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

#[get("/passes-the-error-on")]
async fn passes_the_error_on(session: Session<Visitor>) -> Result<&'static str, Error> {
    session.update_count(|count| *count += 1);
    session.save().await?;
    Ok("saved")
}

#[get("/too-large")]
async fn too_large(session: Session<Visitor>) -> Result<(), Error> {
    session.set_name("x".repeat(300_000));
    session.save().await
}

#[get("/result")]
fn result(session: Result<Session<Visitor>, Error>) -> String {
    session.map_or_else(|error| format!("{:?}", error.kind()), |session| session.count().to_string())
}

#[get("/option")]
fn option(session: Option<Session<Visitor>>) -> &'static str {
    if session.is_some() { "some" } else { "none" }
}

#[get("/two-guards")]
fn two_guards(first: Session<Visitor>, snapshot: &Visitor, second: Session<Visitor>) -> String {
    first.set_name("one");
    format!("{} {:?}", second.name().unwrap_or_default(), snapshot.name)
}

#[get("/forward/<_number>", rank = 1)]
fn forwards(session: Session<Visitor>, _number: u8) -> Option<&'static str> {
    session.set_name("forwarded");
    None
}

#[catch(404)]
async fn not_found(request: &Request<'_>) -> String {
    match request.guard::<Session<Visitor>>().await.succeeded() {
        Some(session) => {
            session.update_count(|count| *count += 1);
            format!("not found, {}", session.count())
        }
        None => "not found".into(),
    }
}

struct Site {
    client: Client,
    store: Spy,
    clock: Arc<ManualClock>,
    gate: Arc<Gate>,
}

fn all_routes(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket
        .mount("/", routes![count, show, hello, name, held_name, held_login, login, logout, cycle, status, redirect])
        .mount(
            "/",
            routes![
                panics,
                panics_in_closure,
                panics_in_serializer,
                nan,
                plain,
                sees_the_error,
                passes_the_error_on,
                too_large,
                result,
                option,
                two_guards,
                forwards
            ],
        )
}

impl Site {
    async fn new() -> Self {
        Self::with(Config::default(), |rocket| rocket).await
    }

    async fn with(config: Config, more: impl FnOnce(Rocket<Build>) -> Rocket<Build>) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = Spy::new(clock.clone());
        let gate = Arc::new(Gate { arrived: Semaphore::new(0), open: Semaphore::new(0) });
        let fairing = Session::<Visitor>::fairing().config(config).store(store.clone()).clock(clock.clone());
        let figment = rocket::Config::figment().merge(("log_level", "off"));
        let rocket = all_routes(rocket::custom(figment)).attach(fairing).manage(gate.clone());
        let client = Client::untracked(more(rocket)).await.expect("the site launches");
        Self { client, store, clock, gate }
    }

    async fn visitor(&self) -> Browser {
        let mut browser = Browser::default();
        browser.get(&self.client, "/count").await;
        self.store.loads();
        self.store.writes();
        browser
    }
}

/// Promise 2, and 1: the held writer's field is in the new session, the old id is dead, and the browser keeps the
/// newer cookie.
#[rocket::async_test]
async fn a_writer_held_while_another_request_logs_in_changes_nothing_of_the_user() {
    let site = Site::new().await;
    let old = site.visitor().await;
    let mut browser = old.clone();
    let (held, ()) = rocket::tokio::join!(old.send(&site.client, "/held/name/late"), async {
        site.gate.arrival().await;
        browser.get(&site.client, "/login/ada").await;
        site.gate.open.add_permits(1);
    });
    assert_eq!((held.status, held.set_cookie()), (Status::Ok, None));
    browser.take(&held);
    assert!(browser.cookie != old.cookie);
    assert_eq!(browser.get(&site.client, "/show").await.body, "|1|ada");
    assert_eq!(old.send(&site.client, "/show").await.body, "|0|");
}

#[rocket::async_test]
async fn a_writer_held_while_another_request_logs_out_brings_nothing_back() {
    let site = Site::new().await;
    let old = site.visitor().await;
    let mut browser = old.clone();
    let rows = site.store.rows();
    let (held, ()) = rocket::tokio::join!(old.send(&site.client, "/held/name/late"), async {
        site.gate.arrival().await;
        assert!(browser.get(&site.client, "/logout").await.set_cookie().is_some());
        site.gate.open.add_permits(1);
    });
    assert_eq!((held.status, held.set_cookie()), (Status::Ok, None));
    assert_eq!(browser.cookie, None);
    assert_eq!(old.send(&site.client, "/show").await.body, "|0|");
    assert_eq!(site.store.rows(), rows);
}

#[rocket::async_test]
async fn a_login_submitted_twice_at_once_logs_in_both_times() {
    let site = Site::new().await;
    let browser = site.visitor().await;
    let (first, second, ()) = rocket::tokio::join!(
        browser.send(&site.client, "/held/login/ada"),
        browser.send(&site.client, "/held/login/ada"),
        async {
            site.gate.arrival().await;
            site.gate.arrival().await;
            site.gate.open.add_permits(2);
        }
    );
    for answer in [first, second] {
        let mut winner = browser.clone();
        winner.take(&answer);
        assert!(winner.cookie != browser.cookie);
        assert!(winner.get(&site.client, "/show").await.body.ends_with("|ada"));
    }
}

#[rocket::async_test]
async fn an_old_cookie_that_comes_after_the_login_changes_nothing() {
    let site = Site::new().await;
    let old = site.visitor().await;
    let mut browser = old.clone();
    browser.get(&site.client, "/login/ada").await;
    let rows = site.store.rows();
    for path in ["/count", "/name/late", "/logout", "/cycle", "/status/500/flush"] {
        let answer = old.send(&site.client, path).await;
        assert_eq!(answer.set_cookie(), None, "{path}");
    }
    assert_eq!(site.store.rows(), rows);
    assert_eq!(browser.get(&site.client, "/show").await.body, "|1|ada");
}

#[rocket::async_test]
async fn another_user_finds_nothing_of_the_last_and_logout_ends_it() {
    let site = Site::new().await;
    let mut browser = site.visitor().await;
    browser.get(&site.client, "/name/cart").await;
    browser.get(&site.client, "/login/ada").await;
    assert_eq!(browser.get(&site.client, "/show").await.body, "cart|1|ada");
    let ada = browser.clone();
    browser.get(&site.client, "/login/bob").await;
    assert_eq!(browser.get(&site.client, "/show").await.body, "|0|bob");
    assert_eq!(ada.send(&site.client, "/show").await.body, "|0|");
    let gone = browser.get(&site.client, "/logout").await;
    let line = gone.set_cookie().unwrap().to_owned();
    assert!(line.contains("Max-Age=0") && line.contains("Expires=Thu, 01 Jan 1970"), "{line}");
    assert_eq!(browser.get(&site.client, "/show").await.body, "|0|");
}

#[rocket::async_test]
async fn every_status_below_500_commits_and_5xx_discards() {
    let site = Site::new().await;
    for code in [200, 204, 400, 404, 418, 499] {
        let mut browser = site.visitor().await;
        let answer = browser.get(&site.client, &format!("/status/{code}/none")).await;
        assert_eq!(answer.status.code, code);
        let shown = browser.get(&site.client, "/show").await.body;
        assert!(["|100|", "|101|"].contains(&shown.as_str()), "{code}: {shown}");
    }
    for code in [500, 503, 599] {
        let mut browser = site.visitor().await;
        for action in ["none", "login"] {
            let answer = browser.get(&site.client, &format!("/status/{code}/{action}")).await;
            assert_eq!((answer.status.code, answer.set_cookie()), (code, None));
        }
        assert_eq!(browser.get(&site.client, "/show").await.body, "|1|");
    }
}

#[rocket::async_test]
async fn flush_and_cycle_id_are_carried_out_at_any_status() {
    let site = Site::new().await;
    let mut browser = site.visitor().await;
    let old = browser.clone();
    browser.get(&site.client, "/status/500/cycle").await;
    assert!(browser.cookie.is_some() && browser.cookie != old.cookie);
    assert_eq!(browser.get(&site.client, "/show").await.body, "|1|");
    assert_eq!(old.send(&site.client, "/show").await.body, "|0|");
    let cycled = browser.clone();
    browser.get(&site.client, "/status/500/flush").await;
    assert_eq!(browser.cookie, None);
    assert_eq!(cycled.send(&site.client, "/show").await.body, "|0|");
}

#[rocket::async_test]
async fn redirects_head_requests_forwards_and_catchers_commit() {
    let site = Site::with(Config::default(), |rocket| rocket.register("/", catchers![not_found])).await;
    let mut browser = site.visitor().await;
    assert_eq!(browser.get(&site.client, "/redirect").await.status, Status::SeeOther);
    assert_eq!(browser.get(&site.client, "/show").await.body, "|7|");
    let head = browser.request(&site.client, Method::Head, "/count").await;
    assert_eq!((head.status, head.body.as_str()), (Status::Ok, ""));
    assert_eq!(browser.get(&site.client, "/show").await.body, "|8|");
    assert_eq!(browser.get(&site.client, "/no-such-page").await.body, "not found, 9");
    assert_eq!(browser.get(&site.client, "/forward/1").await.body, "not found, 10");
    assert_eq!(browser.get(&site.client, "/show").await.body, "forwarded|10|");
}

#[rocket::async_test]
async fn panics_are_500_and_values_that_do_not_encode_are_422_and_save_nothing() {
    let site = Site::new().await;
    let mut browser = site.visitor().await;
    for (path, status) in [
        ("/panic", Status::InternalServerError),
        ("/panic-in-closure", Status::InternalServerError),
        ("/panic-in-serializer", Status::InternalServerError),
        ("/nan", Status::UnprocessableEntity),
    ] {
        let answer = browser.get(&site.client, path).await;
        assert_eq!((answer.status, answer.set_cookie()), (status, None), "{path}");
        assert_eq!(answer.one("retry-after"), None);
    }
    assert_eq!(browser.get(&site.client, "/show").await.body, "|1|");
}

/// Promise 3.
#[rocket::async_test]
async fn a_failed_save_is_503_without_a_cookie() {
    let site = Site::new().await;
    let mut browser = site.visitor().await;
    site.store.fail_writes(true);
    for (cookie, path) in [
        (&browser, "/count"),
        (&Browser::default(), "/count"),
        (&browser, "/cycle"),
        (&browser, "/logout"),
        (&browser, "/redirect"),
        (&browser, "/status/500/flush"),
    ] {
        let answer = cookie.send(&site.client, path).await;
        assert_eq!((answer.status, answer.body.as_str()), (Status::ServiceUnavailable, ""), "{path}");
        assert_eq!((answer.set_cookie(), answer.one("location"), answer.one("content-type")), (None, None, None));
        assert_eq!((answer.one("retry-after"), answer.one("cache-control")), (Some("5"), Some("no-store")));
        assert_eq!(answer.one("x-content-type-options"), Some("nosniff"), "Shield's headers stay");
    }
    let seen = browser.get(&site.client, "/sees-the-error").await;
    assert_eq!((seen.status, seen.body.as_str()), (Status::Ok, "Uncertain"));
    let passed = browser.get(&site.client, "/passes-the-error-on").await;
    assert_eq!((passed.status, passed.one("retry-after")), (Status::ServiceUnavailable, Some("5")));
    assert_eq!((passed.one("cache-control"), passed.set_cookie()), (Some("no-store"), None));
    site.store.fail_writes(false);
    assert_eq!(browser.get(&site.client, "/show").await.body, "|1|");
    // No later try helps against this one.
    let passed = browser.get(&site.client, "/too-large").await;
    assert_eq!((passed.status, passed.one("retry-after")), (Status::UnprocessableEntity, None));
    assert_eq!((passed.one("cache-control"), passed.set_cookie()), (Some("no-store"), None));
    assert_eq!(browser.get(&site.client, "/passes-the-error-on").await.body, "saved");
}

#[rocket::async_test]
async fn a_store_that_cannot_be_read_is_503_and_never_an_empty_session() {
    let site = Site::new().await;
    let mut browser = site.visitor().await;
    site.store.fail_loads(true);
    for path in ["/show", "/hello", "/count"] {
        let answer = browser.send(&site.client, path).await;
        assert_eq!((answer.status, answer.set_cookie()), (Status::ServiceUnavailable, None), "{path}");
        assert_eq!(answer.one("retry-after"), Some("5"));
    }
    assert_eq!(browser.get(&site.client, "/result").await.body, "Unavailable");
    assert_eq!(browser.get(&site.client, "/option").await.body, "none");
    site.store.fail_loads(false);
    assert_eq!(browser.get(&site.client, "/show").await.body, "|1|");
    assert_eq!(site.store.writes(), 0);
}

/// Promise 4.
#[rocket::async_test]
async fn nothing_for_nobody() {
    let site = Site::new().await;
    let mut nobody = Browser::default();
    for (path, varies) in [("/plain", false), ("/show", true), ("/hello", true), ("/logout", true), ("/cycle", true)] {
        let answer = nobody.get(&site.client, path).await;
        assert_eq!((answer.set_cookie(), answer.one("cache-control")), (None, None), "{path}");
        assert_eq!(answer.one("vary").is_some(), varies, "{path}");
    }
    assert_eq!((site.store.loads(), site.store.writes()), (0, 0));

    let mut browser = site.visitor().await;
    browser.get(&site.client, "/plain").await;
    assert_eq!((site.store.loads(), site.store.writes()), (0, 0));
    let read = browser.get(&site.client, "/show").await;
    assert_eq!((read.set_cookie(), read.one("vary")), (None, Some("Cookie")));
    assert_eq!((site.store.loads(), site.store.writes()), (1, 0));
}

#[rocket::async_test]
async fn all_guards_of_a_request_share_one_session_and_one_snapshot() {
    let site = Site::new().await;
    let mut browser = site.visitor().await;
    assert_eq!(browser.get(&site.client, "/two-guards").await.body, "one None");
    assert_eq!(site.store.loads(), 1);
    assert_eq!(browser.get(&site.client, "/hello").await.body, "one 1");
}

/// Promise 8, and 4.
#[rocket::async_test]
async fn any_bytes_in_a_cookie_give_an_empty_session() {
    let site = Site::new().await;
    let real = site.visitor().await.cookie.unwrap();
    let id = real.split_once('=').unwrap().1.to_owned();
    let rows = site.store.rows();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for n in 0..100_000 {
        let (value, well_formed) = match n % 4 {
            0 => (random.text(), false),
            1 => (random.mutation(&id), false),
            2 => (random.id(), true),
            _ => (random.text() + &id[..20], false),
        };
        if value == id {
            continue;
        }
        let browser = Browser { cookie: Some(format!("sessionid={value}")) };
        let path = if n % 16 == 0 { "/hello" } else { "/show" };
        let answer = browser.send(&site.client, path).await;
        assert_eq!(answer.status, Status::Ok, "{value:?}");
        assert!(["|0|", "nobody 0"].contains(&answer.body.as_str()));
        assert_eq!(answer.set_cookie(), None);
        let loads = site.store.loads();
        assert!(loads == 0 || well_formed || is_well_formed(&value), "{value:?} reached the store");
    }
    assert_eq!((site.store.rows(), site.store.writes()), (rows, 0));
}

fn is_well_formed(value: &str) -> bool {
    let value = value.split(';').next().unwrap_or_default().trim();
    value.len() == 43 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A small generator, so that a failure comes again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn text(&mut self) -> String {
        let length = [0, 1, 7, 42, 43, 44, 200][self.below(7)];
        (0..length).map(|_| char::from(u8::try_from(32 + self.below(95)).unwrap())).collect()
    }

    fn id(&mut self) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut id: String = (0..42).map(|_| char::from(ALPHABET[self.below(64)])).collect();
        id.push(char::from(ALPHABET[self.below(16) * 4]));
        id
    }

    fn mutation(&mut self, id: &str) -> String {
        let mut bytes = id.as_bytes().to_vec();
        let at = self.below(bytes.len());
        match self.below(4) {
            0 => bytes[at] = u8::try_from(33 + self.below(94)).unwrap(),
            1 => _ = bytes.remove(at),
            2 => bytes.insert(at, b'A'),
            _ => bytes.truncate(at),
        }
        String::from_utf8(bytes).unwrap()
    }
}

#[rocket::async_test]
async fn of_several_cookies_of_one_name_the_valid_one_counts() {
    let site = Site::new().await;
    let real = site.visitor().await.cookie.unwrap();
    let planted = "sessionid=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for cookie in
        [format!("{planted}; {real}"), format!("{real}; {planted}"), format!("{planted}; x=y; {real}; sessionid=")]
    {
        let browser = Browser { cookie: Some(cookie) };
        assert_eq!(browser.send(&site.client, "/show").await.body, "|1|");
    }
    let unknown = Browser { cookie: Some(planted.into()) };
    let mut adopted = unknown.clone();
    adopted.get(&site.client, "/count").await;
    assert!(adopted.cookie != unknown.cookie, "an unknown id is never adopted");
    assert_eq!(unknown.send(&site.client, "/show").await.body, "|0|");
}

#[rocket::async_test]
async fn refresh_always_renews_a_request_that_never_looked() {
    let site = Site::with(Config::new().refresh(Refresh::Always), |rocket| rocket).await;
    let mut browser = site.visitor().await;
    assert_eq!(browser.get(&site.client, "/plain").await.set_cookie(), None, "nothing to gain yet");
    site.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(
        browser.get(&site.client, "/plain").await.set_cookie(),
        None,
        "the browser keeps its cookie long enough"
    );
    site.clock.advance(std::time::Duration::from_secs(1_209_600 - 1));
    let renewed = browser.get(&site.client, "/plain").await;
    assert!(renewed.set_cookie().is_some_and(|line| line.contains("Max-Age=14")), "{renewed:?}");
    assert_eq!((renewed.one("vary"), renewed.one("cache-control")), (Some("Cookie"), Some("no-store")));
    let stale = Browser { cookie: Some(format!("sessionid={}", "A".repeat(43))) };
    assert_eq!(stale.send(&site.client, "/plain").await.set_cookie(), None);
    assert_eq!(Browser::default().send(&site.client, "/plain").await.one("vary"), None);
}
