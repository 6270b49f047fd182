//! Where a session is stored, and the input and output of a commit.

use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::event::EndReason;
use crate::base::id::{Key, SessionId};
use crate::data::values::Values;
use crate::state::change::Change;
use crate::store::record::Version;

/// Whether a request has a session, and where the session is stored.
#[derive(Clone)]
pub(crate) enum SessionStatus {
    /// The session is not stored yet.
    ///
    /// `replaces` is the record of the browser's id, if the record is damaged, or expired because a limit was lowered.
    /// The commit that stores the session removes this record.
    New { replaces: Option<(Key, Version)> },
    /// The session has a record in the store.
    Live(Live),
    /// The session is stored in its cookie.
    Sealed(Sealed),
    /// Another request ended the session or changed its user. Changes are stored only if this request logs somebody in.
    Ended,
    /// The browser may have a session cookie that it did not send with this cross-site request.
    ///
    /// Changes are stored only if the request logs somebody in, because the cookie of a new session would replace the
    /// visitor's own.
    Withheld,
}

impl SessionStatus {
    /// Whether there is a session that the browser can use again.
    pub(crate) fn has_session(&self) -> bool {
        matches!(self, Self::Live(_) | Self::Sealed(_))
    }
}

/// The record of a session in the store.
#[derive(Clone)]
pub(crate) struct Live {
    /// `None` if another request gave the session a new id, which this request does not know.
    pub id: Option<SessionId>,
    pub key: Key,
    pub version: Version,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// Whether `expires_at` is earlier than the expiry in the record, because a limit was lowered after the last save.
    pub has_lowered_expiry: bool,
}

/// A session that is stored in its cookie.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// The cookie value to send, if a commit of this request sealed the session.
    pub cookie: Option<Arc<str>>,
    /// Whether the cookie is sealed with a former key.
    pub by_former_key: bool,
}

/// What a commit does with the id of a session. If a request asks for several variants, the last variant wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Lifecycle {
    #[default]
    Keep,
    /// The session gets a new id and keeps its data.
    Cycle,
    /// The session ends. Values that are set afterwards go into a new session.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CookieEffect {
    None,
    Set,
    Remove,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitScope {
    Everything,
    /// Only `flush` and `cycle_id`. All other changes are dropped.
    LifecycleOnly,
}

/// The input of a commit.
pub(crate) struct PendingCommit {
    pub status: SessionStatus,
    /// The values as they were loaded.
    pub base: Values,
    /// The values with the changes of this request.
    pub values: Values,
    pub changes: Vec<Change>,
    pub lifecycle: Lifecycle,
    /// Whether `flush` was called, so that the browser has to remove the cookie.
    pub flushed: bool,
    pub reason: EndReason,
    /// Whether this commit changes the user: a login, or a logout that ran again on newer data. Such a commit creates a new
    /// session if the loaded session has ended.
    pub login: bool,
    /// Whether a caller of `transact` waits for the result of its closure, which must run on the stored values.
    pub transacts: bool,
    /// Whether the response head is sent, so that the browser cannot receive a new cookie.
    pub after_head: bool,
    /// The keys of the other sessions whose ids the browser sent. If the commit ends the session, it also ends these.
    pub others: Vec<Key>,
}

impl PendingCommit {
    /// Whether the commit only ends the session, because no value was set after `flush`.
    pub(crate) fn only_ends(&self) -> bool {
        self.flushed && self.values.is_blank()
    }

    /// Drops the CSRF secret before a commit under another id, because the secret must not outlive the loaded id.
    pub(crate) fn forget_csrf(&mut self) {
        self.changes.retain(|change| !matches!(change, Change::Csrf(_)));
        self.values.set_csrf(None);
    }
}

/// The output of a commit: the session as it is stored now.
pub(crate) struct Committed {
    pub status: SessionStatus,
    pub values: Values,
    pub cookie: CookieEffect,
    /// The reason why some changes were not saved, although the rest was committed.
    pub failure: Option<Error>,
    /// Whether the commit ended a session because of `flush`, `clear` or a deleted identity.
    pub logged_out: bool,
}

impl Committed {
    pub(crate) fn new(status: SessionStatus, values: Values, cookie: CookieEffect) -> Self {
        Self { status, values, cookie, failure: None, logged_out: false }
    }
}
