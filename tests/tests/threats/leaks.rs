//! Ids and values must not leak into logs, URLs, caches or other visitors' pages.

use std::sync::Arc;

use rocket::http::Status;
use session_rocket::{Config, ManualClock};
use session_rocket_tests::browser::Browser;
use session_rocket_tests::logs;
use session_rocket_tests::spy::Spy;

use super::site::{DAY, STRANGER, Site, launch, sealed, value};

#[rocket::async_test]
async fn a_14_responses_that_set_the_cookie_are_not_stored_and_those_that_read_it_vary() {
    let site = Site::new(Config::new().refresh(session_rocket::Refresh::Share(0.1))).await;
    let mut browser = Browser::default();
    // The path, and whether the response sets the cookie, may be cached, and has `Vary: Cookie`.
    for (path, sets_cookie, may_be_cached, varies) in [
        ("/plain", false, true, false),
        ("/show", false, true, true),
        ("/count", true, false, true),
        ("/show", false, true, true),
        ("/login/7", true, false, true),
        ("renewed", true, false, true),
        ("/logout", true, false, true),
        ("/show", false, true, true),
    ] {
        let path = if path == "renewed" {
            site.clock.advance(DAY * 7);
            "/show"
        } else {
            path
        };
        let response = site.get(&mut browser, path).await;
        let actual = (
            response.set_cookie().is_some(),
            response.header("cache-control").is_none(),
            response.header("vary").is_some(),
        );
        assert_eq!(actual, (sets_cookie, may_be_cached, varies), "{path}");
        assert_eq!(response.header("location"), None);
    }
}

#[rocket::async_test]
async fn a_16_the_log_of_a_whole_visit_contains_no_secret() {
    for site in [Site::new(Config::new()).await, Site::configured(sealed("cookie+encrypted:")).await] {
        let mut browser = Browser::default();
        let mut secrets = vec![super::site::KEY.to_owned(), "marmalade".to_owned()];
        for path in ["/name/marmalade", "/count", "/token", "/login/7", "/debug", "/show"] {
            let response = site.get(&mut browser, path).await;
            secrets.push(value(&browser));
            if path == "/token" {
                secrets.push(response.body);
            }
        }
        site.get(&mut browser, "/logout").await;
        for secret in secrets {
            let lines = logs::containing(&secret).into_iter().filter(|line| line.contains("session_rocket"));
            assert_eq!(lines.collect::<Vec<_>>(), Vec::<String>::new());
        }
    }
}

#[rocket::async_test]
async fn b_24_a_csrf_token_belongs_to_one_session_and_becomes_invalid_at_login() {
    for site in [Site::new(Config::new()).await, Site::configured(sealed("cookie+signed:")).await] {
        let (mut browser, mut eve) = (Browser::default(), Browser::default());
        let token = site.get(&mut browser, "/token").await.body;
        let token_of_eve = site.get(&mut eve, "/token").await.body;
        assert_eq!(site.post(&browser, &token).await, Status::Ok);
        assert_eq!(site.post(&browser, &token_of_eve).await, Status::Forbidden);
        assert_eq!(site.post(&browser, "").await, Status::Forbidden);
        site.get(&mut browser, "/login/7").await;
        assert_eq!(site.post(&browser, &token).await, Status::Forbidden);
        let token = site.get(&mut browser, "/token").await.body;
        assert_eq!(site.post(&browser, &token).await, Status::Ok);
    }
}

#[rocket::async_test]
async fn b_25_failures_log_no_id() {
    let site = Site::new(Config::new()).await;
    let mut browser = site.user(7).await;
    let id = value(&browser);
    site.spy.fail_writes(true);
    assert_eq!(site.get(&mut browser, "/count").await.status, Status::ServiceUnavailable);
    site.spy.fail_loads(true);
    assert_eq!(site.get(&mut browser, "/show").await.status, Status::ServiceUnavailable);
    assert!(!logs::containing("cannot load a session of type `Visitor`").is_empty());
    let lines: Vec<_> = logs::containing(&id).into_iter().filter(|line| line.contains("session_rocket")).collect();
    assert!(lines.is_empty(), "{lines:?}");
}

#[rocket::async_test]
async fn b_30_a_thousand_concurrent_visitors_see_their_own_sessions() {
    let site = Site::new(Config::new()).await;
    let visits = (0..1000_u32).map(|n| {
        let site = &site;
        async move {
            let mut browser = Browser::default();
            for path in [format!("/name/n{n}"), "/count".into(), format!("/login/{n}"), "/plain".into()] {
                site.get(&mut browser, &path).await;
            }
            assert_eq!(site.get(&mut browser, "/show").await.body, format!("{n} 1 n{n}"));
            browser.cookie.unwrap()
        }
    });
    let cookies = rocket::futures::future::join_all(visits).await;
    let distinct: std::collections::HashSet<_> = cookies.iter().collect();
    assert_eq!(distinct.len(), 1000);
}

#[rocket::async_test]
async fn b_38_an_outage_is_503_instead_of_an_empty_session() {
    let clock = Arc::new(ManualClock::default());
    let spy = Spy::new(clock.clone());
    let client = launch(Config::new(), clock, Some(spy.clone())).await;
    let mut browser = Browser::default();
    browser.get(&client, "/login/7").await;
    let before = browser.cookie.clone();
    spy.fail_loads(true);
    spy.take_writes();
    for path in ["/show", "/count", "/name/eve", "/login/8", "/logout", "/token"] {
        let response = browser.get(&client, path).await;
        assert_eq!((response.status, response.set_cookie()), (Status::ServiceUnavailable, None), "{path}");
        assert_ne!(response.body, STRANGER);
    }
    assert_eq!((spy.take_writes(), &browser.cookie), (0, &before));
    spy.fail_loads(false);
    assert_eq!(browser.get(&client, "/show").await.body, "7 0 ");
}
