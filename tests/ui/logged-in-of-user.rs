//! `LoggedIn` with the account instead of the session type.

use rocket::Request;
use session_rocket::{LoadError, LoadUser, LoggedIn, Session};

#[derive(Session)]
struct Account {
    #[session(identity)]
    user_id: Option<i64>,
}

struct User;

impl LoadUser for User {
    type Session = Account;

    async fn load(_: &i64, _: &Request<'_>) -> Result<Option<Self>, LoadError> {
        Ok(None)
    }

    fn identity(&self) -> i64 {
        7
    }
}

#[rocket::get("/")]
fn home(user: LoggedIn<User>) -> &'static str {
    drop(user);
    "home"
}

fn main() {}
