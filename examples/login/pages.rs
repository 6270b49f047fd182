//! The pages and what their forms do.

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
    catchers![to_login, problem]
}

#[derive(FromForm)]
struct Credentials {
    username: String,
    password: String,
    remember: bool,
}

/// What a login answers.
#[derive(Responder)]
enum Answer {
    #[response(status = 200)]
    Page(Template),
    /// Django says 200 here; 401 is what it is, and what a script or a proxy that counts failed logins looks for.
    #[response(status = 401)]
    Refused(Template),
    GoOn(Redirect),
}

#[get("/")]
fn index() -> Redirect {
    Redirect::to("/dashboard/")
}

#[get("/login")]
fn login_page(session: Session<Account>) -> Answer {
    if session.is_logged_in() {
        return Answer::GoOn(Redirect::to("/dashboard/"));
    }
    Answer::Page(login_form(&session, None))
}

#[post("/login", data = "<form>")]
async fn login(
    session: Session<Account>,
    users: &State<Users>,
    form: CsrfForm<Account, Credentials>,
) -> Result<Answer, UserError> {
    let Credentials { username, password, remember } = form.into_inner();
    let Some(user) = users.authenticate(&username, password).await? else {
        return Ok(Answer::Refused(login_form(&session, Some("Invalid credentials"))));
    };
    // The order matters where somebody else was logged in: a new identity empties the session first.
    session.set_user_id(user.id);
    session.set_is_logged_in(true);
    session.set_expiry(if remember { Expiry::After(MONTH) } else { Expiry::BrowserClose });
    Ok(Answer::GoOn(Redirect::to("/dashboard/")))
}

fn login_form(session: &Session<Account>, error: Option<&str>) -> Template {
    Template::render("login", context! { error, csrf_token: session.csrf_token() })
}

#[get("/dashboard")]
fn dashboard(user: User, session: Session<Account>) -> Template {
    let remembered = !session.expires_at_browser_close();
    Template::render("dashboard", context! { username: user.name, remembered, csrf_token: session.csrf_token() })
}

/// Does not log out: any page of any site could have the browser fetch this address. The dashboard has the button.
#[get("/logout")]
fn logout_page() -> Redirect {
    Redirect::to("/dashboard/")
}

#[post("/logout", data = "<_form>")]
fn logout(session: Session<Account>, _form: CsrfForm<Account>) -> Redirect {
    session.flush();
    Redirect::to("/login/")
}

/// A page for those who are logged in was asked for by somebody who is not.
#[catch(401)]
fn to_login() -> Redirect {
    Redirect::to("/login/")
}

/// Whatever else went wrong. A 403 is a form without a valid token: most often one that was open while its visitor
/// logged in or out in another tab.
#[catch(default)]
fn problem(status: Status, _: &Request<'_>) -> Template {
    let reason = status.reason_lossy();
    Template::render("problem", context! { code: status.code, reason, forged: status == Status::Forbidden })
}
