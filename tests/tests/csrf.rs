//! Forms with CSRF tokens.

use std::sync::Arc;

use rocket::data::{Data, FromData};
use rocket::error::ErrorKind as RocketError;
use rocket::form::{Contextual, Strict};
use rocket::fs::TempFile;
use rocket::http::{ContentType, Header, Status};
use rocket::local::asynchronous::Client;
use rocket::response::stream::TextStream;
use rocket::tokio::io::AsyncReadExt;
use rocket::tokio::sync::Barrier;
use rocket::{FromForm, Request, State, get, post, routes};
use session_rocket::{Config, CsrfError, CsrfForm, CsrfHeader, Error, ErrorKind, ManualClock, Session};
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

/// Waits until a second request also has its token.
#[get("/form/together")]
async fn form_together(session: Session<Visitor>, barrier: &State<Barrier>) -> String {
    let token = session.csrf_token().to_string();
    barrier.wait().await;
    token
}

/// Creates a token, and responds after the concurrent login.
#[get("/form/during-login")]
async fn form_during_login(session: Session<Visitor>, barrier: &State<Barrier>) -> String {
    let token = session.csrf_token().to_string();
    barrier.wait().await;
    barrier.wait().await;
    token
}

#[get("/login/meanwhile/<user>")]
async fn login_meanwhile(session: Session<Visitor>, user: u32, barrier: &State<Barrier>) -> Result<(), Error> {
    barrier.wait().await;
    session.set_user_id(user);
    let saved = session.save().await;
    barrier.wait().await;
    saved
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

#[get("/cycle/and-fail")]
fn cycle_and_fail(session: Session<Visitor>) -> Status {
    session.cycle_id();
    Status::InternalServerError
}

#[post("/script", data = "<nickname>")]
fn script(session: Session<Visitor>, _csrf: CsrfHeader<Visitor>, nickname: &str) {
    session.set_nickname(nickname);
}

#[post("/reason", data = "<form>")]
fn reason(form: Result<CsrfForm<Visitor>, CsrfError<'_>>) -> String {
    form.map_or_else(|error| error.to_string(), |_| "valid".into())
}

#[post("/strict", data = "<form>")]
fn strict(form: CsrfForm<Visitor, Strict<Naming>>) -> String {
    form.into_inner().into_inner().nickname
}

/// Logs out, and responds with a page that has a form.
#[get("/flush/and-form")]
fn flush_and_form(session: Session<Visitor>) -> String {
    session.flush();
    session.csrf_token().to_string()
}

/// Responds with a form, and then starts a session.
#[get("/form/and-start")]
fn form_and_start(session: Session<Visitor>) -> String {
    let token = session.csrf_token().to_string();
    session.set_nickname("nobody");
    token
}

/// Starts a session whose visitor gains privileges without an identity, and responds with a form.
#[get("/start/and-cycle")]
fn start_and_cycle(session: Session<Visitor>) -> String {
    session.set_nickname("admin");
    session.cycle_id();
    session.csrf_token().to_string()
}

/// Ends the session, starts another one, and responds with a form.
#[get("/flush/and-start")]
fn flush_and_start(session: Session<Visitor>) -> String {
    session.flush();
    session.set_nickname("admin");
    session.csrf_token().to_string()
}

/// Removes the data of the session, which keeps its id.
#[get("/clear")]
fn clear(session: Session<Visitor>) {
    session.clear();
}

/// Deletes the identity, and responds with a page that has a form.
#[get("/leave")]
fn leave(session: Session<Visitor>) -> String {
    session.delete_user_id();
    session.csrf_token().to_string()
}

#[get("/flush")]
fn flush(session: Session<Visitor>) {
    session.flush();
}

/// Creates a token after the response head is sent.
#[get("/form/late")]
fn form_late(session: Session<Visitor>) -> TextStream![String] {
    TextStream! { yield session.csrf_token().to_string(); }
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

#[derive(FromForm)]
struct Upload<'r> {
    picture: TempFile<'r>,
}

#[post("/upload", data = "<form>")]
async fn upload(form: CsrfForm<Visitor, Upload<'_>>) -> String {
    let mut content = String::new();
    let mut picture = form.picture.open().await.expect("the upload can be read");
    picture.read_to_string(&mut content).await.expect("the upload is text");
    content
}

async fn site() -> (Client, Spy) {
    let spy = Spy::new(Arc::new(ManualClock::default()));
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    let routes = routes![
        form,
        form_together,
        form_during_login,
        start,
        login,
        login_meanwhile,
        cycle,
        cycle_and_fail,
        flush,
        name,
        button,
        contextual,
        script,
        upload,
        reason,
        strict,
        flush_and_form,
        form_and_start,
        start_and_cycle,
        flush_and_start,
        clear,
        leave
    ];
    let rocket = logs::rocket(figment)
        .manage(Barrier::new(2))
        .attach(Session::<Visitor>::fairing().store(spy.clone()))
        .mount("/", routes);
    (Client::untracked(rocket).await.unwrap(), spy)
}

/// Posts the form with this token, and returns the status and the body.
async fn post(client: &Client, browser: &Browser, token: &str) -> (Status, String) {
    let form = format!("nickname=rajat&csrf_token={token}");
    let response = browser.post(client, "/name", ContentType::Form, form).await;
    (response.status, response.body)
}

#[rocket::async_test]
async fn a_form_with_a_token_of_the_session_is_accepted() {
    let (client, spy) = site().await;
    let mut browser = Browser::default();
    let token = browser.get(&client, "/form").await.body;
    assert_eq!(post(&client, &browser, &token).await, (Status::Ok, "rajat".into()));
    // Pages with a form write nothing. Each has its own token, and all tokens are valid.
    spy.take_writes();
    let again = browser.get(&client, "/form").await;
    assert_eq!((spy.take_writes(), again.header_values("set-cookie").len()), (0, 0));
    assert_ne!(again.body, token);
    for token in [token, again.body] {
        assert_eq!(post(&client, &browser, &token).await.0, Status::Ok);
    }
}

#[rocket::async_test]
async fn a_form_with_a_token_can_upload_a_file_but_a_file_is_no_token() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    let token = browser.get(&client, "/form").await.body;
    let part = |name: &str, content: &str| {
        format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    };
    let file = |name: &str, content: &str| part(&format!("{name}\"; filename=\"a.txt"), content);
    let form = |token: String| format!("{token}{}--line--\r\n", file("picture", "a cat"));
    let kind: ContentType = "multipart/form-data; boundary=line".parse().expect("a content type");
    let uploaded = browser.post(&client, "/upload", kind.clone(), form(part("csrf_token", &token))).await;
    assert_eq!((uploaded.status, uploaded.body.as_str()), (Status::Ok, "a cat"));
    let refused = browser.post(&client, "/upload", kind, form(file("csrf_token", &token))).await;
    assert_eq!(refused.status, Status::Forbidden);
}

