//! The part of a session that does not depend on its type.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinError;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::expiry::Refresh;
use crate::commit::{CookieEngine, Engine, ended, too_late, withheld};
use crate::state::{
    CommitScope, Committed, CookieEffect, Lifecycle, Live, PendingCommit, Sealed, SessionStatus, State,
};

/// The state of a session and the engine that saves the session.
pub(crate) struct Core {
    pub state: State,
    pub engine: Arc<Engine>,
    /// Held by the running commit, so that only one commit of this request runs at a time.
    commit_lock: Mutex<()>,
    /// Whether a commit of this request logged the user out.
    logged_out: AtomicBool,
}

pub(crate) enum CookieUpdate {
    None,
    Set {
        value: String,
        /// The lifetime of the cookie, counted from `now`. `None` means until the browser is closed.
        age: Option<Duration>,
        now: Timestamp,
    },
    Remove,
}

impl Core {
    pub(crate) fn new(state: State, engine: Arc<Engine>) -> Self {
        Self { state, engine, commit_lock: Mutex::new(()), logged_out: AtomicBool::new(false) }
    }

    /// Whether a commit of this request logged the user out, and the store confirmed it.
    pub(crate) fn has_logged_out(&self) -> bool {
        self.logged_out.load(Ordering::Relaxed)
    }

    /// Saves the changes. `commits_before` is the number of finished commits before the caller made its changes.
    ///
    /// A commit that another caller started may contain the changes of this caller. If that commit fails, both callers
    /// get the error.
    pub(super) async fn commit_since(self: &Arc<Self>, commits_before: u64, scope: CommitScope) -> Result<()> {
        // The first check does not wait for `commit_lock`: if the caller dropped the future during that wait, the changes
        // would not be saved. The second check waits, because a running commit may contain this caller's changes.
        let is_modified = self.state.is_modified() || {
            let _locked = self.commit_lock.lock().await;
            self.state.is_modified()
        };
        if is_modified {
            let done = match &*self.engine {
                Engine::Store(_) => self.clone().commit_to_completion(scope).await,
                Engine::Cookie(engine) => self.commit_to_cookie(engine, scope).await,
            };
            if let Err(error) = done {
                self.state.fail(error);
            }
        }
        self.state.failure_since(commits_before).map_or(Ok(()), Err)
    }

    /// Runs a commit to completion, even if the caller drops the future.
    ///
    /// A commit that does not finish at its first poll continues in a separate task.
    async fn commit_to_completion(self: Arc<Self>, scope: CommitScope) -> Result<()> {
        let mut commit = Box::pin(async move {
            let _locked = self.commit_lock.lock().await;
            if let Some(pending) = self.take(scope) {
                self.finish(self.engine.commit(pending).await);
            }
        });
        let is_done = poll_fn(|context| Poll::Ready(poll_caught(commit.as_mut(), context))).await?.is_ready();
        if is_done {
            return Ok(());
        }
        let kind = |task: JoinError| if task.is_panic() { ErrorKind::Panicked } else { ErrorKind::Uncertain };
        tokio::spawn(commit).await.map_err(|task| stopped(kind(task)))
    }

    /// Runs a commit to a sealed cookie. After it has locked `commit_lock`, it awaits nothing, so it cannot be cancelled.
    async fn commit_to_cookie(&self, engine: &CookieEngine, scope: CommitScope) -> Result<()> {
        let _locked = self.commit_lock.lock().await;
        let Some(pending) = self.take(scope) else { return Ok(()) };
        let committed = catch_unwind(AssertUnwindSafe(|| engine.commit(pending)));
        self.finish(committed.map_err(|_| stopped(ErrorKind::Panicked))?);
        Ok(())
    }

    /// Takes the changes to commit. Drops them if they need a new cookie and the response head is sent.
    fn take(&self, scope: CommitScope) -> Option<Box<PendingCommit>> {
        let pending = self.state.take(scope)?;
        if self.state.head_sent() && needs_cookie(&pending) {
            self.state.fail(too_late());
            return None;
        }
        Some(pending)
    }

    fn finish(&self, committed: Result<Committed>) {
        match committed {
            Ok(mut committed) => {
                let failure = committed.failure.take();
                self.logged_out.fetch_or(committed.logged_out, Ordering::Relaxed);
                self.state.finish_commit(committed);
                if let Some(error) = failure {
                    self.state.fail(error);
                }
            }
            Err(error) => self.state.fail(error),
        }
    }

