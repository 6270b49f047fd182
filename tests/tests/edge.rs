//! How sessions and Rocket work together: sentinels, several session types, streams, cookies, logs, releases side by
//! side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rocket::error::ErrorKind as RocketError;
use rocket::fairing::AdHoc;
use rocket::http::{ContentType, Header, Status};
use rocket::local::asynchronous::Client;
use rocket::response::stream::{Event, EventStream};
use rocket::{Build, Request, Response, Rocket, Route, get, routes};
use session_rocket::store::memory::MemoryStore;
use session_rocket::{Config, ErrorKind, ManualClock, Session};
use session_rocket_tests::browser::Browser;
use session_rocket_tests::logs;
use session_rocket_tests::spy::Spy;

#[derive(Session)]
struct Visitor {
    count: u32,
    secret: Option<String>,
}

#[derive(Session)]
#[session(config = "admin")]
struct Admin {
    clicks: u32,
}

/// Uses the same configuration table as [`Visitor`].
#[derive(Session)]
struct Rival {
    count: u32,
}

#[get("/count")]
fn count(session: Session<Visitor>) -> String {
    session.update_count(|count| *count += 1);
    session.count().to_string()
}

#[get("/show")]
fn show(session: Session<Visitor>) -> String {
    session.count().to_string()
}

#[get("/both")]
fn both(session: Session<Visitor>, admin: Session<Admin>) {
    session.update_count(|count| *count += 1);
    admin.update_clicks(|clicks| *clicks += 10);
}

#[get("/snapshot")]
fn snapshot(visitor: &Visitor) -> String {
    visitor.count.to_string()
}

#[get("/maybe")]
fn maybe(visitor: Option<Session<Visitor>>) -> String {
    visitor.is_some().to_string()
}

fn site(routes: Vec<Route>) -> Rocket<Build> {
    logs::rocket(rocket::Config::figment().merge(("log_level", "debug"))).mount("/", routes)
}

fn spy() -> Spy {
    Spy::new(Arc::new(ManualClock::default()))
}

async fn launch(rocket: Rocket<Build>) -> Client {
    Client::untracked(rocket).await.expect("the site launches")
}

#[rocket::async_test]
async fn a_route_without_its_fairing_aborts_the_launch() {
    for routes in [routes![count], routes![snapshot], routes![maybe]] {
        let error = Client::untracked(site(routes)).await.expect_err("the launch is aborted");
        assert!(matches!(error.kind(), RocketError::SentinelAborts(_)));
        assert!(!logs::containing(".attach(Session::<Visitor>::fairing())").is_empty());
    }
}

#[rocket::async_test]
async fn a_missing_fairing_that_rocket_cannot_detect_is_500_and_logged() {
    #[get("/inside")]
    fn inside(session: Hidden) -> &'static str {
        session.0
    }

    struct Hidden(&'static str);

    #[rocket::async_trait]
    impl<'r> rocket::request::FromRequest<'r> for Hidden {
        type Error = session_rocket::Error;

        async fn from_request(request: &'r Request<'_>) -> rocket::request::Outcome<Self, Self::Error> {
            request.guard::<Session<Admin>>().await.map(|_| Self("found"))
        }
    }

    let client = launch(site(routes![inside])).await;
    let response = Browser::default().send(&client, "/inside").await;
    assert_eq!(response.status, Status::InternalServerError);
    assert!(!logs::containing("`Admin` is not attached: add `.attach(Session::<Admin>::fairing())`").is_empty());
}

#[rocket::async_test]
async fn a_launch_warns_if_the_store_cannot_log_a_user_out_everywhere() {
    #[derive(Session)]
    #[session(config = "member")]
    struct Member {
        #[session(identity)]
        user_id: Option<u64>,
    }

    let warning = "an identity, but this store cannot list or revoke the sessions of a user";
    let indexed = MemoryStore::new(10, Arc::new(ManualClock::default()));
    launch(site(routes![]).attach(Session::<Member>::fairing().store(indexed))).await;
    launch(site(routes![]).attach(Session::<Visitor>::fairing().store(spy().without_index()))).await;
    assert_eq!(logs::containing(warning), [""; 0]);
    let rocket = site(routes![]).attach(Session::<Member>::fairing().store(spy().without_index()));
    launch(rocket).await;
    assert_eq!(logs::containing(warning).len(), 1);
    assert!(logs::containing(warning)[0].starts_with("WARN session_rocket session type `Member` has"));
}

