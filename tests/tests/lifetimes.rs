//! How long sessions live, tested through Rocket with a manual clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rocket::fs::FileServer;
use rocket::http::Header;
use rocket::local::blocking::{Client, LocalResponse};
use rocket::response::content::RawCss;
use rocket::{get, routes};
use session_rocket::store::memory::MemoryStore;
use session_rocket::{Config, ManualClock, Refresh, Session};
use session_rocket_tests::spy::Spy;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// The values of `Sec-Fetch-Dest` of the parts of a page.
const SUBRESOURCES: [&str; 7] = ["script", "style", "image", "font", "audio", "video", "track"];

#[derive(Session)]
struct Visitor {
    #[session(identity)]
    user_id: Option<u64>,
    cat: Option<String>,
}

#[get("/who")]
fn who(session: Session<Visitor>) -> String {
    format!("{:?} {:?}", session.user_id(), session.cat())
}

#[get("/cat")]
fn cat(session: Session<Visitor>) {
    session.set_cat("tom");
}

#[get("/login")]
fn login(session: Session<Visitor>) {
    session.set_user_id(1u64);
}

#[get("/remember")]
fn remember(session: Session<Visitor>) {
    session.set_user_id(1u64);
    session.set_expiry(30 * DAY);
    session.set_max_lifetime(Some(30 * DAY));
}

#[get("/left")]
fn left(session: Session<Visitor>) -> String {
    let seconds = |duration: Option<Duration>| duration.map_or(0, |duration| duration.as_secs());
    format!("{} of {}", seconds(session.time_left()), seconds(Some(session.expiry_age())))
}

/// A style sheet that depends on the session.
#[get("/style")]
fn style(session: Session<Visitor>) -> RawCss<String> {
    RawCss(format!("/* {} */", session.cat().unwrap_or_default()))
}

/// A page that caches may store.
#[get("/public")]
fn public(session: Session<Visitor>) -> &'static str {
    let _ = session.cat();
    "for everybody"
}

/// A page that reads no session.
#[get("/plain")]
fn plain() -> &'static str {
    "for nobody"
}

fn site(config: Config, clock: &Arc<ManualClock>) -> Client {
    site_on(MemoryStore::new(100, clock.clone()), config, clock)
}

fn site_on(store: impl session_rocket::store::Store, config: Config, clock: &Arc<ManualClock>) -> Client {
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    let fairing = Session::<Visitor>::fairing().config(config).store(store).clock(clock.clone());
    let routes = routes![who, cat, login, remember, left, style, public, plain];
    let files = FileServer::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser"));
    let caching = rocket::fairing::AdHoc::on_response("caching", |request, response| {
        Box::pin(async move {
            if request.uri().path() == "/public" {
                response.set_raw_header("Cache-Control", "public, max-age=60");
            }
        })
    });
    let rocket = rocket::custom(figment).attach(caching).attach(fairing).mount("/", routes).mount("/static", files);
    Client::untracked(rocket).expect("the site launches")
}

fn get<'c>(client: &'c Client, path: &'c str, cookie: &str) -> LocalResponse<'c> {
    client.get(path).header(Header::new("Cookie", cookie.to_owned())).dispatch()
}

fn cookie(response: &LocalResponse<'_>) -> Option<String> {
    response.headers().get_one("Set-Cookie").and_then(|line| line.split(';').next().map(str::to_owned))
}

fn text(client: &Client, path: &'static str, cookie: &str) -> String {
    get(client, path, cookie).into_string().unwrap_or_default()
}

#[test]
fn a_handler_can_read_how_long_the_session_is_still_valid() {
    let clock = Arc::default();
    let client = site(Config::new().expiry(30 * MINUTE), &clock);
    let id = cookie(&get(&client, "/cat", "")).expect("a new session has a cookie");
    clock.advance(20 * MINUTE);
    assert_eq!(text(&client, "/left", &id), "600 of 1800");
    assert_eq!(text(&client, "/left", ""), "0 of 1800");
}

#[test]
fn a_value_set_again_renews_the_session() {
    let clock = Arc::default();
    let client = site(Config::new().expiry(MINUTE), &clock);
    let id = cookie(&get(&client, "/cat", "")).expect("a new session has a cookie");
    for _ in 0..2 {
        clock.advance(Duration::from_secs(25));
        get(&client, "/cat", &id);
    }
    clock.advance(Duration::from_secs(15));
    assert_eq!(text(&client, "/who", &id), "None Some(\"tom\")");
    clock.advance(MINUTE);
    assert_eq!(text(&client, "/who", &id), "None None");
}

#[test]
fn a_session_can_set_its_own_limits_beyond_the_configured_ones() {
    let clock = Arc::default();
    let client = site(Config::new().expiry(30 * MINUTE).max_lifetime(8 * HOUR), &clock);
    let ordinary = cookie(&get(&client, "/login", "")).expect("a login has a cookie");
    let remembered = cookie(&get(&client, "/remember", "")).expect("a login has a cookie");
    clock.advance(9 * HOUR);
    assert_eq!(text(&client, "/who", &ordinary), "None None");
    assert_eq!(text(&client, "/who", &remembered), "Some(1) None");
}

