//! The fairing: reads the configuration, opens the store, and commits each request's session before the response
//! head is sent.

use std::marker::PhantomData;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use rocket::fairing::{self, Fairing, Info, Kind};
use rocket::http::Status;
use rocket::{Build, Orbit, Request, Response, Rocket};

use super::config::{Config, SealSettings, Settings, resolve};
use super::cookie::{self, CookieSettings};
use super::guard::{Cached, status};
use crate::clock::{Clock, SystemClock};
use crate::commit::{CookieEngine, Engine, Line, Rules, StoreEngine};
use crate::data::SessionData;
use crate::error::{Chain, Error, ErrorKind, Result};
use crate::expiry::Refresh;
use crate::sealed::Sealer;
use crate::session::{Answer, Session};
use crate::state::Scope;
use crate::store::{self, Store};

/// Where the fairing gets its store from.
#[derive(Clone)]
enum Source {
    /// The configuration's `store` URL.
    Url,
    Object(Arc<dyn Store>),
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    Pool(store::sql::Pool),
}

/// The fairing that loads and saves sessions of type `T`; see [`Session::fairing`].
///
/// Attach it last: a fairing that runs later can still read a session, but what it changes is not saved any more.
pub struct SessionFairing<T> {
    config: Config,
    source: Source,
    clock: Arc<dyn Clock>,
    data: PhantomData<fn() -> T>,
}

impl<T: SessionData> Session<T> {
    /// The fairing to attach: configured by the table `[default.session]` in `Rocket.toml`, or the one named with
    /// `#[session(config = "…")]`, and by `ROCKET_SESSION={…}`.
    ///
    /// ```
    /// # use session_rocket::Session;
    /// # #[derive(Session)]
    /// # struct Visitor { num_visits: u32 }
    /// let rocket = rocket::build().attach(Session::<Visitor>::fairing());
    /// ```
    pub fn fairing() -> SessionFairing<T> {
        SessionFairing {
            config: Config::default(),
            source: Source::Url,
            clock: Arc::new(SystemClock),
            data: PhantomData,
        }
    }
}

impl<T> SessionFairing<T> {
    /// Values for what neither `Rocket.toml` nor the environment sets.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Keeps sessions in this store, whatever the configuration's `store` says.
    #[must_use]
    pub fn store(mut self, store: impl Store) -> Self {
        self.source = Source::Object(Arc::new(store));
        self
    }

    /// Keeps sessions in the database of the application's own pool, of SQLite, PostgreSQL or MySQL, whatever the
    /// configuration's `store` says. The pool's settings stay as they are.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    #[must_use]
    pub fn pool(mut self, pool: impl Into<store::sql::Pool>) -> Self {
        self.source = Source::Pool(pool.into());
        self
    }

    /// Takes the time from `clock`: for tests that move it.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

/// What an attached fairing leaves in Rocket's managed state.
pub(super) struct Attached<T> {
    pub engine: Arc<Engine>,
    pub cookie: CookieSettings,
    sweep: Option<Sweep>,
    data: PhantomData<fn() -> T>,
}

/// A sweeper that is to be started at liftoff.
struct Sweep {
    store: Arc<dyn Store>,
    interval: std::time::Duration,
    clock: Arc<dyn Clock>,
}

/// What the fairings of several session types have in common.
#[derive(Default)]
struct Registry(Mutex<Vec<Entry>>);

struct Entry {
    type_name: &'static str,
    scope: &'static str,
    cookie_name: String,
    opened: Option<(store::Options, Arc<dyn Store>)>,
    swept: bool,
}

impl Registry {
    /// The store that another session type has opened with the same options, and whether it is swept.
    fn opened(&self, options: &store::Options) -> Option<(Arc<dyn Store>, bool)> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |entry: &&Entry| entry.opened.as_ref().is_some_and(|(other, _)| other.same_place(options));
        let (_, store) = entries.iter().find(same)?.opened.as_ref()?;
        Some((store.clone(), entries.iter().filter(same).any(|entry| entry.swept)))
    }
}

#[rocket::async_trait]
impl<T: SessionData> Fairing for SessionFairing<T> {
    fn info(&self) -> Info {
        Info { name: "Session", kind: Kind::Ignite | Kind::Liftoff | Kind::Response | Kind::Singleton }
    }

