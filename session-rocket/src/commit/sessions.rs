//! Lists and ends the sessions of a user, and waits for the end of a session.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use futures::future::select;

use super::engine::{Engine, StoreEngine};
use super::rules::Rules;
use super::uncertain::Calls;
use crate::base::clock::Timestamp;
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::event::EndReason;
use crate::base::id::{Key, SessionHandle};
use crate::data::values::Values;
use crate::state::{Committed, Live, SessionStatus};

pub(crate) struct Listed {
    pub live: Live,
    pub values: Values,
    pub last_saved: Timestamp,
}

impl Engine {
    fn in_store(&self) -> Result<&StoreEngine> {
        match self {
            Self::Store(engine) => Ok(engine),
            Self::Cookie(_) => {
                let context = "sessions in sealed cookies can be neither listed nor revoked: set another `store`";
                Err(Error::new(ErrorKind::Unsupported, context))
            }
        }
    }

    /// Returns the live sessions of a user, sorted by the last authentication, the latest first.
    pub(crate) async fn list(&self, identity: &str) -> Result<Vec<Listed>> {
        let records = &self.in_store()?.records;
        let mut sessions = Vec::new();
        for (key, record) in Calls::new(records).list(identity).await? {
            let last_saved = record.updated_at;
            match records.open(key, None, &record, |live, values| Listed { live, values, last_saved }) {
                Ok(listed) => sessions.extend(listed),
                // This build cannot read the record, but another build may.
                Err(error) => {
                    log::warn!(target: "session_rocket", "skipped an unreadable session while listing sessions: {}", Chain(&error));
                }
            }
        }
        sessions.sort_by_key(|Listed { live, .. }| std::cmp::Reverse((live.created_at, live.key)));
        Ok(sessions)
    }

    /// Ends one session of a user. Returns whether this call ended it.
    pub(crate) async fn revoke(&self, identity: &str, handle: &SessionHandle) -> Result<bool> {
        let calls = Calls::new(&self.in_store()?.records);
        let listed = calls.list(identity).await?;
        match listed.iter().find(|(key, _)| key.handle() == *handle) {
            Some((key, _)) => calls.revoke(*key, identity, EndReason::Revoked).await,
            None => Ok(false),
        }
    }

    pub(crate) async fn revoke_all(&self, identity: &str, kept: Option<Key>) -> Result<u64> {
        Calls::new(&self.in_store()?.records).revoke_all(identity, kept).await
    }

    /// Completes when the session has ended, or when somebody else has logged in on it.
    ///
    /// Never completes for a session in a sealed cookie, because the server cannot end it.
    pub(crate) async fn ended(&self, live: Live, base: Values) {
        match self {
            Self::Store(engine) => engine.ended(live, base).await,
            Self::Cookie(_) => pending().await,
        }
    }
}

impl Rules {
    /// Sleeps until the next multiple of `poll_interval`, when the tasks that wait for the end of a session ask the store.
    ///
    /// All tasks ask at the same time, so that the store can group their loads.
    pub(crate) async fn next_poll(&self) {
        let millis = i64::try_from(self.poll_interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let since_last = self.now().as_millis().rem_euclid(millis);
        let left = Duration::from_millis(u64::try_from(millis - since_last).unwrap_or(0));
        self.clock.sleep(left).await;
    }
}

impl StoreEngine {
    async fn ended(&self, mut live: Live, base: Values) {
        let mut has_failed = false;
        loop {
            let awaited = self.records.events.wait_for(live.key);
            let mut changed = pin!(awaited.notify.notified());
            // Enabled before the load, so that a notification during the load is not missed.
            changed.as_mut().enable();
            match Calls::new(&self.records).reload(&live, &base).await {
                Ok(Some(Committed { status: SessionStatus::Live(moved), .. })) if moved.key != live.key => {
                    live = moved;
                    continue;
                }
                Ok(Some(_)) => has_failed = false,
                Ok(None) => return,
                Err(error) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        let error = Chain(&error);
                        log::warn!(target: "session_rocket", "cannot check whether a session has ended, retrying: {error}");
                    }
                }
            }
            select(changed, pin!(self.records.rules.next_poll())).await;
        }
    }
}