#[test]
fn limits_that_are_lowered_at_a_restart_apply_to_stored_sessions() {
    let lowered =
        [Config::new().max_lifetime(14 * DAY).expiry(HOUR), Config::new().expiry(2 * HOUR).max_lifetime(2 * HOUR)];
    for config in lowered {
        let clock = Arc::<ManualClock>::default();
        let store = Arc::new(MemoryStore::new(100, clock.clone()));
        let client = site_on(store.clone(), Config::new(), &clock);
        let id = cookie(&get(&client, "/login", "")).expect("a login has a cookie");
        drop(client);
        let client = site_on(store, config, &clock);
        assert_eq!(text(&client, "/who", &id), "Some(1) None");
        clock.advance(3 * HOUR);
        assert_eq!(text(&client, "/who", &id), "None None");
        let new = cookie(&get(&client, "/cat", &id)).expect("a new session has a cookie");
        assert_ne!(new, id);
    }
}

#[test]
fn limits_that_are_lowered_at_a_restart_apply_to_sealed_sessions() {
    let clock = Arc::<ManualClock>::default();
    let key = "a1".repeat(32);
    let sealed = |config: Config| {
        let figment = rocket::Config::figment().merge(("log_level", "off"));
        let config = config.store("cookie+signed:").secret_keys([key.clone()]);
        let fairing = Session::<Visitor>::fairing().config(config).clock(clock.clone());
        Client::untracked(rocket::custom(figment).attach(fairing).mount("/", routes![who, login])).expect("a launch")
    };
    let id = cookie(&get(&sealed(Config::new()), "/login", "")).expect("a login has a cookie");
    let client = sealed(Config::new().expiry(HOUR));
    assert_eq!(text(&client, "/who", &id), "Some(1) None");
    clock.advance(HOUR);
    assert_eq!(text(&client, "/who", &id), "None None");
}

#[test]
fn a_session_without_identity_can_have_a_shorter_expiry() {
    let clock = Arc::default();
    let client = site(Config::new().anonymous_expiry(HOUR), &clock);
    let nobody = cookie(&get(&client, "/cat", "")).expect("a new session has a cookie");
    let user = cookie(&get(&client, "/login", "")).expect("a login has a cookie");
    clock.advance(HOUR);
    assert_eq!(
        (text(&client, "/who", &nobody), text(&client, "/who", &user)),
        ("None None".into(), "Some(1) None".into())
    );
}

#[test]
fn a_page_that_reads_no_session_renews_it_only_if_every_request_does() {
    for (refresh, renews) in [(Refresh::Always, true), (Refresh::Share(0.1), false), (Refresh::OnSave, false)] {
        let clock = Arc::default();
        let client = site(Config::new().refresh(refresh), &clock);
        let id = cookie(&get(&client, "/cat", "")).expect("a new session has a cookie");
        clock.advance(7 * DAY);
        assert_eq!(cookie(&get(&client, "/plain", &id)).is_some(), renews, "{refresh:?}");
    }
}

#[test]
fn files_and_subresources_do_not_renew_a_session_and_stay_cacheable() {
    let clock = Arc::default();
    let client = site(Config::new().refresh(Refresh::Always), &clock);
    let id = cookie(&get(&client, "/cat", "")).expect("a new session has a cookie");
    // From now on, every page renews the session and its cookie.
    clock.advance(7 * DAY);
    let parts = SUBRESOURCES.iter().flat_map(|part| [("/static/main.rs", *part), ("/style", *part)]);
    for (path, destination) in parts.chain([("/public", "document")]) {
        let request = client.get(path).header(Header::new("Cookie", id.clone()));
        let response = request.header(Header::new("Sec-Fetch-Dest", destination)).dispatch();
        assert_eq!(cookie(&response), None, "{path} as {destination}");
        assert_ne!(response.headers().get_one("Cache-Control"), Some("no-store"), "{path} as {destination}");
    }
    assert!(text(&client, "/left", &id).starts_with("604800 "), "a subresource renewed the session");
    // The previous request, for a page, renewed the session.
    assert!(text(&client, "/left", &id).starts_with("1209600 "));
}

#[rocket::async_test]
async fn a_launched_site_sweeps_its_store_unless_the_sweep_is_off() {
    let launch = async |interval: Option<Duration>| {
        let spy = Spy::new(Arc::new(ManualClock::default()));
        let config = Config::new().sweep_interval(interval);
        let fairing = Session::<Visitor>::fairing().config(config).store(spy.clone());
        let figment = rocket::Config::figment().merge(("log_level", "off"));
        let client = rocket::local::asynchronous::Client::untracked(rocket::custom(figment).attach(fairing)).await;
        (client.expect("the site launches"), spy)
    };
    let (_off, idle) = launch(None).await;
    let (_on, swept) = launch(Some(Duration::from_millis(1))).await;
    let started = Instant::now();
    while swept.sweeps() == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "the store is never swept");
        rocket::tokio::task::yield_now().await;
    }
    assert_eq!(idle.sweeps(), 0);
}

#[test]
fn a_store_that_a_url_names_uses_the_clock_of_the_fairing() {
    let clock = Arc::<ManualClock>::default();
    let fairing = Session::<Visitor>::fairing().config(Config::new().store("memory:")).clock(clock.clone());
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    let rocket = rocket::custom(figment).attach(fairing).mount("/", routes![who, cat]);
    let client = Client::untracked(rocket).expect("the site launches");
    let id = cookie(&get(&client, "/cat", "")).expect("a new session has a cookie");
    clock.advance(14 * DAY);
    assert_eq!(text(&client, "/who", &id), "None None");
}

#[test]
fn an_anonymous_expiry_for_a_session_type_without_identity_aborts_the_launch() {
    #[derive(Session)]
    struct Counter {
        number: u32,
    }

    let config = Config::new().store("memory:").anonymous_expiry(HOUR);
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    let rocket = rocket::custom(figment).attach(Session::<Counter>::fairing().config(config));
    let error = Client::untracked(rocket).expect_err("the launch is aborted");
    assert!(matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)));
}
