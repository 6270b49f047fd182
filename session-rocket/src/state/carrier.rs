//! Where a session is kept, what a commit takes, and what it returns.

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
    /// Nowhere yet. If the browser's id led to a damaged record, that record is removed once the session has a new one.
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
    /// Unknown if another request cycled the id meanwhile.
    pub id: Option<SessionId>,
    pub key: Key,
    pub version: Version,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// The record has a later expiry, because it was saved under a longer limit.
    pub is_cut: bool,
}

/// A session in its own cookie.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// The value of the cookie to send.
    pub cookie: Option<Arc<str>>,
    /// Whether a former key sealed the cookie.
    pub by_former_key: bool,
}

/// What happens to a session's id. Of two, the greater wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Lifecycle {
    #[default]
    Keep,
    /// A new id, the same session.
    Cycle,
    /// The session ends. Values set afterwards make a new session.
    End,
}

/// What the response does with the session cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CookieEffect {
    None,
    Set,
    Remove,
}

/// Which changes a commit takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitScope {
    Everything,
    /// `flush` and `cycle_id` alone; all other changes are dropped.
    LifecycleOnly,
}

/// The changes of one commit.
pub(crate) struct PendingCommit {
    pub carrier: Carrier,
    /// As loaded.
    pub base: Values,
    /// As changed.
    pub values: Values,
    pub changes: Vec<Change>,
    pub lifecycle: Lifecycle,
    /// `flush` was called, so the browser has to remove the cookie.
    pub flushed: bool,
    /// The identity was set, so the user gets a session even if this one ended meanwhile.
    pub login: bool,
    /// The caller waits for the result of its closure, which must have run on what is stored.
    pub transacts: bool,
    /// The response head is sent, so the browser cannot receive a new cookie.
    pub is_late: bool,
    /// The other sessions whose ids the request presented: `flush` ends them too.
    pub others: Vec<Key>,
}

impl PendingCommit {
    /// Whether the commit only ends the session and sets nothing afterwards.
    pub(crate) fn only_ends(&self) -> bool {
        self.flushed && self.values.is_blank()
    }

    /// Drops the form token's secret, for a commit under another id: the token was made for the id that the request knew.
    pub(crate) fn forget_csrf(&mut self) {
        self.changes.retain(|change| !matches!(change, Change::Csrf(_)));
        self.values.set_csrf(None);
    }
}

/// The session after a commit.
pub(crate) struct Committed {
    pub carrier: Carrier,
    pub values: Values,
    pub cookie: CookieEffect,
    /// Why some changes were dropped or not saved, although the rest was committed.
    pub failure: Option<Error>,
}

impl Committed {
    pub(crate) fn new(carrier: Carrier, values: Values, cookie: CookieEffect) -> Self {
        Self { carrier, values, cookie, failure: None }
    }
}
