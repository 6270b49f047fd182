//! Requests that present several session cookies or none, and the cookies that the browser has afterwards.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rocket::fairing::AdHoc;
use rocket::http::uri::Host;
use rocket::http::{Header, SameSite};
use rocket::local::asynchronous;
use rocket::local::blocking::{Client, LocalResponse};
use rocket::tokio;
use rocket::{get, routes, uri};
use session_rocket::store::memory::MemoryStore;
use session_rocket::{Config, ErrorKind, Session, SystemClock};
use session_rocket_tests::logs;

/// Returns names that Rocket's cookie jar treats as `name`.
fn misspellings(name: &str) -> [String; 5] {
    let encoded = |at: usize| format!("{}%{:02X}{}", &name[..at], name.as_bytes()[at], &name[at + 1..]);
    let [first, last] = [0, name.len() - 1].map(encoded);
    [first, last, format!("\u{a0}{name}"), format!("{name}\u{2003}"), format!("{name}\u{85}")]
}

#[derive(Session)]
struct Visitor {
    #[session(identity)]
    user_id: Option<u64>,
    note: Option<String>,
}

#[get("/")]
fn who(session: Session<Visitor>) -> String {
    format!("{:?}", session.user_id())
}

#[get("/login/<user>")]
fn login(session: Session<Visitor>, user: u64) {
    session.set_user_id(user);
}

#[get("/logout")]
fn logout(session: Session<Visitor>) {
    session.flush();
}

#[get("/note")]
fn note(session: Session<Visitor>) {
    session.set_note("remember");
}

#[get("/form")]
fn form(session: Session<Visitor>) -> String {
    session.csrf_token().to_string()
}

#[get("/saved")]
async fn saved(session: Session<Visitor>) -> String {
    session.set_note("remember");
    format!("{:?}", session.save().await.map_err(|error| error.kind()))
}

fn rocket(config: Config) -> rocket::Rocket<rocket::Build> {
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    let fairing = Session::<Visitor>::fairing().config(config.store("memory:"));
    logs::rocket(figment).attach(fairing).mount("/", routes![who, login, logout, note, form, saved])
}

fn site(config: Config) -> Client {
    Client::untracked(rocket(config)).expect("the site launches")
}

fn get<'c>(client: &'c Client, path: &'c str, headers: &[(&'static str, &str)]) -> LocalResponse<'c> {
    let mut request = headers
        .iter()
        .fold(client.get(path), |request, (name, value)| request.header(Header::new(*name, (*value).to_owned())));
    // The local client does not read the host from a header.
    request.inner_mut().set_host(Host::new(uri!("www.shop.test")));
    request.dispatch()
}

fn set_cookie_headers<'r>(response: &'r LocalResponse<'_>) -> Vec<&'r str> {
    response.headers().get("Set-Cookie").collect()
}

/// Logs in and returns the cookie.
fn log_in(client: &Client, user: u64) -> String {
    let response = client.get(format!("/login/{user}")).dispatch();
    set_cookie_headers(&response)[0].split(';').next().unwrap_or_default().to_owned()
}

#[test]
fn a_logout_ends_every_session_the_request_presented() {
    let client = site(Config::new());
    let cookies = [log_in(&client, 1), log_in(&client, 1), log_in(&client, 2)];
    get(&client, "/logout", &[("Cookie", &cookies.join("; "))]);
    for cookie in &cookies {
        assert_eq!(get(&client, "/", &[("Cookie", cookie)]).into_string().as_deref(), Some("None"));
    }
}

#[test]
fn a_response_removes_the_cookies_of_the_same_name_with_another_domain() {
    for (config, removed) in [
        (Config::new().cookie_domain("shop.test"), vec![None]),
        (Config::new(), vec![Some("www.shop.test"), Some("shop.test")]),
    ] {
        let client = site(config);
        let both = [log_in(&client, 1), log_in(&client, 1)].join("; ");
        let login = get(&client, "/login/1", &[("Cookie", &both)]);
        let headers = set_cookie_headers(&login);
        assert_eq!(headers.len(), 1 + removed.len(), "{headers:?}");
        // The last header sets the new cookie.
        for (line, domain) in headers.iter().zip(&removed) {
            assert!(line.starts_with("sessionid=;") && line.contains("Max-Age=0"), "{line}");
            assert_eq!(line.split("Domain=").nth(1).map(|rest| rest.split(';').next().unwrap_or_default()), *domain);
        }
        // If the request has only one session cookie, a new cookie replaces it, and nothing has to be removed.
        let one = log_in(&client, 1);
        assert_eq!(set_cookie_headers(&get(&client, "/login/1", &[("Cookie", &one)])).len(), 1);
        let one = log_in(&client, 1);
        assert_eq!(set_cookie_headers(&get(&client, "/logout", &[("Cookie", &one)])).len(), 1 + removed.len());
    }
}

#[test]
fn a_cookie_with_the_host_prefix_is_removed_by_one_header() {
    let client = site(Config::new().secure(true));
    let cookie = log_in(&client, 1);
    let logout = get(&client, "/logout", &[("Cookie", &cookie)]);
    assert_eq!(set_cookie_headers(&logout).len(), 1);
}