#[rocket::async_test]
async fn a_form_that_breaks_off_is_refused() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    let token = browser.get(&client, "/form").await.body;
    let part = |name: &str, content: &str| {
        format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}")
    };
    let fields = format!("{}\r\n{}", part("csrf_token", &token), part("nickname", "rajat"));
    let kind: ContentType = "multipart/form-data; boundary=line".parse().expect("a content type");
    for (end, status) in [("\r\n--line--\r\n", Status::Ok), ("", Status::PayloadTooLarge)] {
        let form = format!("{fields}\r\n{}{end}", part("times", "2"));
        assert_eq!(browser.post(&client, "/name", kind.clone(), form).await.status, status, "{end:?}");
    }
}

#[rocket::async_test]
async fn a_missing_or_wrong_token_or_that_of_another_session_is_403_and_writes_nothing() {
    let (client, spy) = site().await;
    let (mut browser, mut other) = (Browser::default(), Browser::default());
    let token = browser.get(&client, "/form").await.body;
    let foreign = other.get(&client, "/form").await.body;
    spy.take_writes();
    for wrong in ["", "x", &foreign, &token[1..], &format!("{token}%00"), &"A".repeat(43), &"%".repeat(50)] {
        assert_eq!(post(&client, &browser, wrong).await.0, Status::Forbidden, "{wrong:?}");
        assert_eq!(post(&client, &Browser::default(), wrong).await.0, Status::Forbidden, "{wrong:?}");
    }
    let response = browser.post(&client, "/name", ContentType::Form, "nickname=rajat".into()).await;
    assert_eq!((response.status, response.set_cookie()), (Status::Forbidden, None));
    // A browser without a session cannot use any token.
    assert_eq!(post(&client, &Browser::default(), &token).await.0, Status::Forbidden);
    assert_eq!(spy.take_writes(), 0);
    // If the form has two tokens, the first one is checked.
    let twice = format!("csrf_token={foreign}&csrf_token={token}&nickname=rajat");
    assert_eq!(browser.post(&client, "/name", ContentType::Form, twice).await.status, Status::Forbidden);
}

