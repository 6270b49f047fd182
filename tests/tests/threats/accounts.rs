//! Accounts: timeouts and limits that the launch logs, and sessions that administrators and identity providers end.

use std::sync::Arc;
use std::time::Duration;

use rocket::http::{Cookie, Status};
use rocket::local::asynchronous::Client;
use rocket::{Route, get, routes};
use session_rocket::testing::AsyncClientExt;
use session_rocket::{Config, LoggedIn, ManualClock, Refresh, Session, SessionData, Sessions, WhenFull};
use session_rocket_tests::{logs, spy::Spy};

use super::site::{Site, site};

const HOUR: Duration = Duration::from_secs(3600);

#[rocket::async_test]
async fn a_7_1_1_the_launch_logs_both_timeouts_and_refuses_contradictory_ones() {
    Site::new(Config::new().expiry(HOUR).max_lifetime(9 * HOUR)).await;
    let logged = logs::containing("expires 1h after the last save, and 9h after its creation or login");
    assert!(!logged.is_empty(), "{:?}", logs::containing("session type `Visitor`"));
    let clock = Arc::new(ManualClock::default());
    let contradictory = Config::new().expiry(2 * HOUR).max_lifetime(HOUR);
    let error = site(contradictory, clock.clone(), Some(Spy::new(clock))).ignite().await.unwrap_err();
    assert!(matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)));
}

#[derive(Session)]
#[session(scope = "first")]
struct First {
    #[session(identity)]
    user_id: Option<u32>,
    /// The name that the identity provider gave its own session.
    provider_session: String,
}

#[get("/")]
fn first(user: LoggedIn<First>) -> String {
    user.identity().to_string()
}

/// The type of the next release, with another scope.
#[derive(Session)]
#[session(scope = "second")]
struct Second {
    #[session(identity)]
    user_id: Option<u32>,
}

#[get("/")]
fn second(user: LoggedIn<Second>) -> String {
    user.identity().to_string()
}

async fn launch<T: SessionData>(store: Spy, clock: Arc<ManualClock>, config: Config, routes: Vec<Route>) -> Client {
    let fairing = Session::<T>::fairing().config(config).clock(clock).store(store);
    let rocket = logs::rocket(rocket::Config::figment().merge(("log_level", "off")));
    Client::untracked(rocket.attach(fairing).mount("/", routes)).await.unwrap()
}

async fn status(client: &Client, cookie: &Cookie<'static>) -> Status {
    client.get("/").cookie(cookie.clone()).dispatch().await.status()
}

#[rocket::async_test]
async fn a_7_1_2_the_launch_logs_the_limit_of_sessions_and_what_a_login_over_it_does() {
    for (when_full, word) in [(WhenFull::EndOldest, "end oldest"), (WhenFull::RefuseLogin, "refuse login")] {
        let clock = Arc::new(ManualClock::default());
        let config = Config::new().max_sessions(11).when_full(when_full);
        launch::<First>(Spy::new(clock.clone()), clock, config, routes![first]).await;
        let logged = logs::containing(&format!("at most 11 for each user, when full {word}"));
        assert!(!logged.is_empty(), "{:?}", logs::containing("session type `First`"));
    }
}

#[rocket::async_test]
async fn a_7_4_5_a_release_with_another_scope_ends_the_sessions_of_all_users() {
    let clock = Arc::new(ManualClock::default());
    let store = Spy::new(clock.clone());
    let old = launch::<First>(store.clone(), clock.clone(), Config::new(), routes![first]).await;
    let new = launch::<Second>(store, clock, Config::new(), routes![second]).await;
    for user in [7, 8] {
        let cookie = old.set_session::<First>(move |session| session.set_user_id(user)).await.unwrap();
        assert_eq!(status(&old, &cookie).await, Status::Ok);
        assert_eq!(status(&new, &cookie).await, Status::Unauthorized);
    }
}

#[rocket::async_test]
async fn a_7_6_1_a_session_ends_with_the_limit_or_the_logout_of_its_identity_provider() {
    let clock = Arc::new(ManualClock::default());
    let config = Config::new().refresh(Refresh::Always);
    let client = launch::<First>(Spy::new(clock.clone()), clock.clone(), config, routes![first]).await;
    let mut cookies = Vec::new();
    for provider_session in ["a", "b"] {
        let cookie = client.set_session::<First>(move |session| {
            session.set_user_id(7);
            session.set_provider_session(provider_session);
            session.set_max_lifetime(Some(HOUR));
        });
        cookies.push(cookie.await.unwrap());
    }
    // The provider reports a logout.
    let sessions = Sessions::<First>::of(client.rocket()).unwrap();
    let listed = sessions.list(&7).await.unwrap();
    let listing = listed.iter().find(|listing| listing.data.provider_session == "a").unwrap();
    assert_eq!(sessions.revoke(&7, &listing.handle).await.unwrap(), 1);
    assert_eq!(status(&client, &cookies[0]).await, Status::Unauthorized);
    // The provider requires a new login after an hour, however active the user is.
    for _ in 0..59 {
        clock.advance(HOUR / 60);
        assert_eq!(status(&client, &cookies[1]).await, Status::Ok);
    }
    clock.advance(HOUR / 60);
    assert_eq!(status(&client, &cookies[1]).await, Status::Unauthorized);
}
