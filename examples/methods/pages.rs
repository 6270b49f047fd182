//! One page each to set, get and delete.

use rocket::{Route, get, routes};
use rocket_dyn_templates::{Template, context};
use session_rocket::Session;

use crate::Visitor;

pub fn routes() -> Vec<Route> {
    routes![set_session, get_session, delete_session]
}

#[get("/set-session")]
fn set_session(session: Session<Visitor>) -> Template {
    session.set_username("JohnDoe");
    session.set_is_logged_in(true);
    Template::render("set_session", context! {})
}

/// The session is the template's context, so the template can use its fields.
#[get("/get-session")]
fn get_session(session: Session<Visitor>) -> Template {
    Template::render("get_session", session)
}

#[get("/delete-session")]
fn delete_session(session: Session<Visitor>) -> Template {
    session.delete_username();
    session.delete_is_logged_in();
    Template::render("delete_session", context! {})
}