#[rocket::async_test]
async fn tokens_become_invalid_at_a_login_a_rotation_and_a_logout() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    browser.get(&client, "/start").await;
    for change in ["/cycle", "/cycle/and-fail", "/login/7", "/login/7", "/login/8", "/leave", "/login/7", "/flush"] {
        let before = browser.get(&client, "/form").await.body;
        assert_eq!(post(&client, &browser, &before).await.0, Status::Ok);
        let after = browser.get(&client, change).await.body;
        assert_eq!(post(&client, &browser, &before).await.0, Status::Forbidden, "{change}");
        if change.starts_with("/l") {
            assert_eq!(post(&client, &browser, &after).await.0, Status::Ok, "{change}");
        }
    }
}

#[rocket::async_test]
async fn a_form_starts_no_session() {
    let (client, spy) = site().await;
    let mut first = None;
    for _ in 0..10_000 {
        let page = Browser::default().get(&client, "/form").await;
        assert_eq!((page.status, page.set_cookie()), (Status::Ok, None));
        let line = page.csrf_cookie().expect("a visitor without a session gets a secret").to_owned();
        assert!(line.starts_with("sessionid-csrf=") && line.contains("; HttpOnly; SameSite=Lax; Path=/"), "{line}");
        assert!(!line.contains("Max-Age") && !line.contains("Expires"), "{line}");
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_ne!(first.replace(line.clone()), Some(line));
    }
    assert_eq!((spy.take_loads(), spy.take_writes()), (0, 0));
}

#[rocket::async_test]
async fn a_visitor_without_a_session_has_one_secret_for_all_tabs() {
    let (client, spy) = site().await;
    let mut browser = Browser::default();
    let first = browser.get(&client, "/form").await.body;
    let page = browser.get(&client, "/form").await;
    assert_eq!(page.csrf_cookie(), None);
    for token in [&first, &page.body] {
        assert_eq!(reason_of(&client, &browser, token).await, "valid");
    }
    let mut other = Browser::default();
    let foreign = other.get(&client, "/form").await.body;
    assert_ne!(reason_of(&client, &browser, &foreign).await, "valid");
    assert_eq!(spy.take_writes(), 0);
}

#[rocket::async_test]
async fn a_session_that_starts_keeps_the_forms_of_the_visitor_valid_but_a_login_does_not() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    let open = browser.get(&client, "/form").await.body;
    browser.get(&client, "/start").await;
    assert_eq!(reason_of(&client, &browser, &open).await, "valid");
    let new = browser.get(&client, "/form").await;
    assert_eq!(new.csrf_cookie(), None);
    assert_eq!(reason_of(&client, &browser, &new.body).await, "valid");
    browser.get(&client, "/login/7").await;
    for old in [&open, &new.body] {
        assert_ne!(reason_of(&client, &browser, old).await, "valid");
    }
    let mut browser = Browser::default();
    let open = browser.get(&client, "/form").await.body;
    browser.get(&client, "/login/7").await;
    assert_ne!(reason_of(&client, &browser, &open).await, "valid");
    browser.get(&client, "/flush").await;
    assert_ne!(reason_of(&client, &browser, &open).await, "valid", "the logout made an earlier token valid again");
}

