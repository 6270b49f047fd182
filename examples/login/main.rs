//! The login example: users and their sessions in one SQLite database; `/dashboard/` is for those who are logged in.

mod pages;
mod passwords;
mod users;

use rocket::{Build, Rocket, launch};
use session_rocket::Session;

/// What the site remembers about a visitor.
#[derive(Session)]
struct Account {
    /// Who is logged in. Setting it gives the session a new id.
    #[session(identity)]
    user_id: Option<i64>,
    /// Whether somebody is. In Django's guide the views ask this; a session that is ended says `false`.
    is_logged_in: bool,
}

#[launch]
fn rocket() -> Rocket<Build> {
    rocket::build()
        .attach(session_rocket_examples::pages("login"))
        .attach(session_rocket_examples::nothing_is_cached())
        .attach(users::fairing())
        .mount("/", pages::routes())
        .register("/", pages::catchers())
}

#[cfg(test)]
mod browser;
#[cfg(test)]
mod tests;
