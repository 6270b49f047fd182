//! A session whatever its type.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Mutex as Turn;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::expiry::{Lifetime, Refresh};
use crate::commit::{CookieEngine, Engine, too_late, withheld};
use crate::data::values::Values;
use crate::state::{Carrier, CookieEffect, Job, Lifecycle, Live, Scope, Sealed, Settled, State};

/// A session whatever its type: what it holds and how it is saved.
pub(crate) struct Core {
    pub state: State,
    pub engine: Arc<Engine>,
    /// One commit of this session at a time.
    turn: Turn<()>,
}

/// What a response has to tell the browser.
pub(crate) enum Answer {
    Nothing,
    /// Hold this for so long; `None`: until the browser is closed.
    Hold {
        value: String,
        /// From `now` on.
        age: Option<Duration>,
        now: Timestamp,
    },
    /// Forget what it holds.
    Forget,
}

impl Core {
    pub(crate) fn new(state: State, engine: Arc<Engine>) -> Self {
        Self { state, engine, turn: Turn::new(()) }
    }

    /// Saves what was changed. An error of a commit that another caller started, and that may have carried this caller's
    /// changes, is told to both.
    async fn commit(self: &Arc<Self>, scope: Scope) -> Result<()> {
        self.commit_since(self.state.completed(), scope).await
    }

    /// As [`commit`](Self::commit), for a caller that read the number of finished commits before it made its changes.
    pub(super) async fn commit_since(self: &Arc<Self>, completed: u64, scope: Scope) -> Result<()> {
        let running = self.turn.lock().await;
        let modified = self.state.is_modified();
        drop(running);
        if modified {
            let done = match &*self.engine {
                Engine::Store(_) => self.clone().commit_uncut(scope).await,
                Engine::Cookie(engine) => self.commit_at_once(engine, scope).await,
            };
            if let Err(error) = done {
                self.state.fail(error);
            }
        }
        self.state.failure_since(completed).map_or(Ok(()), Err)
    }

    /// Runs a commit to its end, whatever becomes of the caller. One that does not have to wait is through at its first
    /// poll, which nobody cuts; one that has to gets a task of its own.
    async fn commit_uncut(self: Arc<Self>, scope: Scope) -> Result<()> {
        let mut commit = Box::pin(async move {
            let _turn = self.turn.lock().await;
            if let Some(job) = self.take(scope) {
                self.finish(self.engine.commit(job).await);
            }
        });
        let first = poll_fn(|context| {
            // A store that panics is not to take the fairing with it.
            Poll::Ready(catch_unwind(AssertUnwindSafe(|| commit.as_mut().poll(context))))
        });
        match first.await {
            Ok(Poll::Ready(())) => Ok(()),
            Ok(Poll::Pending) => tokio::spawn(commit)
                .await
                .map_err(|task| stopped(if task.is_panic() { ErrorKind::Panicked } else { ErrorKind::Uncertain })),
            Err(_) => Err(stopped(ErrorKind::Panicked)),
        }
    }

    /// A commit that never waits, and so cannot be cut once it has its turn.
    async fn commit_at_once(&self, engine: &CookieEngine, scope: Scope) -> Result<()> {
        let _turn = self.turn.lock().await;
        let Some(job) = self.take(scope) else { return Ok(()) };
        let settled = catch_unwind(AssertUnwindSafe(|| engine.commit(job)));
        self.finish(settled.map_err(|_| stopped(ErrorKind::Panicked))?);
        Ok(())
    }

    /// What there is to commit, unless it comes too late.
    fn take(&self, scope: Scope) -> Option<Box<Job>> {
        let job = self.state.take(scope)?;
        if self.state.head_sent() && needs_cookie(&job) {
            self.state.fail(too_late());
            return None;
        }
        Some(job)
    }

    fn finish(&self, settled: Result<Settled>) {
        match settled {
            Ok(mut settled) => {
                let failure = settled.failure.take();
                self.state.settle(settled);
                if let Some(error) = failure {
                    self.state.fail(error);
                }
            }
            Err(error) => self.state.fail(error),
        }
    }

