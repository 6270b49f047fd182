//! The methods example: one route for each method of a session.

mod methods;
mod pages;
mod python;
mod redirects;

use std::time::Duration;

use rocket::{get, launch, routes};
use rocket_dyn_templates::{Template, context};
use session_rocket::{Config, CrossOriginProtection, Session};

/// What the site remembers about a visitor.
#[derive(Session)]
struct Visitor {
    #[session(default = "Guest")]
    username: String,
    is_logged_in: bool,
    #[session(default = "Guest")]
    name: String,
}

#[get("/")]
fn index() -> Template {
    Template::render("index", context! {})
}

#[get("/set-session")]
fn set_session(session: Session<Visitor>) -> &'static str {
    session.set_name("John Doe");
    session.set_expiry(Duration::from_secs(300));
    "Session data set!"
}

#[get("/get-session")]
fn get_session(session: Session<Visitor>) -> String {
    format!("Hello, {}!", session.name())
}

#[get("/delete-session")]
fn delete_session(session: Session<Visitor>) -> &'static str {
    session.flush();
    "Session data deleted."
}

#[launch]
fn rocket() -> _ {
    // In a database shared with other examples, `keys` would also return their fields.
    let config = Config::new().store("sqlite://methods.db");
    rocket::build()
        .attach(CrossOriginProtection::new())
        .attach(session_rocket_examples::pages("methods"))
        .attach(Session::<Visitor>::fairing().config(config))
        .mount("/", routes![index, set_session, get_session, delete_session])
        .mount("/", methods::routes())
        .mount("/pages", pages::routes())
        .mount("/redirects", redirects::routes())
}

#[cfg(test)]
mod browser;
#[cfg(test)]
mod tests;