#[rocket::async_test]
async fn a_page_that_has_a_form_and_starts_or_ends_a_session_has_a_valid_token() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    let page = browser.get(&client, "/form/and-start").await;
    assert!(page.set_cookie().is_some() && page.csrf_cookie().is_none());
    assert_eq!(reason_of(&client, &browser, &page.body).await, "valid");
    let page = browser.get(&client, "/flush/and-form").await;
    assert!(page.set_cookie().is_some() && page.csrf_cookie().is_some());
    assert_eq!(browser.cookie, None);
    assert_eq!(reason_of(&client, &browser, &page.body).await, "valid");
}

#[rocket::async_test]
async fn a_session_that_starts_with_cycle_id_or_flush_does_not_take_over_the_secret_of_the_visitor() {
    let (client, _) = site().await;
    for start in ["/start/and-cycle", "/flush/and-start"] {
        let mut browser = Browser::default();
        let before = browser.get(&client, "/form").await.body;
        let page = browser.get(&client, start).await;
        assert!(page.set_cookie().is_some());
        assert_ne!(reason_of(&client, &browser, &before).await, "valid", "{start}");
        assert_eq!(reason_of(&client, &browser, &page.body).await, "valid", "{start}");
    }
}

#[rocket::async_test]
async fn a_token_from_before_a_login_is_invalid_after_the_logout_too() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    let before = browser.get(&client, "/form").await.body;
    browser.get(&client, "/login/7").await;
    browser.get(&client, "/flush").await;
    assert_ne!(reason_of(&client, &browser, &before).await, "valid");
}

#[rocket::async_test]
async fn clear_keeps_the_tokens_of_a_session_that_keeps_its_id() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    let first = browser.get(&client, "/form").await.body;
    browser.get(&client, "/start").await;
    let second = browser.get(&client, "/form").await.body;
    browser.get(&client, "/clear").await;
    for token in [&first, &second] {
        assert_eq!(reason_of(&client, &browser, token).await, "valid");
    }
}

/// A sealed session without a secret needs a new cookie, which a stream cannot send.
#[rocket::async_test]
async fn a_token_that_needs_a_new_cookie_is_empty_after_the_head() {
    let config = Config::new().store("cookie+encrypted:");
    let rocket = logs::rocket(rocket::Config::figment().merge(("log_level", "off")))
        .attach(Session::<Visitor>::fairing().config(config))
        .mount("/", routes![form, form_late, reason, start]);
    let client = Client::untracked(rocket).await.unwrap();
    let mut browser = Browser::default();
    browser.get(&client, "/start").await;
    assert_eq!(browser.get(&client, "/form/late").await.body, "");
    let token = browser.get(&client, "/form").await.body;
    assert_eq!(reason_of(&client, &browser, &token).await, "valid");
    let late = browser.get(&client, "/form/late").await.body;
    assert_eq!(reason_of(&client, &browser, &late).await, "valid");
}

#[rocket::async_test]
async fn the_error_tells_a_missing_token_an_ended_session_and_a_wrong_token_apart() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    browser.get(&client, "/login/7").await;
    let token = browser.get(&client, "/form").await.body;
    let missing = browser.post(&client, "/reason", ContentType::Form, String::new()).await.body;
    assert!(missing.contains("missing: add a hidden field `csrf_token`"), "{missing}");
    let wrong = reason_of(&client, &browser, &"A".repeat(43)).await;
    assert!(wrong.contains("belongs to another session"), "{wrong}");
    browser.get(&client, "/flush").await;
    let ended = reason_of(&client, &browser, &token).await;
    assert!(ended.contains("the session has ended since the page was loaded"), "{ended}");
    // The log says it too, because Rocket logs the error of a failed guard.
    post(&client, &browser, &token).await;
    assert!(!logs::containing("the session has ended since the page was loaded").is_empty());
}

