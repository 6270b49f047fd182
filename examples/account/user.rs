//! The session type, how a session finds its user, and what a login stores.

use std::time::Duration;

use rocket::Request;
use session_rocket::{Error, Expiry, LoadError, LoadUser, Session};

use crate::device::Device;
use crate::pages::Theme;
use crate::users::{User, Users};

const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// What the site remembers about a visitor.
#[derive(Session)]
pub struct Account {
    /// The logged-in user. [`LoadUser::log_in`] sets it.
    #[session(identity)]
    pub user_id: Option<u64>,
    /// The browser that logged in, for the list of devices.
    pub device: String,
    pub theme: Theme,
    /// A message for the next page.
    pub notice: Option<String>,
}

impl LoadUser for User {
    type Session = Account;

    async fn load(id: &u64, request: &Request<'_>) -> Result<Option<Self>, LoadError> {
        let users = request.rocket().state::<Users>().ok_or("the fairing of the users is not attached")?;
        Ok(users.find(*id))
    }

    fn identity(&self) -> u64 {
        self.id
    }

    /// A new password ends the user's other sessions at their next request.
    fn auth_hash(&self) -> Option<String> {
        Some(self.password_hash.clone())
    }
}

/// Logs a user in. The session ends when the browser closes or, with `remember`, after 30 days.
pub fn log_in(user: &User, session: &Session<Account>, device: Device, remember: bool) {
    user.log_in(session);
    session.set_device(device.0);
    session.set_expiry(if remember { Expiry::After(MONTH) } else { Expiry::BrowserClose });
    session.set_max_lifetime(remember.then_some(MONTH));
    session.set_notice(format!("Hello, {}!", user.name));
}

/// Takes the message out of the session. If two tabs load at the same time, only one of them shows it.
pub async fn take_notice(session: &Session<Account>) -> Result<Option<String>, Error> {
    // `transact` always calls the store, so avoid it if there is no message.
    if !session.has_notice() {
        return Ok(None);
    }
    session.transact(|account| account.notice.take()).await
}
