//! Sessions in their own cookies, over Rocket.

use std::sync::Arc;
use std::time::Duration;

use rocket::error::ErrorKind as RocketError;
use rocket::http::Status;
use rocket::local::asynchronous::Client;
use rocket::{Rocket, get, routes};
use session_rocket::{Config, ErrorKind, Expiry, Format, ManualClock, Refresh, Session};
use session_rocket_tests::browser::Browser;
use session_rocket_tests::logs;

#[derive(Session)]
struct Visitor {
    name: Option<String>,
    count: u32,
    #[session(identity)]
    user_id: Option<u32>,
}

#[derive(Session)]
#[session(config = "admin")]
struct Admin {
    name: Option<String>,
}

#[get("/count")]
fn count(session: Session<Visitor>) -> String {
    session.update_count(|count| *count += 1);
    session.count().to_string()
}

#[get("/show")]
fn show(visitor: &Visitor) -> String {
    format!("{} {} {:?}", visitor.name.as_deref().unwrap_or("nobody"), visitor.count, visitor.user_id)
}

#[get("/same")]
fn same(session: Session<Visitor>) {
    session.set_count(session.count());
}

#[get("/name/<letters>")]
fn name(session: Session<Visitor>, letters: usize) {
    session.set_name(noise(letters));
}

#[get("/saved/<letters>")]
async fn saved(session: Session<Visitor>, letters: usize) -> String {
    session.set_name(noise(letters));
    match session.save().await {
        Ok(()) => "saved".into(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            session.set_name("too long");
            error.to_string()
        }
    }
}

#[get("/login/<user>")]
fn login(session: Session<Visitor>, user: u32) {
    session.set_user_id(user);
}

#[get("/leave")]
fn leave(session: Session<Visitor>) {
    session.delete_user_id();
}

#[get("/cycle")]
fn cycle(session: Session<Visitor>) {
    session.cycle_id();
}

#[get("/flush")]
fn flush(session: Session<Visitor>) {
    session.flush();
}

#[get("/fail")]
fn fail(session: Session<Visitor>) -> Status {
    session.set_count(1000);
    Status::InternalServerError
}

#[get("/expire/<seconds>")]
fn expire(session: Session<Visitor>, seconds: u64) {
    session.set_expiry(Duration::from_secs(seconds));
}

#[get("/past")]
fn past(session: Session<Visitor>) {
    session.set_expiry(Expiry::At(session_rocket::time::OffsetDateTime::UNIX_EPOCH));
}

#[get("/id")]
fn id(session: Session<Visitor>) -> String {
    format!("{:?} {}", session.id(), session.is_new())
}

#[get("/admin")]
fn admin(session: Session<Admin>) -> String {
    session.name().unwrap_or_else(|| "no admin".into())
}

/// Letters that do not get shorter by compression.
fn noise(letters: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(ALPHABET[(state >> 58) as usize])
    };
    (0..letters).map(letter).collect()
}

const KEYS: [&str; 2] = [
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "4f5a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a",
];

const KINDS: [&str; 2] = ["cookie+signed:", "cookie+encrypted:"];

fn config(store: &str) -> Config {
    Config::new().store(store).secret_keys([KEYS[0]])
}

struct Site {
    client: Client,
    clock: Arc<ManualClock>,
}

impl Site {
    async fn new(config: Config) -> Self {
        Self::at(config, Arc::default()).await
    }

    async fn at(config: Config, clock: Arc<ManualClock>) -> Self {
        logs::keep();
        let figment = rocket::Config::figment().merge(("log_level", "off"));
        let routes = routes![count, show, same, name, saved, login, leave, cycle, flush, fail, expire, past, id, admin];
        let rocket = rocket::custom(figment)
            .attach(Session::<Visitor>::fairing().config(config.clone()).clock(clock.clone()))
            .attach(Session::<Admin>::fairing().config(config.cookie_name("admin")).clock(clock.clone()))
            .mount("/", routes);
        Self { client: Client::untracked(rocket).await.unwrap(), clock }
    }

    async fn get(&self, browser: &mut Browser, path: &str) -> String {
        browser.get(&self.client, path).await.body
    }
}

