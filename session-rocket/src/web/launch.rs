//! The launch of the fairing: reads the configuration, checks it against the session type, and opens the store.

use std::marker::PhantomData;
use std::sync::Arc;

use rocket::{Build, Rocket};

use super::attached::{Attached, Isolated, Sweep};
use super::config::{Config, SealSettings, Settings, resolve};
use super::cookie::{self, CookieSettings};
use super::plain_http::PlainHttpWarnings;
use super::registry::{Entry, Registry};
use super::transport::Transport;
use crate::base::clock::Clock;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::event::OnEvent;
use crate::commit::sealed::Sealer;
use crate::commit::{CookieBounds, CookieEngine, Engine, Events, Rules, StoreEngine};
use crate::session::SessionData;
use crate::store::{self, Store};

/// Where the fairing gets its store from.
#[derive(Clone)]
pub(super) enum StoreSource {
    /// The `store` URL of the configuration.
    Url,
    Object(Arc<dyn Store>),
    /// A pool whose connect options the store uses for its own connections.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    Pool(store::sql::Pool),
    /// A pool whose connections the store borrows.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    SharedPool(store::sql::Pool),
}

/// What the application has set on a fairing.
pub(super) struct FairingOptions {
    pub config: Config,
    pub source: StoreSource,
    pub clock: Arc<dyn Clock>,
    pub on_event: Option<Arc<OnEvent>>,
}

impl FairingOptions {
    /// Attaches the session type `T`.
    ///
    /// # Errors
    /// If the configuration is invalid or does not fit the session type, or the store cannot be opened.
    pub(super) async fn attach<T: SessionData>(&self, rocket: &Rocket<Build>) -> Result<Attached<T>> {
        let figment = rocket.figment();
        let by_url = matches!(self.source, StoreSource::Url);
        let mut settings = resolve(figment, T::CONFIG, &self.config, by_url)?;
        let is_isolated = rocket.state::<Isolated>().is_some();
        if is_isolated {
            settings.store = settings.store.in_memory();
        }
        refuse_without_identity::<T>(&settings)?;
        let registry = rocket.state::<Registry>().ok_or_else(|| {
            Error::new(ErrorKind::Config, "internal error: Rocket does not manage the registry of session types")
        })?;
        let mut entry = Entry::of::<T>(&settings);
        registry.refuse_clashes(&entry)?;
        let rules = self.rules::<T>(&settings);
        let (engine, sweep) = match &settings.seal {
            Some(seal) => {
                self.refuse_events()?;
                (Engine::Cookie(cookie_engine(rules, seal, &settings.cookie)), None)
            }
            None => {
                let source = if is_isolated { &StoreSource::Url } else { &self.source };
                let (store, sweep) = self.store_of(source, registry, &settings, &mut entry).await?;
                check_index::<T>(&*store, &settings)?;
                let events = Events::new(self.on_event.clone());
                (Engine::Store(StoreEngine::new(rules, store, events, settings.store.timeout)), sweep)
            }
        };
        log::info!(target: "session_rocket", "session type `{}`: {settings}", T::NAME);
        let has_secure_cookie = settings.cookie.secure && settings.transport != Transport::Bearer;
        let plain_http = PlainHttpWarnings::at_launch(T::NAME, has_secure_cookie, figment);
        registry.add(entry);
        Ok(attached(settings, engine, plain_http, sweep))
    }

    fn rules<T: SessionData>(&self, settings: &Settings) -> Rules {
        Rules {
            clock: self.clock.clone(),
            schema: T::schema(),
            scope: T::SCOPE,
            policy: settings.policy,
            format: settings.format,
            max_size: settings.max_size,
            limit: settings.limit,
            poll_interval: settings.poll_interval,
        }
    }

    /// Refuses `on_event` for sealed cookies, because it would never be called.
    fn refuse_events(&self) -> Result<()> {
        if self.on_event.is_none() {
            return Ok(());
        }
        let context = "`on_event` is never called for sealed cookies: remove `on_event`, or set another `store`";
        Err(Error::new(ErrorKind::Config, context))
    }