#[test]
fn a_cookie_that_the_browser_withheld_is_not_replaced() {
    let link = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
    let client = site(Config::new().same_site(SameSite::Strict));
    for path in ["/note", "/", "/logout"] {
        assert_eq!(set_cookie_headers(&get(&client, path, &link)), [""; 0], "{path}");
    }
    let lines_of_drops = logs::containing("changes of a session of type `Visitor` are not saved");
    let levels: Vec<_> = lines_of_drops.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(levels, ["WARN", "DEBUG"], "one warning per process, because any site can cause such requests");
    let saved = get(&client, "/saved", &link).into_string();
    assert_eq!(saved, Some(format!("Err({:?})", ErrorKind::Withheld)));
    assert_eq!(set_cookie_headers(&get(&client, "/login/1", &link)).len(), 1, "a login starts a new session");
    // Browsers send a `Lax` cookie with a link, so a visitor without a cookie is new.
    let client = site(Config::new());
    assert_eq!(set_cookie_headers(&get(&client, "/note", &link)).len(), 1);
}

/// Browsers send the CSRF cookie with a link even if the session cookie is `Strict`.
#[test]
fn a_strict_site_sends_a_csrf_secret_for_a_followed_link_but_not_into_a_frame() {
    let client = site(Config::new().same_site(SameSite::Strict));
    let from = |mode, destination| {
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", mode), ("Sec-Fetch-Dest", destination)]
    };
    let page = get(&client, "/form", &from("navigate", "document"));
    let lines = set_cookie_headers(&page);
    assert!(lines.len() == 1 && lines[0].starts_with("sessionid-csrf="), "{lines:?}");
    assert_eq!(set_cookie_headers(&get(&client, "/form", &from("navigate", "iframe"))), [""; 0]);
    assert_eq!(set_cookie_headers(&get(&client, "/form", &from("cors", "empty"))), [""; 0]);
}

/// Sends a request with this `Cookie` header over TCP and returns the body of the response.
fn ask(port: u16, cookie: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the site listens");
    let mut request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: ".to_vec();
    request.extend_from_slice(cookie);
    request.extend_from_slice(b"\r\n\r\n");
    stream.write_all(&request).expect("the request can be sent");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("the response can be read");
    String::from_utf8_lossy(&response).rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
}

/// Starts a site in this process and returns its port.
async fn serve(rocket: rocket::Rocket<rocket::Build>) -> u16 {
    let (sender, port) = tokio::sync::oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let send_port = AdHoc::on_liftoff("port", move |rocket| {
        let sender = sender.lock().expect("the lock is not poisoned").take();
        let port = rocket.config().port;
        Box::pin(async move {
            sender.into_iter().for_each(|sender| sender.send(port).expect("the test waits for the port"));
        })
    });
    tokio::spawn(rocket.attach(send_port).launch());
    port.await.expect("the site launches")
}

/// Two sites with the same sessions: one for a local client, and one over HTTP.
struct TwinSites {
    local: asynchronous::Client,
    port: u16,
}

impl TwinSites {
    /// Launches the sites with their sessions in memory or in sealed cookies. If `secure` is set, the cookie has the prefix
    /// `__Host-`.
    async fn new(is_sealed: bool, secure: bool) -> Self {
        let store = Arc::new(MemoryStore::new(100, Arc::new(SystemClock)));
        let config = Config::new().secure(secure).secret_keys(["a1".repeat(32)]);
        let build = || {
            let figment = rocket::Config::figment().merge(("log_level", "off")).merge(("port", 0));
            let fairing = Session::<Visitor>::fairing();
            let fairing = if is_sealed {
                fairing.config(config.clone().store("cookie+encrypted:"))
            } else {
                fairing.config(config.clone()).store(store.clone())
            };
            logs::rocket(figment).attach(fairing).mount("/", routes![who, login])
        };
        let local = asynchronous::Client::untracked(build()).await.expect("the site launches");
        Self { local, port: serve(build()).await }
    }

    /// Logs in and returns the name and the value of the cookie.
    async fn log_in(&self, user: u64) -> (String, String) {
        let response = self.local.get(format!("/login/{user}")).dispatch().await;
        let line = response.headers().get_one("Set-Cookie").expect("a login sets a cookie");
        let (name, value) = line.split(';').next().and_then(|pair| pair.split_once('=')).expect("it is a cookie");
        (name.to_owned(), value.to_owned())
    }

    /// Asserts which user a request with this `Cookie` header has, in the local client and over HTTP.
    async fn assert_user(&self, header: String, expected: &str) {
        let locally = self.local.get("/").header(Header::new("Cookie", header.clone())).dispatch().await;
        assert_eq!(locally.into_string().await.as_deref(), Some(expected), "in the local client: {header:?}");
        let (port, bytes) = (self.port, header.clone().into_bytes());
        let over_http = tokio::task::spawn_blocking(move || ask(port, &bytes)).await.expect("the task does not panic");
        assert_eq!(over_http, expected, "over HTTP: {header:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_and_the_local_client_choose_the_same_cookie_if_there_are_several() {
    for (is_sealed, secure) in [(false, true), (false, false), (true, true), (true, false)] {
        let sites = TwinSites::new(is_sealed, secure).await;
        let ((name, first), (_, second)) = (sites.log_in(1).await, sites.log_in(2).await);
        let pair = |name: &str, value: &str| format!("{name}={value}");
        let (real, other) = (pair(&name, &first), pair(&name, &second));
        sites.assert_user(format!("{real}; {other}"), "Some(1)").await;
        sites.assert_user(format!("{other}; {real}"), "Some(2)").await;
        // A browser has only one cookie with the prefix `__Host-`, so the site ignores the second one.
        let invalid = pair(&name, "invalid");
        sites.assert_user(format!("{invalid}; {real}"), if secure { "None" } else { "Some(1)" }).await;
        for misspelt in misspellings(&name) {
            let planted = pair(&misspelt, &second);
            sites.assert_user(format!("{planted}; {real}"), "Some(1)").await;
            sites.assert_user(format!("{real}; {planted}"), "Some(1)").await;
            sites.assert_user(planted, "None").await;
        }
    }
}
