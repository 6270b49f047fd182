//! The login example: users and their sessions in one SQLite database, and a dashboard for logged-in users.

mod pages;
mod passwords;
mod users;

use rocket::{Build, Rocket, launch};
use session_rocket::{CrossOriginProtection, Session};

/// What the site remembers about a visitor.
#[derive(Session)]
struct Account {
    /// The logged-in user. Setting it gives the session a new id.
    #[session(identity)]
    user_id: Option<i64>,
    /// Whether a user is logged in, as in Django's tutorial.
    is_logged_in: bool,
}

#[launch]
fn rocket() -> Rocket<Build> {
    rocket::build()
        .attach(CrossOriginProtection::new())
        .attach(session_rocket_examples::pages("login"))
        .attach(session_rocket_examples::no_caching())
        .attach(users::fairing())
        .mount("/", pages::routes())
        .register("/", pages::catchers())
}

#[cfg(test)]
mod browser;
#[cfg(test)]
mod tests;
