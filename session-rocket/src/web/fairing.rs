//! The fairing, which commits the session of each request before Rocket sends the response head.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rocket::fairing::{self, Fairing, Info, Kind};
use rocket::http::Status;
use rocket::{Build, Orbit, Request, Response, Rocket};

use super::attached::{Attached, RequestCache, Sweep, status};
use super::config::Config;
use super::cookie;
use super::headers;
use super::launch::{FairingOptions, StoreSource};
use super::registry::Registry;
use super::transport::{self, Credential};
use crate::base::clock::{Clock, SystemClock, Timestamp};
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::event::Event;
use crate::data::csrf::CsrfSecret;
use crate::session::{CookieUpdate, Session, SessionData};
use crate::state::CommitScope;
use crate::store::{self, Store};

/// The fairing that loads and saves the sessions of type `T`.
///
/// [`Session::fairing`] creates this fairing. Attach session fairings after all other fairings, because changes that a
/// later fairing makes to a session are not saved. If two fairings of one session type are attached, Rocket uses only the
/// last of them, so a test can replace the fairing of the site.
///
/// ```
/// # use session_rocket::{Config, Session};
/// # #[derive(Session)]
/// # struct Visitor { num_visits: u32 }
/// let config = Config::new().store("memory:").cookie_name("visitor");
/// let rocket = rocket::build().attach(Session::<Visitor>::fairing().config(config));
/// ```
pub struct SessionFairing<T> {
    launch: FairingOptions,
    data: PhantomData<fn() -> T>,
}

impl<T: SessionData> Session<T> {
    /// Creates the fairing to attach to Rocket.
    ///
    /// The fairing reads its configuration from the table `[default.session]` in `Rocket.toml` and from the environment
    /// variable `ROCKET_SESSION`. With `#[session(config = "admin")]`, they are `[default.admin]` and `ROCKET_ADMIN`.
    ///
    /// ```
    /// # use session_rocket::Session;
    /// # #[derive(Session)]
    /// # struct Visitor { num_visits: u32 }
    /// let rocket = rocket::build().attach(Session::<Visitor>::fairing());
    /// ```
    pub fn fairing() -> SessionFairing<T> {
        let (config, clock) = (Config::default(), SystemClock::shared());
        SessionFairing {
            launch: FairingOptions { config, source: StoreSource::Url, clock, on_event: None },
            data: PhantomData,
        }
    }
}

