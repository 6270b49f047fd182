//! The settings `partitioned`, `clear_site_data` and `cookie_name`, in the responses of a site.

use std::sync::Arc;

use rocket::http::{SameSite, Status};
use rocket::local::asynchronous::Client;
use rocket::{get, routes};
use session_rocket::{Config, Error, ManualClock, Session};
use session_rocket_tests::browser::{Browser, Response};
use session_rocket_tests::logs;
use session_rocket_tests::spy::Spy;

const STORAGE: Option<&str> = Some("\"storage\"");

#[derive(Session)]
struct Account {
    #[session(identity)]
    user_id: Option<u64>,
    notice: Option<String>,
}

#[get("/login/<user>")]
fn login(session: Session<Account>, user: u64) {
    session.set_user_id(user);
}

#[get("/logout")]
fn logout(session: Session<Account>) {
    session.flush();
}

#[get("/logout-with-notice")]
fn logout_with_notice(session: Session<Account>) {
    session.flush();
    session.set_notice("Goodbye!");
}

#[get("/saved-logout")]
async fn saved_logout(session: Session<Account>) -> Result<(), Error> {
    session.flush();
    session.save().await
}

#[get("/forget")]
fn forget(session: Session<Account>) {
    session.delete_user_id();
}

#[get("/clear")]
fn clear(session: Session<Account>) {
    session.clear();
}

#[get("/failed-logout")]
fn failed_logout(session: Session<Account>) -> Status {
    session.flush();
    Status::InternalServerError
}

#[get("/rotate")]
fn rotate(session: Session<Account>) {
    session.cycle_id();
}

#[get("/notice")]
fn notice(session: Session<Account>) {
    session.set_notice("Hello!");
}

async fn site(config: Config) -> (Client, Spy) {
    let clock = Arc::new(ManualClock::default());
    let store = Spy::new(clock.clone());
    let is_sealed = config.is_sealed();
    let fairing = Session::<Account>::fairing().config(config).clock(clock);
    let fairing = if is_sealed { fairing } else { fairing.store(store.clone()) };
    let routes = routes![login, logout, logout_with_notice, saved_logout, forget, clear, failed_logout, rotate, notice];
    let rocket = logs::rocket(rocket::Config::figment().merge(("log_level", "off"))).mount("/", routes);
    (Client::untracked(rocket.attach(fairing)).await.expect("the site launches"), store)
}

fn cleared(response: &Response) -> Option<&str> {
    response.header("clear-site-data")
}

/// Logs in with a new browser and returns it.
async fn user(client: &Client) -> Browser {
    let mut browser = Browser::default();
    let response = browser.get(client, "/login/7").await;
    assert_eq!(cleared(&response), None, "a login clears the storage");
    browser
}

#[rocket::async_test]
async fn each_response_that_logs_a_user_out_clears_the_storage() {
    for store in ["memory:", "cookie+encrypted:"] {
        let (client, _) = site(Config::new().store(store).clear_site_data(true)).await;
        for path in ["/logout", "/logout-with-notice", "/saved-logout", "/forget", "/clear", "/failed-logout"] {
            let response = user(&client).await.send(&client, path).await;
            assert_eq!((cleared(&response), response.header("cache-control")), (STORAGE, Some("no-store")), "{path}");
        }
    }
}

#[rocket::async_test]
async fn only_a_logout_clears_the_storage() {
    for store in ["memory:", "cookie+encrypted:"] {
        let (client, _) = site(Config::new().store(store).clear_site_data(true)).await;
        for path in ["/login/7", "/login/8", "/rotate", "/notice"] {
            assert_eq!(cleared(&user(&client).await.send(&client, path).await), None, "{path}");
        }
        // Nobody is logged in.
        for path in ["/logout", "/forget", "/clear", "/notice"] {
            assert_eq!(cleared(&Browser::default().send(&client, path).await), None, "{path}");
        }
    }
    let (client, _) = site(Config::new().store("memory:")).await;
    assert_eq!(cleared(&user(&client).await.send(&client, "/logout").await), None, "the setting is off by default");
}

