//! A guard for logged-in users, for a session type that has no identity.

use session_rocket::{LoggedIn, Session};

#[derive(Session)]
struct Visitor {
    num_visits: u32,
}

#[rocket::get("/")]
fn home(user: LoggedIn<Visitor>) -> String {
    user.num_visits().to_string()
}

fn main() {}