    async fn on_ignite(&self, rocket: Rocket<Build>) -> fairing::Result {
        let rocket = if rocket.state::<Registry>().is_some() { rocket } else { rocket.manage(Registry::default()) };
        match self.attach(&rocket).await {
            Ok(attached) => Ok(rocket.manage(attached)),
            Err(error) => {
                log::error!(target: "session_rocket", "session type `{}` cannot be attached: {}", T::NAME, Chain(&error));
                Err(rocket)
            }
        }
    }

    async fn on_liftoff(&self, rocket: &Rocket<Orbit>) {
        let sweep = rocket.state::<Attached<T>>().and_then(|attached| attached.sweep.as_ref());
        if let Some(Sweep { store, interval, clock }) = sweep {
            tokio::spawn(store::sweep::run(store.clone(), *interval, clock.clone(), rocket.shutdown()));
        }
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        let Some(attached) = request.rocket().state::<Attached<T>>() else { return };
        let cached = Cached::<T>::of(request);
        cached.responded.store(true, Ordering::SeqCst);
        if cached.loaded().is_none() && !attached.renews(request, response.status()) {
            return;
        }
        respond(cached, &attached.cookie, request, response).await;
    }
}

/// Commits the session of a request and tells the browser.
async fn respond<T: SessionData>(
    cached: &Cached<T>,
    settings: &CookieSettings,
    request: &Request<'_>,
    response: &mut Response<'_>,
) {
    let scope = if response.status().code < 500 { Scope::Everything } else { Scope::LifecycleOnly };
    let session = match cached.session(request).await {
        Ok(session) => session,
        Err(error) => {
            cookie::vary(response);
            if response.status() == status(error) {
                cookie::mark_failed(response);
            }
            return;
        }
    };
    let (answer, saved) = session.core().respond(scope).await;
    match saved {
        Ok(()) => {
            cookie::vary(response);
            let failed = session.core().state.failed_with();
            // The handler answered with what its own save failed with.
            if failed.is_some_and(|error| response.status() == status(&error)) {
                cookie::mark_failed(response);
            }
        }
        Err(error) => {
            log::error!(target: "session_rocket", "cannot save a session of type `{}`: {}", T::NAME, Chain(&error));
            cookie::fail(response, status(&error));
        }
    }
    match answer {
        Answer::Nothing => {}
        Answer::Hold { value, age, now } => cookie::set(response, settings.hold(&value, age, now.to_date())),
        Answer::Forget if settings.presented(request) => cookie::set(response, settings.forget()),
        Answer::Forget => {}
    }
}

impl<T> Attached<T> {
    /// Whether a request that never looked at its session renews it all the same.
    fn renews(&self, request: &Request<'_>, status: Status) -> bool {
        self.engine.rules().policy.refresh == Refresh::Always
            && status.code < 500
            && self.engine.accepts(self.cookie.values(request))
    }
}

impl<T: SessionData> SessionFairing<T> {
    async fn attach(&self, rocket: &Rocket<Build>) -> Result<Attached<T>> {
        let figment = rocket.figment();
        let debug = figment.profile() == rocket::Config::DEBUG_PROFILE;
        let by_url = matches!(self.source, Source::Url);
        let mut settings = resolve(figment, T::CONFIG, &self.config, debug, by_url)?;
        if !by_url {
            "given in code".clone_into(&mut settings.store.url);
        }
        let registry = rocket
            .state::<Registry>()
            .ok_or_else(|| Error::new(ErrorKind::Config, "the registry of session types is not managed"))?;
        Self::refuse_clashes(registry, &settings)?;
        let mut entry = Entry {
            type_name: T::NAME,
            scope: T::CONFIG,
            cookie_name: settings.cookie.name.clone(),
            opened: None,
            swept: false,
        };
        let rules = self.rules(&settings);
        let (engine, sweep) = match &settings.seal {
            Some(seal) => (Engine::Cookie(sealing(rules, seal, &settings.cookie)), None),
            None => {
                let (store, sweep) = self.store_of(registry, &settings, &mut entry).await?;
                warn_without_index::<T>(&*store, settings.store.timeout).await;
                (Engine::Store(StoreEngine::new(rules, store, settings.store.timeout)), sweep)
            }
        };
        log::info!(target: "session_rocket", "session type `{}`: {settings}", T::NAME);
        registry.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        Ok(Attached { engine: Arc::new(engine), cookie: settings.cookie, sweep, data: PhantomData })
    }

