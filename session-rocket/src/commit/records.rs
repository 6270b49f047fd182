//! Loads, decodes and builds the records of one session type. Does not write to the store.
//!
//! A _tombstone_ replaces the record of a session that ended or got a new id.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::candidates::{CookieValues, candidates};
use super::events::Events;
use super::rules::Rules;
use crate::base::clock::{Timestamp, within};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{Key, ScopeHash, SessionId};
use crate::data::values::Values;
use crate::state::{Committed, CookieEffect, Live, SessionStatus, State};
use crate::store::record::{Fate, Record, TOMBSTONE_LIFETIME, Tombstone, Version};
use crate::store::{Lookup, Store};

/// For how long requests with the old id may still arrive after a session ended or got a new id.
///
/// Such a request stores nothing, unless it logs somebody in. A later request can start a new session.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct Records {
    pub(super) rules: Rules,
    pub(super) keys: ScopeHash,
    store: Arc<dyn Store>,
    pub(super) events: Arc<Events>,
    /// The maximum duration of a load or a commit.
    pub(super) timeout: Duration,
}

pub(super) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A session as the store keeps it.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) live: Live,
    pub(super) values: Values,
}

impl Stored {
    pub(super) fn committed(self, cookie: CookieEffect) -> Committed {
        Committed::new(SessionStatus::Live(self.live), self.values, cookie)
    }
}

impl Records {
    pub(super) fn new(rules: Rules, store: Arc<dyn Store>, events: Events, timeout: Duration) -> Self {
        Self { keys: ScopeHash::new(rules.scope), rules, store, events: Arc::new(events), timeout }
    }

    /// Loads the session of the first cookie value that leads to a live session, or returns an empty session.
    ///
    /// If no value leads to a live session, but one leads to a tombstone younger than [`GRACE`], the status is
    /// [`SessionStatus::Ended`].
    ///
    /// # Errors
    /// If the store cannot be read. A failed read never results in an empty session.
    pub(super) async fn load(&self, cookies: &mut CookieValues<'_, '_>) -> Result<State> {
        // Set by the first call that has to wait, because a call that finishes at its first poll need not read the
        // clock.
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
                        State::new(SessionStatus::Live(live), values, others)
                    };
                    match self.open(key, Some(id), &record, state)? {
                        Some(state) => return Ok(state),
                        None => replaces = Some((key, record.version)),
                    }
                }
                Lookup::Tombstone(tombstone) => has_ended |= self.is_recent(&tombstone),
                Lookup::Absent => {}
            }
        }
        let status = if has_ended { SessionStatus::Ended } else { SessionStatus::New { replaces } };
        Ok(State::new(status, Values::empty(self.rules.schema), Vec::new()))
    }

    /// Whether the browser may have sent the old id before it received the new cookie.
    fn is_recent(&self, tombstone: &Tombstone) -> bool {
        self.rules.now().plus(TOMBSTONE_LIFETIME) <= tombstone.expires_at.plus(GRACE)
    }

    /// Whether the store has the session under its id. Returns false if the store cannot be read.
    pub(super) async fn is_live(&self, live: &Live) -> bool {
        matches!(self.call(|| self.timeout, "load", self.store().load(&live.key)).await, Ok(Lookup::Found(_)))
    }

    /// Decodes a record and calls `make` with its session.
    ///
    /// Returns `None` if the record is damaged, or if the session has expired under a limit that was lowered after its last
    /// save. The parameter `make` avoids copies of the session.
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
            log::error!(
                target: "session_rocket",
                "the record of session {handle} of type `{name}` is damaged: the visitor starts with an empty session",
            );
            return Ok(None);
        };
        let live = self.live(key, id, record, &values);
        if live.has_lowered_expiry && live.expires_at <= self.rules.now() {
            return Ok(None);
        }
        Ok(Some(make(live, values)))
    }

    /// Whether a request that loads this record gets a session, by the rules of [`open`](Self::open).
    pub(super) fn is_usable(&self, record: &Record) -> bool {
        match self.rules.read(&record.payload, record.identity.clone()) {
            Ok(Some(values)) => self.rules.expires_at_load(&values, record) > self.rules.now(),
            Ok(None) => false,
            // Another build may support the format of this record.
            Err(_) => true,
        }
    }

    /// Decodes a record that changed during a commit.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the record is damaged or has an unsupported format.
    pub(super) fn reread(&self, key: Key, id: Option<SessionId>, record: &Record) -> Result<Stored> {
        let values = self.rules.read(&record.payload, record.identity.clone())?;
        let damaged = || Error::new(ErrorKind::Unavailable, "the record of the session is damaged");
        let values = values.ok_or_else(damaged)?;
        Ok(Stored { live: self.live(key, id, record, &values), values })
    }

    #[inline]
    fn live(&self, key: Key, id: Option<SessionId>, record: &Record, values: &Values) -> Live {
        let Record { version, created_at, .. } = *record;
        let expires_at = self.rules.expires_at_load(values, record);
        Live { id, key, version, created_at, expires_at, has_lowered_expiry: expires_at < record.expires_at }
    }

    /// Builds the record that a save stores now. The values must be encoded.
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
            scope: self.rules.scope.into(),
        };
        Ok((record, Live { id, key, version, created_at, expires_at, has_lowered_expiry: false }))
    }

    pub(super) fn tombstone(&self, fate: Fate) -> Tombstone {
        Tombstone { fate, expires_at: self.rules.now().plus(TOMBSTONE_LIFETIME) }
    }

    /// Returns the store without its `Arc`: a call through the `Arc` would be boxed twice.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Runs a store call, and drops the call after `limit`, which the store's contract allows (clause 10).
    pub(super) async fn call<A>(
        &self,
        limit: impl FnOnce() -> Duration,
        what: &str,
        call: impl Future<Output = Result<A>>,
    ) -> Result<A> {
        let timed_out = || {
            Err(Error::new(
                ErrorKind::Timeout,
                format!("cannot {what} a session: the store did not reply within `timeout`"),
            ))
        };
        within(&*self.rules.clock, limit, pin!(call)).await.unwrap_or_else(timed_out)
    }
}
