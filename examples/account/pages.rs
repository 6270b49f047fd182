//! The layout, the one-time message, the theme and the errors of all pages.

use rocket::form::{Form, FromForm, FromFormField};
use rocket::http::Status;
use rocket::response::{Redirect, Responder};
use rocket::{Catcher, Request, Route, catch, catchers, get, post, routes};
use rocket_dyn_templates::{Template, context};
use serde::{Deserialize, Serialize};
use session_rocket::{CurrentUser, Error, Session, Timestamp};

use crate::passwords::PasswordError;
use crate::user::{Account, take_notice};
use crate::users::User;

pub const PASSWORD_TOO_SHORT: &str = "Please choose a password with at least 8 characters.";

pub fn routes() -> Vec<Route> {
    routes![home, welcome, set_theme]
}

pub fn catchers() -> Vec<Catcher> {
    catchers![redirect_to_login, problem]
}

#[derive(Responder)]
pub enum Reply {
    Page(Template),
    #[response(status = 401)]
    InvalidCredentials(Template),
    #[response(status = 422)]
    Invalid(Template),
    Redirect(Redirect),
}

impl Reply {
    pub fn redirect(path: &'static str) -> Self {
        Self::Redirect(Redirect::to(path))
    }
}

pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// An error response. Its reason is in the log.
#[derive(Responder)]
pub enum Failure {
    Session(Error),
    Password(Status),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

impl From<PasswordError> for Failure {
    fn from(error: PasswordError) -> Self {
        rocket::error!("{error}");
        Self::Password(match error {
            PasswordError::Busy => Status::ServiceUnavailable,
            PasswordError::Hash(_) => Status::InternalServerError,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, FromFormField)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// The browser's setting.
    #[default]
    Auto,
    Light,
    Dark,
}

#[derive(FromForm)]
struct ThemeForm {
    theme: Theme,
}

/// Renders a template with the values of the layout, and its own values in `page`.
pub async fn page(
    session: &Session<Account>,
    user: Option<&User>,
    template: &'static str,
    page: impl Serialize,
) -> Result<Template> {
    let context = context! {
        theme: session.theme(),
        username: user.map(|user| &user.name),
        notice: take_notice(session).await?,
        page,
    };
    Ok(Template::render(template, context))
}

pub async fn user_page(user: &CurrentUser<User>, template: &'static str, page: impl Serialize) -> Result<Template> {
    self::page(user.session(), Some(user), template, page).await
}

/// Formats a time in UTC, to the minute.
pub fn minute(time: Timestamp) -> String {
    let time = time.to_date();
    format!("{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
}

pub fn is_too_short(password: &str) -> bool {
    password.chars().count() < 8
}

#[get("/")]
async fn home(user: CurrentUser<User>) -> Result<Template> {
    let session = user.session();
    let context = context! {
        device: session.device(),
        login: minute(session.authenticated_at()),
        remembered: !session.expires_at_browser_close(),
    };
    user_page(&user, "home", context).await
}

#[get("/", rank = 2)]
async fn welcome(session: Session<Account>) -> Result<Template> {
    page(&session, None, "welcome", ()).await
}

#[post("/theme", data = "<form>")]
fn set_theme(user: CurrentUser<User>, form: Form<ThemeForm>) -> Redirect {
    user.session().set_theme(form.theme);
    user.session().set_notice("Saved.");
    Redirect::to("/")
}

#[catch(401)]
fn redirect_to_login() -> Redirect {
    Redirect::to("/login/")
}

#[catch(default)]
fn problem(status: Status, _: &Request<'_>) -> Template {
    let reason = status.reason_lossy();
    Template::render("problem", context! { code: status.code, reason })
}