#[rocket::async_test]
async fn two_session_types_with_one_cookie_one_table_or_one_scope_abort_the_launch() {
    mod elsewhere {
        /// Has the same name as another session type of this package.
        #[derive(session_rocket::Session)]
        #[session(config = "elsewhere")]
        pub struct Visitor {
            pub count: u32,
        }
    }

    let same_table = site(routes![])
        .attach(Session::<Visitor>::fairing().store(spy()))
        .attach(Session::<Rival>::fairing().store(spy()));
    let same_cookie = site(routes![])
        .attach(Session::<Visitor>::fairing().store(spy()))
        .attach(Session::<Admin>::fairing().store(spy()));
    let cookie_of_forms = site(routes![])
        .attach(Session::<Visitor>::fairing().store(spy()))
        .attach(Session::<Admin>::fairing().config(Config::new().cookie_name("sessionid-csrf")).store(spy()));
    let same_scope = site(routes![])
        .attach(Session::<Visitor>::fairing().store(spy()))
        .attach(Session::<elsewhere::Visitor>::fairing().config(Config::new().cookie_name("elsewhere")).store(spy()));
    for (rocket, message) in [
        (same_table, "`Visitor` and `Rival` both use the configuration table `session`"),
        (same_cookie, "`Visitor` and `Admin` both use the cookie `sessionid`: set another `cookie_name` in `admin`"),
        (cookie_of_forms, "`Visitor` and `Admin` both use the cookie `sessionid-csrf`: set another `cookie_name`"),
        (same_scope, "`Visitor` and `Visitor` have the same scope `session-rocket-tests::Visitor`: give one of them"),
    ] {
        let error = Client::untracked(rocket).await.expect_err("the launch is aborted");
        assert!(matches!(error.kind(), RocketError::FailedFairings(_)));
        assert!(!logs::containing(message).is_empty(), "{message}");
    }
}

#[rocket::async_test]
async fn a_site_can_have_two_session_types() {
    let store = spy();
    let admin = Config::new().cookie_name("admin");
    let client = launch(
        site(routes![both, show])
            .attach(Session::<Visitor>::fairing().store(store.clone()))
            .attach(Session::<Admin>::fairing().config(admin).store(store.clone())),
    )
    .await;
    let response = Browser::default().send(&client, "/both").await;
    let lines = response.header_values("set-cookie");
    assert_eq!(lines.len(), 2);
    assert_eq!(response.header_values("vary"), ["Cookie"]);
    let value = |name: &str| {
        let line = lines.iter().find(|line| line.starts_with(name)).unwrap();
        line.split(['=', ';']).nth(1).unwrap().to_owned()
    };
    // The id of one type is unknown to the other type.
    let swapped = Browser::with(format!("sessionid={}; admin={}", value("admin"), value("sessionid")));
    assert_eq!(swapped.send(&client, "/show").await.body, "0");
    let right = Browser::with(format!("sessionid={}; admin={}", value("sessionid"), value("admin")));
    assert_eq!(right.send(&client, "/show").await.body, "1");
}

#[rocket::async_test]
async fn session_types_with_one_url_share_one_store() {
    #[get("/click")]
    fn click(admin: Session<Admin>) {
        admin.update_clicks(|clicks| *clicks += 1);
    }

    // The store has room for one session, so the session of the second type evicts that of the first.
    let figment = rocket::Config::figment().merge(("log_level", "debug"));
    let figment = ["session", "admin"].iter().fold(figment, |figment, table| {
        figment.merge((format!("{table}.store"), "memory:")).merge((format!("{table}.capacity"), 1))
    });
    let rocket = logs::rocket(figment.merge(("admin.cookie_name", "admin"))).mount("/", routes![count, click, show]);
    let rocket = rocket.attach(Session::<Visitor>::fairing()).attach(Session::<Admin>::fairing());
    let client = launch(rocket).await;
    let mut browser = Browser::default();
    browser.get(&client, "/count").await;
    assert_eq!(browser.get(&client, "/show").await.body, "1");
    Browser::default().send(&client, "/click").await;
    assert_eq!(browser.get(&client, "/show").await.body, "0");
}

