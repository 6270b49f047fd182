//! The records of one session type in a store: finds them, reads them, and makes new ones.
//!
//! Nothing in here writes to the store, and nothing knows a back-end by name.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::candidates::{CookieValues, candidates};
use super::rules::Rules;
use crate::base::clock::{Timestamp, within};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{Key, ScopeHash, SessionId};
use crate::data::values::Values;
use crate::state::{Carrier, Committed, CookieEffect, Live, State};
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Lookup, Store};

/// How long a tombstone is kept: longer than a request that still carries the old id takes to arrive.
const TOMBSTONE: Duration = Duration::from_secs(60);

/// The time after a session's end in which a request with its id may still have been sent before the browser received a
/// newer cookie. Such a request stores nothing. A later request starts a new session, because its browser has no newer id.
const GRACE: Duration = Duration::from_secs(10);

/// The records of one session type.
#[derive(Clone)]
pub(crate) struct Records {
    pub(super) rules: Rules,
    pub(super) keys: ScopeHash,
    store: Arc<dyn Store>,
    /// The maximum duration of a load or a commit.
    pub(super) timeout: Duration,
}

pub(super) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A stored session: where it is, and what it holds.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) live: Live,
    pub(super) values: Values,
}

impl Stored {
    pub(super) fn committed(self, cookie: CookieEffect) -> Committed {
        Committed::new(Carrier::Live(self.live), self.values, cookie)
    }
}

impl Records {
    pub(super) fn new(rules: Rules, store: Arc<dyn Store>, timeout: Duration) -> Self {
        Self { keys: ScopeHash::new(rules.scope), rules, store, timeout }
    }

    /// Loads the session of the first cookie value that names a live session, or an empty session. If no session is live
    /// and one ended within [`GRACE`], the request stores nothing.
    ///
    /// # Errors
    /// If the store cannot be read: never an empty session.
    pub(super) async fn load(&self, cookies: &mut CookieValues<'_, '_>) -> Result<State> {
        // If no call has to wait, nothing reads the clock.
        let mut deadline = None;
        let (mut has_ended, mut replaces) = (false, None);
        let mut ids = candidates(cookies, SessionId::parse);
        while let Some(id) = ids.next() {
            let key = self.keys.key(&id);
            let limit = || left(*deadline.get_or_insert_with(|| Instant::now() + self.timeout));
            match self.call(limit, "load", self.store().load(&key)).await? {
                Lookup::Found(record) => {
                    let state = |live, values| {
                        let others = ids.by_ref().map(|id| self.keys.key(&id)).collect();
                        State::new(Carrier::Live(live), values, others)
                    };
                    match self.open(key, Some(id), &record, state)? {
                        Some(state) => return Ok(state),
                        None => replaces = Some((key, record.version)),
                    }
                }
                Lookup::Tombstone(tombstone) if self.is_recent(&tombstone) => has_ended = true,
                Lookup::Tombstone(_) | Lookup::Absent => {}
            }
        }
        let carrier = if has_ended { Carrier::Ended } else { Carrier::New { replaces } };
        Ok(State::new(carrier, Values::empty(self.rules.schema), Vec::new()))
    }

    /// Whether a request with the old id may have been sent before the browser knew that the session ended.
    fn is_recent(&self, tombstone: &Tombstone) -> bool {
        self.rules.now().plus(TOMBSTONE) <= tombstone.expires_at.plus(GRACE)
    }

    /// Whether a session is still under its id.
    pub(super) async fn is_live(&self, live: &Live) -> bool {
        matches!(self.call(|| self.timeout, "load", self.store().load(&live.key)).await, Ok(Lookup::Found(_)))
    }

    /// Calls `make` with the session of a record: returning the session would copy it at each level. `None` if the record is
    /// damaged, or the session exceeds a limit that was lowered since its last save.
    #[inline]
    pub(super) fn open<S>(
        &self,
        key: Key,
        id: Option<SessionId>,
        record: &Record,
        make: impl FnOnce(Live, Values) -> S,
    ) -> Result<Option<S>> {
        let Some(values) = self.rules.read(&record.payload, record.identity.clone())? else {
            let (handle, name) = (key.handle(), self.rules.schema.type_name());
            log::error!(target: "session_rocket", "the record of session {handle} of type `{name}` is damaged: it starts anew");
            return Ok(None);
        };
        let live = self.live(key, id, record, &values);
        if live.is_cut && live.expires_at <= self.rules.now() {
            return Ok(None);
        }
        Ok(Some(make(live, values)))
    }

    /// The session of a record that changed in the course of a commit. A damaged record is an error.
    pub(super) fn reread(&self, key: Key, id: Option<SessionId>, record: &Record) -> Result<Stored> {
        let values = self.rules.read(&record.payload, record.identity.clone())?;
        let damaged = || Error::new(ErrorKind::Unavailable, "the record of a session was damaged meanwhile");
        let values = values.ok_or_else(damaged)?;
        Ok(Stored { live: self.live(key, id, record, &values), values })
    }

    #[inline]
    fn live(&self, key: Key, id: Option<SessionId>, record: &Record, values: &Values) -> Live {
        let Record { version, created_at, .. } = *record;
        let expires_at = self.rules.expires_at_load(values, record);
        Live { id, key, version, created_at, expires_at, is_cut: expires_at < record.expires_at }
    }

    /// The record of encoded values, saved now, and where it is to be stored.
    pub(super) fn record(
        &self,
        key: Key,
        id: Option<SessionId>,
        values: &Values,
        created_at: Option<Timestamp>,
    ) -> Result<(Record, Live)> {
        let now = self.rules.now();
        let created_at = created_at.unwrap_or(now);
        let expires_at = self.rules.expires_at(values, created_at, now);
        let version = Version::random()?;
        let record = Record {
            payload: values.payload(self.rules.format),
            version,
            created_at,
            updated_at: now,
            expires_at,
            identity: self.rules.identity(values)?,
            scope: self.rules.scope.to_owned(),
        };
        Ok((record, Live { id, key, version, created_at, expires_at, is_cut: false }))
    }

    pub(super) fn tombstone(&self, fate: Fate) -> Tombstone {
        Tombstone { fate, expires_at: self.rules.now().plus(TOMBSTONE) }
    }

    /// The store itself: a call through its `Arc` would be boxed twice.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// A store call that takes at most `limit`. The store's contract allows to drop a call that takes longer.
    pub(super) async fn call<A>(
        &self,
        limit: impl FnOnce() -> Duration,
        what: &str,
        call: impl Future<Output = Result<A>>,
    ) -> Result<A> {
        let late = || {
            Err(Error::new(ErrorKind::Timeout, format!("the store did not answer in time: cannot {what} a session")))
        };
        within(&*self.rules.clock, limit, call).await.unwrap_or_else(late)
    }
}
