//! The helpers for tests of a site.

use std::sync::Arc;

use rocket::http::Header;
use rocket::local::{asynchronous, blocking};
use rocket::{Build, Rocket};
use session_rocket::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use session_rocket::sqlx::{self, SqlitePool};
use session_rocket::testing::{AsyncClientExt, ClientExt, isolated};
use session_rocket::{Config, ManualClock, Session, SessionFairing, Transport};
use session_rocket_tests::logs;
use session_rocket_tests::spy::Spy;

use super::site::{Account, SEALED, rocket};

/// The site under test, with its sessions in memory.
fn site() -> Rocket<Build> {
    isolated(rocket().attach(Session::<Account>::fairing()))
}

#[test]
fn a_test_sets_and_reads_the_session_of_a_blocking_client_that_tracks_cookies() {
    let client = blocking::Client::tracked(site()).expect("the site launches");
    assert_eq!(client.session::<Account>().user_id, None);
    let cookie = client.set_session::<Account>(|session| {
        session.set_user_id(7);
        session.set_device("phone");
    });
    assert!(cookie.is_some());
    assert_eq!(client.get("/show").dispatch().into_string().as_deref(), Some("7|phone|0"));
    client.get("/count").dispatch();
    let account = client.session::<Account>();
    assert_eq!((account.user_id, account.device.as_deref(), account.count), (Some(7), Some("phone"), 1));
    assert_eq!(client.set_session::<Account>(|session| session.set_count(5)), None, "the cookie stays the same");
    assert_eq!(client.get("/show").dispatch().into_string().as_deref(), Some("7|phone|5"));
    client.get("/logout").dispatch();
    assert_eq!(client.session::<Account>().user_id, None);
}

#[test]
fn a_test_adds_the_cookie_to_the_requests_of_a_blocking_client_that_does_not_track_cookies() {
    let client = blocking::Client::untracked(site()).expect("the site launches");
    let cookie = client.set_session::<Account>(|session| session.set_user_id(7)).expect("the session is new");
    let shown = client.get("/home").cookie(cookie).dispatch().into_string();
    assert_eq!(shown.as_deref(), Some("user 7"));
    assert_eq!(client.get("/home").dispatch().into_string().as_deref(), Some("log in first"));
    assert_eq!(client.session::<Account>().user_id, None);
}

#[rocket::async_test]
async fn a_test_sets_and_reads_the_session_of_an_asynchronous_client() {
    let client = asynchronous::Client::tracked(site()).await.expect("the site launches");
    assert_eq!(client.session::<Account>().await.user_id, None);
    assert!(client.set_session::<Account>(|session| session.set_user_id(7)).await.is_some());
    assert_eq!(client.get("/home").dispatch().await.into_string().await.as_deref(), Some("user 7"));
    client.get("/count").dispatch().await;
    let account = client.session::<Account>().await;
    assert_eq!((account.user_id, account.count), (Some(7), 1));

    let client = asynchronous::Client::untracked(site()).await.expect("the site launches");
    let cookie = client.set_session::<Account>(|session| session.set_user_id(8)).await.expect("the session is new");
    let shown = client.get("/home").cookie(cookie).dispatch().await.into_string().await;
    assert_eq!(shown.as_deref(), Some("user 8"));
    assert_eq!(client.session::<Account>().await.user_id, None);
}

#[test]
fn a_session_in_a_sealed_cookie_can_be_set_and_read() {
    let sealed = Session::<Account>::fairing().config(Config::new().store(SEALED));
    let client = blocking::Client::tracked(isolated(rocket().attach(sealed))).expect("the site launches");
    assert!(client.set_session::<Account>(|session| session.set_user_id(7)).is_some());
    client.get("/count").dispatch();
    let account = client.session::<Account>();
    assert_eq!((account.user_id, account.count), (Some(7), 1));
}

#[test]
fn two_isolated_sites_do_not_share_sessions() {
    let build = || isolated(isolated(rocket().attach(Session::<Account>::fairing())));
    let first = blocking::Client::untracked(build()).expect("the site launches");
    let second = blocking::Client::untracked(build()).expect("the site launches");
    let cookie = first.set_session::<Account>(|session| session.set_user_id(7)).expect("the session is new");
    assert_eq!(first.get("/home").cookie(cookie.clone()).dispatch().into_string().as_deref(), Some("user 7"));
    assert_eq!(second.get("/home").cookie(cookie).dispatch().into_string().as_deref(), Some("log in first"));
}

