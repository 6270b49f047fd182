//! Forms that only the site's own pages can post.

use std::sync::Arc;

use rocket::form::Contextual;
use rocket::http::{ContentType, Status};
use rocket::local::asynchronous::Client;
use rocket::tokio::sync::Barrier;
use rocket::{FromForm, State, get, post, routes};
use session_rocket::{CsrfForm, ManualClock, Session};
use session_rocket_tests::browser::Browser;
use session_rocket_tests::{logs, spy::Spy};

#[derive(Session)]
struct Visitor {
    #[session(identity)]
    user_id: Option<u32>,
    nickname: Option<String>,
}

#[derive(FromForm)]
struct Naming {
    nickname: String,
    #[field(default = 1)]
    times: u8,
}

#[get("/form")]
fn form(session: Session<Visitor>) -> String {
    session.csrf_token().to_string()
}

/// Waits until another request has its token too.
#[get("/form/together")]
async fn form_together(session: Session<Visitor>, barrier: &State<Barrier>) -> String {
    let token = session.csrf_token().to_string();
    barrier.wait().await;
    token
}

#[get("/start")]
fn start(session: Session<Visitor>) {
    session.set_nickname("nobody");
}

#[get("/login/<user>")]
fn login(session: Session<Visitor>, user: u32) -> String {
    session.set_user_id(user);
    session.csrf_token().to_string()
}

#[get("/cycle")]
fn cycle(session: Session<Visitor>) {
    session.cycle_id();
}

#[get("/flush")]
fn flush(session: Session<Visitor>) {
    session.flush();
}

#[post("/name", data = "<form>")]
fn name(session: Session<Visitor>, form: CsrfForm<Visitor, Naming>) -> String {
    session.set_nickname(&form.nickname);
    form.nickname.repeat(usize::from(form.times))
}

#[post("/button", data = "<_button>")]
fn button(session: Session<Visitor>, _button: CsrfForm<Visitor>) {
    session.flush();
}

#[post("/contextual", data = "<form>")]
fn contextual(form: CsrfForm<Visitor, Contextual<'_, Naming>>) -> String {
    format!("{} errors", form.context.errors().count())
}

async fn site() -> (Client, Spy) {
    logs::keep();
    let spy = Spy::new(Arc::new(ManualClock::default()));
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    let routes = routes![form, form_together, start, login, cycle, flush, name, button, contextual];
    let rocket = rocket::custom(figment)
        .manage(Barrier::new(2))
        .attach(Session::<Visitor>::fairing().store(spy.clone()))
        .mount("/", routes);
    (Client::untracked(rocket).await.unwrap(), spy)
}

/// Posts the form with this token.
async fn post(client: &Client, browser: &Browser, token: &str) -> (Status, String) {
    let form = format!("nickname=rajat&csrf_token={token}");
    let answer = browser.post(client, "/name", ContentType::Form, form).await;
    (answer.status, answer.body)
}

#[rocket::async_test]
async fn the_sites_own_page_posts() {
    let (client, spy) = site().await;
    let mut browser = Browser::default();
    let token = browser.get(&client, "/form").await.body;
    assert_eq!(post(&client, &browser, &token).await, (Status::Ok, "rajat".into()));
    // Further pages write nothing, and each has a token of its own; all are valid.
    assert_eq!((spy.writes() > 0, spy.writes()), (true, 0));
    let again = browser.get(&client, "/form").await;
    assert_eq!((spy.writes(), again.set_cookie()), (0, None));
    assert_ne!(again.body, token);
    for token in [token, again.body] {
        assert_eq!(post(&client, &browser, &token).await.0, Status::Ok);
    }
}

#[rocket::async_test]
async fn missing_wrong_and_other_sessions_tokens_are_refused_and_store_nothing() {
    let (client, spy) = site().await;
    let (mut browser, mut other) = (Browser::default(), Browser::default());
    let token = browser.get(&client, "/form").await.body;
    let foreign = other.get(&client, "/form").await.body;
    spy.writes();
    for wrong in ["", "x", &foreign, &token[1..], &format!("{token}%00"), &"A".repeat(43), &"%".repeat(50)] {
        assert_eq!(post(&client, &browser, wrong).await.0, Status::Forbidden, "{wrong:?}");
        assert_eq!(post(&client, &Browser::default(), wrong).await.0, Status::Forbidden, "{wrong:?}");
    }
    let answer = browser.post(&client, "/name", ContentType::Form, "nickname=rajat".into()).await;
    assert_eq!((answer.status, answer.set_cookie()), (Status::Forbidden, None));
    // Whoever's token it is, a browser without the session cannot use it.
    assert_eq!(post(&client, &Browser::default(), &token).await.0, Status::Forbidden);
    assert_eq!(spy.writes(), 0);
    // Where the page sends two, the first counts.
    let twice = format!("csrf_token={foreign}&csrf_token={token}&nickname=rajat");
    assert_eq!(browser.post(&client, "/name", ContentType::Form, twice).await.status, Status::Forbidden);
}