    /// Saves the changes. Without changes, checks that the session still exists.
    pub(super) async fn save(self: &Arc<Self>) -> Result<()> {
        let commits_before = self.state.num_commits();
        self.commit_since(commits_before, CommitScope::Everything).await?;
        if matches!(self.state.status(), SessionStatus::Withheld) {
            return Err(withheld());
        }
        if self.state.num_commits() > commits_before || self.reload().await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Ended, "the session no longer exists: it expired, or another request ended it"))
    }

    /// Loads the session again and reapplies unsaved changes. Returns whether the session still exists.
    pub(super) async fn reload(&self) -> Result<bool> {
        let _locked = self.commit_lock.lock().await;
        let (status, base) = self.state.stored();
        let live = match status {
            SessionStatus::Live(live) => live,
            SessionStatus::Ended => return Ok(false),
            SessionStatus::New { .. } | SessionStatus::Sealed(_) | SessionStatus::Withheld => return Ok(true),
        };
        let stored = self.engine.reload(&live, &base).await?;
        let exists = stored.is_some();
        self.state.replace_loaded(stored.unwrap_or_else(|| ended(base.schema())));
        Ok(exists)
    }

    pub(super) async fn ended(&self) {
        loop {
            let (status, base) = self.state.stored();
            match status {
                SessionStatus::Live(live) => return self.engine.ended(live, base).await,
                SessionStatus::Ended => return,
                SessionStatus::New { .. } if self.state.had_session() => return,
                // A new session may be saved later in this request. A sealed cookie does not end.
                SessionStatus::New { .. } | SessionStatus::Sealed(_) | SessionStatus::Withheld => {
                    self.engine.rules().next_poll().await;
                }
            }
        }
    }

    /// Saves the changes of the request or, if `renews` is set, renews a session that was only read.
    ///
    /// Returns the cookie to send and the result of the save. Even a failed save can return a cookie, because an earlier
    /// `save` may have given the session a new id.
    pub(crate) async fn respond(self: &Arc<Self>, scope: CommitScope, renews: bool) -> (CookieUpdate, Result<()>) {
        if self.respond_unchanged(scope, renews) {
            return (CookieUpdate::None, Ok(()));
        }
        let earlier = self.state.renewal();
        // An earlier `save` may have failed after its caller dropped the future.
        let saved = self
            .commit_since(self.state.num_commits(), scope)
            .await
            .and_then(|()| self.state.unseen_failure().map_or(Ok(()), Err));
        if let Some(live) = self.state.renewal() {
            // This cookie repeats the id that the browser sent. It must not replace a newer id that another request gave
            // the browser. If this save succeeded and set the cookie, the id is current. If an earlier save set the
            // cookie, the store is asked. After a failed save, the current id is unknown, so no cookie is sent.
            let is_earlier_save = earlier.is_some_and(|earlier| earlier.version == live.version);
            if saved.is_err() || is_earlier_save && !Box::pin(self.engine.is_live(&live)).await {
                self.state.withdraw_cookie();
            }
        }
        if saved.is_ok() && renews && scope == CommitScope::Everything && !self.state.has_cookie_to_send() {
            Box::pin(self.refresh()).await;
        }
        // Waits for a running commit of another task, because that commit may change the cookie. A later commit fails
        // with `TooLate` if it needs a new cookie.
        let _locked = self.commit_lock.lock().await;
        (self.send_head(), saved)
    }

    /// Marks the response head as sent and returns true if there is nothing to save, to renew or to send.
    fn respond_unchanged(&self, scope: CommitScope, renews: bool) -> bool {
        if renews && scope == CommitScope::Everything && self.engine.rules().policy.refresh != Refresh::OnSave {
            return false;
        }
        // If `commit_lock` is locked, another guard is saving.
        self.commit_lock.try_lock().is_ok_and(|_locked| self.state.send_head_unchanged())
    }

    /// Marks the response head as sent, and returns the change of the cookie that the head carries.
    fn send_head(&self) -> CookieUpdate {
        let Some((effect, status, lifetime)) = self.state.send_head() else { return CookieUpdate::None };
        let (value, created_at, expires_at) = match (effect, status) {
            (CookieEffect::Set, SessionStatus::Live(Live { id: Some(id), created_at, expires_at, .. })) => {
                (id.expose(), created_at, expires_at)
            }
            (CookieEffect::Set, SessionStatus::Sealed(Sealed { cookie: Some(cookie), created_at, expires_at, .. })) => {
                (cookie.to_string(), created_at, expires_at)
            }
            (CookieEffect::Remove, SessionStatus::New { .. }) => return CookieUpdate::Remove,
            _ => return CookieUpdate::None,
        };
        let rules = self.engine.rules();
        let now = rules.now();
        if expires_at <= now {
            return CookieUpdate::None;
        }
        let until = rules.policy.cookie_expires_at(&lifetime, created_at, expires_at);
        CookieUpdate::Set { value, age: until.map(|until| now.until(until)), now }
    }

    async fn refresh(&self) {
        let _locked = self.commit_lock.lock().await;
        if self.state.has_cookie_to_send() || self.state.is_modified() {
            return;
        }
        let (status, stored) = self.state.stored();
        let mut refresh = Box::pin(self.engine.refresh(&status, stored));
        let caught = poll_fn(|context| poll_caught(refresh.as_mut(), context).unwrap_or(Poll::Ready(None)));
        if let Some(committed) = caught.await {
            self.state.finish_commit(committed);
        }
    }
}

/// Polls a future and catches panics, because a panic of a store must not stop the fairing.
fn poll_caught<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Result<Poll<F::Output>> {
    catch_unwind(AssertUnwindSafe(|| future.poll(context))).map_err(|_| stopped(ErrorKind::Panicked))
}

fn stopped(kind: ErrorKind) -> Error {
    Error::new(kind, "the task that was saving the session stopped before it finished")
}

/// Whether the browser needs a new cookie to use the session after this commit.
fn needs_cookie(pending: &PendingCommit) -> bool {
    match (&pending.status, pending.lifecycle) {
        (SessionStatus::Live(_), Lifecycle::Keep) => false,
        (SessionStatus::Live(_), Lifecycle::Cycle) => true,
        (SessionStatus::Live(_), Lifecycle::End) => !pending.flushed || !pending.values.is_blank(),
        (SessionStatus::Sealed(_), _) => true,
        (SessionStatus::New { .. }, _) => !pending.values.is_blank(),
        (SessionStatus::Ended | SessionStatus::Withheld, _) => pending.login,
    }
}