#[rocket::async_test]
async fn a_session_lives_in_its_cookie() {
    for store in KINDS {
        for format in [Format::Json, Format::MessagePack] {
            let site = Site::new(config(store).format(format)).await;
            let mut browser = Browser::default();
            let stranger = browser.get(&site.client, "/show").await;
            assert_eq!((stranger.body.as_str(), stranger.set_cookie()), ("nobody 0 None", None));
            for visits in ["1", "2", "3"] {
                let answer = browser.get(&site.client, "/count").await;
                assert_eq!(answer.body, visits);
                let line = answer.set_cookie().unwrap();
                assert!(line.contains("; HttpOnly; SameSite=Lax; Path=/; Max-Age=1451520; Expires="), "{line}");
                assert_eq!((answer.one("vary"), answer.one("cache-control")), (Some("Cookie"), Some("no-store")));
            }
            // Neither a read nor a change that changes nothing sends it again.
            for path in ["/show", "/same"] {
                let answer = browser.get(&site.client, path).await;
                assert_eq!((answer.set_cookie(), answer.one("vary")), (None, Some("Cookie")), "{path}");
            }
            assert_eq!(site.get(&mut browser, "/show").await, "nobody 3 None");
            assert_eq!(site.get(&mut browser, "/id").await, "None false");
            assert_eq!(browser.get(&site.client, "/fail").await.set_cookie(), None);
            let end = browser.get(&site.client, "/flush").await;
            assert!(end.set_cookie().unwrap().starts_with("sessionid=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0; "));
            assert_eq!(site.get(&mut browser, "/show").await, "nobody 0 None");
        }
    }
}

#[rocket::async_test]
async fn the_sealed_times_end_it_whatever_the_browser_keeps() {
    for store in KINDS {
        let limits = config(store).expiry(Duration::from_secs(100)).max_lifetime(Duration::from_secs(250));
        let site = Site::new(limits).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/count").await;
        site.clock.advance(Duration::from_millis(99_999));
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 1 None");
        site.clock.advance(Duration::from_millis(1));
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 0 None");
        // Each save lengthens it, up to the longest lifetime.
        let mut browser = Browser::default();
        for _ in 0..4 {
            site.get(&mut browser, "/count").await;
            site.clock.advance(Duration::from_secs(60));
        }
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 4 None");
        site.clock.advance(Duration::from_secs(9));
        assert_eq!(site.get(&mut browser, "/count").await, "5");
        site.clock.advance(Duration::from_secs(1));
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 0 None");
    }
}

#[rocket::async_test]
async fn a_limit_that_is_lowered_holds_for_the_cookies_there_are() {
    let site = Site::new(config(KINDS[0])).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    let stricter = config(KINDS[0]).expiry(Duration::from_secs(10)).max_lifetime(Duration::from_secs(10));
    let stricter = Site::at(stricter, site.clock.clone()).await;
    assert_eq!(stricter.get(&mut browser.clone(), "/show").await, "nobody 1 None");
    site.clock.advance(Duration::from_secs(10));
    assert_eq!(stricter.get(&mut browser.clone(), "/show").await, "nobody 0 None");
    assert_eq!(site.get(&mut browser, "/show").await, "nobody 1 None");
}

#[rocket::async_test]
async fn a_session_sets_its_own_expiry() {
    let site = Site::new(config(KINDS[1])).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    let line = browser.get(&site.client, "/expire/300").await;
    assert!(line.set_cookie().unwrap().contains("Max-Age=360;"));
    let line = browser.get(&site.client, "/expire/0").await;
    assert!(!line.set_cookie().unwrap().contains("Max-Age"));
    assert_eq!(site.get(&mut browser, "/show").await, "nobody 1 None");
    // One that is over at once takes the older cookie with it.
    let line = browser.get(&site.client, "/past").await;
    assert!(line.set_cookie().unwrap().contains("Max-Age=0;"));
    assert_eq!(site.get(&mut browser, "/show").await, "nobody 0 None");
}

