//! The methods of `State` that commits and the response call.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::base::error::{Error, ErrorKind};
use crate::base::expiry::Lifetime;
use crate::data::values::Values;
use crate::state::change::{Change, while_replaying};
use crate::state::inner::State;
use crate::state::status::{
    CommitScope, Committed, CookieEffect, Lifecycle, Live, PendingCommit, Sealed, SessionStatus,
};

impl State {
    /// Returns where the session is stored, and the stored values as far as this request knows them.
    pub(crate) fn stored(&self) -> (SessionStatus, Values) {
        let inner = self.lock();
        (inner.status.clone(), inner.base.clone())
    }

    /// Takes the changes to commit, if there are any.
    pub(crate) fn take(&self, scope: CommitScope) -> Option<Box<PendingCommit>> {
        // Declared before `inner`, so that the changes are dropped after the lock is released.
        let _dropped;
        let mut inner = self.lock();
        _dropped = (scope == CommitScope::LifecycleOnly).then(|| inner.drop_changes());
        let is_modified = inner.is_modified();
        let intent = std::mem::take(&mut inner.intent);
        inner.changed_at = None;
        let flushed = intent.requested == Lifecycle::End;
        let lifecycle = intent.lifecycle();
        is_modified.then(|| {
            let mut pending = Box::new(PendingCommit {
                status: inner.status.clone(),
                base: inner.base.clone(),
                values: inner.values.clone(),
                changes: std::mem::take(&mut inner.changes),
                lifecycle,
                flushed,
                reason: intent.reason,
                login: intent.login,
                transacts: intent.transacts,
                after_head: inner.head_sent,
                others: if lifecycle == Lifecycle::End { inner.others.clone() } else { Vec::new() },
            });
            pending.inherit_csrf(inner.browser_csrf);
            pending
        })
    }

    /// Replaces the loaded session with the committed one, and keeps changes that were made during the commit.
    pub(crate) fn finish_commit(&self, committed: Committed) {
        self.lock().num_commits += 1;
        self.replace_loaded(committed);
    }

    /// Replaces the loaded session with the stored one, and applies unsaved changes on top.
    pub(crate) fn replace_loaded(&self, stored: Committed) {
        let _dropped;
        {
            let mut inner = self.lock();
            inner.status = stored.status;
            if stored.cookie != CookieEffect::None {
                inner.cookie = stored.cookie;
            }
            _dropped = std::mem::replace(&mut inner.base, stored.values);
        }
        self.rebase();
    }

    /// Drops the changes of a failed commit, and records the error.
    pub(crate) fn fail(&self, error: Error) {
        self.lock().note_failure(error);
        self.rebase();
    }

    /// Records an error that occurred outside a commit, so that the response fails.
    pub(crate) fn fail_response(&self, error: Error) {
        self.lock().note_failure(error);
    }

    /// Sets the values to the stored ones, and replays unsaved changes on them.
    ///
    /// After a commit, unsaved changes are rare: another guard of this request made them during the commit.
    fn rebase(&self) {
        if self.show_base() {
            return;
        }
        loop {
            let (mut changes, mut values, revision, times_emptied) = {
                let mut inner = self.lock();
                let ended = inner.intent.lifecycle() == Lifecycle::End;
                let values = if ended { Values::empty(inner.base.schema()) } else { inner.base.clone() };
                (std::mem::take(&mut inner.changes), values, inner.revision, inner.times_emptied)
            };
            let taken = changes.len();
            changes.retain(|change| replay_or_undo(change, &mut values));
            let _dropped;
            let mut inner = self.lock();
            if changes.len() < taken {
                let context = "an `update` closure panicked when it ran again after a save";
                inner.note_failure(Error::new(ErrorKind::Panicked, context));
            }
            let is_current = inner.revision == revision && inner.times_emptied == times_emptied;
            if inner.times_emptied == times_emptied {
                inner.changes.splice(..0, changes);
            }
            inner.revision += 1;
            if is_current {
                _dropped = std::mem::replace(&mut inner.values, values);
                return;
            }
        }
    }

