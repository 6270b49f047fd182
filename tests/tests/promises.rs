//! Tests each promise of `docs/promises.md` with requests through Rocket.

use std::sync::Arc;
use std::time::Duration;

use rocket::http::{Method, Status};
use rocket::local::asynchronous::Client;
use rocket::response::Redirect;
use rocket::{Build, Request, Rocket, State, catch, catchers, get, routes};
use session_rocket::{Config, Error, ManualClock, Refresh, Session, Transport};
use session_rocket_tests::browser::{Browser, over};
use session_rocket_tests::gate::Gate;
use session_rocket_tests::over_both_transports;
use session_rocket_tests::spy::Spy;

/// The default of `expiry`.
const EXPIRY: Duration = Duration::from_hours(14 * 24);

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

#[get("/slow/name/<name>")]
async fn slow_name(session: Session<Visitor>, name: &str, gate: &State<Arc<Gate>>) {
    gate.pass().await;
    session.set_name(name);
}

#[get("/slow/login/<user>")]
async fn slow_login(session: Session<Visitor>, user: &str, gate: &State<Arc<Gate>>) {
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

#[get("/handles-the-error")]
async fn handles_the_error(session: Session<Visitor>) -> String {
    session.update_count(|count| *count += 1);
    match session.save().await {
        Ok(()) => "saved".into(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

#[get("/returns-the-error")]
async fn returns_the_error(session: Session<Visitor>) -> Result<&'static str, Error> {
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
    transport: Transport,
    store: Spy,
    clock: Arc<ManualClock>,
    gate: Arc<Gate>,
}

fn all_routes(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket
        .mount("/", routes![count, show, hello, name, slow_name, slow_login, login, logout, cycle, status, redirect])
        .mount(
            "/",
            routes![
                panics,
                panics_in_closure,
                panics_in_serializer,
                nan,
                plain,
                handles_the_error,
                returns_the_error,
                too_large,
                result,
                option,
                two_guards,
                forwards
            ],
        )
}

impl Site {
    async fn new(transport: Transport) -> Self {
        Self::with(over(transport, Config::default()), |rocket| rocket).await
    }

    async fn with(config: Config, more: impl FnOnce(Rocket<Build>) -> Rocket<Build>) -> Self {
        let (transport, clock) = (config.transport, Arc::new(ManualClock::default()));
        let store = Spy::new(clock.clone());
        let gate = Arc::new(Gate::default());
        let fairing = Session::<Visitor>::fairing().config(config).store(store.clone()).clock(clock.clone());
        let figment = rocket::Config::figment().merge(("log_level", "off"));
        let rocket = all_routes(rocket::custom(figment)).attach(fairing).manage(gate.clone());
        let client = Client::untracked(more(rocket)).await.expect("the site launches");
        Self { client, transport, store, clock, gate }
    }

    async fn visitor(&self) -> Browser {
        let mut browser = Browser::new(self.transport);
        browser.get(&self.client, "/count").await;
        self.store.take_loads();
        self.store.take_writes();
        browser
    }
}

over_both_transports! {
    a_slow_write_during_a_login_does_not_change_the_users_session
    a_slow_write_during_a_logout_does_not_bring_the_session_back
    two_concurrent_logins_of_one_visitor_both_succeed
    requests_with_the_cookie_from_before_a_login_change_nothing
    a_login_of_another_user_drops_the_data_and_a_logout_removes_the_cookie
    a_response_below_500_saves_the_session_and_a_5xx_discards_its_changes
    flush_and_cycle_id_take_effect_whatever_the_status
    redirects_head_requests_forwards_and_catchers_save_the_session
    a_panic_is_500_and_a_value_that_cannot_be_encoded_is_422_and_neither_saves_anything
    a_failed_save_is_503_without_a_cookie
    a_store_that_cannot_be_read_is_503_and_never_an_empty_session
    a_visitor_without_a_session_costs_no_store_call_and_no_cookie
    all_guards_of_a_request_share_one_session_and_one_snapshot
    any_bytes_in_a_cookie_or_token_give_an_empty_session
}

/// The changes of the slow request are dropped, the old id is invalid, and the browser keeps the cookie of the login.
async fn a_slow_write_during_a_login_does_not_change_the_users_session(transport: Transport) {
    let site = Site::new(transport).await;
    let old = site.visitor().await;
    let mut browser = old.clone();
    let (late, ()) = rocket::tokio::join!(old.send(&site.client, "/slow/name/late"), async {
        site.gate.wait_for_arrival().await;
        browser.get(&site.client, "/login/ada").await;
        site.gate.open(1);
    });
    assert_eq!((late.status, late.new_id()), (Status::Ok, None));
    browser.store_cookie(&late);
    assert!(browser.cookie != old.cookie);
    assert_eq!(browser.get(&site.client, "/show").await.body, "|1|ada");
    assert_eq!(old.send(&site.client, "/show").await.body, "|0|");
}

async fn a_slow_write_during_a_logout_does_not_bring_the_session_back(transport: Transport) {
    let site = Site::new(transport).await;
    let old = site.visitor().await;
    let mut browser = old.clone();
    let rows = site.store.creates();
    let (late, ()) = rocket::tokio::join!(old.send(&site.client, "/slow/name/late"), async {
        site.gate.wait_for_arrival().await;
        let logout = browser.get(&site.client, "/logout").await;
        assert_eq!(logout.set_cookie().is_some(), transport == Transport::Cookie);
        site.gate.open(1);
    });
    assert_eq!((late.status, late.new_id()), (Status::Ok, None));
    assert!(browser.has_no_cookie());
    assert_eq!(old.send(&site.client, "/show").await.body, "|0|");
    assert_eq!(site.store.creates(), rows);
}

async fn two_concurrent_logins_of_one_visitor_both_succeed(transport: Transport) {
    let site = Site::new(transport).await;
    let browser = site.visitor().await;
    let (first, second, ()) = rocket::tokio::join!(
        browser.send(&site.client, "/slow/login/ada"),
        browser.send(&site.client, "/slow/login/ada"),
        async {
            site.gate.wait_for_arrival().await;
            site.gate.wait_for_arrival().await;
            site.gate.open(2);
        }
    );
    for response in [first, second] {
        let mut user = browser.clone();
        user.store_cookie(&response);
        assert!(user.cookie != browser.cookie);
        assert!(user.get(&site.client, "/show").await.body.ends_with("|ada"));
    }
}

async fn requests_with_the_cookie_from_before_a_login_change_nothing(transport: Transport) {
    let site = Site::new(transport).await;
    let old = site.visitor().await;
    let mut browser = old.clone();
    browser.get(&site.client, "/login/ada").await;
    let rows = site.store.creates();
    for path in ["/count", "/name/late", "/logout", "/cycle", "/status/500/flush"] {
        let response = old.send(&site.client, path).await;
        assert_eq!(response.new_id(), None, "{path}");
    }
    assert_eq!(site.store.creates(), rows);
    assert_eq!(browser.get(&site.client, "/show").await.body, "|1|ada");
}

async fn a_login_of_another_user_drops_the_data_and_a_logout_removes_the_cookie(transport: Transport) {
    let site = Site::new(transport).await;
    let mut browser = site.visitor().await;
    browser.get(&site.client, "/name/cart").await;
    browser.get(&site.client, "/login/ada").await;
    assert_eq!(browser.get(&site.client, "/show").await.body, "cart|1|ada");
    let ada = browser.clone();
    browser.get(&site.client, "/login/bob").await;
    assert_eq!(browser.get(&site.client, "/show").await.body, "|0|bob");
    assert_eq!(ada.send(&site.client, "/show").await.body, "|0|");
    let logout = browser.get(&site.client, "/logout").await;
    if transport == Transport::Cookie {
        let line = logout.set_cookie().unwrap();
        assert!(line.contains("Max-Age=0") && line.contains("Expires=Thu, 01 Jan 1970"), "{line}");
    }
    assert_eq!(browser.get(&site.client, "/show").await.body, "|0|");
}

async fn a_response_below_500_saves_the_session_and_a_5xx_discards_its_changes(transport: Transport) {
    let site = Site::new(transport).await;
    for code in [200, 204, 400, 404, 418, 499] {
        let mut browser = site.visitor().await;
        let response = browser.get(&site.client, &format!("/status/{code}/none")).await;
        assert_eq!(response.status.code, code);
        let shown = browser.get(&site.client, "/show").await.body;
        assert!(["|100|", "|101|"].contains(&shown.as_str()), "{code}: {shown}");
    }
    for code in [500, 503, 599] {
        let mut browser = site.visitor().await;
        for action in ["none", "login"] {
            let response = browser.get(&site.client, &format!("/status/{code}/{action}")).await;
            assert_eq!((response.status.code, response.new_id()), (code, None));
        }
        assert_eq!(browser.get(&site.client, "/show").await.body, "|1|");
    }
}

async fn flush_and_cycle_id_take_effect_whatever_the_status(transport: Transport) {
    let site = Site::new(transport).await;
    let mut browser = site.visitor().await;
    let old = browser.clone();
    browser.get(&site.client, "/status/500/cycle").await;
    assert!(browser.cookie.is_some() && browser.cookie != old.cookie);
    assert_eq!(browser.get(&site.client, "/show").await.body, "|1|");
    assert_eq!(old.send(&site.client, "/show").await.body, "|0|");
    let cycled = browser.clone();
    browser.get(&site.client, "/status/500/flush").await;
    assert!(browser.has_no_cookie());
    assert_eq!(cycled.send(&site.client, "/show").await.body, "|0|");
}

async fn redirects_head_requests_forwards_and_catchers_save_the_session(transport: Transport) {
    let site =
        Site::with(over(transport, Config::default()), |rocket| rocket.register("/", catchers![not_found])).await;
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

async fn a_panic_is_500_and_a_value_that_cannot_be_encoded_is_422_and_neither_saves_anything(transport: Transport) {
    let site = Site::new(transport).await;
    let mut browser = site.visitor().await;
    for (path, status) in [
        ("/panic", Status::InternalServerError),
        ("/panic-in-closure", Status::InternalServerError),
        ("/panic-in-serializer", Status::InternalServerError),
        ("/nan", Status::UnprocessableEntity),
    ] {
        let response = browser.get(&site.client, path).await;
        assert_eq!((response.status, response.new_id()), (status, None), "{path}");
        assert_eq!(response.header("retry-after"), None);
    }
    assert_eq!(browser.get(&site.client, "/show").await.body, "|1|");
}

async fn a_failed_save_is_503_without_a_cookie(transport: Transport) {
    let site = Site::new(transport).await;
    let expired = site.visitor().await;
    site.clock.advance(EXPIRY);
    let mut browser = site.visitor().await;
    site.store.fail_writes(true);
    for (cookie, path) in [
        (&browser, "/count"),
        (&Browser::new(transport), "/count"),
        (&expired, "/count"),
        (&browser, "/cycle"),
        (&browser, "/logout"),
        (&browser, "/redirect"),
        (&browser, "/status/500/flush"),
    ] {
        let response = cookie.send(&site.client, path).await;
        assert_eq!((response.status, response.body.as_str()), (Status::ServiceUnavailable, ""), "{path}");
        assert_eq!(
            (response.new_id(), response.header("location"), response.header("content-type")),
            (None, None, None)
        );
        assert_eq!((response.header("retry-after"), response.header("cache-control")), (Some("5"), Some("no-store")));
        assert_eq!(
            response.header("x-content-type-options"),
            Some("nosniff"),
            "the headers of Rocket's shield are kept"
        );
    }
    let handled = browser.get(&site.client, "/handles-the-error").await;
    assert_eq!((handled.status, handled.body.as_str()), (Status::Ok, "Uncertain"));
    let passed = browser.get(&site.client, "/returns-the-error").await;
    assert_eq!((passed.status, passed.header("retry-after")), (Status::ServiceUnavailable, Some("5")));
    assert_eq!((passed.header("cache-control"), passed.new_id()), (Some("no-store"), None));
    site.store.fail_writes(false);
    assert_eq!(browser.get(&site.client, "/show").await.body, "|1|");
    // A session that is too large fails again at each retry, so there is no `Retry-After`.
    let passed = browser.get(&site.client, "/too-large").await;
    assert_eq!((passed.status, passed.header("retry-after")), (Status::UnprocessableEntity, None));
    assert_eq!((passed.header("cache-control"), passed.new_id()), (Some("no-store"), None));
    assert_eq!(browser.get(&site.client, "/returns-the-error").await.body, "saved");
}

async fn a_store_that_cannot_be_read_is_503_and_never_an_empty_session(transport: Transport) {
    let site = Site::new(transport).await;
    let mut browser = site.visitor().await;
    site.store.fail_loads(true);
    for path in ["/show", "/hello", "/count"] {
        let response = browser.send(&site.client, path).await;
        assert_eq!((response.status, response.new_id()), (Status::ServiceUnavailable, None), "{path}");
        assert_eq!(response.header("retry-after"), Some("5"));
    }
    assert_eq!(browser.get(&site.client, "/result").await.body, "Unavailable");
    assert_eq!(browser.get(&site.client, "/option").await.body, "none");
    site.store.fail_loads(false);
    assert_eq!(browser.get(&site.client, "/show").await.body, "|1|");
    assert_eq!(site.store.take_writes(), 0);
}

async fn a_visitor_without_a_session_costs_no_store_call_and_no_cookie(transport: Transport) {
    let site = Site::new(transport).await;
    let mut stranger = Browser::new(transport);
    for (path, varies) in [("/plain", false), ("/show", true), ("/hello", true), ("/logout", true), ("/cycle", true)] {
        let response = stranger.get(&site.client, path).await;
        assert_eq!((response.new_id(), response.header("cache-control")), (None, None), "{path}");
        assert_eq!(response.header("vary").is_some(), varies, "{path}");
    }
    assert_eq!((site.store.take_loads(), site.store.take_writes()), (0, 0));

    let mut browser = site.visitor().await;
    browser.get(&site.client, "/plain").await;
    assert_eq!((site.store.take_loads(), site.store.take_writes()), (0, 0));
    let read = browser.get(&site.client, "/show").await;
    let varies_on = if transport == Transport::Cookie { "Cookie" } else { "Authorization" };
    assert_eq!((read.new_id(), read.header("vary")), (None, Some(varies_on)));
    assert_eq!((site.store.take_loads(), site.store.take_writes()), (1, 0));
}

async fn all_guards_of_a_request_share_one_session_and_one_snapshot(transport: Transport) {
    let site = Site::new(transport).await;
    let mut browser = site.visitor().await;
    assert_eq!(browser.get(&site.client, "/two-guards").await.body, "one None");
    assert_eq!(site.store.take_loads(), 1);
    assert_eq!(browser.get(&site.client, "/hello").await.body, "one 1");
}

async fn any_bytes_in_a_cookie_or_token_give_an_empty_session(transport: Transport) {
    let site = Site::new(transport).await;
    let real = site.visitor().await.cookie.unwrap();
    let id = real.split_once('=').unwrap().1.to_owned();
    let rows = site.store.creates();
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
        let browser = Browser { cookie: Some(format!("sessionid={value}")), ..Browser::new(transport) };
        let path = if n % 16 == 0 { "/hello" } else { "/show" };
        let response = browser.send(&site.client, path).await;
        assert_eq!(response.status, Status::Ok, "{value:?}");
        assert!(["|0|", "nobody 0"].contains(&response.body.as_str()));
        assert_eq!(response.new_id(), None);
        let loads = site.store.take_loads();
        assert!(
            loads == 0 || well_formed || is_well_formed(&value),
            "the store was asked for the malformed id {value:?}"
        );
    }
    assert_eq!((site.store.creates(), site.store.take_writes()), (rows, 0));
}

fn is_well_formed(value: &str) -> bool {
    let value = value.split(';').next().unwrap_or_default().trim();
    value.len() == 43 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A small generator with a fixed seed, so that failures can be reproduced.
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
async fn if_there_are_several_cookies_of_one_name_the_valid_one_is_used() {
    let site = Site::new(Transport::Cookie).await;
    let real = site.visitor().await.cookie.unwrap();
    let planted = "sessionid=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for cookie in
        [format!("{planted}; {real}"), format!("{real}; {planted}"), format!("{planted}; x=y; {real}; sessionid=")]
    {
        let browser = Browser::with(cookie);
        assert_eq!(browser.send(&site.client, "/show").await.body, "|1|");
    }
    let unknown = Browser::with(planted);
    let mut adopted = unknown.clone();
    adopted.get(&site.client, "/count").await;
    assert!(adopted.cookie != unknown.cookie, "an unknown id was adopted");
    assert_eq!(unknown.send(&site.client, "/show").await.body, "|0|");
}

#[rocket::async_test]
async fn refresh_always_renews_the_session_of_a_request_that_does_not_read_it() {
    let site = Site::with(Config::new().refresh(Refresh::Always), |rocket| rocket).await;
    let mut browser = site.visitor().await;
    assert_eq!(browser.get(&site.client, "/plain").await.set_cookie(), None, "the session was just renewed");
    site.clock.advance(Duration::from_secs(3600));
    assert_eq!(browser.get(&site.client, "/plain").await.set_cookie(), None, "the browser's cookie lives long enough");
    site.clock.advance(EXPIRY.saturating_sub(Duration::from_secs(1)));
    let renewed = browser.get(&site.client, "/plain").await;
    assert!(renewed.set_cookie().is_some_and(|line| line.contains("Max-Age=14")), "{renewed:?}");
    assert_eq!((renewed.header("vary"), renewed.header("cache-control")), (Some("Cookie"), Some("no-store")));
    let stale = Browser::with(format!("sessionid={}", "A".repeat(43)));
    assert_eq!(stale.send(&site.client, "/plain").await.set_cookie(), None);
    assert_eq!(Browser::default().send(&site.client, "/plain").await.header("vary"), None);
}
