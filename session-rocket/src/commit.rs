//! Loading sessions and committing their changes, whichever way they are kept: in a store, or in their own cookie.

mod cookie;
mod cycle;
mod group;
mod rules;
mod settle;
mod store;

use crate::error::{Chain, Result};
use crate::id::SessionId;
use crate::state::{Carrier, Job, Live, Settled};
use crate::values::Values;

pub(crate) use self::cookie::{CookieEngine, Line};
pub(crate) use self::rules::Rules;
pub(crate) use self::store::StoreEngine;

/// How many cookies of one name are looked at: a browser sends one, a prank many.
pub(crate) const MAX_CANDIDATES: usize = 8;

/// The values of the cookies of one name. Not a type of its own: a future would hold it several times over.
pub(crate) type CookieValues<'i, 'v> = dyn Iterator<Item = &'v str> + Send + 'i;

/// Keeps all sessions of one type.
pub(crate) enum Engine {
    Store(StoreEngine),
    Cookie(CookieEngine),
}

impl Engine {
    pub(crate) fn rules(&self) -> &Rules {
        match self {
            Self::Store(engine) => &engine.rules,
            Self::Cookie(engine) => &engine.rules,
        }
    }

    /// Loads the session that one of the cookie values is of, or an empty one.
    ///
    /// There may be several: a cookie set for a parent domain or another path has the same name, and the order is not
    /// reliable.
    ///
    /// # Errors
    /// When the store cannot be read: never an empty session.
    pub(crate) async fn load(&self, cookies: &mut CookieValues<'_, '_>) -> Result<(Carrier, Values)> {
        match self {
            Self::Store(engine) => engine.load(cookies).await,
            Self::Cookie(engine) => engine.load(cookies),
        }
    }

    /// Whether one of the cookie values could be a session's.
    pub(crate) fn accepts<'v>(&self, mut cookies: impl Iterator<Item = &'v str>) -> bool {
        match self {
            Self::Store(_) => cookies.any(|value| SessionId::parse(value).is_some()),
            Self::Cookie(engine) => cookies.any(|value| engine.well_formed(value).is_some()),
        }
    }

    /// Commits what a request changed. Must run to its end: spawn it where the caller may go away.
    ///
    /// # Errors
    /// When the store did not confirm, or a change could not be encoded or replayed. The changes are closed then.
    pub(crate) async fn commit(&self, job: Box<Job>) -> Result<Settled> {
        match self {
            Self::Store(engine) => engine.commit(job).await,
            Self::Cookie(engine) => engine.commit(job),
        }
    }

    /// Whether a session is still where it was.
    pub(crate) async fn holds(&self, live: &Live) -> bool {
        match self {
            Self::Store(engine) => engine.holds(live).await,
            Self::Cookie(_) => false,
        }
    }

    /// Renews a session that was only read, where that is due.
    pub(crate) async fn refresh(&self, carrier: &Carrier, values: Values) -> Option<Settled> {
        let renewed = match (self, carrier) {
            (Self::Store(engine), Carrier::Live(live)) => engine.refresh(live, values).await,
            (Self::Cookie(engine), Carrier::Sealed(sealed)) => engine.refresh(sealed, values),
            _ => Ok(None),
        };
        renewed.unwrap_or_else(|error| {
            // Nothing that anybody changed is lost: the session stands as it was.
            log::warn!(target: "session_rocket", "a session was read but not renewed: {}", Chain(&error));
            None
        })
    }
}

/// The well-formed of some cookie values, each once. One is parsed when it is asked for: mostly the first is the session.
pub(crate) fn candidates<'v, C: Clone + PartialEq>(
    values: &mut CookieValues<'_, 'v>,
    parse: impl Fn(&'v str) -> Option<C>,
) -> impl Iterator<Item = C> {
    let mut seen = Vec::new();
    let new = move |candidate: &C| {
        let new = !seen.contains(candidate);
        if new {
            seen.push(candidate.clone());
        }
        new
    };
    values.filter_map(parse).filter(new).take(MAX_CANDIDATES)
}
