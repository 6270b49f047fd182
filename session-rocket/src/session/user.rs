//! The methods of `Session<T>` about its user, for request guards.

use super::{Session, SessionIdentity};
use crate::base::clock::Timestamp;
use crate::base::event::EndReason;
use crate::data::auth::AuthMac;
use crate::data::field::Value;
use crate::state::SessionStatus;

impl<T: SessionIdentity> Session<T> {
    pub(crate) fn identity(&self) -> Option<Value> {
        self.state().read(T::identity_field())
    }

    /// Returns the id of the logged-in user as the string in the store.
    pub(crate) fn identity_text(&self) -> Option<String> {
        self.identity().map(|identity| T::identity_field().peek(&identity).to_string())
    }

    /// Returns when the user last authenticated.
    pub(crate) fn authenticated_at(&self) -> Timestamp {
        match self.state().status() {
            _ if self.state().has_unsaved_login() => self.now(),
            SessionStatus::Live(live) => live.created_at,
            SessionStatus::Sealed(sealed) => sealed.created_at,
            SessionStatus::New { .. } | SessionStatus::Ended | SessionStatus::Withheld => self.now(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.core.engine.rules().now()
    }

    /// Logs a user in, and stores the MAC of the auth hash.
    #[track_caller]
    pub(crate) fn log_in(&self, identity: T::Identity, auth_hash: Option<&str>) {
        T::identity_field().set(self.state(), identity);
        match auth_hash.map(AuthMac::of).transpose() {
            Ok(Some(auth)) => self.state().set_auth(auth),
            Ok(None) => {}
            Err(error) => self.state().fail_response(error),
        }
    }

    /// Whether the user logged in with this auth hash.
    pub(crate) fn has_auth_hash(&self, auth_hash: &str) -> bool {
        self.values().auth().is_some_and(|auth| auth.verifies(auth_hash))
    }

    pub(crate) fn has_auth(&self) -> bool {
        self.values().auth().is_some()
    }

    #[track_caller]
    pub(crate) fn end(&self, reason: EndReason) {
        self.state().flush(reason);
    }
}
