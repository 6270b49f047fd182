//! Who the visitor is and what they like.

use rocket::form::{Contextual, FromForm, FromFormField};
use rocket::response::Redirect;
use rocket::{Route, get, post, routes};
use rocket_dyn_templates::{Template, context};
use serde::{Deserialize, Serialize};
use session_rocket::{CsrfForm, Session};

use crate::catalogue::Currency;
use crate::fields::{Shown, line};
use crate::{Answer, Shopper, page};

pub fn routes() -> Vec<Route> {
    routes![login_page, login, logout_page, logout, preferences_page, preferences]
}

/// How the pages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, FromFormField)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// As the browser is set.
    #[default]
    Auto,
    Light,
    Dark,
}

#[derive(FromForm)]
struct Name {
    #[field(validate = line(40))]
    name: String,
}

#[derive(FromForm)]
struct Preferences {
    theme: Theme,
    currency: Currency,
}

#[get("/login")]
fn login_page(session: Session<Shopper>) -> Template {
    page(&session, "login", Shown::default())
}

/// A demonstration: a name is all it takes. The `login` example asks for a password too.
#[post("/login", data = "<form>")]
fn login(session: Session<Shopper>, form: CsrfForm<Shopper, Contextual<'_, Name>>) -> Answer {
    let Contextual { value, context } = form.into_inner();
    let Some(Name { name }) = value else {
        return Answer::Again(page(&session, "login", Shown::posted(&context)));
    };
    let name = name.trim();
    session.set_customer(name);
    session.set_notice(format!("Hello, {name}!"));
    Answer::go_to("/")
}

/// Does not log out: any page of any site could have the browser fetch this address. Every page has the button.
#[get("/logout")]
fn logout_page() -> Redirect {
    Redirect::to("/")
}

/// Leaves nothing behind, for this may be a computer that others use too.
#[post("/logout", data = "<_form>")]
fn logout(session: Session<Shopper>, _form: CsrfForm<Shopper>) -> Redirect {
    session.flush();
    Redirect::to("/")
}

#[get("/preferences")]
fn preferences_page(session: Session<Shopper>) -> Template {
    page(&session, "preferences", context! { currency: session.currency() })
}

#[post("/preferences", data = "<form>")]
fn preferences(session: Session<Shopper>, form: CsrfForm<Shopper, Preferences>) -> Redirect {
    session.set_theme(form.theme);
    session.set_currency(form.currency);
    session.set_notice("Saved.");
    Redirect::to("/preferences/")
}