    fn rules(&self, settings: &Settings) -> Rules {
        Rules {
            clock: self.clock.clone(),
            schema: T::schema(),
            scope: T::CONFIG,
            policy: settings.policy,
            format: settings.format,
            max_size: settings.max_size,
        }
    }

    /// Opens the store, and says in `entry` what other session types have to know of it.
    async fn store_of(
        &self,
        registry: &Registry,
        settings: &Settings,
        entry: &mut Entry,
    ) -> Result<(Arc<dyn Store>, Option<Sweep>)> {
        let options = store::Options { clock: self.clock.clone(), ..settings.store.clone() };
        let (store, swept) = self.open(registry, &options).await?;
        entry.opened = matches!(self.source, Source::Url).then(|| (options, store.clone()));
        entry.swept = swept || settings.sweep_interval.is_some();
        let sweep = settings.sweep_interval.filter(|_| !swept).map(|interval| Sweep {
            store: store.clone(),
            interval,
            clock: self.clock.clone(),
        });
        Ok((store, sweep))
    }

    /// Two session types with one cookie or one scope would read each other's sessions.
    fn refuse_clashes(registry: &Registry, settings: &Settings) -> Result<()> {
        let entries = registry.0.lock().unwrap_or_else(PoisonError::into_inner);
        for Entry { type_name, scope, cookie_name, .. } in entries.iter() {
            if *scope == T::CONFIG {
                let context = format!(
                    "`{type_name}` and `{}` both use the configuration table `{scope}`: give one of them a table of \
                     its own with `#[session(config = \"…\")]`",
                    T::NAME
                );
                return Err(Error::new(ErrorKind::Config, context));
            }
            if *cookie_name == settings.cookie.name {
                let context = format!(
                    "`{type_name}` and `{}` both use the cookie `{cookie_name}`: set another `cookie_name` in `{}`",
                    T::NAME,
                    T::CONFIG
                );
                return Err(Error::new(ErrorKind::Config, context));
            }
        }
        Ok(())
    }

    /// The store, and whether it is swept already, for another session type.
    async fn open(&self, registry: &Registry, options: &store::Options) -> Result<(Arc<dyn Store>, bool)> {
        match &self.source {
            Source::Object(store) => Ok((store::with_cache(store.clone(), options).await?, false)),
            #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
            Source::Pool(pool) => {
                let store = pool.clone().into_store(options).await?;
                Ok((store::with_cache(store, options).await?, false))
            }
            Source::Url => {
                let opened = registry.opened(options);
                match opened {
                    Some(opened) => Ok(opened),
                    None => Ok((store::open(options).await?, false)),
                }
            }
        }
    }
}

/// Says so at launch if users cannot be logged out everywhere: a site would find out when it has to.
async fn warn_without_index<T: SessionData>(store: &dyn Store, timeout: std::time::Duration) {
    if T::schema().identity().is_none() {
        return;
    }
    let listed = tokio::time::timeout(timeout, store.list(T::CONFIG, "")).await;
    if matches!(listed, Ok(Err(error)) if error.kind() == ErrorKind::Unsupported) {
        log::warn!(
            target: "session_rocket",
            "session type `{}` has an identity, but this store keeps no index of identities: to list or revoke all \
             sessions of a user will not work",
            T::NAME,
        );
    }
}

/// What keeps sessions in their own cookies.
fn sealing(rules: Rules, seal: &SealSettings, cookie: &CookieSettings) -> CookieEngine {
    if seal.random {
        log::warn!(
            target: "session_rocket",
            "session type `{}`: no secret key is set, so its sessions end with this process: set `secret_keys`, or \
             Rocket's `secret_key`, to what `openssl rand -base64 32` prints",
            rules.schema.type_name(),
        );
    }
    let sealer = Sealer::new(seal.kind, &seal.first, &seal.former, rules.scope, &cookie.name);
    CookieEngine::new(rules, sealer, Line { frame: cookie.frame(), limit: cookie::MAX_LINE })
}
