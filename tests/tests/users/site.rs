//! The site that these tests send requests to.

use std::sync::Arc;
use std::time::Duration;

use rocket::http::Status;
use rocket::local::asynchronous::Client;
use rocket::{Build, Request, Rocket, Route, catch, catchers, get, routes};
use session_rocket::{
    Clock, Config, Error, LoggedIn, LoginError, ManualClock, RecentLogin, Session, SessionFairing, SessionHandle,
    Sessions, Transport,
};
use session_rocket_tests::browser::{Browser, Response, over};
use session_rocket_tests::logs;
use session_rocket_tests::spy::Spy;

/// How long an operation may take on a busy machine.
pub const TIME_LIMIT: Duration = Duration::from_secs(120);

pub const SEALED: &str = "cookie+encrypted:";

/// The configuration of a site with its own memory store.
pub fn memory() -> Config {
    Config::new().store("memory:")
}

/// The configurations of sites with sessions in memory and, if the transport is a cookie, in sealed cookies.
pub fn memory_and_sealed(transport: Transport) -> Vec<Config> {
    match transport {
        Transport::Cookie => vec![memory(), Config::new().store(SEALED)],
        _ => vec![over(transport, memory())],
    }
}

#[derive(Session)]
#[session(scope = "users")]
pub struct Account {
    #[session(identity)]
    pub user_id: Option<i64>,
    pub device: Option<String>,
    pub count: u32,
}

#[get("/show")]
fn show(session: Session<Account>) -> String {
    let user = session.user_id().map_or_else(|| "nobody".to_owned(), |user| user.to_string());
    format!("{user}|{}|{}", session.device().unwrap_or_default(), session.count())
}

#[get("/device/<device>")]
fn device(session: Session<Account>, device: &str) {
    session.set_device(device);
}

#[get("/count")]
fn count(session: Session<Account>) {
    session.update_count(|count| *count += 1);
}

#[get("/login/<user>")]
fn login(session: Session<Account>, user: i64) {
    session.set_user_id(user);
}

#[get("/logout")]
fn logout(session: Session<Account>) {
    session.flush();
}

#[get("/rotate")]
fn rotate(session: Session<Account>) {
    session.cycle_id();
}

#[get("/handle")]
fn handle(session: Session<Account>) -> String {
    session.handle().map(|handle| handle.to_string()).unwrap_or_default()
}

#[get("/home")]
fn home(user: LoggedIn<Account>) -> String {
    format!("user {}", user.identity())
}

#[get("/home", rank = 2)]
fn welcome() -> &'static str {
    "log in first"
}

#[get("/private")]
fn private(user: LoggedIn<Account>) -> String {
    user.update_count(|count| *count += 1);
    format!("user {} since {}", user.identity(), user.authenticated_at().as_millis())
}

#[get("/recent")]
fn recent(user: RecentLogin<Account, 300>) -> String {
    format!("user {}", user.identity())
}

#[get("/why")]
fn why(user: Result<RecentLogin<Account, 300>, LoginError>) -> String {
    match user {
        Ok(user) => format!("user {}", user.identity()),
        Err(LoginError::Session(error)) => format!("{:?}", error.kind()),
        Err(error) => error.to_string(),
    }
}

#[get("/end/<user>/<handle>")]
async fn end(sessions: Sessions<Account>, user: i64, handle: SessionHandle) -> Result<String, Error> {
    Ok(sessions.revoke(&user, &handle).await?.to_string())
}

#[get("/end-all/<user>")]
async fn end_all(sessions: Sessions<Account>, user: i64) -> Result<String, Error> {
    Ok(sessions.revoke_all(&user).await?.to_string())
}

#[get("/end-others")]
async fn end_others(sessions: Sessions<Account>, session: Session<Account>) -> Result<String, Error> {
    Ok(sessions.revoke_others(&session).await?.to_string())
}

#[get("/login-and-end-others/<user>")]
async fn login_and_end_others(
    sessions: Sessions<Account>,
    session: Session<Account>,
    user: i64,
) -> Result<String, Error> {
    session.set_user_id(user);
    Ok(sessions.revoke_others(&session).await?.to_string())
}

#[get("/wait-for-end")]
async fn wait_for_end(session: Session<Account>) -> &'static str {
    session.ended().await;
    "ended"
}

