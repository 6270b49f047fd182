//! Reads and changes the library's own data in a session.

use std::time::Duration;

use super::Values;
use super::library::{AUTH, BEGAN, CSRF, EXPIRY, MAX_LIFETIME};
use crate::base::clock::Timestamp;
use crate::base::expiry::Expiry;
use crate::data::auth::AuthMac;
use crate::data::csrf::CsrfSecret;

impl Values {
    pub(crate) fn set_expiry(&mut self, expiry: Expiry) {
        self.forget_unread(EXPIRY);
        self.other_data_mut().library.expiry = expiry;
    }

    pub(crate) fn set_max_lifetime(&mut self, limit: Option<Duration>) {
        self.forget_unread(MAX_LIFETIME);
        self.other_data_mut().library.max_lifetime = limit;
    }

    pub(crate) fn test_cookie(&self) -> bool {
        self.other_data().library.test_cookie
    }

    pub(crate) fn set_test_cookie(&mut self, set: bool) {
        self.other_data_mut().library.test_cookie = set;
    }

    pub(crate) fn csrf(&self) -> Option<CsrfSecret> {
        self.other_data().library.csrf
    }

    pub(crate) fn set_csrf(&mut self, secret: Option<CsrfSecret>) {
        self.forget_unread(CSRF);
        if secret != self.csrf() {
            self.other_data_mut().library.csrf = secret;
        }
    }

    pub(crate) fn auth(&self) -> Option<AuthMac> {
        self.other_data().library.login.as_ref()?.auth
    }

    pub(crate) fn set_auth(&mut self, auth: Option<AuthMac>) {
        self.forget_unread(AUTH);
        if auth.is_some() || self.other_data().library.login.is_some() {
            self.other_data_mut().library.login_mut().auth = auth;
        }
    }

    pub(crate) fn began_at(&self) -> Option<Timestamp> {
        self.other_data().library.login.as_ref()?.began_at
    }

    pub(crate) fn set_began_at(&mut self, began_at: Timestamp) {
        self.forget_unread(BEGAN);
        self.other_data_mut().library.login_mut().began_at = Some(began_at);
    }

    /// Removes the library's value under `name` if another release wrote it and this release cannot read it.
    fn forget_unread(&mut self, name: &str) {
        self.retain_undeclared(|other| other != name);
    }
}