#[rocket::async_test]
async fn the_line_has_4096_bytes_at_most_and_a_larger_session_is_422_and_logged() {
    for store in KINDS {
        let site = Site::new(config(store)).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/count").await;
        let (mut longest, mut refused) = (0, 0);
        for letters in 2800..3000 {
            let answer = browser.clone().get(&site.client, &format!("/name/{letters}")).await;
            match answer.set_cookie() {
                Some(line) => {
                    assert_eq!((answer.status, refused), (Status::Ok, 0));
                    longest = longest.max(line.len());
                }
                None => {
                    assert_eq!(
                        (answer.status, answer.one("cache-control")),
                        (Status::UnprocessableEntity, Some("no-store"))
                    );
                    refused += 1;
                }
            }
        }
        assert!((4090..=4096).contains(&longest) && refused > 0, "{longest} {refused}");
        assert!(
            !logs::with("the cookie of a session of type `Visitor` has 4098 bytes, but browsers accept 4096")
                .is_empty()
        );
        // What compresses may be longer, and the old cookie still stands.
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 1 None");
        let told = site.get(&mut browser, "/saved/4000").await;
        assert!(told.ends_with("browsers accept 4096"), "{told}");
        assert_eq!(site.get(&mut browser, "/show").await, "too long 1 None");
    }
}

#[rocket::async_test]
async fn keys_are_rotated_without_logging_anybody_out() {
    for store in KINDS {
        let site = Site::new(config(store)).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/login/7").await;
        site.clock.advance(Duration::from_secs(60));
        let both = Site::at(config(store).secret_keys([KEYS[1], KEYS[0]]), site.clock.clone()).await;
        let resealed = browser.get(&both.client, "/show").await;
        assert_eq!(resealed.body, "nobody 0 Some(7)");
        // A new seal, not a new lifetime.
        let line = resealed.set_cookie().unwrap();
        assert!(line.contains(&format!("Max-Age={};", 1_451_520 - 60)), "{line}");
        assert_eq!(browser.get(&both.client, "/show").await.set_cookie(), None);
        let new = Site::at(config(store).secret_keys([KEYS[1]]), site.clock.clone()).await;
        assert_eq!(new.get(&mut browser.clone(), "/show").await, "nobody 0 Some(7)");
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 0 None");
    }
}

#[rocket::async_test]
async fn a_cookie_passes_for_no_other_type_kind_or_store() {
    let mut cookies = Vec::new();
    for store in KINDS {
        let site = Site::new(config(store)).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/name/8").await;
        let value = browser.cookie.unwrap().strip_prefix("sessionid=").unwrap().to_owned();
        let admin = Browser { cookie: Some(format!("admin={value}")) };
        assert_eq!(admin.send(&site.client, "/admin").await.body, "no admin");
        cookies.push((store, value));
    }
    for store in ["cookie+signed:", "cookie+encrypted:", "memory:"] {
        let site = Site::new(config(store)).await;
        for (sealed, value) in &cookies {
            let browser = Browser { cookie: Some(format!("sessionid={value}")) };
            let known = browser.send(&site.client, "/show").await.body != "nobody 0 None";
            assert_eq!(known, *sealed == store, "{sealed} at {store}");
        }
    }
}

#[rocket::async_test]
async fn anything_else_is_nobody_and_never_an_error() {
    for store in KINDS {
        let site = Site::new(config(store)).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/login/7").await;
        let good = browser.cookie.unwrap();
        let value = good.strip_prefix("sessionid=").unwrap();
        for bad in [
            "",
            "x",
            "j{}",
            "eyJ1c2VyX2lkIjo3fQ",
            "{\"user_id\":7}",
            "7",
            "../..",
            "%00",
            &value[1..],
            &value[..value.len() - 1],
            &format!("{value}A"),
            &format!("{value}="),
            &value.repeat(2),
            &value.to_lowercase(),
            &"A".repeat(43),
            &"A".repeat(10_000),
            "AQ",
            "Ag",
        ] {
            let answer = Browser { cookie: Some(format!("sessionid={bad}")) }.send(&site.client, "/show").await;
            assert_eq!((answer.status, answer.body.as_str()), (Status::Ok, "nobody 0 None"), "{bad}");
            assert_eq!(answer.set_cookie(), None, "a read removes nothing");
        }
    }
}