#[rocket::async_test]
async fn in_the_release_profile_the_cookie_and_its_removal_are_secure_and_have_the_host_prefix() {
    #[get("/logout")]
    fn logout(session: Session<Visitor>) {
        session.flush();
    }

    let figment = rocket::Config::figment().select("release").merge(("log_level", "debug"));
    let figment = figment.merge(("secret_key", "hPRYyVRiMyxpw5sBB1XeCMN1kFsDCqKvBi2QJxBVHQk="));
    let rocket = logs::rocket(figment).mount("/", routes![count, logout]);
    let client = launch(rocket.attach(Session::<Visitor>::fairing().store(spy()))).await;
    let mut browser = Browser::default();
    let set = browser.get(&client, "/count").await;
    let removed = browser.get(&client, "/logout").await;
    for (response, age) in [(set, "Max-Age=1451520"), (removed, "Max-Age=0")] {
        let line = response.set_cookie().unwrap();
        assert!(line.starts_with("__Host-sessionid="), "{line}");
        for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/", age] {
            assert!(line.contains(attribute), "{attribute} in {line}");
        }
        assert!(!line.contains("Domain") && line.len() <= 4096);
    }
}

/// The response of the overtaken request stands, and the log says that its change is dropped.
#[rocket::async_test]
async fn a_change_to_a_session_that_another_request_ended_is_logged() {
    #[derive(Session)]
    struct Caller {
        count: u32,
    }

    #[get("/count")]
    fn count(session: Session<Caller>) {
        session.update_count(|count| *count += 1);
    }

    #[get("/logout")]
    fn logout(session: Session<Caller>) {
        session.flush();
    }

    let fairing = Session::<Caller>::fairing().store(spy());
    let client = launch(site(routes![count, logout]).attach(fairing)).await;
    let mut browser = Browser::default();
    browser.get(&client, "/count").await;
    let old = browser.clone();
    browser.get(&client, "/logout").await;
    let warnings = || logs::containing("changes of a session of type `Caller` are not saved: another request ended");
    assert_eq!(warnings(), [""; 0]);
    assert_eq!(old.send(&client, "/logout").await.status, Status::Ok);
    assert_eq!(warnings(), [""; 0], "a second logout drops no change");
    let overtaken = old.send(&client, "/count").await;
    assert_eq!((overtaken.status, overtaken.set_cookie()), (Status::Ok, None));
    assert_eq!(warnings().len(), 1);
    assert!(warnings()[0].starts_with("WARN session_rocket"), "{:?}", warnings());
}

#[rocket::async_test]
async fn the_cache_and_cookie_headers_of_a_handler_are_kept_if_they_are_safe() {
    #[get("/headers/<cache>")]
    fn with_headers(session: Session<Visitor>, cache: &str) -> (ContentType, OwnHeaders) {
        session.update_count(|count| *count += 1);
        (ContentType::Plain, OwnHeaders(cache.to_owned()))
    }

    /// Sets this `Cache-Control` header, and other headers of the handler.
    struct OwnHeaders(String);

    impl<'r> rocket::response::Responder<'r, 'static> for OwnHeaders {
        fn respond_to(self, _: &'r Request<'_>) -> rocket::response::Result<'static> {
            Response::build()
                .header(Header::new("Cache-Control", self.0))
                .header(Header::new("Vary", "Accept, cookie"))
                .raw_header_adjoin("Set-Cookie", "other=1")
                .raw_header_adjoin("Set-Cookie", "sessionid=forged")
                .ok()
        }
    }

    let client = launch(site(routes![with_headers]).attach(Session::<Visitor>::fairing().store(spy()))).await;
    for (cache, expected) in [("private", "private"), ("public", "no-store"), ("no-store", "no-store")] {
        let response = Browser::default().send(&client, &format!("/headers/{cache}")).await;
        assert_eq!(response.header("cache-control"), Some(expected));
        assert_eq!(response.header("vary"), Some("Accept, cookie"));
        let lines = response.header_values("set-cookie");
        assert_eq!((lines.len(), lines[0]), (2, "other=1"));
        assert!(lines[1].starts_with("sessionid=") && !lines[1].contains("forged"));
    }
}