    /// Saves now. Without changes, makes sure that the session is still there.
    pub(super) async fn save(self: &Arc<Self>) -> Result<()> {
        let completed = self.state.completed();
        self.commit(Scope::Everything).await?;
        if matches!(self.state.carrier(), Carrier::Withheld) {
            return Err(withheld());
        }
        if self.state.completed() > completed || self.reload().await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Ended, "another request ended the session"))
    }

    /// Reads the stored session again, keeps unsaved changes on top, and returns whether the session still exists.
    pub(super) async fn reload(&self) -> Result<bool> {
        let _turn = self.turn.lock().await;
        let (carrier, base) = self.state.stored();
        let live = match carrier {
            Carrier::Live(live) => live,
            Carrier::Ended => return Ok(false),
            Carrier::New { .. } | Carrier::Sealed(_) | Carrier::Withheld => return Ok(true),
        };
        let found = self.engine.reload(&live, &base).await?;
        let exists = found.is_some();
        let ended = || Settled::new(Carrier::Ended, Values::empty(base.schema()), CookieEffect::None);
        self.state.refresh(found.unwrap_or_else(ended));
        Ok(exists)
    }

    /// Saves what the request changed, or renews what it read if `renews`. Returns the cookie to send and whether the save
    /// succeeded. After a failure there may be a cookie too, because an earlier `save` may have given the session a new id.
    pub(crate) async fn respond(self: &Arc<Self>, scope: Scope, renews: bool) -> (Answer, Result<()>) {
        if self.was_only_read(scope, renews) {
            return (Answer::Nothing, Ok(()));
        }
        let earlier = self.state.renewal();
        // There may be a failure of a `save` whose caller went away.
        let saved = self
            .commit_since(self.state.completed(), scope)
            .await
            .and_then(|()| self.state.unseen_failure().map_or(Ok(()), Err));
        if let Some(live) = self.state.renewal() {
            // By now, another request may have given the browser a newer id: a renewal must not take that from it. After
            // a failure nobody knows; after a save of a while ago the store does.
            let old = earlier.is_some_and(|earlier| earlier.version == live.version);
            if saved.is_err() || old && !Box::pin(self.engine.holds(&live)).await {
                self.state.withdraw_news();
            }
        }
        if saved.is_ok() && renews && scope == Scope::Everything && !self.state.has_news() {
            Box::pin(self.refresh()).await;
        }
        // A commit that another task has begun may have news; one that begins later is told that the head is sent.
        let _turn = self.turn.lock().await;
        (self.news(), saved)
    }

    /// Whether there is nothing to save, to renew or to tell, as with most requests; if so, the response head is sent.
    fn was_only_read(&self, scope: Scope, renews: bool) -> bool {
        if renews && scope == Scope::Everything && self.engine.rules().policy.refresh != Refresh::OnSave {
            return false;
        }
        // While another guard's save runs, nobody knows.
        self.turn.try_lock().is_ok_and(|_turn| self.state.send_head_unchanged())
    }

    /// What the browser has to be told; from now on nothing more can be.
    fn news(&self) -> Answer {
        let Some((effect, carrier, lifetime)) = self.state.send_head() else { return Answer::Nothing };
        match (effect, carrier) {
            (CookieEffect::Set, Carrier::Live(Live { id, created_at, expires_at, .. })) => {
                self.hold(id.map(|id| id.expose()), &lifetime, created_at, expires_at)
            }
            (CookieEffect::Set, Carrier::Sealed(Sealed { cookie, created_at, expires_at, .. })) => {
                self.hold(cookie.map(|cookie| cookie.to_string()), &lifetime, created_at, expires_at)
            }
            (CookieEffect::Remove, Carrier::New { .. }) => Answer::Forget,
            _ => Answer::Nothing,
        }
    }

    fn hold(&self, value: Option<String>, lifetime: &Lifetime, created_at: Timestamp, expires_at: Timestamp) -> Answer {
        let now = self.engine.rules().now();
        let until = self.engine.rules().policy.cookie_expires_at(lifetime, created_at, expires_at);
        match value {
            Some(value) if now < expires_at => Answer::Hold { value, age: until.map(|until| now.until(until)), now },
            _ => Answer::Nothing,
        }
    }

    async fn refresh(&self) {
        let _turn = self.turn.lock().await;
        if self.state.has_news() || self.state.is_modified() {
            return;
        }
        let (carrier, stored) = self.state.stored();
        let mut refresh = Box::pin(self.engine.refresh(&carrier, stored));
        let caught = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| refresh.as_mut().poll(context))) {
            Ok(polled) => polled,
            Err(_) => Poll::Ready(None),
        });
        if let Some(settled) = caught.await {
            self.state.settle(settled);
        }
    }
}

fn stopped(kind: ErrorKind) -> Error {
    Error::new(kind, "the task that saved a session was stopped")
}

/// Whether a commit makes something that the browser does not hold.
fn needs_cookie(job: &Job) -> bool {
    match (&job.carrier, job.lifecycle) {
        (Carrier::Live(_), Lifecycle::Keep) => false,
        (Carrier::Live(_), Lifecycle::Cycle) => true,
        (Carrier::Live(_), Lifecycle::End) => !job.flushed || !job.values.is_blank(),
        (Carrier::Sealed(_), _) => true,
        (Carrier::New { .. }, _) => !job.values.is_blank(),
        (Carrier::Ended | Carrier::Withheld, _) => job.login,
    }
}
