//! `max_sessions` and `when_full`.

use std::time::Duration;

use rocket::http::Status;
use session_rocket::{Config, Transport, WhenFull};
use session_rocket_tests::browser::{Browser, over};
use session_rocket_tests::over_both_transports;

use super::site::{Site, memory};

over_both_transports! {
    a_login_over_the_limit_ends_the_session_whose_login_is_longest_ago
    a_limit_of_one_leaves_only_the_latest_login
    a_lowered_limit_ends_all_surplus_sessions_at_the_next_login
    a_user_who_logs_in_again_on_a_device_keeps_all_sessions
    a_login_over_the_limit_is_refused_until_a_session_ends
    an_expired_session_does_not_count
    a_refused_login_leaves_the_visitors_session_unchanged
    a_refused_switch_of_the_user_leaves_the_old_user_logged_in
    a_login_that_cannot_count_the_sessions_fails_and_leaves_no_session
}

fn at_most(transport: Transport, max: u32, when_full: WhenFull) -> Config {
    over(transport, memory()).max_sessions(max).when_full(when_full)
}

impl Site {
    /// Logs a user in on several devices, a second apart.
    async fn users(&self, user: i64, devices: &[&str]) -> Vec<Browser> {
        let mut browsers = Vec::new();
        for device in devices {
            self.clock.advance(Duration::from_secs(1));
            browsers.push(self.user(user, device).await);
        }
        self.clock.advance(Duration::from_secs(1));
        browsers
    }

    /// Asserts that this login is refused without a cookie.
    async fn assert_refused(&self, browser: &mut Browser, path: &str) {
        let response = self.get(browser, path).await;
        assert_eq!((response.status, response.new_id()), (Status::Conflict, None));
    }
}

async fn a_login_over_the_limit_ends_the_session_whose_login_is_longest_ago(transport: Transport) {
    let site = Site::new(at_most(transport, 2, WhenFull::EndOldest)).await;
    let mut stranger = site.user(8, "other").await;
    let mut browsers = site.users(7, &["a", "b"]).await;
    // Neither a save nor a new id makes a login newer.
    site.text(&mut browsers[0], "/count").await;
    site.text(&mut browsers[0], "/rotate").await;
    let mut third = site.user(7, "c").await;
    assert_eq!(site.devices(7).await, ["c", "b"]);
    assert_eq!(site.get(&mut browsers[0], "/private").await.status, Status::Unauthorized);
    assert_eq!(site.text(&mut browsers[1], "/show").await, "7|b|0");
    assert_eq!(site.text(&mut third, "/show").await, "7|c|0");
    assert_eq!(site.text(&mut stranger, "/show").await, "8|other|0");
}

async fn a_limit_of_one_leaves_only_the_latest_login(transport: Transport) {
    let site = Site::new(at_most(transport, 1, WhenFull::EndOldest)).await;
    let devices: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    site.users(7, &devices.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(site.devices(7).await, ["9"]);
}

async fn a_lowered_limit_ends_all_surplus_sessions_at_the_next_login(transport: Transport) {
    let (site, store) = Site::spied(over(transport, memory())).await;
    site.users(7, &["a", "b", "c", "d"]).await;
    let config = at_most(transport, 2, WhenFull::EndOldest);
    let clock = site.clock.clone();
    let limited = Site::with(|_| {
        session_rocket::Session::<super::site::Account>::fairing().config(config).store(store).clock(clock)
    })
    .await
    .over(transport);
    assert_eq!(limited.devices(7).await.len(), 4);
    limited.user(7, "e").await;
    assert_eq!(limited.devices(7).await, ["e", "d"]);
}

async fn a_user_who_logs_in_again_on_a_device_keeps_all_sessions(transport: Transport) {
    for when_full in [WhenFull::EndOldest, WhenFull::RefuseLogin] {
        let site = Site::new(at_most(transport, 2, when_full)).await;
        let mut browsers = site.users(7, &["a", "b"]).await;
        for path in ["/login/7", "/login/7"] {
            site.text(&mut browsers[0], path).await;
        }
        assert_eq!(site.devices(7).await, ["a", "b"]);
        assert_eq!(site.text(&mut browsers[0], "/show").await, "7|a|0");
        assert_eq!(site.text(&mut browsers[1], "/show").await, "7|b|0");
    }
}

async fn a_login_over_the_limit_is_refused_until_a_session_ends(transport: Transport) {
    let site = Site::new(at_most(transport, 2, WhenFull::RefuseLogin)).await;
    let mut browsers = site.users(7, &["a", "b"]).await;
    let mut third = site.stranger();
    site.assert_refused(&mut third, "/login/7").await;
    assert_eq!(site.devices(7).await, ["b", "a"]);
    site.text(&mut site.stranger(), "/login/8").await;
    site.text(&mut browsers[0], "/logout").await;
    site.text(&mut third, "/login/7").await;
    site.assert_refused(&mut browsers[0], "/login/7").await;
}

async fn an_expired_session_does_not_count(transport: Transport) {
    let site = Site::new(at_most(transport, 2, WhenFull::RefuseLogin)).await;
    site.users(7, &["a", "b"]).await;
    site.clock.advance(Duration::from_secs(15 * 86_400));
    site.users(7, &["c", "d"]).await;
    site.assert_refused(&mut site.stranger(), "/login/7").await;
}

async fn a_refused_login_leaves_the_visitors_session_unchanged(transport: Transport) {
    let site = Site::new(at_most(transport, 1, WhenFull::RefuseLogin)).await;
    site.users(7, &["a"]).await;
    let mut visitor = site.browser("/device/phone").await;
    let before = visitor.cookie.clone();
    site.assert_refused(&mut visitor, "/login/7").await;
    assert_eq!(site.text(&mut visitor, "/show").await, "nobody|phone|0");
    site.text(&mut visitor, "/count").await;
    assert_eq!(site.text(&mut visitor, "/show").await, "nobody|phone|1");
    assert_eq!(visitor.cookie, before);
    assert_eq!(site.devices(7).await, ["a"]);
}

async fn a_refused_switch_of_the_user_leaves_the_old_user_logged_in(transport: Transport) {
    let site = Site::new(at_most(transport, 1, WhenFull::RefuseLogin)).await;
    site.users(7, &["a"]).await;
    let mut other = site.user(8, "b").await;
    let before = other.cookie.clone();
    site.assert_refused(&mut other, "/login/7").await;
    assert_eq!(other.cookie, before);
    assert_eq!(site.text(&mut other, "/show").await, "8|b|0");
    assert_eq!((site.devices(7).await, site.devices(8).await), (vec!["a".to_owned()], vec!["b".to_owned()]));
}

async fn a_login_that_cannot_count_the_sessions_fails_and_leaves_no_session(transport: Transport) {
    let (site, store) = Site::spied(at_most(transport, 2, WhenFull::EndOldest)).await;
    site.users(7, &["a", "b"]).await;
    store.fail_loads(true);
    let response = site.get(&mut site.stranger(), "/login/7").await;
    assert_eq!((response.status, response.new_id()), (Status::ServiceUnavailable, None));
    store.fail_loads(false);
    assert_eq!(site.devices(7).await, ["b", "a"]);
}