#[get("/logout-and-forward")]
fn logout_and_forward(session: Session<Account>, user: LoggedIn<Account>) -> Status {
    assert_eq!(session.user_id(), Some(*user.identity()));
    session.flush();
    Status::NotFound
}

#[catch(404)]
async fn not_found(request: &Request<'_>) -> String {
    match request.guard::<LoggedIn<Account>>().await.succeeded() {
        Some(user) => format!("not found, user {}", user.identity()),
        None => "not found, nobody".to_owned(),
    }
}

fn all_routes() -> Vec<Route> {
    let mut routes = routes![show, device, count, login, logout, rotate, handle, home, welcome, private, recent, why];
    routes.extend(routes![end, end_all, end_others, login_and_end_others, wait_for_end, logout_and_forward]);
    routes
}

/// A site without a session fairing.
pub fn rocket() -> Rocket<Build> {
    let figment = rocket::Config::figment().merge(("log_level", "normal"));
    logs::rocket(figment).mount("/", all_routes()).register("/", catchers![not_found])
}

/// A launched site with a clock that tests advance.
pub struct Site {
    pub client: Client,
    pub clock: Arc<ManualClock>,
    /// How the browsers of this site send their ids.
    pub transport: Transport,
}

impl Site {
    /// Launches a site with this configuration of its sessions.
    pub async fn new(config: Config) -> Self {
        let transport = config.transport;
        Self::with(|clock| Session::<Account>::fairing().config(config).clock(clock)).await.over(transport)
    }

    /// Lets the browsers of this site send their ids in this way, which the configuration of the site must allow.
    pub fn over(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// Returns a browser without a session.
    pub fn stranger(&self) -> Browser {
        Browser::new(self.transport)
    }

    /// Launches a site whose store counts its calls and can be made to fail.
    pub async fn spied(config: Config) -> (Self, Spy) {
        let clock = Arc::new(ManualClock::default());
        let store = Spy::new(clock.clone());
        let transport = config.transport;
        let fairing = Session::<Account>::fairing().config(config).store(store.clone()).clock(clock.clone());
        (Self::launch(rocket(), fairing, clock).await.over(transport), store)
    }

    pub async fn with(fairing: impl FnOnce(Arc<ManualClock>) -> SessionFairing<Account>) -> Self {
        let clock = Arc::new(ManualClock::default());
        Self::launch(rocket(), fairing(clock.clone()), clock).await
    }

    pub async fn launch(rocket: Rocket<Build>, fairing: SessionFairing<Account>, clock: Arc<ManualClock>) -> Self {
        let client = Client::untracked(rocket.attach(fairing)).await.expect("the site launches");
        Self { client, clock, transport: Transport::Cookie }
    }

    /// Sends a request and stores its cookie.
    pub async fn get(&self, browser: &mut Browser, path: &str) -> Response {
        browser.get(&self.client, path).await
    }

    /// Sends a request, asserts the status 200, stores the cookie and returns the body.
    pub async fn text(&self, browser: &mut Browser, path: &str) -> String {
        let response = self.get(browser, path).await;
        assert_eq!(response.status, Status::Ok, "{path}: {response:?}");
        response.body
    }

    /// Returns a browser that has sent this request.
    pub async fn browser(&self, path: &str) -> Browser {
        let mut browser = self.stranger();
        self.text(&mut browser, path).await;
        browser
    }

    /// Returns a browser whose user is logged in on this device.
    pub async fn user(&self, user: i64, device: &str) -> Browser {
        let mut browser = self.browser(&format!("/login/{user}")).await;
        self.text(&mut browser, &format!("/device/{device}")).await;
        browser
    }

    pub fn clock_millis(&self) -> i64 {
        self.clock.now().as_millis()
    }

    pub fn sessions(&self) -> Sessions<Account> {
        Sessions::of(self.client.rocket()).expect("the fairing is attached")
    }

    /// The devices of the live sessions of a user, latest login first.
    pub async fn devices(&self, user: i64) -> Vec<String> {
        let listed = self.sessions().list(&user).await.expect("the store lists sessions");
        listed.into_iter().map(|listing| listing.data.device.unwrap_or_default()).collect()
    }

    /// The handle of the browser's session.
    pub async fn handle(&self, browser: &mut Browser) -> SessionHandle {
        self.text(browser, "/handle").await.parse().expect("the site shows a handle")
    }
}
