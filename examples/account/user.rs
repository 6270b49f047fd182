//! The account of the logged-in user.

use rocket::Request;
use session_rocket::{LoadError, LoadUser};

use crate::Account;
use crate::users::{User, Users};

impl LoadUser for User {
    type Session = Account;

    async fn load(id: &u64, request: &Request<'_>) -> Result<Option<Self>, LoadError> {
        let users = request.rocket().state::<Users>().ok_or("the fairing of the users is not attached")?;
        Ok(users.find(*id))
    }

    fn identity(&self) -> u64 {
        self.id
    }

    /// A new password ends the other sessions of the user at their next request.
    fn auth_hash(&self) -> Option<String> {
        Some(self.password_hash.clone())
    }
}
