//! Loading a session from a store and committing its changes to it.
//!
//! A commit replays the request's changes on whatever is stored by then and compares and swaps, so that no update is
//! lost; it never creates where something was ended. It knows no back-end by name.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::clock::{Timestamp, within};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{Key, ScopeHash, SessionId, random_bytes};
use crate::data::values::Values;
use crate::state::{Carrier, CookieEffect, Job, Lifecycle, Live, Settled};
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Lookup, Store, Touch, Update};

use super::group::Groups;
use super::rules::Rules;
use super::{CookieValues, Loaded, candidates};

/// How long a tombstone stands: longer than a request that still carries the old id takes to arrive.
const TOMBSTONE: Duration = Duration::from_secs(60);

/// The time after a session's end in which a request with its id may still have been sent before the browser received a
/// newer cookie. Such a request stores nothing. A later request starts a new session, because its browser has no newer id.
const GRACE: Duration = Duration::from_secs(10);

/// How often an id that is already taken is drawn anew, and how many moves of one session are followed.
pub(super) const TRIES: usize = 8;

/// Keeps sessions of one type in a store.
pub(crate) struct StoreEngine {
    pub rules: Rules,
    keys: ScopeHash,
    store: Arc<dyn Store>,
    pub(super) timeout: Duration,
    pub(super) groups: Groups,
}

/// Until when a commit has to be through with the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    pub(super) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// A stored session and where it is: what changes are replayed on.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) live: Live,
    pub(super) values: Values,
}

impl StoreEngine {
    pub(crate) fn new(rules: Rules, store: Arc<dyn Store>, timeout: Duration) -> Self {
        Self { keys: ScopeHash::new(rules.scope), rules, store, timeout, groups: Groups::default() }
    }

    /// Loads the session of the first cookie value that names a live one, or an empty session. If no session is live and
    /// one ended within [`GRACE`], the request stores nothing.
    ///
    /// # Errors
    /// When the store cannot be read: never an empty session.
    pub(crate) async fn load(&self, values: &mut CookieValues<'_, '_>) -> Result<Loaded> {
        // Where no call has to wait, nobody looks at the clock.
        let mut deadline = None;
        let mut fallback = Carrier::New { replaces: None };
        let mut ids = candidates(values, SessionId::parse);
        while let Some(id) = ids.next() {
            let key = self.keys.key(&id);
            let left = || deadline.get_or_insert_with(|| Deadline::after(self.timeout)).left();
            match self.call(left, "load", self.store().load(&key)).await? {
                Lookup::Found(record) => match self.live(key, Some(id), &record)? {
                    Some(Stored { live, values }) => {
                        let others = ids.map(|id| self.keys.key(&id)).collect();
                        return Ok(Loaded { carrier: Carrier::Live(live), values, others });
                    }
                    None if matches!(fallback, Carrier::Ended) => {}
                    None => fallback = Carrier::New { replaces: Some((key, record.version)) },
                },
                Lookup::Tombstone(tombstone) if self.is_recent(&tombstone) => fallback = Carrier::Ended,
                Lookup::Tombstone(_) | Lookup::Absent => {}
            }
        }
        Ok(Loaded { carrier: fallback, values: Values::empty(self.rules.schema), others: Vec::new() })
    }

    /// The session of a record; `None` when it is damaged or past a limit that was lowered since it was saved.
    #[inline]
    fn live(&self, key: Key, id: Option<SessionId>, record: &Record) -> Result<Option<Stored>> {
        let Some(stored) = self.read(key, id, record)? else {
            let (handle, name) = (key.handle(), self.rules.schema.type_name());
            log::error!(target: "session_rocket", "the record of session {handle} of type `{name}` is damaged: it starts anew");
            return Ok(None);
        };
        Ok((!stored.live.is_cut || self.rules.now() < stored.live.expires_at).then_some(stored))
    }

    /// Whether a request with the old id may have been sent before the browser knew that the session ended.
    fn is_recent(&self, tombstone: &Tombstone) -> bool {
        self.rules.now().plus(TOMBSTONE) <= tombstone.expires_at.plus(GRACE)
    }

