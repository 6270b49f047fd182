//! Bearer tokens: the headers of requests and responses, and sites for browsers and apps.

use std::sync::Arc;
use std::time::Duration;

use rocket::http::{ContentType, Header, Status};
use rocket::local::asynchronous::Client;
use rocket::response::content::RawJson;
use rocket::{Build, Rocket, get, post, put, routes};
use serde_json::{Value, json};
use session_rocket::{Config, CsrfForm, CsrfHeader, Error, LoggedIn, ManualClock, Refresh, Session, Transport};
use session_rocket_tests::browser::{Browser, ID_HEADER, Response, over};
use session_rocket_tests::logs;
use session_rocket_tests::spy::Spy;

#[derive(Session)]
struct Account {
    #[session(identity)]
    user_id: Option<u64>,
    note: Option<String>,
}

#[get("/who")]
fn who(session: Session<Account>) -> String {
    format!("{:?} {}", session.user_id(), session.note().unwrap_or_default())
}

#[get("/me")]
fn me(user: LoggedIn<Account>) -> String {
    user.identity().to_string()
}

#[get("/note/<note>")]
fn note(session: Session<Account>, note: &str) {
    session.set_note(note);
}

#[get("/login/<user>")]
fn login(session: Session<Account>, user: u64) {
    session.set_user_id(user);
}

#[get("/token/<user>")]
async fn token(session: Session<Account>, user: u64) -> Result<RawJson<String>, Error> {
    session.set_user_id(user);
    session.save().await?;
    Ok(RawJson(json!({ "token": session.id().map(|id| id.expose()) }).to_string()))
}

#[get("/logout")]
fn logout(session: Session<Account>) {
    session.flush();
}

#[get("/forget")]
fn forget(session: Session<Account>) {
    session.delete_user_id();
}

#[get("/rotate")]
fn rotate(session: Session<Account>) {
    session.cycle_id();
}

#[get("/fail/<user>")]
fn fail(session: Session<Account>, user: u64) -> Status {
    session.set_user_id(user);
    session.cycle_id();
    Status::InternalServerError
}

#[get("/too-large")]
fn too_large(session: Session<Account>) {
    session.set_note("x".repeat(300_000));
}

#[get("/form")]
fn form(session: Session<Account>) -> String {
    session.csrf_token().to_string()
}

#[post("/form", data = "<_form>")]
fn submit(_form: CsrfForm<Account>) {}

#[put("/script")]
fn script(_csrf: CsrfHeader<Account>) {}

#[get("/public")]
fn public() {}

#[get("/locked")]
fn locked() -> Status {
    Status::Unauthorized
}

struct Site {
    client: Client,
    store: Spy,
    clock: Arc<ManualClock>,
}

fn rocket() -> Rocket<Build> {
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    let routes = routes![
        who, me, note, login, token, logout, forget, rotate, fail, too_large, form, submit, script, public, locked
    ];
    logs::rocket(figment).mount("/", routes)
}

