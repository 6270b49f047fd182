//! An account whose session type has no identity.

use rocket::Request;
use session_rocket::{CurrentUser, LoadError, LoadUser, Session};

#[derive(Session)]
struct Visitor {
    num_visits: u32,
}

struct User;

impl LoadUser for User {
    type Session = Visitor;

    async fn load(_: &i64, _: &Request<'_>) -> Result<Option<Self>, LoadError> {
        Ok(None)
    }

    fn identity(&self) -> i64 {
        7
    }
}

#[rocket::get("/")]
fn home(user: CurrentUser<User>) -> &'static str {
    drop(user);
    "home"
}

fn main() {}