    /// The session as it is stored now, also under an id that another request gave it; `None` when it has ended, or
    /// somebody else logged in to it.
    pub(crate) async fn reload(&self, live: &Live, base: &Values) -> Result<Option<Settled>> {
        let deadline = Deadline::after(self.timeout);
        let stored = match self.look(&live.key, deadline).await? {
            Lookup::Found(record) => self.live(live.key, live.id.clone(), &record)?,
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(next), .. }) => match self.moved(&next, deadline).await? {
                Some(stored) if self.rules.same_owner(base, &stored.values)? => Some(stored),
                _ => None,
            },
            Lookup::Tombstone(_) | Lookup::Absent => None,
        };
        Ok(stored.map(|Stored { live, values }| Settled::new(Carrier::Live(live), values, CookieEffect::None)))
    }

    /// The store, for a task that outlives the commit.
    pub(super) fn shared_store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// The store itself: a call by way of its `Arc` would be boxed twice.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// What a record says; `None` when it is damaged.
    #[inline]
    fn read(&self, key: Key, id: Option<SessionId>, record: &Record) -> Result<Option<Stored>> {
        let Some(values) = self.rules.read(&record.payload, record.identity.clone())? else { return Ok(None) };
        let Record { version, created_at, .. } = *record;
        let expires_at = self.rules.expires_at_load(&values, record);
        let is_cut = expires_at < record.expires_at;
        Ok(Some(Stored { live: Live { id, key, version, created_at, expires_at, is_cut }, values }))
    }

    /// As [`read`](Self::read) in the midst of a commit, where damage is an error.
    pub(super) fn reread(&self, key: Key, id: Option<SessionId>, record: &Record) -> Result<Stored> {
        self.read(key, id, record)?
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "the record of a session was damaged meanwhile"))
    }

    /// Commits what a request changed. Must run to its end: spawn it where the caller may go away.
    ///
    /// # Errors
    /// When the store did not confirm, or a change could not be encoded or replayed. The changes are closed then.
    pub(crate) async fn commit(&self, mut job: Box<Job>) -> Result<Settled> {
        let deadline = Deadline::after(self.timeout);
        let others = std::mem::take(&mut job.others);
        let mut settled = self.commit_one(job, deadline).await?;
        if !others.is_empty() {
            Box::pin(self.end_others(&mut settled, others, deadline)).await;
        }
        Ok(settled)
    }

    async fn commit_one(&self, job: Box<Job>, deadline: Deadline) -> Result<Settled> {
        // What is rare is boxed, or each commit would take up the room of the largest.
        match (&job.carrier, job.lifecycle) {
            // Both engines share one type of carrier; a request has one engine.
            (Carrier::Sealed(_), _) => Err(Error::new(ErrorKind::Unsupported, "a sealed session is in no store")),
            (Carrier::Ended, _) if job.login && !job.transacts => Box::pin(self.found_apart(&job, deadline)).await,
            (Carrier::Ended | Carrier::Withheld, _) => Ok(self.ended(&job)),
            (Carrier::Live(live), Lifecycle::Keep) => self.grouped(live.clone(), job, deadline).await,
            (Carrier::Live(live), Lifecycle::Cycle) => Box::pin(self.cycle(live.clone(), job, deadline)).await,
            (Carrier::Live(live), Lifecycle::End) => Box::pin(self.end(live.clone(), job, deadline)).await,
            (Carrier::New { replaces }, _) => {
                let replaces = *replaces;
                Box::pin(self.found_or_forget(job, replaces, deadline)).await
            }
        }
    }

    /// Renews a session that was only read, where that is due.
    pub(crate) async fn refresh(&self, live: &Live, values: Values) -> Result<Option<Settled>> {
        let now = self.rules.now();
        let due = self.rules.policy.refreshed(&values.lifetime(), live.created_at, live.expires_at, now);
        let Some(due) = due else { return Ok(None) };
        if live.is_cut {
            return self.rewrite(live, values).await;
        }
        let touch = self.store().touch(&live.key, live.version, due);
        Ok(match self.call(|| self.timeout, "refresh", touch).await? {
            Touch::Touched => {
                let renewed = Live { expires_at: due, ..live.clone() };
                let cookie = self.cookie_after(live, &values, &renewed, &values);
                Some(Settled::new(Carrier::Live(renewed), values, cookie))
            }
            // Whoever changed it meanwhile renewed it, or ended it.
            Touch::Conflict | Touch::Gone => None,
        })
    }

    /// Renews a session that was saved under a longer limit. A touch would change neither its expiry nor its last save.
    async fn rewrite(&self, live: &Live, values: Values) -> Result<Option<Settled>> {
        let Live { id, key, version, created_at, .. } = live.clone();
        let (record, renewed) = self.record(key, id, &values, Some(created_at))?;
        Ok(match self.swap(&key, version, &record, Deadline::after(self.timeout)).await? {
            Update::Updated => {
                let cookie = self.cookie_after(live, &values, &renewed, &values);
                Some(Settled::new(Carrier::Live(renewed), values, cookie))
            }
            Update::Conflict(_) | Update::Moved(_) | Update::Gone => None,
        })
    }

    /// Whether a session is still where it was.
    pub(crate) async fn holds(&self, live: &Live) -> bool {
        matches!(self.call(|| self.timeout, "load", self.store().load(&live.key)).await, Ok(Lookup::Found(_)))
    }

    /// A session without a record, or what `flush` leaves of it.
    pub(super) async fn found_or_forget(
        &self,
        job: Box<Job>,
        replaces: Option<(Key, Version)>,
        deadline: Deadline,
    ) -> Result<Settled> {
        if !job.values.is_blank() {
            let founded = self.found(job.values, None, deadline).await;
            if let Some((key, version)) = replaces
                && (founded.is_ok() || job.flushed)
            {
                self.discard(&key, Some(version), deadline).await;
            }
            return match founded {
                // What was there has ended, and the browser is told.
                Err(error) if job.flushed => Ok(Settled { failure: Some(error), ..self.forgotten() }),
                founded => founded,
            };
        }
        let cookie = if job.flushed { CookieEffect::Remove } else { CookieEffect::None };
        let replaces = match replaces {
            Some((key, version)) if job.flushed => {
                self.discard(&key, Some(version), deadline).await;
                None
            }
            kept => kept,
        };
        Ok(Settled::new(Carrier::New { replaces }, job.values, cookie))
    }

    /// A session of its own for a request that logged in while its session was ended or moved: what it set, no more.
    pub(super) async fn found_apart(&self, job: &Job, deadline: Deadline) -> Result<Settled> {
        let mut values = Values::empty(self.rules.schema);
        self.rules.replay(&job.changes, &mut values)?;
        self.found(values, None, deadline).await
    }

    /// Puts a session under a new id.
    pub(super) async fn found(
        &self,
        mut values: Values,
        created_at: Option<Timestamp>,
        deadline: Deadline,
    ) -> Result<Settled> {
        self.rules.encode(&mut values)?;
        for _ in 0..TRIES {
            let id = SessionId::random()?;
            let key = self.keys.key(&id);
            let (record, live) = self.record(key, Some(id), &values, created_at)?;
            if self.insert(&key, &record, deadline).await? {
                return Ok(Settled::new(Carrier::Live(live), values, CookieEffect::Set));
            }
        }
        Err(Error::new(ErrorKind::Random, "every new session id drawn was already taken"))
    }

    /// Drops the changes to a session that has ended.
    pub(super) fn ended(&self, job: &Job) -> Settled {
        let context = "another request ended the session, so this one's changes are dropped";
        let failure = (!job.only_ends()).then(|| Error::new(ErrorKind::Ended, context));
        let settled = Settled::new(Carrier::Ended, Values::empty(self.rules.schema), CookieEffect::None);
        Settled { failure, ..settled }
    }

    /// Whether the browser needs its cookie again, because it would lose it before the session expires.
    pub(super) fn cookie_after(&self, old: &Live, was: &Values, new: &Live, is: &Values) -> CookieEffect {
        let until = |live: &Live, values: &Values| {
            self.rules.policy.cookie_expires_at(&values.lifetime(), live.created_at, live.expires_at)
        };
        if until(old, was) == until(new, is) { CookieEffect::None } else { CookieEffect::Set }
    }

    /// Nothing is left, and the browser is to forget its cookie.
    pub(super) fn forgotten(&self) -> Settled {
        Settled::new(Carrier::New { replaces: None }, Values::empty(self.rules.schema), CookieEffect::Remove)
    }

    /// The record of settled values, saved now.
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

    /// A store call within `limit`. Dropping it then is safe by the store's contract.
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

    /// Waits a little before the next try, or says that there is no time left for one.
    pub(super) async fn pause(&self, attempt: u32, deadline: Deadline) -> Result<()> {
        if deadline.left().is_zero() {
            return Err(Error::new(ErrorKind::Timeout, "other requests changed the session at every try"));
        }
        let [random] = random_bytes::<1>()?;
        let longest = 500 << attempt.min(6);
        self.rules.clock.sleep(Duration::from_micros(longest * u64::from(random) / 255)).await;
        Ok(())
    }
}