#[rocket::async_test]
async fn of_several_cookies_the_first_valid_one_counts() {
    for store in KINDS {
        let site = Site::new(config(store)).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/count").await;
        let older = browser.cookie.clone().unwrap();
        site.clock.advance(Duration::from_secs(1));
        site.get(&mut browser, "/count").await;
        let newer = browser.cookie.unwrap();
        let cases = [(format!("{older}; {newer}"), 1), (format!("sessionid=junk; {newer}; {older}"), 2)];
        for (both, count) in cases {
            let answer = Browser { cookie: Some(both) }.send(&site.client, "/show").await;
            assert_eq!(answer.body, format!("nobody {count} None"));
        }
    }
}

#[rocket::async_test]
async fn login_keeps_the_data_and_another_user_finds_none() {
    for store in KINDS {
        let limits = config(store).max_lifetime(Duration::from_secs(14 * 86_400));
        let site = Site::new(limits).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/count").await;
        site.clock.advance(Duration::from_secs(86_400));
        // A login starts a new lifetime, a cycle does not.
        let line = browser.get(&site.client, "/cycle").await;
        assert!(line.set_cookie().unwrap().contains(&format!("Max-Age={};", 13 * 86_400)));
        let line = browser.get(&site.client, "/login/7").await;
        assert!(line.set_cookie().unwrap().contains(&format!("Max-Age={};", 14 * 86_400)));
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 1 Some(7)");
        site.get(&mut browser, "/login/8").await;
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 0 Some(8)");
        site.get(&mut browser, "/count").await;
        site.get(&mut browser, "/leave").await;
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 0 None");
    }
}

#[rocket::async_test]
async fn a_read_renews_where_that_is_due() {
    for (refresh, first, second) in [(Refresh::OnSave, false, false), (Refresh::Share(0.1), false, true)] {
        let site = Site::new(config(KINDS[0]).refresh(refresh)).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/count").await;
        for (passed, renewed) in [(86_400, first), (86_400, second)] {
            site.clock.advance(Duration::from_secs(passed));
            assert_eq!(browser.get(&site.client, "/show").await.set_cookie().is_some(), renewed, "{refresh:?}");
        }
    }
    // "always" renews also what nobody looked at.
    let site = Site::new(config(KINDS[0]).refresh(Refresh::Always)).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    site.clock.advance(Duration::from_secs(2));
    assert!(browser.get(&site.client, "/nowhere").await.set_cookie().is_some());
}

#[rocket::async_test]
async fn a_launch_without_keys_ends_outside_debug_and_warns_in_debug() {
    logs::keep();
    let of = |profile: &'static str| {
        let figment = rocket::Config::figment().select(profile).merge(("log_level", "off"));
        let config = Config::new().store("cookie+encrypted:");
        Rocket::custom(figment).attach(Session::<Visitor>::fairing().config(config)).mount("/", routes![count])
    };
    for profile in ["release", "staging"] {
        let error = of(profile).ignite().await.unwrap_err();
        assert!(matches!(error.kind(), RocketError::FailedFairings(_)));
    }
    assert!(!logs::with("a sealed cookie needs a key").is_empty());
    // With the random key, sessions live as long as the process.
    let client = Client::untracked(of("debug")).await.unwrap();
    assert!(!logs::with("`Visitor`: no secret key is set").is_empty());
    let mut browser = Browser::default();
    browser.get(&client, "/count").await;
    assert_eq!(browser.get(&client, "/count").await.body, "2");
    let restarted = Client::untracked(of("debug")).await.unwrap();
    assert_eq!(browser.get(&restarted, "/count").await.body, "1");
}

#[rocket::async_test]
async fn no_key_and_no_value_reaches_the_log() {
    let site = Site::new(config(KINDS[0])).await;
    let mut browser = Browser::default();
    for path in ["/name/9", "/show", "/name/5000", "/flush"] {
        site.get(&mut browser, path).await;
        if let Some(cookie) = &browser.cookie {
            let value = cookie.strip_prefix("sessionid=").unwrap();
            let told = logs::with(value);
            assert!(told.iter().all(|line| !line.contains("session_rocket")), "{told:?}");
        }
    }
    for secret in [KEYS[0], &noise(9)] {
        let told = logs::with(secret);
        assert!(told.is_empty(), "{told:?}");
    }
}
