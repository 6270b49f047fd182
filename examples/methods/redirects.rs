//! Each change redirects to the page that shows it.

use rocket::response::Redirect;
use rocket::{Route, get, routes, uri};
use rocket_dyn_templates::{Template, context};
use session_rocket::Session;

use crate::Visitor;

pub fn routes() -> Vec<Route> {
    routes![set_session, show_session, delete_session, clear_session]
}

#[get("/set-session")]
fn set_session(session: Session<Visitor>) -> Redirect {
    session.set_username("john_doe");
    redirect_to_show()
}

#[get("/show-session")]
fn show_session(visitor: &Visitor) -> Template {
    Template::render("show_session", context! { username: &visitor.username })
}

#[get("/delete-session")]
fn delete_session(session: Session<Visitor>) -> Redirect {
    session.delete_username();
    redirect_to_show()
}

#[get("/clear-session")]
fn clear_session(session: Session<Visitor>) -> Redirect {
    session.flush();
    redirect_to_show()
}

fn redirect_to_show() -> Redirect {
    Redirect::to(uri!("/redirects", show_session))
}
