//! The fairing: reads the configuration, opens the store, and commits each request's session before the response
//! head is sent.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rocket::fairing::{self, Fairing, Info, Kind};
use rocket::{Build, Orbit, Request, Response, Rocket};

use super::attached::{Attached, Cached, Sweep, status};
use super::config::{Config, SealSettings, Settings, resolve};
use super::cookie::{self, CookieSettings};
use super::plain_http::PlainHttp;
use super::registry::{Entry, Registry};
use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::commit::sealed::Sealer;
use crate::commit::{CookieBounds, CookieEngine, Engine, Rules, StoreEngine};
use crate::session::SessionData;
use crate::session::{CookieUpdate, Session};
use crate::state::CommitScope;
use crate::store::{self, Store};

/// Where the fairing gets its store from.
#[derive(Clone)]
enum Source {
    /// The configuration's `store` URL.
    Url,
    Object(Arc<dyn Store>),
    /// A pool whose connect options the store's own connections use.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    Pool(store::sql::Pool),
    /// A pool whose connections the store borrows.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    SharedPool(store::sql::Pool),
}

/// The fairing that loads and saves sessions of type `T`; see [`Session::fairing`].
///
/// Attach session fairings after all other fairings: a fairing that runs later can still read a session, but its changes are
/// not saved. If two fairings of one session type are attached, Rocket keeps the last one, so a test can replace the site's.
pub struct SessionFairing<T> {
    config: Config,
    source: Source,
    clock: Arc<dyn Clock>,
    data: PhantomData<fn() -> T>,
}

impl<T: SessionData> Session<T> {
    /// The fairing to attach: configured by the table `[default.session]` in `Rocket.toml`, or the one named with
    /// `#[session(config = "…")]`, and by the environment variable `ROCKET_SESSION`.
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

    /// Keeps sessions in this store, whatever the configuration's `store` says. A configured `cache` is put in front of it.
    #[must_use]
    pub fn store(mut self, store: impl Store) -> Self {
        self.source = Source::Object(Arc::new(store));
        self
    }

    /// Keeps sessions in the database of the application's pool, whatever the configuration's `store` says.
    ///
    /// The pool is a `SqlitePool`, `PgPool` or `MySqlPool` of [`sqlx`](crate::sqlx). The fairing opens connections of its
    /// own with the pool's connect options, at most `max_connections` of the configuration (10 by default; for SQLite, 4 that
    /// read and one that writes). A handler that holds a connection of the pool therefore never waits for its own session.
    /// If the application changes the connect options of a PostgreSQL or MySQL pool, for example because its password
    /// rotates, new connections of the fairing use the changed options.
    ///
    /// Hooks of the pool (`after_connect`, `before_acquire`, `after_release`) do not run on these connections. Put what
    /// sessions need into the connect options, such as `PgConnectOptions::options([("search_path", "app")])` or
    /// `SqliteConnectOptions::pragma`, or use [`shared_pool`](Self::shared_pool).
    ///
    /// The fairing shares the connections of an in-memory SQLite pool, because the data of an in-memory database belongs to
    /// the connections that created it. The hazard of [`shared_pool`](Self::shared_pool) applies to such a pool.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    #[must_use]
    pub fn pool(mut self, pool: impl store::sql::IntoPool) -> Self {
        self.source = Source::Pool(pool.into_pool());
        self
    }

    /// Keeps sessions in the database of the application's pool, and borrows the pool's connections.
    ///
    /// For applications that set up connections in hooks of the pool, such as a search path, a role or an encryption key in
    /// `after_connect`. The pool's settings stay as they are, and `max_connections` of the configuration has no effect.
    ///
    /// # Hazard
    /// A request needs a second connection of the pool if its handler or a guard holds one while the session loads or
    /// [`save`](Session::save) runs. If as many requests as the pool has connections do this at once, all of them wait until
    /// the pool gives up (`acquire_timeout`), or the session does (`timeout`) and the request ends with 503. Release the
    /// connection before you use the session, or use [`pool`](Self::pool).
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    #[must_use]
    pub fn shared_pool(mut self, pool: impl store::sql::IntoPool) -> Self {
        self.source = Source::SharedPool(pool.into_pool());
        self
    }

    /// Takes the time from `clock`: for tests that move it, and keep an `Arc` of it.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
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
        let renews = attached.renews() && !cookie::is_subresource(request) && !cookie::is_cacheable(response);
        if cached.loaded().is_none() && !(renews && attached.renews_unread(request, response.status())) {
            return;
        }
        respond(cached, attached, request, response, renews).await;
    }
}

/// Commits the session of a request and tells the browser.
async fn respond<T: SessionData>(
    cached: &Cached<T>,
    attached: &Attached<T>,
    request: &Request<'_>,
    response: &mut Response<'_>,
    renews: bool,
) {
    let scope = if response.status().code < 500 { CommitScope::Everything } else { CommitScope::LifecycleOnly };
    // What is rare is boxed, or each response would take up the room of a load.
    let session = match cached.loaded() {
        Some(session) => session,
        None => Box::pin(cached.session(request)).await,
    };
    let session = match session {
        Ok(session) => session,
        Err(error) => {
            cookie::vary(response);
            if response.status() == status(error) {
                cookie::mark_failed(response);
            }
            return;
        }
    };
    let (update, saved) = session.core().respond(scope, renews).await;
    report(session, saved, response);
    tell(update, attached, request, response);
}