#[rocket::async_test]
async fn a_logout_that_the_store_does_not_confirm_clears_nothing() {
    let (client, store) = site(Config::new().clear_site_data(true)).await;
    let mut browser = user(&client).await;
    store.fail_writes(true);
    for path in ["/logout", "/saved-logout", "/forget", "/failed-logout"] {
        let response = browser.send(&client, path).await;
        assert_eq!((response.status, cleared(&response)), (Status::ServiceUnavailable, None), "{path}");
    }
    store.fail_writes(false);
    let late = browser.clone();
    assert_eq!(cleared(&browser.get(&client, "/logout").await), STORAGE);
    assert_eq!(cleared(&late.send(&client, "/logout").await), None, "another request has ended the session");
}

#[rocket::async_test]
async fn a_partitioned_cookie_is_set_and_removed_as_partitioned() {
    let config = Config::new().secure(true).same_site(SameSite::None).partitioned(true);
    let (client, _) = site(config).await;
    let mut browser = Browser::default();
    let set = browser.get(&client, "/login/7").await;
    let attributes = "; HttpOnly; SameSite=None; Secure; Partitioned; Path=/; Max-Age=";
    assert!(set.set_cookie().is_some_and(|line| line.contains(attributes)), "{set:?}");
    let lines: Vec<String> =
        browser.get(&client, "/logout").await.header_values("set-cookie").into_iter().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains(&format!("{attributes}0")), "{lines:?}");
    // A cookie that the browser got before the setting is removed too.
    assert!(lines[1].contains("; Secure; Path=/; Max-Age=0") && !lines[1].contains("Partitioned"), "{lines:?}");
}

/// Browsers without CHIPS ignore the attribute, and apply the headers in their order.
#[rocket::async_test]
async fn a_browser_that_ignores_partitioned_keeps_the_new_cookie_if_it_had_several() {
    for domain in [None, Some("shop.test")] {
        let config = Config::new().secure(true).same_site(SameSite::None).partitioned(true).cookie_name("sid");
        let config = domain.map_or(config.clone(), |domain| config.cookie_domain(domain));
        let (client, _) = site(config).await;
        let login = Browser::with("sid=planted; sid=older").send(&client, "/login/7").await;
        let lines = login.header_values("set-cookie");
        let has_domain = |line: &&&str| line.contains("; Domain=") == domain.is_some();
        let last = lines.iter().rfind(has_domain).expect("the cookie is set");
        assert!(!last.contains("Max-Age=0;"), "{lines:?}");
    }
}

#[rocket::async_test]
async fn a_host_http_cookie_is_set_read_and_removed_as_a_host_cookie() {
    let (client, _) = site(Config::new().secure(true).cookie_name("__Host-Http-sessionid")).await;
    let mut browser = user(&client).await;
    assert!(browser.cookie.as_ref().is_some_and(|cookie| cookie.starts_with("__Host-Http-sessionid=")));
    let removal = browser.get(&client, "/logout").await;
    assert_eq!(removal.header_values("set-cookie").len(), 1);
    let line = removal.set_cookie().expect("the cookie is removed");
    assert!(line.starts_with("__Host-Http-sessionid=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0"), "{line}");
}

#[rocket::async_test]
async fn a_cookie_domain_that_is_a_public_suffix_aborts_the_launch() {
    let config = Config::new().store("memory:").cookie_domain("github.io");
    let rocket = logs::rocket(rocket::Config::figment().merge(("log_level", "off")));
    let error = Client::untracked(rocket.attach(Session::<Account>::fairing().config(config))).await;
    let error = error.expect_err("the launch is aborted");
    assert!(matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)));
    assert_eq!(
        logs::containing("`session.cookie_domain` (in code): browsers drop cookies for a public suffix").len(),
        1
    );
}