/// Posts a token, and returns "valid" or the error.
async fn reason_of(client: &Client, browser: &Browser, token: &str) -> String {
    browser.post(client, "/reason", ContentType::Form, format!("csrf_token={token}")).await.body
}

#[rocket::async_test]
async fn a_browser_whose_session_another_device_ended_can_post_a_form_at_once() {
    let (client, spy) = site().await;
    let mut browser = Browser::default();
    browser.get(&client, "/login/7").await;
    let before = browser.get(&client, "/form").await.body;
    // The browser does not receive this response, and keeps its cookie.
    browser.clone().get(&client, "/flush").await;
    spy.take_writes();
    let page = browser.get(&client, "/form").await;
    assert_eq!((spy.take_writes(), page.set_cookie()), (0, None));
    assert_eq!(post(&client, &browser, &page.body).await.0, Status::Ok);
    assert_eq!(post(&client, &browser, &before).await.0, Status::Forbidden);
    assert_eq!(post(&client, &Browser::default(), &page.body).await.0, Status::Forbidden);
}

#[rocket::async_test]
async fn a_token_from_the_id_before_a_login_is_invalid_after_it() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    browser.get(&client, "/start").await;
    // This browser still has the old id. Its token is derived from that id and never saved.
    let mut copy = browser.clone();
    let after = browser.get(&client, "/login/7").await.body;
    assert_eq!(post(&client, &browser, &after).await.0, Status::Ok);
    let old = copy.get(&client, "/form").await.body;
    assert_eq!(post(&client, &browser, &old).await.0, Status::Forbidden);
}

#[rocket::async_test]
async fn a_token_created_before_a_login_is_invalid_even_if_its_page_is_sent_after_the_login() {
    let (client, _) = site().await;
    for start in ["/start", "/form"] {
        let mut browser = Browser::default();
        browser.get(&client, start).await;
        let (page, login) = rocket::tokio::join!(
            browser.send(&client, "/form/during-login"),
            browser.send(&client, "/login/meanwhile/7"),
        );
        assert_eq!((page.status, login.status), (Status::Ok, Status::Ok));
        browser.store_cookie(&login);
        assert_eq!(post(&client, &browser, &page.body).await.0, Status::Forbidden, "{start}");
        let token = browser.get(&client, "/form").await.body;
        assert_eq!(post(&client, &browser, &token).await.0, Status::Ok, "{start}");
    }
}

#[rocket::async_test]
async fn a_script_can_send_the_token_in_a_header() {
    let (client, spy) = site().await;
    let (mut browser, mut other) = (Browser::default(), Browser::default());
    let token = browser.get(&client, "/form").await.body;
    let foreign = other.get(&client, "/form").await.body;
    spy.take_writes();
    for (sent, status, writes) in [
        (None, Status::Forbidden, 0),
        (Some(""), Status::Forbidden, 0),
        (Some(foreign.as_str()), Status::Forbidden, 0),
        (Some(token.as_str()), Status::Ok, 1),
    ] {
        for name in ["X-CSRF-Token", "x-csrftoken"] {
            let mut request = client.post("/script").header(ContentType::Plain).body("rajat");
            request.add_header(Header::new("Cookie", browser.cookies().unwrap()));
            if let Some(sent) = sent {
                request.add_header(Header::new(name, sent.to_owned()));
            }
            assert_eq!((request.dispatch().await.status(), spy.take_writes()), (status, writes), "{name} {sent:?}");
        }
    }
}

#[rocket::async_test]
async fn a_form_without_the_fairing_aborts_the_launch_or_is_500_if_rocket_cannot_detect_it() {
    #[post("/", data = "<hidden>")]
    fn hidden_form(hidden: Hidden) -> &'static str {
        hidden.0
    }

    struct Hidden(&'static str);

    #[rocket::async_trait]
    impl<'r> FromData<'r> for Hidden {
        type Error = CsrfError<'r>;

        async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> rocket::data::Outcome<'r, Self> {
            CsrfForm::<Visitor>::from_data(request, data).await.map(|_| Self("taken"))
        }
    }

    let launch = |routes| {
        let figment = rocket::Config::figment().merge(("log_level", "off"));
        Client::untracked(logs::rocket(figment).mount("/", routes))
    };
    let error = launch(routes![contextual]).await.expect_err("the launch is aborted");
    assert!(matches!(error.kind(), RocketError::SentinelAborts(_)));
    let client = launch(routes![hidden_form]).await.unwrap();
    let response = Browser::default().post(&client, "/", ContentType::Form, "csrf_token=x".into()).await;
    assert_eq!(response.status, Status::InternalServerError);
}