#[rocket::async_test]
async fn a_login_a_cycle_and_a_logout_change_the_token() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    for change in ["/login/7", "/login/7", "/login/8", "/cycle", "/flush"] {
        let before = browser.get(&client, "/form").await.body;
        assert_eq!(post(&client, &browser, &before).await.0, Status::Ok);
        let after = browser.get(&client, change).await.body;
        assert_eq!(post(&client, &browser, &before).await.0, Status::Forbidden, "{change}");
        if change.starts_with("/login") {
            assert_eq!(post(&client, &browser, &after).await.0, Status::Ok, "{change}");
        }
    }
}

#[rocket::async_test]
async fn a_first_token_after_the_login_is_not_made_from_the_old_id() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    browser.get(&client, "/start").await;
    // A page of before the login that was never saved: its token is made from the id of then.
    let mut copy = browser.clone();
    let after = browser.get(&client, "/login/7").await.body;
    assert_eq!(post(&client, &browser, &after).await.0, Status::Ok);
    let old = copy.get(&client, "/form").await.body;
    assert_eq!(post(&client, &browser, &old).await.0, Status::Forbidden);
}

#[rocket::async_test]
async fn two_pages_at_once_hold_valid_tokens() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    browser.get(&client, "/start").await;
    let pages = [browser.send(&client, "/form/together"), browser.send(&client, "/form/together")];
    for page in rocket::futures::future::join_all(pages).await {
        assert_eq!(post(&client, &browser, &page.body).await.0, Status::Ok);
    }
}

#[rocket::async_test]
async fn what_is_wrong_with_the_form_is_told_to_the_own_page_only() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    let token = browser.get(&client, "/form").await.body;
    let wrong = |token: &str| format!("nickname=rajat&times=1000&csrf_token={token}");
    let own = browser.post(&client, "/name", ContentType::Form, wrong(&token)).await;
    assert_eq!(own.status, Status::UnprocessableEntity);
    let foreign = browser.post(&client, "/name", ContentType::Form, wrong("x")).await;
    assert_eq!(foreign.status, Status::Forbidden);
    let told = browser.post(&client, "/contextual", ContentType::Form, wrong(&token)).await;
    assert_eq!(told.body, "1 errors");
}

#[rocket::async_test]
async fn a_button_needs_the_token_too() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    let token = browser.get(&client, "/form").await.body;
    for (form, status) in [
        (String::new(), Status::Forbidden),
        ("csrf_token=x".into(), Status::Forbidden),
        (format!("csrf_token={token}&more=fields"), Status::Ok),
        (format!("csrf_token={token}"), Status::Forbidden),
    ] {
        let answer = browser.post(&client, "/button", ContentType::Form, form).await;
        browser.take(&answer);
        assert_eq!(answer.status, status);
    }
}

#[rocket::async_test]
async fn multipart_forms_are_checked_alike() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    let token = browser.get(&client, "/form").await.body;
    let part =
        |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let kind = ContentType::new("multipart", "form-data").with_params([("boundary", "b")]);
    for (token, status) in [(token.as_str(), Status::Ok), ("x", Status::Forbidden)] {
        let form = format!("{}{}--b--\r\n", part("nickname", "rajat"), part("csrf_token", token));
        assert_eq!(browser.post(&client, "/name", kind.clone(), form).await.status, status);
    }
    let json = browser.post(&client, "/name", ContentType::JSON, format!("{{\"csrf_token\":\"{token}\"}}")).await;
    assert_eq!(json.status, Status::UnsupportedMediaType);
}

#[rocket::async_test]
async fn no_token_and_no_field_reaches_the_log() {
    let (client, spy) = site().await;
    let mut browser = Browser::default();
    let token = browser.get(&client, "/form").await.body;
    let secret = "nickname=hunter2&times=1000";
    for form in [secret.to_owned(), format!("{secret}&csrf_token={token}"), format!("csrf_token={token}")] {
        assert!(!browser.post(&client, "/name", ContentType::Form, form).await.status.class().is_success());
    }
    spy.fail_loads(true);
    assert_eq!(post(&client, &browser, &token).await.0, Status::ServiceUnavailable);
    let mut told = [logs::with(&token), logs::with("hunter2")].concat();
    // Rocket's own form parser traces every field that it reads.
    told.retain(|line| !line.starts_with("TRACE rocket::form"));
    assert!(told.is_empty(), "{told:#?}");
    assert!(!logs::with("CSRF token").is_empty());
}