    /// Sets the values to the stored ones and returns true, unless there are unsaved changes.
    fn show_base(&self) -> bool {
        let _dropped;
        let mut inner = self.lock();
        if inner.is_modified() {
            return false;
        }
        let base = inner.base.clone();
        _dropped = std::mem::replace(&mut inner.values, base);
        inner.revision += 1;
        true
    }

    /// Whether this request logged somebody in, and the login is not saved yet.
    pub(crate) fn has_unsaved_login(&self) -> bool {
        self.lock().intent.login
    }

    pub(crate) fn had_session(&self) -> bool {
        self.lock().loaded.is_some()
    }

    pub(crate) fn keeps_id(&self) -> bool {
        self.lock().keeps_id()
    }

    pub(crate) fn times_emptied(&self) -> u64 {
        self.lock().times_emptied
    }

    pub(crate) fn num_commits(&self) -> u64 {
        self.lock().num_commits
    }

    /// Returns the error of the last failed commit, unless that commit is one of the first `commits` commits. Marks
    /// the error as seen.
    pub(crate) fn failure_since(&self, commits: u64) -> Option<Error> {
        let mut inner = self.lock();
        inner.earlier_unseen.take_if(|failure| failure.number > commits);
        let failure = inner.failure.as_mut().filter(|failure| failure.number > commits)?;
        failure.seen = true;
        Some(failure.error.clone())
    }

    /// Returns the error of a failed commit, unless a caller has already received that error.
    pub(crate) fn unseen_failure(&self) -> Option<Error> {
        let inner = self.lock();
        let last = inner.failure.as_ref().filter(|failure| !failure.seen);
        inner.earlier_unseen.as_ref().or(last).map(|failure| failure.error.clone())
    }

    pub(crate) fn last_failure(&self) -> Option<Error> {
        self.lock().failure.as_ref().map(|failure| failure.error.clone())
    }

    /// Returns the session's record if the response sets the cookie again with the id that the browser sent.
    pub(crate) fn renewal(&self) -> Option<Live> {
        let inner = self.lock();
        match &inner.status {
            SessionStatus::Live(live) if inner.cookie == CookieEffect::Set && inner.loaded == Some(live.key) => {
                Some(live.clone())
            }
            _ => None,
        }
    }

    pub(crate) fn withdraw_cookie(&self) {
        self.lock().cookie = CookieEffect::None;
    }

    /// Marks the response head as sent, and returns the effect of the head on the cookie, if there is one.
    pub(crate) fn send_head(&self) -> Option<(CookieEffect, SessionStatus, Lifetime)> {
        let mut inner = self.lock();
        inner.head_sent = true;
        let effect = std::mem::replace(&mut inner.cookie, CookieEffect::None);
        (effect != CookieEffect::None).then(|| (effect, inner.status.clone(), inner.base.lifetime()))
    }

    /// Marks the response head as sent if the session was only read.
    ///
    /// Returns false if there is a change to save, a cookie to send or seal again, or an error to report.
    pub(crate) fn send_head_unchanged(&self) -> bool {
        let mut inner = self.lock();
        let unchanged = !inner.is_modified() && inner.cookie == CookieEffect::None && inner.failure.is_none();
        if !unchanged || matches!(&inner.status, SessionStatus::Sealed(Sealed { by_former_key: true, .. })) {
            return false;
        }
        inner.head_sent = true;
        true
    }

    pub(crate) fn has_cookie_to_send(&self) -> bool {
        self.lock().cookie != CookieEffect::None
    }

    pub(crate) fn head_sent(&self) -> bool {
        self.lock().head_sent
    }
}

/// Replays a change. Returns false if it panics, and then leaves `values` unchanged.
fn replay_or_undo(change: &Change, values: &mut Values) -> bool {
    let mut changed = values.clone();
    let made = catch_unwind(AssertUnwindSafe(|| while_replaying(|| change.apply(&mut changed)))).is_ok();
    if made {
        *values = changed;
    }
    made
}
