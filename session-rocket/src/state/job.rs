//! Where a session is kept, what a commit is given, and what comes of it.

use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::id::{Key, SessionId};
use crate::data::values::Values;
use crate::state::change::Change;
use crate::store::record::Version;

/// Where a session is kept.
#[derive(Clone)]
pub(crate) enum Carrier {
    /// Nowhere yet. A damaged record that the browser's id led to is removed once there is a new one.
    New { replaces: Option<(Key, Version)> },
    /// In the store.
    Live(Live),
    /// In its own cookie.
    Sealed(Sealed),
    /// Another request ended it, or somebody else logged in to it: nothing is kept.
    Ended,
    /// The browser has a cookie that it did not send with this cross-site request. Nothing is kept unless the request
    /// logs somebody in, because a new session would replace the visitor's own.
    Withheld,
}

/// A session in the store.
#[derive(Clone)]
pub(crate) struct Live {
    /// Unknown when another request cycled the id meanwhile.
    pub id: Option<SessionId>,
    pub key: Key,
    pub version: Version,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// The record says a later expiry: it was saved under a longer limit.
    pub is_cut: bool,
}

/// A session in its own cookie.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// What the browser is to hold from now on.
    pub cookie: Option<Arc<str>>,
    /// A former key sealed it.
    pub by_former_key: bool,
}

/// What is to become of a session's id, the stronger the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lifecycle {
    Keep,
    /// A new id, the same session.
    Cycle,
    /// The session ends; what is set afterwards makes a new one.
    End,
}

/// What the response has to tell the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CookieEffect {
    None,
    Set,
    Remove,
}

/// What a commit takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Everything,
    /// `flush` and `cycle_id` alone; all other changes are dropped.
    LifecycleOnly,
}

/// The changes of one commit.
pub(crate) struct Job {
    pub carrier: Carrier,
    /// As loaded.
    pub base: Values,
    /// As changed.
    pub values: Values,
    pub changes: Vec<Change>,
    pub lifecycle: Lifecycle,
    /// `flush` was called: the browser is to forget the id.
    pub flushed: bool,
    /// The identity was set: whatever became of the session meanwhile, the user gets one.
    pub login: bool,
    /// The caller waits for the result of its closure, which must have run on what is stored.
    pub transacts: bool,
    /// The response head is sent, so the browser cannot receive a new cookie.
    pub is_late: bool,
    /// The other sessions whose ids the request presented: `flush` ends them too.
    pub others: Vec<Key>,
}

impl Job {
    /// Whether the job only ends the session and sets nothing afterwards.
    pub(crate) fn only_ends(&self) -> bool {
        self.flushed && self.values.is_blank()
    }

    /// For a commit under another id than the request knew: a form token that was made for that one is not valid there.
    pub(crate) fn forget_csrf(&mut self) {
        self.changes.retain(|change| !matches!(change, Change::Csrf(_)));
        self.values.set_csrf(None);
    }
}

/// What came of a commit.
pub(crate) struct Settled {
    pub carrier: Carrier,
    pub values: Values,
    pub cookie: CookieEffect,
    /// Why some changes were dropped or not saved, although the rest was committed.
    pub failure: Option<Error>,
}

impl Settled {
    pub(crate) fn new(carrier: Carrier, values: Values, cookie: CookieEffect) -> Self {
        Self { carrier, values, cookie, failure: None }
    }
}
