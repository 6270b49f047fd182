//! The site that the tests attack.

use std::sync::Arc;
use std::time::Duration;

use rocket::form::Form;
use rocket::http::{ContentType, Header, Method, Status};
use rocket::local::asynchronous::Client;
use rocket::{Build, FromForm, Rocket, Route, get, post, routes};
use session_rocket::store::Store;
use session_rocket::{Config, CsrfForm, ManualClock, Session};
use session_rocket_tests::browser::{Browser, Response};
use session_rocket_tests::{logs, spy::Spy};

#[derive(Session)]
pub struct Visitor {
    pub name: Option<String>,
    pub count: u32,
    #[session(identity)]
    pub user_id: Option<u32>,
}

#[derive(Session)]
#[session(config = "admin")]
pub struct Admin {
    pub name: Option<String>,
}

#[derive(FromForm)]
struct Naming {
    name: String,
}

#[get("/plain")]
fn plain() -> &'static str {
    "plain"
}

#[get("/show")]
fn show(session: Session<Visitor>) -> String {
    let user = session.user_id().map_or_else(|| "nobody".into(), |user| user.to_string());
    format!("{user} {} {}", session.count(), session.name().unwrap_or_default())
}

#[get("/count")]
fn count(session: Session<Visitor>) -> String {
    session.update_count(|count| *count += 1);
    session.count().to_string()
}

#[get("/name/<name>")]
fn name(session: Session<Visitor>, name: &str) {
    session.set_name(name);
}

#[get("/login/<user>")]
fn login(session: Session<Visitor>, user: u32) {
    session.set_user_id(user);
}

#[get("/logout")]
fn logout(session: Session<Visitor>) {
    session.flush();
}

/// Ends one session, starts another, and gives that one a new id, all in one request.
#[get("/churn")]
async fn churn(session: Session<Visitor>) -> Result<(), session_rocket::Error> {
    session.set_user_id(1);
    session.save().await?;
    session.cycle_id();
    session.save().await?;
    session.flush();
    session.set_user_id(2);
    session.save().await?;
    session.cycle_id();
    Ok(())
}

#[get("/token")]
fn token(session: Session<Visitor>) -> String {
    session.csrf_token().to_string()
}

#[post("/posted", data = "<form>")]
fn posted(session: Session<Visitor>, form: CsrfForm<Visitor, Naming>) {
    session.set_name(&form.name);
}

#[post("/open", data = "<form>")]
fn open(form: Form<Naming>) -> String {
    form.into_inner().name
}

#[get("/debug")]
fn debug(session: Session<Visitor>) -> String {
    format!("{session:?} {:?} {}", session.id(), serde_json::Value::Object(session.items()))
}

#[get("/admin")]
fn admin(session: Session<Admin>) -> String {
    session.name().unwrap_or_else(|| "nobody".into())
}

#[get("/admin/<name>")]
fn set_admin(session: Session<Admin>, name: &str) {
    session.set_name(name);
}

pub fn all_routes() -> Vec<Route> {
    routes![plain, show, count, name, login, logout, churn, token, posted, open, debug, admin, set_admin]
}

pub const DAY: Duration = Duration::from_secs(86_400);
pub const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Returns a configuration that keeps sessions in sealed cookies.
pub fn sealed(kind: &str) -> Config {
    Config::new().store(kind).secret_keys([KEY])
}

pub struct Site {
    pub client: Client,
    pub clock: Arc<ManualClock>,
    /// The session store. Unused if the configuration names another store.
    pub spy: Spy,
}

impl Site {
    /// Launches a site that keeps its sessions in [`Self::spy`].
    pub async fn new(config: Config) -> Self {
        let clock = Arc::new(ManualClock::default());
        let spy = Spy::new(clock.clone());
        let client = launch(config, clock.clone(), Some(spy.clone())).await;
        Self { client, clock, spy }
    }

    /// Launches a site that keeps its sessions in the store of `config`.
    pub async fn configured(config: Config) -> Self {
        let clock = Arc::new(ManualClock::default());
        let client = launch(config, clock.clone(), None::<Spy>).await;
        Self { client, spy: Spy::new(clock.clone()), clock }
    }

    pub async fn get(&self, browser: &mut Browser, path: &str) -> Response {
        browser.get(&self.client, path).await
    }

    /// Returns what `/show` shows to a browser that sends this `Cookie` header.
    pub async fn show(&self, cookie: impl Into<String>) -> String {
        self.send(cookie, "/show").await.body
    }

    pub async fn send(&self, cookie: impl Into<String>, path: &str) -> Response {
        Browser::with(cookie).send(&self.client, path).await
    }

    /// Posts the name "eve" with this token.
    pub async fn post(&self, browser: &Browser, token: &str) -> Status {
        let form = format!("name=eve&csrf_token={token}");
        browser.post(&self.client, "/posted", ContentType::Form, form).await.status
    }

    /// Returns a browser that is logged in.
    pub async fn user(&self, user: u32) -> Browser {
        let mut browser = Browser::default();
        self.get(&mut browser, &format!("/login/{user}")).await;
        browser
    }

    /// Sends a request with this header, and returns the status and the `Set-Cookie` header.
    pub async fn with_header(&self, method: Method, path: &str, header: Header<'static>) -> (Status, Option<String>) {
        let response = self.client.req(method, path.to_owned()).header(header).dispatch().await;
        (response.status(), response.headers().get_one("set-cookie").map(ToOwned::to_owned))
    }
}

/// Launches the site with its sessions in `store`, or else in the store of `config`.
pub async fn launch(config: Config, clock: Arc<ManualClock>, store: Option<impl Store + Clone>) -> Client {
    Client::untracked(site(config, clock, store)).await.unwrap()
}

pub fn site(config: Config, clock: Arc<ManualClock>, store: Option<impl Store + Clone>) -> Rocket<Build> {
    let mut visitor = Session::<Visitor>::fairing().config(config.clone()).clock(clock.clone());
    let mut admin = Session::<Admin>::fairing().config(config.cookie_name("admin")).clock(clock);
    if let Some(store) = store {
        visitor = visitor.store(store.clone());
        admin = admin.store(store);
    }
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    logs::rocket(figment).attach(visitor).attach(admin).mount("/", all_routes())
}

/// What `/show` shows to a visitor without a session.
pub const STRANGER: &str = "nobody 0 ";

/// Returns the value of the browser's cookie.
pub fn value(browser: &Browser) -> String {
    let pair = browser.cookie.clone().unwrap();
    pair.split_once('=').unwrap().1.to_owned()
}
