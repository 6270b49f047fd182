//! Login, logout and preferences.

use rocket::form::{Contextual, Form, FromForm, FromFormField};
use rocket::response::Redirect;
use rocket::{Route, get, post, routes};
use rocket_dyn_templates::{Template, context};
use serde::{Deserialize, Serialize};
use session_rocket::Session;

use crate::catalogue::Currency;
use crate::fields::{FormState, line};
use crate::{Reply, Shopper, page};

pub fn routes() -> Vec<Route> {
    routes![login_page, login, logout_page, logout, preferences_page, preferences]
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
struct LoginForm {
    #[field(validate = line(40))]
    name: String,
}

#[derive(FromForm)]
struct PreferencesForm {
    theme: Theme,
    currency: Currency,
}

#[get("/login")]
fn login_page(session: Session<Shopper>) -> Template {
    page(&session, "login", FormState::default())
}

/// Accepts any name, as a demonstration. The `login` example asks for a password.
#[post("/login", data = "<form>")]
fn login(session: Session<Shopper>, form: Form<Contextual<'_, LoginForm>>) -> Reply {
    let Contextual { value, context } = form.into_inner();
    let Some(LoginForm { name }) = value else {
        return Reply::Invalid(page(&session, "login", FormState::posted(&context)));
    };
    let name = name.trim();
    session.set_customer(name);
    session.set_notice(format!("Hello, {name}!"));
    Reply::redirect("/")
}

/// Does not log out, because any other site can make the browser send a GET. Every page has a logout button.
#[get("/logout")]
fn logout_page() -> Redirect {
    Redirect::to("/")
}

/// Ends the session and deletes its data, because others may use this computer.
#[post("/logout")]
fn logout(session: Session<Shopper>) -> Redirect {
    session.flush();
    Redirect::to("/")
}

#[get("/preferences")]
fn preferences_page(session: Session<Shopper>) -> Template {
    page(&session, "preferences", context! { currency: session.currency() })
}

#[post("/preferences", data = "<form>")]
fn preferences(session: Session<Shopper>, form: Form<PreferencesForm>) -> Redirect {
    session.set_theme(form.theme);
    session.set_currency(form.currency);
    session.set_notice("Saved.");
    Redirect::to("/preferences/")
}