#[rocket::async_test]
async fn a_stream_can_save_its_changes_and_unsaved_changes_are_logged_with_their_line() {
    #[get("/events")]
    fn events(session: Session<Visitor>) -> EventStream![] {
        EventStream! {
            session.update_count(|count| *count += 1);
            let saved = session.save().await;
            yield Event::data(format!("{}", saved.is_ok()));
            session.cycle_id();
            yield Event::data(format!("{:?}", session.save().await.map_err(|e| e.kind())));
        }
    }

    #[get("/forgets")]
    fn forgets(session: Session<Visitor>) -> EventStream![] {
        EventStream! {
            session.set_count(77);
            yield Event::data("changed");
        }
    }

    let routes = routes![count, show, events, forgets];
    let client = launch(site(routes).attach(Session::<Visitor>::fairing().store(spy()))).await;
    let mut browser = Browser::default();
    browser.get(&client, "/count").await;
    let response = browser.get(&client, "/events").await;
    assert!(response.body.contains("data:true") && response.body.contains("Err(TooLate)"), "{}", response.body);
    browser.get(&client, "/forgets").await;
    assert_eq!(browser.get(&client, "/show").await.body, "2");
    let line = logs::containing("never saved")
        .into_iter()
        .find(|line| line.contains("edge.rs:"))
        .expect("the log line names the source file");
    assert!(line.starts_with("ERROR session_rocket") && line.contains("call `save().await`"), "{line}");
}

#[rocket::async_test]
async fn a_later_fairing_can_read_and_change_a_session_but_not_start_one() {
    let refused = Arc::new(AtomicBool::new(false));
    let refused_by_fairing = refused.clone();
    let late = AdHoc::on_response("late", move |request, response| {
        let refused = refused_by_fairing.clone();
        Box::pin(async move {
            if let Some(session) = request.guard::<Session<Visitor>>().await.succeeded() {
                response.set_header(Header::new("X-Count", session.count().to_string()));
                session.set_count(5);
                let is_too_late = session.save().await.is_err_and(|e| e.kind() == ErrorKind::TooLate);
                refused.store(is_too_late, Ordering::SeqCst);
            }
        })
    });
    #[get("/plain")]
    fn plain() {}

    let rocket = site(routes![plain, count]).attach(Session::<Visitor>::fairing().store(spy())).attach(late);
    let client = launch(rocket).await;
    Browser::default().send(&client, "/plain").await;
    assert!(refused.load(Ordering::SeqCst), "a session was started after the response head, so its cookie was lost");
    let mut browser = Browser::default();
    assert_eq!(browser.get(&client, "/count").await.header("x-count"), Some("1"));
    assert!(!refused.load(Ordering::SeqCst));
}

#[rocket::async_test]
async fn no_log_line_at_any_level_contains_an_id_or_a_value() {
    #[get("/secret")]
    fn secret(session: Session<Visitor>) -> String {
        session.set_secret("correct horse battery staple");
        log::info!("{session:?} {:?}", session.id());
        format!("{session:?}")
    }

    #[get("/fails")]
    fn fails(session: Session<Visitor>) {
        session.set_secret("correct horse battery staple".repeat(20_000));
    }

    let store = spy();
    let client =
        launch(site(routes![secret, fails, count]).attach(Session::<Visitor>::fairing().store(store.clone()))).await;
    let mut browser = Browser::default();
    browser.get(&client, "/count").await;
    let response = browser.get(&client, "/secret").await;
    assert_eq!(browser.get(&client, "/fails").await.status, Status::UnprocessableEntity);
    store.fail_writes(true);
    browser.get(&client, "/count").await;
    store.fail_loads(true);
    browser.get(&client, "/count").await;
    let id = browser.cookie.unwrap().split_once('=').unwrap().1.to_owned();
    assert!(!logs::containing("cannot save").is_empty() && !logs::containing("cannot load").is_empty());
    assert!(!logs::containing("`max_size` is 262144").is_empty());
    // The captured lines include those of Rocket.
    assert_eq!(logs::containing(&id), Vec::<String>::new());
    assert_eq!(logs::containing("battery"), Vec::<String>::new());
    assert!(!response.body.contains(&id) && response.body.contains("Session"));
}