impl<T> SessionFairing<T> {
    /// Sets the values of keys that neither `Rocket.toml` nor the environment sets.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.launch.config = config;
        self
    }

    /// Uses this store instead of the `store` of the configuration.
    ///
    /// A configured `cache` stays in front of this store.
    #[must_use]
    pub fn store(mut self, store: impl Store) -> Self {
        self.launch.source = StoreSource::Object(Arc::new(store));
        self
    }

    /// Stores sessions in the database of the application's pool, instead of the `store` of the configuration.
    ///
    /// The pool is a `SqlitePool`, `PgPool` or `MySqlPool` of [`sqlx`](crate::sqlx). The fairing opens its own
    /// connections, at most [`max_connections`](field@Config::max_connections), with the connect options of the pool. So
    /// a handler that holds a connection of the pool never waits for its own session. If the application changes the
    /// connect options of a PostgreSQL or MySQL pool, for example to rotate a password, new connections of the fairing
    /// use the new options.
    ///
    /// The hooks of the pool (`after_connect`, `before_acquire`, `after_release`) do not run on the fairing's connections.
    /// Put settings that sessions need into the connect options, with `PgConnectOptions::options` or
    /// `SqliteConnectOptions::pragma`, or use [`shared_pool`](Self::shared_pool).
    ///
    /// For an in-memory SQLite database, the fairing uses the pool's connections, because another connection would not
    /// see the same data. The hazard of [`shared_pool`](Self::shared_pool) then applies.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    #[must_use]
    pub fn pool(mut self, pool: impl store::sql::IntoPool) -> Self {
        self.launch.source = StoreSource::Pool(pool.into_pool());
        self
    }

    /// Stores sessions in the database of the application's pool, and uses the pool's connections.
    ///
    /// Use this method if hooks of the pool set up its connections, for example with a search path, a role or an
    /// encryption key in `after_connect`. The setting `max_connections` has no effect.
    ///
    /// # Hazard
    /// A request needs a second connection of the pool if its handler or a guard holds a connection while the session
    /// loads or [`save`](Session::save) runs. If such requests hold all connections of the pool, they wait for each other
    /// until the pool's `acquire_timeout` or the session's `timeout` expires, and then fail with 503. Release the
    /// connection before you use the session, or use [`pool`](Self::pool).
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    #[must_use]
    pub fn shared_pool(mut self, pool: impl store::sql::IntoPool) -> Self {
        self.launch.source = StoreSource::SharedPool(pool.into_pool());
        self
    }

    /// Uses `clock` as the source of time, instead of [`SystemClock`].
    ///
    /// A test passes an `Arc` of a [`ManualClock`](crate::ManualClock), keeps a clone of the `Arc`, and moves the
    /// clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.launch.clock = Arc::new(clock);
        self
    }

    /// Calls `on_event` after the store has confirmed an event in the life of a session, such as a login.
    ///
    /// Use events for an audit log or for metrics. The response waits for `on_event`, so `on_event` must not block: send
    /// slow work to a task. Each process receives only the events of its own changes. The expiry of a session causes no
    /// event, because no process notices it. If a reply of the store is lost, the end of a session can cause two events
    /// or none. Sessions in sealed cookies have no events, so a launch with `on_event` and sealed cookies fails.
    ///
    /// ```
    /// # use session_rocket::{EventKind, Session};
    /// # #[derive(Session)]
    /// # struct Account { #[session(identity)] user_id: Option<i64> }
    /// let fairing = Session::<Account>::fairing().on_event(|event| {
    ///     let user = event.identity.as_deref().unwrap_or("nobody");
    ///     match event.kind {
    ///         EventKind::LoggedIn { .. } => println!("{user} logged in: session {}", event.handle),
    ///         EventKind::Ended { reason } => println!("session {} of {user} ended: {reason:?}", event.handle),
    ///         _ => {}
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn on_event(mut self, on_event: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.launch.on_event = Some(Arc::new(on_event));
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
        match self.launch.attach::<T>(&rocket).await {
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
        let cached = RequestCache::<T>::of(request);
        if cached.has_test_step() {
            // Boxed, because only tests have this step, and its future would make every response's future larger.
            Box::pin(cached.run_test_step(request)).await;
        }
        cached.responded.store(true, Ordering::SeqCst);
        let renews = attached.renews() && !headers::is_subresource(request) && !headers::is_cacheable(response);
        if cached.loaded().is_some() || renews && attached.renews_unread(request, response.status()) {
            respond(cached, attached, request, response, renews).await;
        }
        if response.status() == Status::Unauthorized && attached.is_bearer(request) {
            transport::challenge(response);
        }
    }
}

/// Commits the session of a request, and adds the result to the response.
async fn respond<T: SessionData>(
    cached: &RequestCache<T>,
    attached: &Attached<T>,
    request: &Request<'_>,
    response: &mut Response<'_>,
    renews: bool,
) {
    headers::vary(response, attached.transport.headers());
    let scope = if response.status().code < 500 { CommitScope::Everything } else { CommitScope::LifecycleOnly };
    // Boxed, because a load is rare here, and its future would make every response's future larger.
    let session = match cached.loaded() {
        Some(session) => session,
        None => Box::pin(cached.session(request)).await,
    };
    let session = match session {
        Ok(session) => session,
        Err(error) => {
            if response.status() == status(error) {
                headers::set_error_headers(response);
            }
            return;
        }
    };
    let (update, saved) = session.core().respond(scope, renews).await;
    let is_failed = saved.as_ref().is_err_and(|error| !error.kind().is_drop());
    add_result(session, saved, response);
    if attached.clear_site_data && session.core().has_logged_out() {
        headers::clear_storage(response);
    }
    add_id(update, attached, request, response);
    if !is_failed && let Some(secret) = session.core().state.csrf_to_send() {
        add_csrf_cookie(secret, attached, request, response);
    }
}

