//! Registration, login and logout.

use std::convert::Infallible;
use std::time::Duration;

use rocket::form::FromForm;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::response::Redirect;
use rocket::{Route, State, get, post, routes};
use rocket_dyn_templates::context;
use session_rocket::{CsrfForm, Expiry, LoadUser, LoggedIn, Session};

use crate::Account;
use crate::pages::{Failure, PASSWORD_TOO_SHORT, Reply, is_too_short, page};
use crate::users::{User, Users};

const MONTH: Duration = Duration::from_secs(30 * 86_400);

pub fn routes() -> Vec<Route> {
    routes![register_page, register, login_page, login, logout]
}

#[derive(FromForm)]
struct Credentials {
    username: String,
    password: String,
    remember: bool,
}

/// Logs a user in on the device of the request.
fn log_in(user: &User, session: &Session<Account>, device: Device, remember: bool) -> Reply {
    user.log_in(session);
    session.set_device(device.0);
    session.set_expiry(if remember { Expiry::After(MONTH) } else { Expiry::BrowserClose });
    session.set_max_lifetime(remember.then_some(MONTH));
    session.set_notice(format!("Hello, {}!", user.name));
    Reply::redirect("/")
}

#[get("/register")]
async fn register_page(session: Session<Account>) -> Result<Reply, Failure> {
    Ok(Reply::Page(page(&session, None, "register", ()).await?))
}

#[post("/register", data = "<form>")]
async fn register(
    session: Session<Account>,
    users: &State<Users>,
    device: Device,
    form: CsrfForm<Account, Credentials>,
) -> Result<Reply, Failure> {
    let Credentials { username, password, remember } = form.into_inner();
    let name = username.trim();
    let error = if is_too_short(&password) {
        PASSWORD_TOO_SHORT
    } else if name.is_empty() || name.chars().count() > 40 {
        "Please choose a username with 1 to 40 characters."
    } else if let Some(user) = users.register(name, password).await? {
        return Ok(log_in(&user, &session, device, remember));
    } else {
        "This username is taken."
    };
    Ok(Reply::Invalid(page(&session, None, "register", context! { error, username: name }).await?))
}

#[get("/login")]
async fn login_page(session: Session<Account>, user: Option<LoggedIn<Account>>) -> Result<Reply, Failure> {
    if user.is_some() {
        return Ok(Reply::redirect("/"));
    }
    Ok(Reply::Page(page(&session, None, "login", ()).await?))
}

#[post("/login", data = "<form>")]
async fn login(
    session: Session<Account>,
    users: &State<Users>,
    device: Device,
    form: CsrfForm<Account, Credentials>,
) -> Result<Reply, Failure> {
    let Credentials { username, password, remember } = form.into_inner();
    if let Some(user) = users.authenticate(username.trim(), password).await? {
        return Ok(log_in(&user, &session, device, remember));
    }
    let page = page(&session, None, "login", context! { error: "Invalid credentials" }).await?;
    Ok(Reply::InvalidCredentials(page))
}

#[post("/logout", data = "<_form>")]
fn logout(session: Session<Account>, _form: CsrfForm<Account>) -> Redirect {
    session.flush();
    // The message starts a new session.
    session.set_notice("You are logged out.");
    Redirect::to("/login/")
}

/// The name of a visitor's device, such as `Firefox on Windows`.
pub struct Device(String);

impl Device {
    /// Guesses the name from the header `User-Agent`.
    pub fn from_user_agent(agent: &str) -> Self {
        // Browsers also name those browsers that they are compatible with, so the order matters.
        let browsers = [
            ("Edg/", "Edge"),
            ("OPR/", "Opera"),
            ("Firefox/", "Firefox"),
            ("Chrome/", "Chrome"),
            ("Safari/", "Safari"),
            ("curl/", "curl"),
        ];
        let systems = [
            ("Android", "Android"),
            ("iPhone", "iPhone"),
            ("iPad", "iPad"),
            ("Windows", "Windows"),
            ("Mac OS", "macOS"),
            ("Linux", "Linux"),
        ];
        let find = |names: [(&str, &'static str); 6]| names.iter().find(|(part, _)| agent.contains(part)).map(|n| n.1);
        Self(match (find(browsers), find(systems)) {
            (Some(browser), Some(system)) => format!("{browser} on {system}"),
            (Some(name), None) | (None, Some(name)) => name.to_owned(),
            (None, None) => "Unknown device".to_owned(),
        })
    }

    #[cfg(test)]
    pub fn name(&self) -> &str {
        &self.0
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Device {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Infallible> {
        let agent = request.headers().get_one("User-Agent").unwrap_or_default();
        Outcome::Success(Self::from_user_agent(agent))
    }
}