#[test]
fn an_isolated_site_uses_neither_the_store_nor_the_cache_that_is_set_in_code() {
    let store = Spy::new(Arc::new(ManualClock::default()));
    // No server listens on this port, so a launch with this cache logs a warning.
    let config = Config::new().cache("redis://127.0.0.1:1");
    let fairing = Session::<Account>::fairing().config(config).store(store.clone());
    let client = blocking::Client::tracked(isolated(rocket().attach(fairing))).expect("the site launches");
    client.set_session::<Account>(|session| session.set_user_id(7));
    assert_eq!(client.session::<Account>().user_id, Some(7));
    assert_eq!((store.creates(), store.take_writes(), store.take_loads()), (0, 0, 0));
    assert!(logs::containing("cannot open `cache`").is_empty());
}

#[test]
fn an_isolated_site_does_not_open_the_store_of_its_configuration() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let file = directory.path().join("sessions.db");
    let config = Config::new().store(format!("sqlite://{}", file.display()));
    let site = rocket().attach(Session::<Account>::fairing().config(config));
    let client = blocking::Client::tracked(isolated(site)).expect("the site launches");
    client.set_session::<Account>(|session| session.set_user_id(7));
    assert!(!file.exists());
}

#[rocket::async_test]
async fn an_isolated_site_does_not_use_the_pool_of_the_application() {
    let fairings: [fn(SqlitePool) -> SessionFairing<Account>; 2] =
        [|pool| Session::<Account>::fairing().pool(pool), |pool| Session::<Account>::fairing().shared_pool(pool)];
    for fairing in fairings {
        let directory = tempfile::tempdir().expect("a directory can be created");
        let connect = SqliteConnectOptions::new().filename(directory.path().join("site.db")).create_if_missing(true);
        let pool = SqlitePoolOptions::new().connect_with(connect).await.expect("the pool opens");
        let site = isolated(rocket().attach(fairing(pool.clone())));
        let client = asynchronous::Client::tracked(site).await.expect("the site launches");
        client.set_session::<Account>(|session| session.set_user_id(7)).await;
        assert_eq!(client.session::<Account>().await.user_id, Some(7));
        let tables: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master").fetch_one(&pool).await.expect("it is SQL");
        assert_eq!(tables, 0);
    }
}

#[test]
#[should_panic(expected = "did not run: is it attached?")]
fn a_session_type_without_its_fairing_panics_with_advice() {
    let client = blocking::Client::untracked(logs::rocket(rocket::Config::figment())).expect("the site launches");
    client.set_session::<Account>(|session| session.set_user_id(7));
}

#[test]
#[should_panic(expected = "cannot load or save a session of type `Account`")]
fn a_session_that_cannot_be_saved_panics() {
    let store = Spy::new(Arc::new(ManualClock::default()));
    store.fail_writes(true);
    let fairing = Session::<Account>::fairing().store(store);
    let client = blocking::Client::untracked(rocket().attach(fairing)).expect("the site launches");
    client.set_session::<Account>(|session| session.set_user_id(7));
}

#[test]
fn a_bearer_token_is_the_value_of_the_cookie_that_the_helper_returns() {
    let fairing = Session::<Account>::fairing().config(Config::new().transport(Transport::CookieOrBearer));
    let client = blocking::Client::untracked(isolated(rocket().attach(fairing))).expect("the site launches");
    let cookie = client.set_session::<Account>(|session| session.set_user_id(7)).expect("the session is new");
    let token = Header::new("Authorization", format!("Bearer {}", cookie.value()));
    assert_eq!(client.get("/home").header(token).dispatch().into_string().as_deref(), Some("user 7"));
}

#[test]
#[should_panic(expected = "session type `Account` has `transport = \"bearer\"`")]
fn the_helpers_panic_if_a_session_is_never_in_a_cookie() {
    let fairing = Session::<Account>::fairing().config(Config::new().transport(Transport::Bearer));
    let client = blocking::Client::untracked(isolated(rocket().attach(fairing))).expect("the site launches");
    client.set_session::<Account>(|session| session.set_user_id(7));
}
