//! The state of one request's session, and the lock around it. No lock is held while user code runs.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::error::Error;
use crate::base::id::Key;
use crate::data::values::Values;
use crate::state::carrier::{Carrier, CookieEffect, Lifecycle};
use crate::state::change::Change;

/// The session of one request; clones are the same session.
#[derive(Clone)]
pub struct State(Arc<Mutex<Inner>>);

pub(super) struct Inner {
    pub carrier: Carrier,
    /// The key of the id that the browser sent.
    pub loaded: Option<Key>,
    /// The keys of the other ids that the browser sent.
    pub others: Vec<Key>,
    pub base: Values,
    pub values: Values,
    pub changes: Vec<Change>,
    pub intent: Intent,
    /// Which fields were read, by index.
    pub read: Vec<bool>,
    pub changed_at: Option<&'static Location<'static>>,
    /// Counts changes of `values`.
    pub revision: u64,
    /// Counts how often all changes were dropped.
    pub emptied: u64,
    pub cookie: CookieEffect,
    /// The number of finished commits.
    pub completed: u64,
    pub failure: Option<Failure>,
    /// The last failure before `failure` that no caller has seen.
    pub earlier_unseen: Option<Failure>,
    pub head_sent: bool,
}

/// What the next commit is to do besides its changes.
#[derive(Default)]
pub(super) struct Intent {
    /// What `flush` and `cycle_id` require.
    pub asked: Lifecycle,
    /// What a change of the identity requires.
    pub implied: Lifecycle,
    pub login: bool,
    pub transacts: bool,
}

impl Intent {
    pub(super) fn lifecycle(&self) -> Lifecycle {
        self.asked.max(self.implied)
    }
}

/// The last commit that failed.
pub(super) struct Failure {
    pub number: u64,
    pub error: Error,
    /// Whether a caller has seen it.
    pub seen: bool,
}

impl State {
    pub(crate) fn new(carrier: Carrier, values: Values, others: Vec<Key>) -> Self {
        let fields = values.schema().fields().len();
        let loaded = if let Carrier::Live(live) = &carrier { Some(live.key) } else { None };
        Self(Arc::new(Mutex::new(Inner {
            carrier,
            loaded,
            others,
            base: values.clone(),
            values,
            changes: Vec::new(),
            intent: Intent::default(),
            read: vec![false; fields],
            changed_at: None,
            revision: 0,
            emptied: 0,
            cookie: CookieEffect::None,
            completed: 0,
            failure: None,
            earlier_unseen: None,
            head_sent: false,
        })))
    }

    /// A poisoned lock is used as it is, because no panic leaves the state half changed.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values as they are now, and their revision.
    pub(crate) fn snapshot(&self) -> (u64, Values) {
        let inner = self.lock();
        (inner.revision, inner.values.clone())
    }

    pub(crate) fn carrier(&self) -> Carrier {
        self.lock().carrier.clone()
    }

    pub(crate) fn is_modified(&self) -> bool {
        self.lock().is_modified()
    }
}

impl Inner {
    /// Notes that a change was made, and where.
    pub(super) fn mark(&mut self, at: &'static Location<'static>) {
        self.revision += 1;
        self.changed_at.get_or_insert(at);
    }

    /// Makes a change that drops nothing of the user's.
    pub(super) fn apply(&mut self, change: Change) {
        change.apply(&mut self.values);
        self.changes.push(change);
    }

    pub(super) fn imply(&mut self, lifecycle: Lifecycle, login: bool) {
        self.intent.implied = self.intent.implied.max(lifecycle);
        self.intent.login = login;
    }

    /// Removes all values and changes, and returns them, to be dropped without the lock.
    pub(super) fn empty(&mut self) -> (Values, Vec<Change>) {
        self.emptied += 1;
        self.read.fill(false);
        let empty = Values::empty(self.values.schema());
        (std::mem::replace(&mut self.values, empty), std::mem::take(&mut self.changes))
    }

    pub(super) fn is_modified(&self) -> bool {
        !self.changes.is_empty() || !self.keeps_id()
    }

    /// Whether the session goes on under the id it has.
    pub(super) fn keeps_id(&self) -> bool {
        self.intent.lifecycle() == Lifecycle::Keep
    }

    /// Drops all changes except `flush` and `cycle_id`. Returns the changes, to be dropped without the lock.
    pub(super) fn drop_changes(&mut self) -> (Values, Vec<Change>) {
        let dropped = self.empty();
        self.intent = Intent { asked: self.intent.asked, ..Intent::default() };
        self.revision += 1;
        if self.intent.asked != Lifecycle::End {
            self.values = self.base.clone();
        }
        if self.intent.asked == Lifecycle::Cycle {
            // Part of the cycle, not one of the changes.
            self.apply(Change::ForgetCsrf);
        }
        dropped
    }

    pub(super) fn note_failure(&mut self, error: Error) {
        self.completed += 1;
        let before = self.failure.replace(Failure { number: self.completed, error, seen: false });
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
                "a session of type `{}` was changed at {at} and never saved: after the response, call `save().await`; \
                 for a visitor without a session, save in the handler, before the response",
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
