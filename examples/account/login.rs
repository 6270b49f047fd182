//! Registration, login and logout.

use rocket::form::{Form, FromForm};
use rocket::response::Redirect;
use rocket::{Route, State, get, post, routes};
use rocket_dyn_templates::context;
use session_rocket::{LoggedIn, Session};

use crate::device::Device;
use crate::pages::{PASSWORD_TOO_SHORT, Reply, Result, is_too_short, page};
use crate::user::{self, Account};
use crate::users::Users;

pub fn routes() -> Vec<Route> {
    routes![register_page, register, login_page, login, logout]
}

#[derive(FromForm)]
struct Credentials {
    username: String,
    password: String,
    remember: bool,
}

#[get("/register")]
async fn register_page(session: Session<Account>) -> Result<Reply> {
    Ok(Reply::Page(page(&session, None, "register", ()).await?))
}

#[post("/register", data = "<form>")]
async fn register(
    session: Session<Account>,
    users: &State<Users>,
    device: Device,
    form: Form<Credentials>,
) -> Result<Reply> {
    let Credentials { username, password, remember } = form.into_inner();
    let name = username.trim();
    let error = if is_too_short(&password) {
        PASSWORD_TOO_SHORT
    } else if name.is_empty() || name.chars().count() > 40 {
        "Please choose a username with 1 to 40 characters."
    } else if let Some(user) = users.register(name, password).await? {
        user::log_in(&user, &session, device, remember);
        return Ok(Reply::redirect("/"));
    } else {
        "This username is taken."
    };
    Ok(Reply::Invalid(page(&session, None, "register", context! { error, username: name }).await?))
}

#[get("/login")]
async fn login_page(session: Session<Account>, user: Option<LoggedIn<Account>>) -> Result<Reply> {
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
    form: Form<Credentials>,
) -> Result<Reply> {
    let Credentials { username, password, remember } = form.into_inner();
    if let Some(user) = users.authenticate(username.trim(), password).await? {
        user::log_in(&user, &session, device, remember);
        return Ok(Reply::redirect("/"));
    }
    let page = page(&session, None, "login", context! { error: "Invalid credentials" }).await?;
    Ok(Reply::InvalidCredentials(page))
}

#[post("/logout")]
fn logout(session: Session<Account>) -> Redirect {
    session.flush();
    // The message starts a new session.
    session.set_notice("You are logged out.");
    Redirect::to("/login/")
}
