//! The engines that load and commit the sessions of one type.

use std::sync::Arc;
use std::time::Duration;

use super::candidates::CookieValues;
use super::cookie::CookieEngine;
use super::events::Events;
use super::group::Groups;
use super::outcome::{dropped, withheld};
use super::records::Records;
use super::rotate::{create_for_login, create_or_forget, end, end_others};
use super::rules::Rules;
use super::uncertain::Calls;
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::id::SessionId;
use crate::data::values::Values;
use crate::state::{Committed, CookieEffect, Lifecycle, Live, PendingCommit, SessionStatus, State};
use crate::store::{Store, Touch, Update};

/// Loads and commits the sessions of one type, either in a store or in sealed cookies.
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

    /// Loads the session of the first cookie value that leads to a live session, or returns an empty session.
    ///
    /// A request can have several values, because a cookie for a parent domain or another path can have the same name. For
    /// equal paths, browsers send the older cookie first, and a cookie that an attacker plants is newer than the visitor's
    /// own.
    ///
    /// # Errors
    /// If the store cannot be read. A failed read never results in an empty session.
    pub(crate) async fn load(&self, cookies: &mut CookieValues<'_, '_>) -> Result<State> {
        match self {
            Self::Store(engine) => engine.records.load(cookies).await,
            Self::Cookie(engine) => engine.load(cookies),
        }
    }

    /// Returns the empty session of a cross-site request, from which the browser may have withheld its cookie (`SameSite`).
    pub(crate) fn withheld(&self) -> State {
        State::new(SessionStatus::Withheld, Values::empty(self.rules().schema), Vec::new())
    }

    /// Whether any of the cookie values is well-formed.
    pub(crate) fn accepts<'v>(&self, mut cookies: impl Iterator<Item = &'v str>) -> bool {
        match self {
            Self::Store(_) => cookies.any(|value| SessionId::parse(value).is_some()),
            Self::Cookie(engine) => cookies.any(|value| engine.well_formed(value).is_some()),
        }
    }

    /// Commits the changes of a request. The caller must run the future to completion.
    ///
    /// # Errors
    /// If the store did not confirm the commit, or if a change could not be encoded or replayed (applied again). The
    /// changes are then dropped and never sent again.
    pub(crate) async fn commit(&self, mut pending: Box<PendingCommit>) -> Result<Committed> {
        if matches!(pending.status, SessionStatus::Withheld) {
            if !pending.login {
                let empty = Values::empty(self.rules().schema);
                let committed = Committed::new(SessionStatus::Withheld, empty, CookieEffect::None);
                return Ok(Committed { failure: Some(withheld()), ..committed });
            }
            pending.status = SessionStatus::New { replaces: None };
        }
        match self {
            Self::Store(engine) => engine.commit(pending).await,
            Self::Cookie(engine) => engine.commit(pending),
        }
    }

    /// Whether former secret keys are configured. If so, a read may seal a session again with the current key.
    pub(crate) fn has_former_keys(&self) -> bool {
        matches!(self, Self::Cookie(engine) if engine.has_former_keys())
    }

    /// Loads a session again, even if it has a new id. Returns `None` if the session has ended, or if it now belongs to
    /// somebody else.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn reload(&self, live: &Live, base: &Values) -> Result<Option<Committed>> {
        // Only sessions in a store have a `Live`.
        let Self::Store(engine) = self else { return Ok(None) };
        Calls::new(&engine.records).reload(live, base).await
    }

    /// Whether the store still has the session under its id.
    pub(crate) async fn is_live(&self, live: &Live) -> bool {
        let Self::Store(engine) = self else { return false };
        engine.records.is_live(live).await
    }

    /// Renews a session that was only read, if a renewal is due, or if a former key sealed the session.
    pub(crate) async fn refresh(&self, status: &SessionStatus, values: Values) -> Option<Committed> {
        let renewed = match (self, status) {
            (Self::Store(engine), SessionStatus::Live(live)) => engine.refresh(live, values).await,
            (Self::Cookie(engine), SessionStatus::Sealed(sealed)) => engine.refresh(sealed, values),
            _ => Ok(None),
        };
        renewed.unwrap_or_else(|error| {
            // A failed renewal loses no change, so it does not fail the request.
            log::warn!(target: "session_rocket", "cannot renew an unchanged session: {}", Chain(&error));
            None
        })
    }
}

/// Loads and commits the sessions of one type in a store.
///
/// A commit writes with compare-and-swap. If another request wrote first, the commit replays its changes on the newer
/// record, so that no update is lost. A commit never creates a session under the key of an ended session.
pub(crate) struct StoreEngine {
    pub(super) records: Records,
    groups: Groups,
}

impl StoreEngine {
    pub(crate) fn new(rules: Rules, store: Arc<dyn Store>, events: Events, timeout: Duration) -> Self {
        Self { records: Records::new(rules, store, events, timeout), groups: Groups::default() }
    }

    async fn commit(&self, mut pending: Box<PendingCommit>) -> Result<Committed> {
        let calls = Calls::new(&self.records);
        let (others, reason) = (std::mem::take(&mut pending.others), pending.reason);
        let mut committed = self.commit_one(&calls, pending).await?;
        if !others.is_empty() {
            Box::pin(end_others(&calls, &mut committed, others, reason)).await;
        }
        Ok(committed)
    }

    async fn commit_one(&self, calls: &Calls<'_>, pending: Box<PendingCommit>) -> Result<Committed> {
        // Rare cases are boxed, because otherwise they would make the future of every commit larger.
        match (&pending.status, pending.lifecycle) {
            // This cannot happen, because only the cookie engine creates this status.
            (SessionStatus::Sealed(_), _) => {
                Err(Error::new(ErrorKind::Unsupported, "internal error: the session is in a cookie, not in this store"))
            }
            (SessionStatus::Ended, _) if pending.login && !pending.transacts => {
                Box::pin(create_for_login(calls, &pending)).await
            }
            (SessionStatus::Ended | SessionStatus::Withheld, _) => Ok(dropped(&pending)),
            (SessionStatus::Live(live), Lifecycle::Keep) => self.groups.save(calls, live.clone(), pending).await,
            (SessionStatus::Live(live), Lifecycle::Cycle) => {
                Box::pin(self.groups.cycle(calls, live.clone(), pending)).await
            }
            (SessionStatus::Live(live), Lifecycle::End) => Box::pin(end(calls, live.clone(), pending)).await,
            (SessionStatus::New { replaces }, _) => {
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
        let renewed = if live.has_lowered_expiry {
            // `touch` cannot lower the expiry in the record.
            let (record, renewed) = records.record(key, live.id.clone(), &values, Some(created_at))?;
            let update = Calls::new(records).swap(&key, version, &record).await?;
            (update == Update::Updated).then_some(renewed)
        } else {
            let touch = records.store().touch(&key, version, due);
            let touch = records.call(|| records.timeout, "renew", touch).await?;
            (touch == Touch::Touched).then(|| Live { expires_at: due, ..live.clone() })
        };
        // If `renewed` is `None`, another request has changed or ended the session meanwhile.
        Ok(renewed.map(|renewed| {
            let cookie = rules.cookie_after(live, &values, &renewed, &values);
            Committed::new(SessionStatus::Live(renewed), values, cookie)
        }))
    }
}