impl Site {
    async fn new(config: Config) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = Spy::new(clock.clone());
        let fairing = Session::<Account>::fairing().config(config).store(store.clone()).clock(clock.clone());
        let client = Client::untracked(rocket().attach(fairing)).await.expect("the site launches");
        Self { client, store, clock }
    }

    /// Sends a request with these headers.
    async fn get(&self, path: &str, headers: &[(&'static str, &str)]) -> Response {
        let mut request = self.client.get(path.to_owned());
        for (name, value) in headers {
            request.add_header(Header::new(*name, (*value).to_owned()));
        }
        Response::read(request.dispatch().await).await
    }

    /// Logs in without a token, and returns the token.
    async fn log_in(&self, user: u64) -> String {
        let response = self.get(&format!("/login/{user}"), &[("Authorization", "Bearer none")]).await;
        response.header(ID_HEADER).expect("the response has an id").to_owned()
    }
}

fn bearer() -> Config {
    over(Transport::Bearer, Config::new())
}

fn both() -> Config {
    over(Transport::CookieOrBearer, Config::new())
}

#[rocket::async_test]
async fn a_token_and_a_session_cookie_are_refused() {
    let site = Site::new(both()).await;
    let token = format!("Bearer {}", site.log_in(7).await);
    let mut browser = Browser::default();
    browser.get(&site.client, "/login/8").await;
    let cookie = browser.cookie.expect("a login sets a cookie");
    site.store.take_loads();
    for headers in [
        vec![("Authorization", &*token), ("Cookie", &*cookie)],
        vec![("Authorization", "Bearer none"), ("Cookie", &*cookie)],
        vec![("Authorization", "bearer"), ("Cookie", "sessionid=")],
        vec![("Authorization", &*token), ("Authorization", &*token)],
        vec![("Authorization", "Basic YTpi"), ("Authorization", &*token)],
    ] {
        let response = site.get("/who", &headers).await;
        assert_eq!((response.status, response.new_id()), (Status::BadRequest, None), "{headers:?}");
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("vary"), Some("Cookie, Authorization"));
    }
    assert_eq!((site.store.take_loads(), site.store.take_writes()), (0, 2), "only the logins called the store");
    assert!(logs::containing("a bearer token and a session cookie: send one of them")[0].starts_with("WARN"));
    assert!(!logs::containing("several `Authorization` headers").is_empty());
    assert_eq!(logs::containing(&token[7..]), [""; 0]);
    // Other cookies and other schemes belong to somebody else.
    assert_eq!(site.get("/who", &[("Authorization", &token), ("Cookie", "theme=dark")]).await.body, "Some(7) ");
    assert_eq!(site.get("/who", &[("Authorization", "Basic YTpi"), ("Cookie", &cookie)]).await.body, "Some(8) ");
    assert_eq!(site.get("/public", &[("Authorization", &token), ("Cookie", &cookie)]).await.status, Status::Ok);
}

#[rocket::async_test]
async fn a_site_for_apps_ignores_cookies() {
    let site = Site::new(bearer()).await;
    let id = site.log_in(7).await;
    let cookie = format!("sessionid={id}");
    let token = format!("Bearer {id}");
    assert_eq!(site.get("/who", &[("Cookie", &cookie)]).await.body, "None ");
    assert_eq!(site.get("/who", &[("Cookie", &cookie), ("Authorization", &token)]).await.body, "Some(7) ");
    assert_eq!(site.get("/who", &[("Authorization", &token), ("Authorization", &token)]).await.status.code, 400);
    // Without a token, a new session is a session of an app.
    let response = site.get("/note/new", &[("Cookie", &cookie)]).await;
    assert!(response.header(ID_HEADER).is_some() && response.set_cookie().is_none());
}

#[rocket::async_test]
async fn browsers_and_apps_share_the_sessions_of_a_site() {
    let site = Site::new(both()).await;
    let id = site.log_in(7).await;
    let mut browser = Browser::with(format!("sessionid={id}"));
    browser.get(&site.client, "/note/shared").await;
    let token = format!("bEaReR  {id}");
    assert_eq!(site.get("/who", &[("Authorization", &token)]).await.body, "Some(7) shared");
    site.get("/logout", &[("Authorization", &token)]).await;
    assert_eq!(browser.get(&site.client, "/who").await.body, "None ");
}

#[rocket::async_test]
async fn a_token_that_is_no_live_id_is_an_empty_session_and_is_never_adopted() {
    let unknown = "A".repeat(43);
    for config in [bearer(), both()] {
        let site = Site::new(config).await;
        for token in ["Bearer", "Bearer none", "Bearer a b", &format!("Bearer {unknown}"), "Bearer ä"] {
            let empty = site.get("/who", &[("Authorization", token)]).await;
            assert_eq!((empty.status, empty.body.as_str(), empty.new_id()), (Status::Ok, "None ", None), "{token}");
            let started = site.get("/note/x", &[("Authorization", token)]).await;
            assert!(started.set_cookie().is_none());
            assert!(started.header(ID_HEADER).is_some_and(|id| id != unknown), "{token}");
        }
    }
}

/// The requests of an app, in a row.
const PATHS: [&str; 17] = [
    "/form",
    "/note/a",
    "/login/7",
    "/note/b",
    "/rotate",
    "/login/7",
    "/login/8",
    "/forget",
    "/login/8",
    "/fail/9",
    "/too-large",
    "/me",
    "/logout",
    "/note/c",
    "/token/7",
    "/locked",
    "/public",
];

