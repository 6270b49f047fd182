//! The site that the browser visits.

use rocket::fairing::AdHoc;
use rocket::figment::Figment;
use rocket::response::content::RawHtml;
use rocket::tokio::sync::Semaphore;
use rocket::{Build, FromForm, Rocket, State, get, post, routes};
use serde_json::Value;
use session_rocket::{CsrfForm, Session, SessionFairing};
use session_rocket_tests::chromium::Tab;
use session_rocket_tests::served::Served;
use tempfile::TempDir;

pub const NOBODY: &str = "nobody";

#[derive(Session)]
pub struct Visitor {
    #[session(identity)]
    name: Option<String>,
    pub writes: u32,
}

#[derive(FromForm)]
struct Login {
    user: String,
}

#[get("/")]
fn page() -> RawHtml<&'static str> {
    RawHtml("<!doctype html><title>Shop</title>")
}

#[get("/whoami")]
fn whoami(session: Session<Visitor>) -> String {
    session.name().unwrap_or_else(|| NOBODY.to_owned())
}

#[post("/write")]
fn write(session: Session<Visitor>) {
    session.update_writes(|writes| *writes += 1);
}

#[post("/login/<user>")]
fn login(session: Session<Visitor>, user: &str) {
    session.set_name(user);
}

#[post("/rotate")]
fn rotate(session: Session<Visitor>) {
    session.cycle_id();
}

#[post("/logout")]
fn logout(session: Session<Visitor>) {
    session.flush();
}

#[get("/form")]
fn form(session: Session<Visitor>) -> RawHtml<String> {
    let token = session.csrf_token();
    RawHtml(format!(
        "<!doctype html><title>Log in</title><form method=post><input name=user>
        <input type=hidden name=csrf_token value='{token}'><button>Log in</button></form>"
    ))
}

#[post("/form", data = "<form>")]
fn submit(session: Session<Visitor>, form: CsrfForm<Visitor, Login>) -> String {
    session.set_name(&form.user);
    format!("Hello, {}!", form.user)
}

/// Holds the responses to `/write?held` after their sessions are saved and before their heads are sent.
struct Gate {
    held: Semaphore,
    released: Semaphore,
}

/// Responds when a response is held.
#[post("/held")]
async fn held(gate: &State<Gate>) {
    gate.held.acquire().await.expect("the semaphore stays open").forget();
}

/// Releases one held response.
#[post("/release")]
fn release(gate: &State<Gate>) {
    gate.released.add_permits(1);
}

pub fn site(sessions: SessionFairing<Visitor>) -> Rocket<Build> {
    // Attached after the sessions' fairing, so that the session is saved before the response is held.
    let hold = AdHoc::on_response("hold", |request, _| {
        Box::pin(async move {
            let gate = request.rocket().state::<Gate>().expect("the site has a gate");
            if request.uri().query().is_some_and(|query| query == "held") {
                gate.held.add_permits(1);
                gate.released.acquire().await.expect("the semaphore stays open").forget();
            }
        })
    });
    rocket::build()
        .manage(Gate { held: Semaphore::new(0), released: Semaphore::new(0) })
        .mount("/", routes![page, whoami, write, login, rotate, logout, form, submit, held, release])
        .attach(sessions)
        .attach(hold)
}

/// Serves a site over TLS.
pub fn serve_tls(rocket: Rocket<Build>, certificate: &Certificate) -> Served {
    Served::configured(rocket, certificate.settings())
}

/// A certificate for `shop.test` that no authority signed.
pub struct Certificate(TempDir);

impl Certificate {
    pub fn new() -> Self {
        let names = ["shop.test", "*.shop.test"].map(str::to_owned);
        let certified = rcgen::generate_simple_self_signed(names).expect("the certificate can be created");
        let folder = tempfile::tempdir().expect("a folder can be created");
        for (file, pem) in
            [("certificate.pem", certified.cert.pem()), ("key.pem", certified.signing_key.serialize_pem())]
        {
            std::fs::write(folder.path().join(file), pem).expect("the certificate can be written");
        }
        Self(folder)
    }

    fn settings(&self) -> Figment {
        let file = |name: &str| self.0.path().join(name);
        Figment::from(("tls.certs", file("certificate.pem"))).merge(("tls.key", file("key.pem")))
    }
}

/// Runs a script in the page and returns its result. The script is the body of an asynchronous function and can call
/// `post(path)`, which sends a request to the site and fails if the response is not successful.
pub fn run(tab: &Tab, script: &str) -> Value {
    tab.script(&format!(
        "const post = async path => {{
            const response = await fetch(path, {{ method: 'POST' }});
            if (!response.ok) throw new Error(path + ': ' + response.status);
        }};
        return (async () => {{ {script} }})()"
    ))
}

/// Returns the name of the user who is logged in, or [`NOBODY`].
pub fn user(tab: &Tab) -> String {
    let user = run(tab, "return (await fetch('/whoami', { cache: 'no-store' })).text()");
    user.as_str().expect("the result is a string").to_owned()
}