#[rocket::async_test]
async fn two_concurrent_pages_both_have_valid_tokens() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    browser.get(&client, "/start").await;
    let pages = [browser.send(&client, "/form/together"), browser.send(&client, "/form/together")];
    for page in rocket::futures::future::join_all(pages).await {
        assert_eq!(post(&client, &browser, &page.body).await.0, Status::Ok);
    }
}

#[rocket::async_test]
async fn form_errors_are_only_reported_if_the_token_is_valid() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    let token = browser.get(&client, "/form").await.body;
    let wrong = |token: &str| format!("nickname=rajat&times=1000&csrf_token={token}");
    let with_token = browser.post(&client, "/name", ContentType::Form, wrong(&token)).await;
    assert_eq!(with_token.status, Status::UnprocessableEntity);
    let without_token = browser.post(&client, "/name", ContentType::Form, wrong("x")).await;
    assert_eq!(without_token.status, Status::Forbidden);
    let contextual = browser.post(&client, "/contextual", ContentType::Form, wrong(&token)).await;
    assert_eq!(contextual.body, "1 errors");
    for (more, status) in [("", Status::Ok), ("&unknown=1", Status::UnprocessableEntity)] {
        let form = format!("nickname=rajat&times=1&csrf_token={token}{more}");
        assert_eq!(browser.post(&client, "/strict", ContentType::Form, form).await.status, status);
    }
}

#[rocket::async_test]
async fn a_form_without_fields_needs_a_token_too() {
    let (client, _) = site().await;
    let mut browser = Browser::default();
    browser.get(&client, "/start").await;
    let token = browser.get(&client, "/form").await.body;
    for (form, status) in [
        (String::new(), Status::Forbidden),
        ("csrf_token=x".into(), Status::Forbidden),
        (format!("csrf_token={token}&more=fields"), Status::Ok),
        (format!("csrf_token={token}"), Status::Forbidden),
    ] {
        let response = browser.post(&client, "/button", ContentType::Form, form).await;
        browser.store_cookie(&response);
        assert_eq!(response.status, status);
    }
}

#[rocket::async_test]
async fn the_token_of_a_multipart_form_is_checked_and_json_is_415() {
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

#[test]
fn the_source_of_a_csrf_error_is_the_error_of_the_session() {
    let error = CsrfError::Session(Error::new(ErrorKind::Unavailable, "the store is down"));
    assert_eq!(std::error::Error::source(&error).map(ToString::to_string).as_deref(), Some("the store is down"));
    assert!(std::error::Error::source(&CsrfError::WrongToken).is_none());
}

#[rocket::async_test]
async fn no_token_and_no_field_is_logged() {
    let (client, spy) = site().await;
    let mut browser = Browser::default();
    browser.get(&client, "/start").await;
    let token = browser.get(&client, "/form").await.body;
    let secret = "nickname=hunter2&times=1000";
    for form in [secret.to_owned(), format!("{secret}&csrf_token={token}"), format!("csrf_token={token}")] {
        assert!(!browser.post(&client, "/name", ContentType::Form, form).await.status.class().is_success());
    }
    spy.fail_loads(true);
    assert_eq!(post(&client, &browser, &token).await.0, Status::ServiceUnavailable);
    let mut lines = [logs::containing(&token), logs::containing("hunter2")].concat();
    // Rocket's form parser logs each field at the trace level.
    lines.retain(|line| !line.starts_with("TRACE rocket::form"));
    assert!(lines.is_empty(), "{lines:#?}");
    assert!(!logs::containing("CSRF token").is_empty());
}
