//! The pages and their forms.

use std::time::Duration;

use rocket::form::FromForm;
use rocket::http::Status;
use rocket::response::{Redirect, Responder};
use rocket::{Catcher, Request, Route, State, catch, catchers, get, post, routes};
use rocket_dyn_templates::{Template, context};
use session_rocket::{CsrfForm, Expiry, Session};

use crate::Account;
use crate::users::{User, UserError, Users};

const MONTH: Duration = Duration::from_secs(30 * 86_400);

pub fn routes() -> Vec<Route> {
    routes![index, login_page, login, dashboard, logout_page, logout]
}

pub fn catchers() -> Vec<Catcher> {
    catchers![redirect_to_login, problem]
}

#[derive(FromForm)]
struct Credentials {
    username: String,
    password: String,
    remember: bool,
}

#[derive(Responder)]
enum Reply {
    #[response(status = 200)]
    Page(Template),
    /// Django responds 200. With 401, a proxy can count failed logins.
    #[response(status = 401)]
    InvalidCredentials(Template),
    Redirect(Redirect),
}

#[get("/")]
fn index() -> Redirect {
    Redirect::to("/dashboard/")
}

#[get("/login")]
fn login_page(session: Session<Account>) -> Reply {
    if session.is_logged_in() {
        return Reply::Redirect(Redirect::to("/dashboard/"));
    }
    Reply::Page(login_form(&session, None))
}

/// `CrossOriginProtection` refuses forged requests. The token in the login form also stops forms of other sites in browsers
/// from before 2020, which send neither `Origin` nor `Sec-Fetch-Site`. Such a form would log the visitor in as the attacker.
#[post("/login", data = "<form>")]
async fn login(
    session: Session<Account>,
    users: &State<Users>,
    form: CsrfForm<Account, Credentials>,
) -> Result<Reply, UserError> {
    let Credentials { username, password, remember } = form.into_inner();
    let Some(user) = users.authenticate(&username, password).await? else {
        return Ok(Reply::InvalidCredentials(login_form(&session, Some("Invalid credentials"))));
    };
    // Set the identity first: if another user was logged in, this empties the session.
    session.set_user_id(user.id);
    session.set_is_logged_in(true);
    session.set_expiry(if remember { Expiry::After(MONTH) } else { Expiry::BrowserClose });
    Ok(Reply::Redirect(Redirect::to("/dashboard/")))
}

fn login_form(session: &Session<Account>, error: Option<&str>) -> Template {
    Template::render("login", context! { error, csrf_token: session.csrf_token() })
}

#[get("/dashboard")]
fn dashboard(user: User, session: Session<Account>) -> Template {
    let remembered = !session.expires_at_browser_close();
    Template::render("dashboard", context! { username: user.name, remembered })
}

/// Does not log out, because any other site can make the browser send a GET. The dashboard has a logout button.
#[get("/logout")]
fn logout_page() -> Redirect {
    Redirect::to("/dashboard/")
}

#[post("/logout")]
fn logout(session: Session<Account>) -> Redirect {
    session.flush();
    Redirect::to("/login/")
}

#[catch(401)]
fn redirect_to_login() -> Redirect {
    Redirect::to("/login/")
}

/// The page for all other errors. A 403 means a request of another site, or a login form without a valid token, usually
/// because the visitor has since logged in in another tab.
#[catch(default)]
fn problem(status: Status, _: &Request<'_>) -> Template {
    let reason = status.reason_lossy();
    Template::render("problem", context! { code: status.code, reason, forged: status == Status::Forbidden })
}
