//! Launches that fail because a route or a setting cannot work.

use rocket::error::ErrorKind as RocketError;
use rocket::local::asynchronous::Client;
use rocket::{Request, Route, get, routes};
use session_rocket::{
    Config, CurrentUser, LoadError, LoadUser, LoggedIn, RecentLogin, Session, SessionFairing, Sessions,
};
use session_rocket_tests::logs;
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::Memcached;

use super::site::{Account, SEALED, TIME_LIMIT, memory, rocket as site_rocket};

#[derive(Session)]
struct Unattached {
    #[session(identity)]
    user_id: Option<String>,
}

#[derive(Session)]
struct Anonymous {
    count: u32,
}

struct User(String);

impl LoadUser for User {
    type Session = Unattached;

    async fn load(id: &String, _: &Request<'_>) -> Result<Option<Self>, LoadError> {
        Ok(Some(Self(id.clone())))
    }

    fn identity(&self) -> String {
        self.0.clone()
    }
}

#[get("/a")]
fn logged_in(_user: LoggedIn<Unattached>) {}

#[get("/b")]
fn recent_login(_user: RecentLogin<Unattached, 60>) {}

#[get("/c")]
fn current_user(_user: CurrentUser<User>) {}

#[get("/d")]
fn sessions(_sessions: Sessions<Unattached>) {}

#[rocket::async_test]
async fn a_route_with_a_guard_for_users_but_without_the_fairing_aborts_the_launch() {
    let guards: [Vec<Route>; 4] = [routes![logged_in], routes![recent_login], routes![current_user], routes![sessions]];
    for routes in guards {
        let path = routes[0].uri.to_string();
        let rocket = site_rocket().attach(Session::<Account>::fairing().config(memory())).mount("/", routes);
        let error = Client::untracked(rocket).await.expect_err("the launch is aborted");
        assert!(matches!(error.kind(), RocketError::SentinelAborts(_)), "{path}");
    }
    assert!(!logs::containing(".attach(Session::<Unattached>::fairing())").is_empty());
}

/// Asserts that a launch with this fairing fails and logs `advice`.
async fn assert_fails<T: session_rocket::SessionData>(fairing: SessionFairing<T>, advice: &str) {
    let figment = rocket::Config::figment().merge(("log_level", "normal"));
    let error = Client::untracked(logs::rocket(figment).attach(fairing)).await.expect_err("the launch fails");
    assert!(matches!(error.kind(), RocketError::FailedFairings(_)), "{advice}");
    let lines = logs::containing(advice);
    assert!(lines.iter().any(|line| line.contains("cannot be attached")), "{advice}: {lines:?}");
}

#[rocket::async_test]
async fn a_limit_for_a_session_type_without_an_identity_fails() {
    let advice = "`session.max_sessions` has no effect on session type `Anonymous`, which has no identity: mark the \
                  field that has the user's id with `#[session(identity)]`";
    assert_fails(Session::<Anonymous>::fairing().config(Config::new().max_sessions(3)), advice).await;
}

#[rocket::async_test]
async fn a_limit_for_sealed_cookies_fails() {
    let advice = "sessions in sealed cookies cannot be counted: remove `max_sessions`, or set another `store`";
    let config = Config::new().store(SEALED).max_sessions(3);
    assert_fails(Session::<Account>::fairing().config(config), advice).await;
}

#[rocket::async_test]
async fn a_limit_on_memcached_fails() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::start();
    let advice = "`session.max_sessions` needs a store that lists the sessions of a user: remove `max_sessions`, or set another \
                  `store`";
    let config = Config::new().store(server.url()).timeout(TIME_LIMIT).max_sessions(3);
    assert_fails(Session::<Account>::fairing().config(config), advice).await;
}

#[rocket::async_test]
async fn events_for_sealed_cookies_fail() {
    let advice = "`on_event` is never called for sealed cookies: remove `on_event`, or set another `store`";
    let config = Config::new().store(SEALED);
    assert_fails(Session::<Account>::fairing().config(config).on_event(|_| {}), advice).await;
}