/// Makes the response say whether its session was saved.
fn report<T: SessionData>(session: &Session<T>, saved: Result<()>, response: &mut Response<'_>) {
    match saved {
        Err(error) if error.kind().is_drop() => {
            cookie::vary(response);
            log_drop::<T>(&error);
        }
        Ok(()) => {
            cookie::vary(response);
            let failed = session.core().state.last_failure();
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
}

/// Logs that changes are not saved. For a withheld cookie, only the first line is a warning, because any other site can
/// cause such requests.
fn log_drop<T: SessionData>(error: &Error) {
    static CURE_LOGGED: AtomicBool = AtomicBool::new(false);
    let (name, error) = (T::NAME, Chain(error));
    if error.0.kind() != ErrorKind::Withheld {
        log::warn!(target: "session_rocket", "changes of a session of type `{name}` are not saved: {error}");
    } else if CURE_LOGGED.swap(true, Ordering::Relaxed) {
        log::debug!(target: "session_rocket", "changes of a session of type `{name}` are not saved: {error}");
    } else {
        log::warn!(
            target: "session_rocket",
            "changes of a session of type `{name}` are not saved: {error}. If such requests need a session, answer them \
             with a page that loads the real one, or give them a session type of its own with `same_site = \"None\"`",
        );
    }
}

/// Sets or removes the session cookie. If the request had several cookies of the name, the others are removed.
fn tell<T>(update: CookieUpdate, attached: &Attached<T>, request: &Request<'_>, response: &mut Response<'_>) {
    let settings = &attached.cookie;
    match update {
        CookieUpdate::None => {}
        CookieUpdate::Set { value, age, now } => {
            let presented = settings.presented(request);
            if presented == 0 {
                attached.plain_http.note(request);
            }
            let others = if presented > 1 { settings.forget_other_forms(request) } else { Vec::new() };
            cookie::set(response, settings.hold(&value, age, now), others);
        }
        CookieUpdate::Remove if settings.presented(request) > 0 => {
            cookie::set(response, settings.forget(), settings.forget_other_forms(request));
        }
        CookieUpdate::Remove => {}
    }
}

impl<T: SessionData> SessionFairing<T> {
    async fn attach(&self, rocket: &Rocket<Build>) -> Result<Attached<T>> {
        let figment = rocket.figment();
        let by_url = matches!(self.source, Source::Url);
        let settings = resolve(figment, T::CONFIG, &self.config, by_url)?;
        refuse_anonymous_expiry::<T>(&settings)?;
        let registry = rocket
            .state::<Registry>()
            .ok_or_else(|| Error::new(ErrorKind::Config, "the registry of session types is not managed"))?;
        let mut entry = Entry::of::<T>(&settings.cookie.name);
        registry.refuse_clashes(&entry)?;
        let rules = self.rules(&settings);
        let (engine, sweep) = match &settings.seal {
            Some(seal) => (Engine::Cookie(sealing(rules, seal, &settings.cookie)), None),
            None => {
                let (store, sweep) = self.store_of(registry, &settings, &mut entry).await?;
                warn_without_index::<T>(&*store);
                (Engine::Store(StoreEngine::new(rules, store, settings.store.timeout)), sweep)
            }
        };
        log::info!(target: "session_rocket", "session type `{}`: {settings}", T::NAME);
        let plain_http = PlainHttp::at_launch(T::NAME, settings.cookie.secure, figment);
        registry.add(entry);
        Ok(Attached { engine: Arc::new(engine), cookie: settings.cookie, plain_http, sweep, data: PhantomData })
    }

    fn rules(&self, settings: &Settings) -> Rules {
        Rules {
            clock: self.clock.clone(),
            schema: T::schema(),
            scope: T::SCOPE,
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

    /// The store, and whether it is swept already, for another session type.
    async fn open(&self, registry: &Registry, options: &store::Options) -> Result<(Arc<dyn Store>, bool)> {
        match &self.source {
            Source::Object(store) => Ok((store::with_cache(store.clone(), options).await?, false)),
            #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
            Source::Pool(pool) => {
                let store = pool.clone().open(options).await?;
                Ok((store::with_cache(store, options).await?, false))
            }
            #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
            Source::SharedPool(pool) => {
                let store = pool.clone().share(options).await?;
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

/// Refuses a setting that has no effect on a session type without identity.
fn refuse_anonymous_expiry<T: SessionData>(settings: &Settings) -> Result<()> {
    if settings.policy.anonymous_lifetime == settings.policy.lifetime || T::schema().identity().is_some() {
        return Ok(());
    }
    let (table, name) = (T::CONFIG, T::NAME);
    let context = format!(
        "`{table}.anonymous_expiry` has no effect on session type `{name}`, which has no identity: set `expiry` instead"
    );
    Err(Error::new(ErrorKind::Config, context))
}

/// Warns at launch that a user's sessions can be neither listed nor revoked.
fn warn_without_index<T: SessionData>(store: &dyn Store) {
    if T::schema().identity().is_some() && !store.has_identity_index() {
        log::warn!(
            target: "session_rocket",
            "session type `{}` has an identity, but this store keeps no index of identities: it can neither list \
             nor revoke all sessions of a user",
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
    CookieEngine::new(rules, sealer, CookieBounds { frame: cookie.frame(), limit: cookie::MAX_LINE })
}