mod old {
    #[derive(session_rocket::Session)]
    pub(super) struct Visitor {
        pub(super) name: Option<String>,
        pub(super) level: u32,
        pub(super) visits: u32,
    }
}

mod new {
    #[derive(session_rocket::Session)]
    pub(super) struct Visitor {
        #[session(rename = "name")]
        pub(super) full_name: Option<String>,
        /// Was a number in the old release.
        pub(super) level: Option<String>,
        pub(super) visits: u32,
        pub(super) theme: Option<String>,
    }
}

#[rocket::async_test]
async fn an_old_and_a_new_release_serve_one_session_in_turn_and_lose_nothing() {
    #[get("/old/<name>")]
    fn old_release(session: Session<old::Visitor>, name: &str) -> String {
        session.update_visits(|visits| *visits += 1);
        let before = session.name();
        session.set_name(name);
        format!("{before:?} {} {}", session.level(), session.visits())
    }

    #[get("/level/<level>")]
    fn old_level(session: Session<old::Visitor>, level: u32) {
        session.set_level(level);
    }

    #[get("/new/<theme>")]
    fn new_release(session: Session<new::Visitor>, theme: &str) -> String {
        session.update_visits(|visits| *visits += 1);
        let before = session.theme();
        session.set_theme(theme);
        format!("{:?} {:?} {before:?} {}", session.full_name(), session.level(), session.visits())
    }

    let store = spy();
    let old =
        launch(site(routes![old_release, old_level]).attach(Session::<old::Visitor>::fairing().store(store.clone())))
            .await;
    let new = launch(site(routes![new_release]).attach(Session::<new::Visitor>::fairing().store(store))).await;
    let warnings = || logs::containing("`Visitor.level` cannot be decoded").len();
    let mut browser = Browser::default();
    browser.get(&old, "/level/3").await;
    assert_eq!(browser.get(&old, "/old/ada").await.body, "None 3 1");
    assert_eq!(browser.get(&new, "/new/dark").await.body, "Some(\"ada\") None None 2");
    assert_eq!(warnings(), 1);
    assert_eq!(browser.get(&old, "/old/bob").await.body, "Some(\"ada\") 3 3");
    assert_eq!(browser.get(&new, "/new/light").await.body, "Some(\"bob\") None Some(\"dark\") 4");
    assert_eq!(browser.get(&old, "/old/eve").await.body, "Some(\"bob\") 3 5");
    assert_eq!(warnings(), 1, "logged once, not per request");
}

#[rocket::async_test]
async fn an_expiry_beyond_max_lifetime_is_logged_once() {
    const DAY: Duration = Duration::from_secs(86_400);

    #[get("/month")]
    fn month(session: Session<Visitor>) {
        session.update_count(|count| *count += 1);
        session.set_expiry(30 * DAY);
    }

    let config = Config::new().max_lifetime(20 * DAY);
    let client = launch(site(routes![month]).attach(Session::<Visitor>::fairing().config(config).store(spy()))).await;
    let mut browser = Browser::default();
    for _ in 0..3 {
        browser.get(&client, "/month").await;
        assert_eq!(logs::containing("a longer lifetime than `max_lifetime` allows").len(), 1);
    }
}

#[rocket::async_test]
async fn an_invalid_configuration_aborts_the_launch_and_the_log_names_the_setting() {
    for (key, value, message) in [
        ("sotre", "x".to_owned(), "store"),
        ("same_site", "None".to_owned(), "secure"),
        ("store", "redus://:hunter2@localhost".to_owned(), "unknown store `redus:`; did you mean `redis:`?"),
        ("expiry", "soon".to_owned(), "expiry"),
    ] {
        let figment = rocket::Config::figment().merge(("log_level", "debug")).merge((format!("session.{key}"), value));
        let rocket = logs::rocket(figment).attach(Session::<Visitor>::fairing());
        let error = Client::untracked(rocket).await.expect_err("the launch is aborted");
        assert!(matches!(error.kind(), RocketError::FailedFairings(_)), "{key}");
        let lines = logs::containing("cannot be attached");
        assert!(lines.iter().any(|line| line.contains(message) && line.contains(key)), "{key}: {lines:?}");
    }
    assert_eq!(logs::containing("hunter2"), Vec::<String>::new());
}
