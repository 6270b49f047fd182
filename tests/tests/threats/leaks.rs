//! What must not get out: into logs, URLs, caches, and other visitors' pages.

use std::sync::Arc;

use rocket::http::Status;
use session_rocket::{Config, ManualClock};
use session_rocket_tests::browser::Browser;
use session_rocket_tests::logs;
use session_rocket_tests::spy::Spy;

use super::site::{DAY, STRANGER, Site, launch, sealed, value};

#[rocket::async_test]
async fn a_14_headers_of_every_kind_of_request() {
    let site = Site::new(Config::new().refresh(session_rocket::Refresh::Share(0.1))).await;
    let mut browser = Browser::default();
    // Path, and whether the response sets the cookie, may be stored, and depends on the cookie.
    for (path, sets, stored, varies) in [
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
        let answer = site.get(&mut browser, path).await;
        let seen = (answer.set_cookie().is_some(), answer.one("cache-control").is_none(), answer.one("vary").is_some());
        assert_eq!(seen, (sets, stored, varies), "{path}");
        assert_eq!(answer.one("location"), None);
    }
}

#[rocket::async_test]
async fn a_16_a_whole_visit_leaves_no_secret_in_the_log() {
    for site in [Site::new(Config::new()).await, Site::configured(sealed("cookie+encrypted:")).await] {
        let mut browser = Browser::default();
        let mut secrets = vec![super::site::KEY.to_owned(), "marmalade".to_owned()];
        for path in ["/name/marmalade", "/count", "/token", "/login/7", "/debug", "/show"] {
            let answer = site.get(&mut browser, path).await;
            secrets.push(value(&browser));
            if path == "/token" {
                secrets.push(answer.body);
            }
        }
        site.get(&mut browser, "/logout").await;
        for secret in secrets {
            let ours = logs::with(&secret).into_iter().filter(|line| line.contains("session_rocket"));
            assert_eq!(ours.collect::<Vec<_>>(), Vec::<String>::new());
        }
    }
}

#[rocket::async_test]
async fn b_24_a_form_token_is_bound_to_the_session_and_ends_with_the_login() {
    for site in [Site::new(Config::new()).await, Site::configured(sealed("cookie+signed:")).await] {
        let (mut browser, mut eve) = (Browser::default(), Browser::default());
        let token = site.get(&mut browser, "/token").await.body;
        let eves = site.get(&mut eve, "/token").await.body;
        assert_eq!(site.post(&browser, &token).await, Status::Ok);
        assert_eq!(site.post(&browser, &eves).await, Status::Forbidden);
        assert_eq!(site.post(&browser, "").await, Status::Forbidden);
        site.get(&mut browser, "/login/7").await;
        assert_eq!(site.post(&browser, &token).await, Status::Forbidden);
        let token = site.get(&mut browser, "/token").await.body;
        assert_eq!(site.post(&browser, &token).await, Status::Ok);
    }
}

#[rocket::async_test]
async fn b_25_ids_do_not_reach_the_log_even_when_things_fail() {
    let site = Site::new(Config::new()).await;
    let mut browser = site.user(7).await;
    let id = value(&browser);
    site.spy.fail_writes(true);
    assert_eq!(site.get(&mut browser, "/count").await.status, Status::ServiceUnavailable);
    site.spy.fail_loads(true);
    assert_eq!(site.get(&mut browser, "/show").await.status, Status::ServiceUnavailable);
    assert!(!logs::with("cannot load a session of type `Visitor`").is_empty());
    let told: Vec<_> = logs::with(&id).into_iter().filter(|line| line.contains("session_rocket")).collect();
    assert!(told.is_empty(), "{told:?}");
}

#[rocket::async_test]
async fn b_30_a_thousand_visitors_at_once_see_their_own() {
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
    let different: std::collections::HashSet<_> = cookies.iter().collect();
    assert_eq!(different.len(), 1000);
}

#[rocket::async_test]
async fn b_38_an_outage_is_never_an_empty_session() {
    let clock = Arc::new(ManualClock::default());
    let spy = Spy::new(clock.clone());
    let client = launch(Config::new(), clock, Some(spy.clone())).await;
    let mut browser = Browser::default();
    browser.get(&client, "/login/7").await;
    let before = browser.cookie.clone();
    spy.fail_loads(true);
    spy.writes();
    for path in ["/show", "/count", "/name/eve", "/login/8", "/logout", "/token"] {
        let answer = browser.get(&client, path).await;
        assert_eq!((answer.status, answer.set_cookie()), (Status::ServiceUnavailable, None), "{path}");
        assert_ne!(answer.body, STRANGER);
    }
    assert_eq!((spy.writes(), &browser.cookie), (0, &before));
    spy.fail_loads(false);
    assert_eq!(browser.get(&client, "/show").await.body, "7 0 ");
}