/// A response gives a new id to an app in a header, if the site names one, and never in a cookie.
#[rocket::async_test]
async fn no_operation_of_an_app_sets_a_cookie() {
    for config in [bearer(), both(), Config::new().transport(Transport::Bearer)] {
        let has_header = config.new_id_header.is_some();
        let site = Site::new(config.clear_site_data(true).refresh(Refresh::Always)).await;
        let mut token = "none".to_owned();
        for (step, path) in PATHS.iter().cycle().take(3 * PATHS.len()).enumerate() {
            site.clock.advance(Duration::from_secs(86_400 * 2));
            site.store.fail_writes(step % 11 == 10);
            let response = site.get(path, &[("Authorization", &format!("Bearer {token}"))]).await;
            assert_eq!(response.header_values("set-cookie"), [""; 0], "{path}");
            let id = response.header(ID_HEADER);
            assert!(id != Some(&token) && (has_header || id.is_none()), "{path}");
            if let Some(id) = id {
                assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
                token = id.to_owned();
            } else if let Ok(body) = serde_json::from_str::<Value>(&response.body)
                && let Some(id) = body["token"].as_str()
            {
                token = id.to_owned();
            }
        }
        assert_ne!(token, "none");
    }
}

/// A page of another site cannot make a browser add a bearer token, but it can make the browser add a cookie.
#[rocket::async_test]
async fn a_request_needs_a_csrf_token_unless_it_has_a_bearer_token() {
    let site = Site::new(both()).await;
    let bearer = format!("Bearer {}", site.log_in(7).await);
    let cookie = site.get("/login/7", &[]).await.set_cookie().expect("a browser gets a cookie").to_owned();
    let cookie = cookie.split(';').next().expect("the cookie has a value");
    for (headers, status) in [
        (vec![("Authorization", &*bearer)], Status::Ok),
        (vec![("Authorization", "Bearer none")], Status::Ok),
        (vec![("Cookie", cookie)], Status::Forbidden),
        (vec![("Cookie", cookie), ("Authorization", "Basic YTpi")], Status::Forbidden),
        (vec![("Cookie", cookie), ("Authorization", &*bearer)], Status::BadRequest),
        (vec![], Status::Forbidden),
    ] {
        for request in [site.client.post("/form").header(ContentType::Form), site.client.put("/script")] {
            let request = headers
                .iter()
                .fold(request, |request, (name, value)| request.header(Header::new(*name, (*value).to_owned())));
            assert_eq!(request.dispatch().await.status(), status, "{headers:?}");
        }
    }
}

#[rocket::async_test]
async fn a_response_has_an_id_only_if_the_id_is_new() {
    let site = Site::new(bearer().refresh(Refresh::Always)).await;
    let id = site.log_in(7).await;
    let token = format!("Bearer {id}");
    for path in ["/who", "/note/a", "/public"] {
        // The session is renewed, as a cookie would be.
        site.clock.advance(Duration::from_secs(86_400 * 10));
        let response = site.get(path, &[("Authorization", &token)]).await;
        assert_eq!((response.new_id(), response.header("cache-control")), (None, None), "{path}");
    }
    assert_eq!(site.get("/me", &[("Authorization", &token)]).await.body, "7");
    for path in ["/rotate", "/login/7"] {
        let id = site.log_in(7).await;
        let response = site.get(path, &[("Authorization", &format!("Bearer {id}"))]).await;
        assert!(response.header(ID_HEADER).is_some_and(|new| *new != id), "{path}");
    }
}

#[rocket::async_test]
async fn a_route_can_return_the_id_itself() {
    let site = Site::new(Config::new().transport(Transport::CookieOrBearer)).await;
    let response = site.get("/token/7", &[("Authorization", "Bearer none")]).await;
    assert_eq!((response.header(ID_HEADER), response.set_cookie()), (None, None));
    assert_eq!(response.header("cache-control"), Some("no-store"), "the body has an id");
    let body: Value = serde_json::from_str(&response.body).expect("the body is JSON");
    let token = format!("Bearer {}", body["token"].as_str().expect("the body has a token"));
    assert_eq!(site.get("/me", &[("Authorization", &token)]).await.body, "7");
}

#[rocket::async_test]
async fn a_response_varies_on_the_headers_that_select_the_session() {
    for (config, expected) in
        [(bearer(), "Authorization"), (both(), "Cookie, Authorization"), (Config::new(), "Cookie")]
    {
        let site = Site::new(config).await;
        for headers in [&[][..], &[("Authorization", "Bearer none")], &[("Cookie", "sessionid=x")]] {
            assert_eq!(site.get("/who", headers).await.header("vary"), Some(expected));
            assert_eq!(site.get("/public", headers).await.header("vary"), None);
        }
    }
}

