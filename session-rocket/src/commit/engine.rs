//! Loads and commits the sessions of one type, by the way they are kept and by what the request did to them.

use std::sync::Arc;
use std::time::Duration;

use super::candidates::CookieValues;
use super::cookie::CookieEngine;
use super::group::Groups;
use super::outcome::{dropped, withheld};
use super::records::Records;
use super::rotate::{create_for_login, create_or_forget, end, end_others};
use super::rules::Rules;
use super::uncertain::Calls;
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::id::SessionId;
use crate::data::values::Values;
use crate::state::{Carrier, Committed, CookieEffect, Lifecycle, Live, PendingCommit, State};
use crate::store::{Store, Touch, Update};

/// Keeps all sessions of one type.
pub(crate) enum Engine {
    Store(StoreEngine),
    Cookie(CookieEngine),
}

impl Engine {
    pub(crate) fn rules(&self) -> &Rules {
        match self {
            Self::Store(engine) => &engine.records.rules,
            Self::Cookie(engine) => &engine.rules,
        }
    }

    /// Loads the session of the first cookie value that names a live session, or an empty session.
    ///
    /// There may be several values: a cookie set for a parent domain or another path has the same name. Browsers send
    /// the older cookie first, and a planted one is younger.
    ///
    /// # Errors
    /// If the store cannot be read: never an empty session.
    pub(crate) async fn load(&self, cookies: &mut CookieValues<'_, '_>) -> Result<State> {
        match self {
            Self::Store(engine) => engine.records.load(cookies).await,
            Self::Cookie(engine) => engine.load(cookies),
        }
    }

    /// The empty session of a request whose session cookie the browser withheld.
    pub(crate) fn withheld(&self) -> State {
        State::new(Carrier::Withheld, Values::empty(self.rules().schema), Vec::new())
    }

    /// Whether one of the cookie values could be a session's.
    pub(crate) fn accepts<'v>(&self, mut cookies: impl Iterator<Item = &'v str>) -> bool {
        match self {
            Self::Store(_) => cookies.any(|value| SessionId::parse(value).is_some()),
            Self::Cookie(engine) => cookies.any(|value| engine.well_formed(value).is_some()),
        }
    }

    /// Commits what a request changed. Must run to its end: spawn it if the caller may go away.
    ///
    /// # Errors
    /// If the store did not confirm, or a change could not be encoded or replayed. The changes are closed then.
    pub(crate) async fn commit(&self, mut pending: Box<PendingCommit>) -> Result<Committed> {
        if matches!(pending.carrier, Carrier::Withheld) {
            if !pending.login {
                let empty = Values::empty(self.rules().schema);
                let committed = Committed::new(Carrier::Withheld, empty, CookieEffect::None);
                return Ok(Committed { failure: Some(withheld()), ..committed });
            }
            pending.carrier = Carrier::New { replaces: None };
        }
        match self {
            Self::Store(engine) => engine.commit(pending).await,
            Self::Cookie(engine) => engine.commit(pending),
        }
    }

    /// Whether former keys are configured, so that a read may seal a session again with the current key.
    pub(crate) fn has_former_keys(&self) -> bool {
        matches!(self, Self::Cookie(engine) if engine.has_former_keys())
    }

    /// The session as it is stored now; `None` if it has ended.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn reload(&self, live: &Live, base: &Values) -> Result<Option<Committed>> {
        // Both engines share one type of carrier; a request has one engine.
        let Self::Store(engine) = self else { return Ok(None) };
        Calls::new(&engine.records).reload(live, base).await
    }

    /// Whether a session is still under its id.
    pub(crate) async fn is_live(&self, live: &Live) -> bool {
        let Self::Store(engine) = self else { return false };
        engine.records.is_live(live).await
    }

    /// Renews a session that was only read, if that is due.
    pub(crate) async fn refresh(&self, carrier: &Carrier, values: Values) -> Option<Committed> {
        let renewed = match (self, carrier) {
            (Self::Store(engine), Carrier::Live(live)) => engine.refresh(live, values).await,
            (Self::Cookie(engine), Carrier::Sealed(sealed)) => engine.refresh(sealed, values),
            _ => Ok(None),
        };
        renewed.unwrap_or_else(|error| {
            // No change is lost: the session stays as it was.
            log::warn!(target: "session_rocket", "a session was read but not renewed: {}", Chain(&error));
            None
        })
    }
}

/// Keeps sessions of one type in a store.
///
/// A commit replays the request's changes on whatever is stored by then and compares and swaps, so that no update is
/// lost. It never creates a session under the key of one that has ended.
pub(crate) struct StoreEngine {
    records: Records,
    groups: Groups,
}

impl StoreEngine {
    pub(crate) fn new(rules: Rules, store: Arc<dyn Store>, timeout: Duration) -> Self {
        Self { records: Records::new(rules, store, timeout), groups: Groups::default() }
    }

    async fn commit(&self, mut pending: Box<PendingCommit>) -> Result<Committed> {
        let calls = Calls::new(&self.records);
        let others = std::mem::take(&mut pending.others);
        let mut committed = self.commit_one(&calls, pending).await?;
        if !others.is_empty() {
            Box::pin(end_others(&calls, &mut committed, others)).await;
        }
        Ok(committed)
    }

    async fn commit_one(&self, calls: &Calls<'_>, pending: Box<PendingCommit>) -> Result<Committed> {
        // Rare cases are boxed, because each commit would reserve the room of the largest.
        match (&pending.carrier, pending.lifecycle) {
            // Both engines share one type of carrier; a request has one engine.
            (Carrier::Sealed(_), _) => Err(Error::new(ErrorKind::Unsupported, "a sealed session is in no store")),
            (Carrier::Ended, _) if pending.login && !pending.transacts => {
                Box::pin(create_for_login(calls, &pending)).await
            }
            (Carrier::Ended | Carrier::Withheld, _) => Ok(dropped(&pending)),
            (Carrier::Live(live), Lifecycle::Keep) => self.groups.save(calls, live.clone(), pending).await,
            (Carrier::Live(live), Lifecycle::Cycle) => Box::pin(self.groups.cycle(calls, live.clone(), pending)).await,
            (Carrier::Live(live), Lifecycle::End) => Box::pin(end(calls, live.clone(), pending)).await,
            (Carrier::New { replaces }, _) => {
                let replaces = *replaces;
                Box::pin(create_or_forget(calls, pending, replaces)).await
            }
        }
    }

    async fn refresh(&self, live: &Live, values: Values) -> Result<Option<Committed>> {
        let (records, rules) = (&self.records, &self.records.rules);
        let due = rules.policy.refreshed(&values.lifetime(), live.created_at, live.expires_at, rules.now());
        let Some(due) = due else { return Ok(None) };
        let Live { key, version, created_at, .. } = *live;
        let renewed = if live.is_cut {
            // A touch would change neither the expiry nor the time of the last save.
            let (record, renewed) = records.record(key, live.id.clone(), &values, Some(created_at))?;
            let update = Calls::new(records).swap(&key, version, &record).await?;
            (update == Update::Updated).then_some(renewed)
        } else {
            let touch = records.store().touch(&key, version, due);
            let touch = records.call(|| records.timeout, "refresh", touch).await?;
            (touch == Touch::Touched).then(|| Live { expires_at: due, ..live.clone() })
        };
        // Another request that changed the session meanwhile has renewed or ended it.
        Ok(renewed.map(|renewed| {
            let cookie = rules.cookie_after(live, &values, &renewed, &values);
            Committed::new(Carrier::Live(renewed), values, cookie)
        }))
    }
}
