//! The results of commits that store nothing.

use crate::base::error::{Error, ErrorKind};
use crate::data::schema::Schema;
use crate::data::values::Values;
use crate::state::{Committed, CookieEffect, PendingCommit, SessionStatus};

/// Returns the error of a commit that needs a new session cookie after the response head is sent.
pub(crate) fn too_late() -> Error {
    let context = "the response head is already sent, so the browser cannot receive a new session cookie: make this change \
                   before the response";
    Error::new(ErrorKind::TooLate, context)
}

/// Returns the error of a commit that drops its changes because the browser withheld (did not send) its cookie.
pub(crate) fn withheld() -> Error {
    let context = "the browser did not send its session cookie with this cross-site request, because of the setting \
                   `same_site`";
    Error::new(ErrorKind::Withheld, context)
}

/// Returns the error of an overtaken `transact`: it changes the user, but another request changed the session first.
pub(super) fn overtaken_transact() -> Error {
    let context = "another request changed the session during a login or logout in `transact`: let the client retry the \
                   request";
    Error::new(ErrorKind::Timeout, context)
}

/// Returns the result of a commit after which the request has no session.
pub(super) fn absent(schema: &'static Schema, cookie: CookieEffect) -> Committed {
    Committed::new(SessionStatus::New { replaces: None }, Values::empty(schema), cookie)
}

/// Returns the result of a commit whose session has ended.
pub(crate) fn ended(schema: &'static Schema) -> Committed {
    Committed::new(SessionStatus::Ended, Values::empty(schema), CookieEffect::None)
}

/// Returns the result of a commit that drops its changes because the session has ended.
pub(super) fn dropped(pending: &PendingCommit) -> Committed {
    let context = "another request ended the session, so the changes of this request are dropped";
    let failure = (!pending.only_ends()).then(|| Error::new(ErrorKind::Ended, context));
    Committed { failure, ..ended(pending.base.schema()) }
}
