//! Loading sessions and committing their changes, whichever way they are kept: in a store, or in their own cookie.

mod cookie;
mod cycle;
mod group;
mod rules;
pub(crate) mod sealed;
mod settle;
mod store;

use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::id::{Key, SessionId};
use crate::data::values::Values;
use crate::state::{Carrier, CookieEffect, Job, Live, Settled};

pub(crate) use self::cookie::{CookieEngine, Line};
pub(crate) use self::rules::Rules;
pub(crate) use self::store::StoreEngine;

/// The most cookies of one name that are considered. A browser sends one or a few; an attacker may send many.
pub(crate) const MAX_CANDIDATES: usize = 8;

/// The values of the cookies of one name. Not a type of its own: a future would hold it several times over.
pub(crate) type CookieValues<'i, 'v> = dyn Iterator<Item = &'v str> + Send + 'i;

/// What a request's cookies led to.
pub(crate) struct Loaded {
    pub carrier: Carrier,
    pub values: Values,
    /// The keys of the other ids presented, which may be live sessions too.
    pub others: Vec<Key>,
}

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

    /// Loads the session of the first cookie value that names a live one, or an empty session.
    ///
    /// There may be several values: a cookie set for a parent domain or another path has the same name. Browsers send
    /// the older cookie first, and a planted one is younger.
    ///
    /// # Errors
    /// When the store cannot be read: never an empty session.
    pub(crate) async fn load(&self, cookies: &mut CookieValues<'_, '_>) -> Result<Loaded> {
        match self {
            Self::Store(engine) => engine.load(cookies).await,
            Self::Cookie(engine) => engine.load(cookies),
        }
    }

    /// The empty session of a request whose session cookie the browser withheld.
    pub(crate) fn withheld(&self) -> Loaded {
        Loaded { carrier: Carrier::Withheld, values: Values::empty(self.rules().schema), others: Vec::new() }
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
    pub(crate) async fn commit(&self, mut job: Box<Job>) -> Result<Settled> {
        if matches!(job.carrier, Carrier::Withheld) {
            if !job.login {
                return Ok(self.dropped());
            }
            job.carrier = Carrier::New { replaces: None };
        }
        match self {
            Self::Store(engine) => engine.commit(job).await,
            Self::Cookie(engine) => engine.commit(job),
        }
    }

    /// Whether former keys are configured, so that a read may seal a session again with the current key.
    pub(crate) fn has_former_keys(&self) -> bool {
        matches!(self, Self::Cookie(engine) if engine.has_former_keys())
    }

    /// Drops the changes of a request whose session cookie the browser withheld.
    fn dropped(&self) -> Settled {
        let Loaded { carrier, values, .. } = self.withheld();
        Settled { failure: Some(withheld()), ..Settled::new(carrier, values, CookieEffect::None) }
    }

    /// The session as it is stored now; `None` when it has ended.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn reload(&self, live: &Live, base: &Values) -> Result<Option<Settled>> {
        match self {
            Self::Store(engine) => engine.reload(live, base).await,
            // Both engines share one type of carrier; a request has one engine.
            Self::Cookie(_) => Ok(None),
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

/// The error of a commit that needs a new session id after the response head is sent.
pub(crate) fn too_late() -> Error {
    let context = "the response head is sent, so the browser cannot receive a new session id";
    Error::new(ErrorKind::TooLate, context)
}

/// The error of changes that no session may take, because the browser withheld its cookie.
pub(crate) fn withheld() -> Error {
    let context = "the browser did not send its session cookie with this cross-site request, because of `SameSite`";
    Error::new(ErrorKind::Withheld, context)
}

/// The well-formed cookie values without duplicates. Values are parsed lazily, because the first is usually the session.
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