    /// Opens the store, and records it in `entry` for other session types.
    async fn store_of(
        &self,
        source: &StoreSource,
        registry: &Registry,
        settings: &Settings,
        entry: &mut Entry,
    ) -> Result<(Arc<dyn Store>, Option<Sweep>)> {
        let options = store::Options { clock: self.clock.clone(), ..settings.store.clone() };
        let (store, swept) = open(source, registry, &options).await?;
        entry.opened_store = matches!(source, StoreSource::Url).then(|| (options, store.clone()));
        entry.is_swept = swept || settings.sweep_interval.is_some();
        let sweep = settings.sweep_interval.filter(|_| !swept).map(|interval| Sweep {
            store: store.clone(),
            interval,
            clock: self.clock.clone(),
        });
        Ok((store, sweep))
    }
}

/// Collects what the fairing keeps in Rocket's managed state.
fn attached<T>(settings: Settings, engine: Engine, plain_http: PlainHttpWarnings, sweep: Option<Sweep>) -> Attached<T> {
    Attached {
        engine: Arc::new(engine),
        csrf_cookie: settings.cookie.for_csrf(),
        cookie: settings.cookie,
        transport: settings.transport,
        new_id_header: settings.new_id_header,
        clear_site_data: settings.clear_site_data,
        plain_http,
        sweep,
        data: PhantomData,
    }
}

/// Returns the store, and whether a sweep task of another session type already runs for it.
async fn open(source: &StoreSource, registry: &Registry, options: &store::Options) -> Result<(Arc<dyn Store>, bool)> {
    match source {
        StoreSource::Object(store) => Ok((store::with_cache(store.clone(), options).await?, false)),
        #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
        StoreSource::Pool(pool) => {
            let store = pool.clone().open(options).await?;
            Ok((store::with_cache(store, options).await?, false))
        }
        #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
        StoreSource::SharedPool(pool) => {
            let store = pool.clone().share(options).await?;
            Ok((store::with_cache(store, options).await?, false))
        }
        StoreSource::Url => {
            let opened = registry.find_opened_store(options);
            match opened {
                Some(opened) => Ok(opened),
                None => Ok((store::open(options).await?, false)),
            }
        }
    }
}

/// Refuses settings that have no effect without an identity.
fn refuse_without_identity<T: SessionData>(settings: &Settings) -> Result<()> {
    if T::schema().identity().is_some() {
        return Ok(());
    }
    let (table, name) = (T::CONFIG, T::NAME);
    let (key, fix) = if settings.policy.anonymous_idle_timeout != settings.policy.idle_timeout {
        ("anonymous_expiry", "set `expiry` instead")
    } else if settings.limit.is_some() {
        ("max_sessions", "mark the field that has the user's id with `#[session(identity)]`")
    } else {
        return Ok(());
    };
    let context = format!("`{table}.{key}` has no effect on session type `{name}`, which has no identity: {fix}");
    Err(Error::new(ErrorKind::Config, context))
}

/// Warns at launch if the store can neither list nor revoke the sessions of a user.
///
/// # Errors
/// [`ErrorKind::Config`] if `max_sessions` is set, because a login then needs the list.
fn check_index<T: SessionData>(store: &dyn Store, settings: &Settings) -> Result<()> {
    if T::schema().identity().is_none() || store.has_identity_index() {
        return Ok(());
    }
    let (table, name) = (T::CONFIG, T::NAME);
    if settings.limit.is_some() {
        let context = format!(
            "`{table}.max_sessions` needs a store that lists the sessions of a user: remove `max_sessions`, or set another `store`"
        );
        return Err(Error::new(ErrorKind::Config, context));
    }
    log::warn!(
        target: "session_rocket",
        "session type `{name}` has an identity, but this store cannot list or revoke the sessions of a user: if the site \
         needs this, use another store",
    );
    Ok(())
}

/// Creates the engine for sealed cookies, and warns if its key is random.
fn cookie_engine(rules: Rules, seal: &SealSettings, cookie: &CookieSettings) -> CookieEngine {
    if rules.schema.identity().is_some() {
        log::info!(
            target: "session_rocket",
            "session type `{}`: the sessions of a user can be neither listed nor revoked, because they are in sealed cookies",
            rules.schema.type_name(),
        );
    }
    if seal.is_random {
        log::warn!(
            target: "session_rocket",
            "session type `{}`: no secret key is set, so its sessions end when this process ends: set `secret_keys`, \
             or Rocket's `secret_key`, to the output of `openssl rand -base64 32`",
            rules.schema.type_name(),
        );
    }
    let sealer = Sealer::new(seal.kind, &seal.current_key, &seal.former_keys, rules.scope, &cookie.name);
    CookieEngine::new(rules, sealer, CookieBounds { overhead: cookie.overhead(), limit: cookie::MAX_LINE })
}
