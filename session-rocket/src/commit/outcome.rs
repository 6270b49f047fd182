//! Commits that store nothing: what is left of the session, and why.

use crate::base::error::{Error, ErrorKind};
use crate::data::schema::Schema;
use crate::data::values::Values;
use crate::state::{Carrier, Committed, CookieEffect, PendingCommit};

/// The error of a commit that needs a new session id after the response head is sent.
pub(crate) fn too_late() -> Error {
    let context = "the response head is sent, so the browser cannot receive a new session id";
    Error::new(ErrorKind::TooLate, context)
}

/// The error of changes that no session may take, because the browser withheld its cookie.
pub(crate) fn withheld() -> Error {
    let context = "the browser did not send its session cookie with this cross-site request, because of `SameSite`";
    Error::new(ErrorKind::Withheld, context)
}

/// No session exists, and none has ended.
pub(super) fn absent(schema: &'static Schema, cookie: CookieEffect) -> Committed {
    Committed::new(Carrier::New { replaces: None }, Values::empty(schema), cookie)
}

/// The session has ended.
pub(crate) fn ended(schema: &'static Schema) -> Committed {
    Committed::new(Carrier::Ended, Values::empty(schema), CookieEffect::None)
}

/// The session has ended, so the pending changes are dropped.
pub(super) fn dropped(pending: &PendingCommit) -> Committed {
    let context = "another request ended the session, so this one's changes are dropped";
    let failure = (!pending.only_ends()).then(|| Error::new(ErrorKind::Ended, context));
    Committed { failure, ..ended(pending.base.schema()) }
}
