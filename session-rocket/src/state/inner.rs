//! The state of one request's session, behind a lock. User code never runs while the lock is held.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::error::Error;
use crate::base::event::EndReason;
use crate::base::id::Key;
use crate::data::csrf::CsrfSecret;
use crate::data::values::Values;
use crate::state::change::Change;
use crate::state::status::{CookieEffect, Lifecycle, SessionStatus};

/// The session of one request. Clones share the session.
#[derive(Clone)]
pub struct State(Arc<Mutex<Inner>>);

pub(super) struct Inner {
    pub status: SessionStatus,
    /// The key of the session that was loaded by an id from the browser.
    pub loaded: Option<Key>,
    /// The keys of the other ids that the browser sent.
    pub others: Vec<Key>,
    /// The CSRF secret that a browser without a session keeps in a separate cookie.
    pub browser_csrf: Option<CsrfSecret>,
    /// Whether this request drew `browser_csrf`, so that the response has to send it.
    pub drew_browser_csrf: bool,
    /// The values as they are stored, as far as this request knows.
    pub base: Values,
    /// The values with the changes of this request.
    pub values: Values,
    pub changes: Vec<Change>,
    pub intent: Intent,
    /// The fields that this request read.
    pub read: FieldSet,
    /// The code that made the first unsaved change.
    pub changed_at: Option<&'static Location<'static>>,
    /// Incremented at each change of `values`, so that a caller can notice changes by other threads.
    pub revision: u64,
    /// The number of times that all values and changes were dropped.
    pub times_emptied: u64,
    pub cookie: CookieEffect,
    /// The number of finished commits.
    pub num_commits: u64,
    pub failure: Option<Failure>,
    /// The last failure before `failure`, if it was not returned to a caller. Dropped changes do not count.
    pub earlier_unseen: Option<Failure>,
    pub head_sent: bool,
}

/// A set of field indices, without an allocation, because each request creates a set.
///
/// All indices from 127 share one bit, so a struct with more than 128 fields can cause a wrong warning about an
/// overwritten field.
#[derive(Clone, Copy, Default)]
pub(super) struct FieldSet(u128);

impl FieldSet {
    pub(super) fn insert(&mut self, index: usize) {
        self.0 |= Self::bit(index);
    }

    pub(super) fn contains(self, index: usize) -> bool {
        self.0 & Self::bit(index) != 0
    }

    fn bit(index: usize) -> u128 {
        1 << index.min(127)
    }
}

/// What the next commit does besides saving the changes.
#[derive(Default)]
pub(super) struct Intent {
    /// The lifecycle that `flush` and `cycle_id` request.
    pub requested: Lifecycle,
    /// The lifecycle that a change of the identity requires.
    pub required: Lifecycle,
    pub login: bool,
    pub transacts: bool,
    /// Why `flush` was called.
    pub reason: EndReason,
}

impl Intent {
    pub(super) fn lifecycle(&self) -> Lifecycle {
        self.requested.max(self.required)
    }
}

/// A commit that failed.
pub(super) struct Failure {
    /// The number of finished commits, including this commit.
    pub number: u64,
    pub error: Error,
    /// Whether the error was returned to a caller.
    pub seen: bool,
}

impl State {
    pub(crate) fn new(status: SessionStatus, values: Values, others: Vec<Key>) -> Self {
        let loaded = if let SessionStatus::Live(live) = &status { Some(live.key) } else { None };
        Self(Arc::new(Mutex::new(Inner {
            status,
            loaded,
            others,
            browser_csrf: None,
            drew_browser_csrf: false,
            base: values.clone(),
            values,
            changes: Vec::new(),
            intent: Intent::default(),
            read: FieldSet::default(),
            changed_at: None,
            revision: 0,
            times_emptied: 0,
            cookie: CookieEffect::None,
            num_commits: 0,
            failure: None,
            earlier_unseen: None,
            head_sent: false,
        })))
    }

    /// Sets the CSRF secret that a browser without a session sent in its cookie.
    pub(crate) fn set_browser_csrf(&self, secret: CsrfSecret) {
        self.lock().browser_csrf = Some(secret);
    }

    /// Whether the request has no stored session.
    pub(crate) fn is_without_session(&self) -> bool {
        !self.lock().status.has_session()
    }

    /// Locks the state. Ignores poisoning, because no panic leaves the state half changed.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot(&self) -> (u64, Values) {
        let inner = self.lock();
        (inner.revision, inner.values.clone())
    }

    pub(crate) fn status(&self) -> SessionStatus {
        self.lock().status.clone()
    }

    pub(crate) fn is_modified(&self) -> bool {
        self.lock().is_modified()
    }
}

impl Inner {
    /// Records that a change was made, and where.
    pub(super) fn mark(&mut self, at: &'static Location<'static>) {
        self.revision += 1;
        self.changed_at.get_or_insert(at);
    }

    /// Applies and logs a change, which must not run user code, because the caller holds the lock.
    pub(super) fn apply(&mut self, change: Change) {
        change.apply(&mut self.values);
        self.changes.push(change);
    }

    /// Records the lifecycle that a change of the identity requires, and whether the change is a login.
    pub(super) fn imply(&mut self, lifecycle: Lifecycle, login: bool) {
        self.intent.required = self.intent.required.max(lifecycle);
        self.intent.login = login;
    }

    /// Removes and returns all values and changes. The caller drops them after it releases the lock.
    pub(super) fn empty(&mut self) -> (Values, Vec<Change>) {
        self.times_emptied += 1;
        self.read = FieldSet::default();
        let empty = Values::empty(self.values.schema());
        (std::mem::replace(&mut self.values, empty), std::mem::take(&mut self.changes))
    }

    pub(super) fn is_modified(&self) -> bool {
        !self.changes.is_empty() || !self.keeps_id()
    }

    /// Whether the next commit keeps the id of the session.
    pub(super) fn keeps_id(&self) -> bool {
        self.intent.lifecycle() == Lifecycle::Keep
    }

    /// Restores the values as they are stored, and keeps only the effects of `flush` and `cycle_id`. Returns the previous
    /// values and changes, which the caller drops after it releases the lock.
    pub(super) fn drop_changes(&mut self) -> (Values, Vec<Change>) {
        let dropped = self.empty();
        self.intent = Intent { requested: self.intent.requested, reason: self.intent.reason, ..Intent::default() };
        self.revision += 1;
        if self.intent.requested != Lifecycle::End {
            self.values = self.base.clone();
        }
        if self.intent.requested == Lifecycle::Cycle {
            // `cycle_id` also removes the CSRF secret.
            self.apply(Change::ForgetCsrf);
        }
        dropped
    }

    pub(super) fn note_failure(&mut self, error: Error) {
        self.num_commits += 1;
        let before = self.failure.replace(Failure { number: self.num_commits, error, seen: false });
        if let Some(before) = before.filter(|before| !before.seen && !before.error.kind().is_drop()) {
            self.earlier_unseen = Some(before);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(at) = self.changed_at.filter(|_| self.is_modified()) {
            log::error!(
                target: "session_rocket",
                "a session of type `{}` was changed at {at} and never saved: code that runs after the response must \
                 call `save().await`; for a visitor without a session, save in the handler, before the response",
                self.base.schema().type_name(),
            );
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("modified", &self.is_modified()).finish_non_exhaustive()
    }
}