#[rocket::async_test]
async fn a_401_to_an_app_has_a_challenge() {
    let token = [("Authorization", "Bearer none")];
    for (config, of_app, of_browser) in
        [(bearer(), Some("Bearer"), Some("Bearer")), (both(), Some("Bearer"), None), (Config::new(), None, None)]
    {
        let site = Site::new(config).await;
        for path in ["/me", "/locked"] {
            let response = site.get(path, &token).await;
            assert_eq!((response.status, response.header("www-authenticate")), (Status::Unauthorized, of_app));
            assert_eq!(site.get(path, &[]).await.header("www-authenticate"), of_browser, "{path}");
        }
        assert_eq!(site.get("/who", &token).await.header("www-authenticate"), None);
    }
}

#[rocket::async_test]
async fn a_www_authenticate_header_of_the_site_is_kept() {
    #[derive(rocket::Responder)]
    #[response(status = 401)]
    struct Challenge(&'static str, Header<'static>);

    #[get("/challenge")]
    fn challenge() -> Challenge {
        Challenge("no", Header::new("WWW-Authenticate", "Basic"))
    }

    let rocket =
        rocket().attach(Session::<Account>::fairing().config(bearer().store("memory:"))).mount("/", routes![challenge]);
    let client = Client::untracked(rocket).await.expect("the site launches");
    let response = Browser::new(Transport::Bearer).send(&client, "/challenge").await;
    assert_eq!(response.header_values("www-authenticate"), ["Basic"]);
}

/// A browser that withholds the cookie of a cross-site request sends no token either, and an app is no browser.
#[rocket::async_test]
async fn a_cross_site_request_with_a_token_has_its_session() {
    let site = Site::new(both()).await;
    let cross_site = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "cors")];
    let token = format!("Bearer {}", site.log_in(7).await);
    site.get("/note/kept", &[("Authorization", &token), cross_site[0], cross_site[1]]).await;
    assert_eq!(site.get("/who", &[("Authorization", &token)]).await.body, "Some(7) kept");
    let started = site.get("/note/new", &[("Authorization", "Bearer none"), cross_site[0], cross_site[1]]).await;
    assert!(started.header(ID_HEADER).is_some());
    assert_eq!(site.get("/note/new", &cross_site).await.new_id(), None, "the cookie is withheld");
}

#[rocket::async_test]
async fn a_late_save_with_an_old_token_does_not_change_the_session_of_a_login() {
    let site = Site::new(bearer()).await;
    let started = site.get("/note/cart", &[]).await;
    let old = format!("Bearer {}", started.header(ID_HEADER).expect("the session is new"));
    let login = site.get("/login/7", &[("Authorization", &old)]).await;
    let new = format!("Bearer {}", login.header(ID_HEADER).expect("a login gives a new id"));
    let late = site.get("/note/late", &[("Authorization", &old)]).await;
    assert_eq!((late.status, late.new_id()), (Status::Ok, None));
    assert_eq!(site.get("/who", &[("Authorization", &new)]).await.body, "Some(7) cart");
    assert_eq!(site.get("/who", &[("Authorization", &old)]).await.body, "None ");
}

#[rocket::async_test]
async fn two_types_of_bearer_sessions_need_two_headers() {
    #[derive(Session)]
    #[session(config = "admin")]
    struct Admin {
        #[session(identity)]
        user_id: Option<u64>,
    }

    let site = |admin: Config| {
        let rocket = rocket().attach(Session::<Account>::fairing().config(bearer().store("memory:")));
        rocket.attach(Session::<Admin>::fairing().config(admin.store("memory:")))
    };
    let error = Client::untracked(site(bearer())).await.expect_err("the launch is aborted");
    assert!(matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)));
    let message = "`Account` and `Admin` both use the header `x-session-id`: set another `new_id_header` in `admin`";
    assert_eq!(logs::containing(message).len(), 1);
    // Neither type uses its cookie, so both can have the same default name.
    Client::untracked(site(bearer().new_id_header("X-Admin-Id"))).await.expect("the site launches");
}