/// Adds the headers for the result of the save, and replaces the response if the save failed.
fn add_result<T: SessionData>(session: &Session<T>, saved: Result<()>, response: &mut Response<'_>) {
    match saved {
        Err(error) if error.kind().is_drop() => log_drop::<T>(&error),
        Ok(()) => {
            let failed = session.core().state.last_failure();
            // The handler has returned the error of its own `save`, because the status is that of the error.
            if failed.is_some_and(|error| response.status() == status(&error)) {
                headers::set_error_headers(response);
            }
        }
        Err(error) => {
            log::error!(target: "session_rocket", "cannot save a session of type `{}`: {}", T::NAME, Chain(&error));
            headers::replace_with_error(response, status(&error));
        }
    }
}

/// Logs that changes are not saved. For a withheld cookie, only the first message is a warning, because any other site
/// can cause such requests.
fn log_drop<T: SessionData>(error: &Error) {
    static WARNED_OF_WITHHELD: AtomicBool = AtomicBool::new(false);
    let (name, error) = (T::NAME, Chain(error));
    if error.0.kind() != ErrorKind::Withheld {
        log::warn!(target: "session_rocket", "changes of a session of type `{name}` are not saved: {error}");
    } else if WARNED_OF_WITHHELD.swap(true, Ordering::Relaxed) {
        log::debug!(target: "session_rocket", "changes of a session of type `{name}` are not saved: {error}");
    } else {
        log::warn!(
            target: "session_rocket",
            "changes of a session of type `{name}` are not saved: {error}; if requests from other sites need the session, \
             respond with a page that loads the same URL again with `<meta http-equiv=\"refresh\">`, or use a separate \
             session type with `same_site = \"None\"`",
        );
    }
}

/// Sets the cookie with the CSRF secret of a browser without a session. The cookie lives until the browser is closed.
///
/// Does nothing if the browser may be withholding a CSRF cookie, because the new cookie would replace that cookie.
fn add_csrf_cookie<T>(secret: CsrfSecret, attached: &Attached<T>, request: &Request<'_>, response: &mut Response<'_>) {
    let cookie = &attached.csrf_cookie;
    if !attached.is_bearer(request) && !cookie.is_withheld_from(request) {
        let line = cookie.set_line(&secret.to_text(), None, Timestamp::from_millis(0));
        cookie::set(response, vec![line]);
    }
}

/// Gives the client its new id: in the session cookie, or in a header if the client sends bearer tokens.
fn add_id<T>(update: CookieUpdate, attached: &Attached<T>, request: &Request<'_>, response: &mut Response<'_>) {
    if matches!(update, CookieUpdate::None) {
        return;
    }
    match (attached.credential_of(request), update) {
        (Ok(Credential::Bearer(token)), CookieUpdate::Set { value, .. }) => {
            // A renewal does not change the id.
            if token != Some(value.as_str()) {
                transport::send_id(response, attached.new_id_header.as_deref(), value);
            }
        }
        (Ok(Credential::Cookie), update) => add_cookie(update, attached, request, response),
        (Ok(Credential::Bearer(_)) | Err(_), _) => {}
    }
}

/// Sets or removes the session cookie, and removes other cookies of the same name that the request had.
fn add_cookie<T>(update: CookieUpdate, attached: &Attached<T>, request: &Request<'_>, response: &mut Response<'_>) {
    let settings = &attached.cookie;
    match update {
        CookieUpdate::None => {}
        CookieUpdate::Set { value, age, now } => {
            let count = settings.count_in(request);
            if count == 0 {
                attached.plain_http.count_new_cookie(request);
            }
            let mut lines = if count > 1 { settings.removal_lines_for_others(request) } else { Vec::new() };
            // This line is last, because a browser that ignores `Partitioned` applies the removals to this cookie too.
            lines.push(settings.set_line(&value, age, now));
            cookie::set(response, lines);
            // The session has its own CSRF secret. If the CSRF cookie stayed, the cookie's tokens would be valid again
            // after a logout.
            if attached.csrf_cookie.count_in(request) > 0 {
                cookie::set(response, vec![attached.csrf_cookie.removal_line()]);
            }
        }
        CookieUpdate::Remove if settings.count_in(request) > 0 => {
            let mut lines = vec![settings.removal_line()];
            lines.extend(settings.removal_lines_for_others(request));
            cookie::set(response, lines);
        }
        CookieUpdate::Remove => {}
    }
}
