//! A site, and a visitor with a session.

use std::hint::black_box;

use rocket::http::{Cookie, Header, Method};
use rocket::local::asynchronous::{Client, LocalRequest};
use rocket::{Build, Rocket, Route, get, post, routes};
use session_rocket::{Config, CrossOriginProtection, Session, SessionData};

const COOKIE: &str = "sessionid";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The smallest session: one number.
#[derive(Session)]
pub struct Visit {
    pub visits: u32,
}

/// A session of about 1 KB with ten typical fields.
#[derive(Session)]
#[session(config = "visitor")]
pub struct Visitor {
    account: Option<u64>,
    name: Option<String>,
    email: Option<String>,
    #[session(default = "en")]
    language: String,
    pub visits: u32,
    cart: Vec<u64>,
    seen: Vec<String>,
    balance: f64,
    dark: bool,
    last_page: Option<String>,
}

pub fn visitor(visits: u32) -> Visitor {
    Visitor {
        account: Some(4711),
        name: Some("Rajat".into()),
        email: Some("rajat@example.com".into()),
        language: "de".into(),
        // All numbers have seven digits, because instructions depend on the number of digits.
        visits: 1_000_000 + visits,
        cart: (0..40).map(|n| 1000 + 7919 * n % 8999).collect(),
        seen: (0..40).map(|n| format!("/lesson/{}", 1000 + 6841 * n % 8999)).collect(),
        balance: 12.5,
        dark: true,
        last_page: Some("/student/gsession".into()),
    }
}

#[get("/bare")]
fn bare() -> &'static str {
    "0"
}

#[post("/bare")]
fn bare_post() -> &'static str {
    "0"
}

#[get("/read")]
fn read(session: Session<Visit>) -> String {
    session.visits().to_string()
}

#[get("/write")]
fn write(session: Session<Visit>) -> String {
    session.update_visits(|visits| *visits += 1);
    session.visits().to_string()
}

#[get("/start")]
fn start(session: Session<Visit>) {
    session.set_visits(1_000_000);
}

#[get("/start")]
fn start_full(session: Session<Visitor>) {
    session.replace(visitor(0));
}

pub struct Site {
    client: Client,
    cookie: Cookie<'static>,
}

impl Site {
    /// A site without the library. The browser has another cookie of the same length.
    pub async fn bare() -> Self {
        Self::without_sessions(quiet()).await
    }

    /// A site without sessions that refuses forged requests.
    pub async fn protected() -> Self {
        Self::without_sessions(quiet().attach(CrossOriginProtection::new())).await
    }

    async fn without_sessions(rocket: Rocket<Build>) -> Self {
        let cookie = Cookie::new(COOKIE, "A".repeat(43));
        let client =
            Client::untracked(rocket.mount("/", routes![bare, bare_post])).await.expect("cannot launch the site");
        Self { client, cookie }
    }

    /// A site with a [`Visit`] in `store`.
    pub async fn with_visits(store: &str) -> Self {
        Self::launch::<Visit>(store, routes![bare, read, write, start]).await
    }

    /// A site with a [`Visitor`] in `store`.
    pub async fn with_visitors(store: &str) -> Self {
        Self::launch::<Visitor>(store, routes![start_full]).await
    }

    async fn launch<T: SessionData>(store: &str, routes: Vec<Route>) -> Self {
        let config = Config::new().store(store).cookie_name(COOKIE).secret_keys([KEY]);
        let rocket = quiet().attach(Session::<T>::fairing().config(config)).mount("/", routes);
        let client = Client::untracked(rocket).await.expect("cannot launch the site");
        let response = client.get("/start").dispatch().await;
        let cookie = response.cookies().get(COOKIE).expect("no session cookie").clone().into_owned();
        drop(response);
        let cookie = Cookie::new(COOKIE, cookie.value().to_owned());
        Self { client, cookie }
    }

    pub async fn get(&self, path: &str, with_cookie: bool) {
        let request = if with_cookie { self.request(path) } else { self.client.get(path) };
        black_box(request.dispatch().await.into_string().await);
    }

    /// Sends a request for `/bare` with the headers that a browser adds for the site's own pages.
    pub async fn send_from_own_page(&self, method: Method) {
        let request = self.client.req(method, "/bare");
        let request = request.header(Header::new("Origin", "https://shop.example"));
        let request = request.header(Header::new("Sec-Fetch-Site", "same-origin"));
        black_box(request.dispatch().await.into_string().await);
    }

    /// Loads the visitor's session with the guard of a new request.
    pub async fn load<T: SessionData>(&self) -> Session<T> {
        self.request("/").inner().guard().await.expect("cannot load the session")
    }

    /// A request with the session cookie in the jar and in the headers, as from the network.
    fn request(&self, path: &str) -> LocalRequest<'_> {
        let header = Header::new("Cookie", self.cookie.to_string());
        self.client.get(path.to_owned()).header(header).cookie(self.cookie.clone())
    }
}

fn quiet() -> Rocket<Build> {
    rocket::custom(rocket::Config::figment().merge(("log_level", "off")))
}
