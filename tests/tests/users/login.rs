//! The guards `LoggedIn` and `RecentLogin`.

use std::time::Duration;

use rocket::http::Status;
use session_rocket::{Error, ErrorKind, LoggedIn, LoginError, RecentLogin, Session, Sessions, Transport};
use session_rocket_tests::browser::over;
use session_rocket_tests::over_both_transports;

use super::site::{Account, Site, memory, memory_and_sealed, rocket};

over_both_transports! {
    a_route_for_users_forwards_visitors_to_the_route_of_the_next_rank
    a_visitor_of_a_route_for_users_gets_401
    a_route_for_users_reads_and_changes_their_session
    a_store_that_fails_is_503_for_users_and_visitors
    a_login_is_recent_until_its_seconds_have_passed_exactly
    a_route_for_recent_logins_gives_visitors_401
    setting_the_same_identity_again_makes_the_login_recent_and_keeps_the_data
    saving_or_rotating_a_session_does_not_make_its_login_recent
    a_catcher_does_not_see_the_user_that_the_handler_logged_out
}

async fn a_route_for_users_forwards_visitors_to_the_route_of_the_next_rank(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = Site::new(config).await;
        let mut browser = site.browser("/device/phone").await;
        assert_eq!(site.text(&mut browser, "/home").await, "log in first");
        site.text(&mut browser, "/login/7").await;
        assert_eq!(site.text(&mut browser, "/home").await, "user 7");
        site.text(&mut browser, "/logout").await;
        assert_eq!(site.text(&mut browser, "/home").await, "log in first");
    }
}

async fn a_visitor_of_a_route_for_users_gets_401(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = Site::new(config).await;
        let mut stranger = site.stranger();
        let response = site.get(&mut stranger, "/private").await;
        assert_eq!((response.status, response.new_id()), (Status::Unauthorized, None));
        let mut visitor = site.browser("/device/phone").await;
        assert_eq!(site.get(&mut visitor, "/private").await.status, Status::Unauthorized);
        assert_eq!(site.text(&mut visitor, "/show").await, "nobody|phone|0");
    }
}

async fn a_route_for_users_reads_and_changes_their_session(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = Site::new(config).await;
        let mut browser = site.user(7, "phone").await;
        let since = site.clock_millis();
        site.clock.advance(Duration::from_secs(60));
        assert_eq!(site.text(&mut browser, "/private").await, format!("user 7 since {since}"));
        assert_eq!(site.text(&mut browser, "/show").await, "7|phone|1");
    }
}

async fn a_store_that_fails_is_503_for_users_and_visitors(transport: Transport) {
    let (site, store) = Site::spied(over(transport, memory())).await;
    let browsers = [site.user(7, "phone").await, site.browser("/device/phone").await];
    store.fail_loads(true);
    for browser in browsers {
        for path in ["/home", "/private", "/recent"] {
            let response = browser.send(&site.client, path).await;
            assert_eq!((response.status, response.new_id()), (Status::ServiceUnavailable, None), "{path}");
        }
        assert_eq!(browser.send(&site.client, "/why").await.body, "Unavailable");
    }
}

async fn a_login_is_recent_until_its_seconds_have_passed_exactly(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = Site::new(config).await;
        let browser = site.user(7, "phone").await;
        site.clock.advance(Duration::from_secs(300));
        let response = browser.send(&site.client, "/recent").await;
        assert_eq!((response.status, response.body.as_str()), (Status::Ok, "user 7"));
        assert_eq!(browser.send(&site.client, "/why").await.body, "user 7");
        site.clock.advance(Duration::from_millis(1));
        assert_eq!(browser.send(&site.client, "/recent").await.status, Status::Forbidden);
        assert_eq!(browser.send(&site.client, "/why").await.body, "the user authenticated too long ago");
        assert_eq!(browser.send(&site.client, "/home").await.body, "user 7");
    }
}

async fn a_route_for_recent_logins_gives_visitors_401(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = Site::new(config).await;
        for browser in [site.stranger(), site.browser("/device/phone").await] {
            assert_eq!(browser.send(&site.client, "/recent").await.status, Status::Unauthorized);
            assert_eq!(browser.send(&site.client, "/why").await.body, "nobody is logged in");
        }
    }
}

async fn setting_the_same_identity_again_makes_the_login_recent_and_keeps_the_data(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = Site::new(config).await;
        let mut browser = site.user(7, "phone").await;
        let old = browser.clone();
        site.clock.advance(Duration::from_secs(301));
        assert_eq!(site.get(&mut browser, "/recent").await.status, Status::Forbidden);
        site.text(&mut browser, "/login/7").await;
        assert_ne!(browser.cookie, old.cookie);
        assert_eq!(site.text(&mut browser, "/recent").await, "user 7");
        assert_eq!(site.text(&mut browser, "/show").await, "7|phone|0");
    }
    let site = Site::new(over(transport, memory())).await;
    let mut browser = site.user(7, "phone").await;
    let old = browser.clone();
    site.text(&mut browser, "/login/7").await;
    assert_eq!(old.send(&site.client, "/private").await.status, Status::Unauthorized, "the old id is still valid");
}

async fn saving_or_rotating_a_session_does_not_make_its_login_recent(transport: Transport) {
    let site = Site::new(over(transport, memory())).await;
    let mut browser = site.user(7, "phone").await;
    site.clock.advance(Duration::from_secs(301));
    for path in ["/count", "/rotate"] {
        site.text(&mut browser, path).await;
        assert_eq!(site.get(&mut browser, "/recent").await.status, Status::Forbidden, "{path}");
    }
}

async fn a_catcher_does_not_see_the_user_that_the_handler_logged_out(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = Site::new(config).await;
        let mut browser = site.user(7, "phone").await;
        let response = site.get(&mut browser, "/missing").await;
        assert_eq!((response.status, response.body.as_str()), (Status::NotFound, "not found, user 7"));
        let response = site.get(&mut browser, "/logout-and-forward").await;
        assert_eq!((response.status, response.body.as_str()), (Status::NotFound, "not found, nobody"));
        assert!(browser.has_no_cookie());
    }
}

#[rocket::get("/debug")]
async fn debug(user: LoggedIn<Account>, recent: RecentLogin<Account, 300>, sessions: Sessions<Account>) -> String {
    let listed = sessions.list(&7).await.expect("the store lists sessions");
    format!("{user:?} {recent:?} {sessions:?} {listed:?}")
}

#[rocket::async_test]
async fn debug_of_the_guards_hides_the_values_of_the_session() {
    let fairing = Session::<Account>::fairing().config(memory());
    let site = Site::launch(rocket().mount("/", rocket::routes![debug]), fairing, Default::default()).await;
    let mut browser = site.user(7, "phone").await;
    let shown = site.text(&mut browser, "/debug").await;
    for name in ["LoggedIn(", "RecentLogin(", "Sessions {", "Listing {"] {
        assert!(shown.contains(name), "{name} {shown}");
    }
    assert!(!shown.contains("phone"), "{shown}");
}

#[test]
fn a_login_error_has_the_error_of_the_session_as_its_source() {
    let error = LoginError::Session(Error::new(ErrorKind::Unavailable, "the store is down"));
    let source = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!((error.to_string().as_str(), source.as_deref()), ("cannot load the session", Some("the store is down")));
    assert!(std::error::Error::source(&LoginError::NotLoggedIn).is_none());
}
