//! Sessions in sealed cookies, tested through Rocket.

use std::sync::Arc;
use std::time::Duration;

use rocket::error::ErrorKind as RocketError;
use rocket::http::Status;
use rocket::local::asynchronous::Client;
use rocket::{get, routes};
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

/// Returns letters that do not compress.
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
        let figment = rocket::Config::figment().merge(("log_level", "off"));
        let routes = routes![count, show, same, name, saved, login, leave, cycle, flush, fail, expire, past, id, admin];
        let rocket = logs::rocket(figment)
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
async fn a_session_is_kept_in_its_cookie_in_both_kinds_and_formats() {
    for store in KINDS {
        for format in [Format::Json, Format::MessagePack] {
            let site = Site::new(config(store).format(format)).await;
            let mut browser = Browser::default();
            let stranger = browser.get(&site.client, "/show").await;
            assert_eq!((stranger.body.as_str(), stranger.set_cookie()), ("nobody 0 None", None));
            for visits in ["1", "2", "3"] {
                let response = browser.get(&site.client, "/count").await;
                assert_eq!(response.body, visits);
                let line = response.set_cookie().unwrap();
                assert!(line.contains("; HttpOnly; SameSite=Lax; Path=/; Max-Age=1451520; Expires="), "{line}");
                assert_eq!(
                    (response.header("vary"), response.header("cache-control")),
                    (Some("Cookie"), Some("no-store"))
                );
            }
            // A read, or a change to an equal value, does not send the cookie again.
            for path in ["/show", "/same"] {
                let response = browser.get(&site.client, path).await;
                assert_eq!((response.set_cookie(), response.header("vary")), (None, Some("Cookie")), "{path}");
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
async fn a_session_expires_at_its_sealed_time_even_if_the_browser_keeps_the_cookie() {
    for store in KINDS {
        let limits = config(store).expiry(Duration::from_secs(100)).max_lifetime(Duration::from_secs(250));
        let site = Site::new(limits).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/count").await;
        site.clock.advance(Duration::from_millis(99_999));
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 1 None");
        site.clock.advance(Duration::from_millis(1));
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 0 None");
        // Each save prolongs the session, up to its maximum lifetime.
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
async fn a_lowered_limit_applies_to_existing_cookies() {
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
async fn a_session_can_set_its_own_expiry() {
    let site = Site::new(config(KINDS[1])).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    let response = browser.get(&site.client, "/expire/300").await;
    assert!(response.set_cookie().unwrap().contains("Max-Age=360;"));
    let response = browser.get(&site.client, "/expire/0").await;
    assert!(!response.set_cookie().unwrap().contains("Max-Age"));
    assert_eq!(site.get(&mut browser, "/show").await, "nobody 1 None");
    // An expiry in the past removes the cookie.
    let response = browser.get(&site.client, "/past").await;
    assert!(response.set_cookie().unwrap().contains("Max-Age=0;"));
    assert_eq!(site.get(&mut browser, "/show").await, "nobody 0 None");
}

#[rocket::async_test]
async fn a_session_whose_cookie_would_exceed_4096_bytes_is_422_and_logged() {
    for store in KINDS {
        let site = Site::new(config(store)).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/count").await;
        let (mut longest, mut refused) = (0, 0);
        for letters in 2800..3000 {
            let response = browser.clone().get(&site.client, &format!("/name/{letters}")).await;
            match response.set_cookie() {
                Some(line) => {
                    assert_eq!((response.status, refused), (Status::Ok, 0));
                    longest = longest.max(line.len());
                }
                None => {
                    assert_eq!(
                        (response.status, response.header("cache-control")),
                        (Status::UnprocessableEntity, Some("no-store"))
                    );
                    refused += 1;
                }
            }
        }
        assert!((4090..=4096).contains(&longest) && refused > 0, "{longest} {refused}");
        assert!(
            !logs::containing("the cookie of a session of type `Visitor` has 4098 bytes, but browsers accept 4096")
                .is_empty()
        );
        // The old cookie is still valid. A value that compresses can be longer.
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 1 None");
        let error = site.get(&mut browser, "/saved/4000").await;
        assert!(error.contains("browsers accept 4096"), "{error}");
        assert_eq!(site.get(&mut browser, "/show").await, "too long 1 None");
    }
}

#[rocket::async_test]
async fn keys_can_be_replaced_without_logging_anybody_out() {
    for store in KINDS {
        let site = Site::new(config(store)).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/login/7").await;
        site.clock.advance(Duration::from_secs(60));
        let both = Site::at(config(store).secret_keys([KEYS[1], KEYS[0]]), site.clock.clone()).await;
        let resealed = browser.get(&both.client, "/show").await;
        assert_eq!(resealed.body, "nobody 0 Some(7)");
        // The new cookie has the same expiry.
        let line = resealed.set_cookie().unwrap();
        assert!(line.contains(&format!("Max-Age={};", 1_451_520 - 60)), "{line}");
        assert_eq!(browser.get(&both.client, "/show").await.set_cookie(), None);
        let new = Site::at(config(store).secret_keys([KEYS[1]]), site.clock.clone()).await;
        assert_eq!(new.get(&mut browser.clone(), "/show").await, "nobody 0 Some(7)");
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 0 None");
    }
}

#[rocket::async_test]
async fn a_cookie_is_invalid_for_another_session_type_or_kind_of_store() {
    let mut cookies = Vec::new();
    for store in KINDS {
        let site = Site::new(config(store)).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/name/8").await;
        let value = browser.cookie.unwrap().strip_prefix("sessionid=").unwrap().to_owned();
        let admin = Browser::with(format!("admin={value}"));
        assert_eq!(admin.send(&site.client, "/admin").await.body, "no admin");
        cookies.push((store, value));
    }
    for store in ["cookie+signed:", "cookie+encrypted:", "memory:"] {
        let site = Site::new(config(store)).await;
        for (sealed, value) in &cookies {
            let browser = Browser::with(format!("sessionid={value}"));
            let is_accepted = browser.send(&site.client, "/show").await.body != "nobody 0 None";
            assert_eq!(is_accepted, *sealed == store, "{sealed} at {store}");
        }
    }
}

#[rocket::async_test]
async fn an_invalid_cookie_gives_an_empty_session_and_never_an_error() {
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
            let response = Browser::with(format!("sessionid={bad}")).send(&site.client, "/show").await;
            assert_eq!((response.status, response.body.as_str()), (Status::Ok, "nobody 0 None"), "{bad}");
            assert_eq!(response.set_cookie(), None, "a read removed the cookie");
        }
    }
}

#[rocket::async_test]
async fn if_there_are_several_cookies_the_first_valid_one_is_used() {
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
            let response = Browser::with(both).send(&site.client, "/show").await;
            assert_eq!(response.body, format!("nobody {count} None"));
        }
    }
}

#[rocket::async_test]
async fn a_login_keeps_the_data_and_a_login_of_another_user_drops_it() {
    for store in KINDS {
        let limits = config(store).max_lifetime(Duration::from_secs(14 * 86_400));
        let site = Site::new(limits).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/count").await;
        site.clock.advance(Duration::from_secs(86_400));
        // A login starts a new lifetime, a rotation does not.
        let response = browser.get(&site.client, "/cycle").await;
        assert!(response.set_cookie().unwrap().contains(&format!("Max-Age={};", 13 * 86_400)));
        let response = browser.get(&site.client, "/login/7").await;
        assert!(response.set_cookie().unwrap().contains(&format!("Max-Age={};", 14 * 86_400)));
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 1 Some(7)");
        site.get(&mut browser, "/login/8").await;
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 0 Some(8)");
        site.get(&mut browser, "/count").await;
        site.get(&mut browser, "/leave").await;
        assert_eq!(site.get(&mut browser, "/show").await, "nobody 0 None");
    }
}

#[rocket::async_test]
async fn a_read_renews_the_cookie_if_a_renewal_is_due() {
    for (refresh, first, second) in [(Refresh::OnSave, false, false), (Refresh::Share(0.1), false, true)] {
        let site = Site::new(config(KINDS[0]).refresh(refresh)).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/count").await;
        for (passed, renewed) in [(86_400, first), (86_400, second)] {
            site.clock.advance(Duration::from_secs(passed));
            assert_eq!(browser.get(&site.client, "/show").await.set_cookie().is_some(), renewed, "{refresh:?}");
        }
    }
    // With `Always`, the session is renewed even if the request does not read it.
    let site = Site::new(config(KINDS[0]).refresh(Refresh::Always)).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    site.clock.advance(Duration::from_secs(2));
    assert!(browser.get(&site.client, "/nowhere").await.set_cookie().is_some());
}

#[rocket::async_test]
async fn without_a_key_a_launch_fails_in_release_and_warns_in_debug() {
    let site = |profile: &'static str| {
        let figment = rocket::Config::figment().select(profile).merge(("log_level", "off"));
        let config = Config::new().store("cookie+encrypted:");
        logs::rocket(figment).attach(Session::<Visitor>::fairing().config(config)).mount("/", routes![count])
    };
    for profile in ["release", "staging"] {
        let error = site(profile).ignite().await.unwrap_err();
        assert!(matches!(error.kind(), RocketError::FailedFairings(_)));
    }
    assert!(!logs::containing("a sealed cookie needs a key").is_empty());
    // With a random key, sessions are lost when the process ends.
    let client = Client::untracked(site("debug")).await.unwrap();
    assert!(!logs::containing("`Visitor`: no secret key is set").is_empty());
    let mut browser = Browser::default();
    browser.get(&client, "/count").await;
    assert_eq!(browser.get(&client, "/count").await.body, "2");
    let restarted = Client::untracked(site("debug")).await.unwrap();
    assert_eq!(browser.get(&restarted, "/count").await.body, "1");
}

#[rocket::async_test]
async fn no_key_and_no_value_is_logged() {
    let site = Site::new(config(KINDS[0])).await;
    let mut browser = Browser::default();
    for path in ["/name/9", "/show", "/name/5000", "/flush"] {
        site.get(&mut browser, path).await;
        if let Some(cookie) = &browser.cookie {
            let value = cookie.strip_prefix("sessionid=").unwrap();
            let lines = logs::containing(value);
            assert!(lines.iter().all(|line| !line.contains("session_rocket")), "{lines:?}");
        }
    }
    for secret in [KEYS[0], &noise(9)] {
        let lines = logs::containing(secret);
        assert!(lines.is_empty(), "{lines:?}");
    }
}
