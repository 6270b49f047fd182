//! The managed state of an attached session type, and the session that all guards of a request share.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rocket::http::Status;
use rocket::{Ignite, Request, Rocket};
use tokio::sync::OnceCell;

use super::cookie::CookieSettings;
use super::plain_http::PlainHttpWarnings;
use super::transport::{self, Credential, Transport};
use crate::base::clock::Clock;
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::expiry::Refresh;
use crate::commit::Engine;
use crate::commit::candidates::CookieValues;
use crate::data::csrf::CsrfSecret;
use crate::session::{Core, Session, SessionData};
use crate::store::Store;

/// What an attached fairing puts into Rocket's managed state.
pub(super) struct Attached<T> {
    pub engine: Arc<Engine>,
    pub cookie: CookieSettings,
    /// The cookie that carries the CSRF secret of a browser without a session.
    pub csrf_cookie: CookieSettings,
    pub transport: Transport,
    pub new_id_header: Option<String>,
    pub clear_site_data: bool,
    pub plain_http: PlainHttpWarnings,
    pub sweep: Option<Sweep>,
    pub data: PhantomData<fn() -> T>,
}

/// A sweep task to start at liftoff.
pub(super) struct Sweep {
    pub store: Arc<dyn Store>,
    pub interval: std::time::Duration,
    pub clock: Arc<dyn Clock>,
}

impl<T> Attached<T> {
    /// Whether a request that only reads its session can renew the session.
    pub(super) fn renews(&self) -> bool {
        self.engine.rules().policy.refresh != Refresh::OnSave || self.engine.has_former_keys()
    }

    /// Whether a request that did not use its session renews it.
    pub(super) fn renews_unread(&self, request: &Request<'_>, status: Status) -> bool {
        self.engine.rules().policy.refresh == Refresh::Always
            && status.code < 500
            && match self.credential_of(request) {
                Ok(Credential::Cookie) => self.engine.accepts(self.cookie.values(request)),
                Ok(Credential::Bearer(token)) => self.engine.accepts(token.into_iter()),
                Err(_) => false,
            }
    }

    /// Whether the request has a bearer token. A page of another site cannot make a browser add this token.
    pub(super) fn is_bearer(&self, request: &Request<'_>) -> bool {
        matches!(self.credential_of(request), Ok(Credential::Bearer(_)))
    }

    /// Returns how a request carries the id of its session.
    ///
    /// # Errors
    /// [`ErrorKind::AmbiguousCredentials`] if the request has several `Authorization` headers, or a bearer token and a
    /// session cookie.
    pub(super) fn credential_of<'r>(&self, request: &'r Request<'_>) -> Result<Credential<'r>> {
        if self.transport == Transport::Cookie {
            return Ok(Credential::Cookie);
        }
        match transport::token(request)? {
            Some(_) if self.transport == Transport::CookieOrBearer && self.cookie.count_in(request) > 0 => {
                Err(transport::two_credentials())
            }
            None if self.transport == Transport::CookieOrBearer => Ok(Credential::Cookie),
            token => Ok(Credential::Bearer(token)),
        }
    }
}

/// Marks a Rocket that [`isolated`](super::testing::isolated) has changed.
pub(super) struct Isolated;

/// What a test does with a session before the fairing saves it.
type TestStep<T> = Box<dyn FnOnce(Result<Session<T>>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The session of type `T` of one request, cached in the request.
pub(super) struct RequestCache<T: SessionData> {
    session: OnceCell<Result<Session<T>>>,
    pub snapshot: OnceCell<T>,
    /// Set only in requests that a test helper sends.
    test_step: OnceLock<Mutex<Option<TestStep<T>>>>,
    /// Whether the fairing has begun to handle the response. A session that is loaded afterwards cannot set a cookie.
    pub responded: AtomicBool,
}

impl<T: SessionData> RequestCache<T> {
    pub(super) fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        request.local_cache(|| Self {
            session: OnceCell::new(),
            snapshot: OnceCell::new(),
            test_step: OnceLock::new(),
            responded: AtomicBool::new(false),
        })
    }

    /// Makes the fairing run `step` before it saves the session.
    pub(super) fn set_test_step(
        &self,
        step: impl FnOnce(Result<Session<T>>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + 'static,
    ) {
        let _ = self.test_step.set(Mutex::new(Some(Box::new(step))));
    }

    pub(super) fn has_test_step(&self) -> bool {
        self.test_step.get().is_some()
    }

    /// Runs the step, if a test has set one.
    pub(super) async fn run_test_step(&self, request: &Request<'_>) {
        let step = self.test_step.get().and_then(|step| step.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(step) = step {
            step(self.session(request).await.clone()).await;
        }
    }

    pub(super) fn loaded(&self) -> Option<&Result<Session<T>>> {
        self.session.get()
    }

    /// Returns the session. The first call in a request loads the session.
    pub(super) async fn session(&self, request: &Request<'_>) -> &Result<Session<T>> {
        self.session
            .get_or_init(|| async {
                let session = load::<T>(request).await.inspect_err(|error| {
                    let is_ambiguous = error.kind() == ErrorKind::AmbiguousCredentials;
                    let level = if is_ambiguous { log::Level::Warn } else { log::Level::Error };
                    let (name, error) = (T::NAME, Chain(error));
                    log::log!(target: "session_rocket", level, "cannot load a session of type `{name}`: {error}");
                })?;
                if self.responded.load(Ordering::SeqCst) {
                    session.core().state.send_head();
                }
                Ok(session)
            })
            .await
    }
}

async fn load<T: SessionData>(request: &Request<'_>) -> Result<Session<T>> {
    let attached = request.rocket().state::<Attached<T>>().ok_or_else(no_fairing::<T>)?;
    let engine = &attached.engine;
    let credential = attached.credential_of(request)?;
    let (mut token, mut cookies);
    // Both cases share one call that loads the session, because two calls would double the size of the future.
    let (ids, is_withheld): (&mut CookieValues<'_, '_>, bool) = match credential {
        Credential::Bearer(bearer) => {
            token = bearer.into_iter();
            (&mut token, false)
        }
        Credential::Cookie => {
            cookies = attached.cookie.values(request).peekable();
            let is_withheld = cookies.peek().is_none() && attached.cookie.is_withheld_from(request);
            (&mut cookies, is_withheld)
        }
    };
    let state = if is_withheld { engine.withheld() } else { engine.load(ids).await? };
    if state.is_without_session()
        && matches!(credential, Credential::Cookie)
        && let Some(secret) = attached.csrf_cookie.values(request).find_map(CsrfSecret::from_text)
    {
        state.set_browser_csrf(secret);
    }
    Ok(Session::new(Core::new(state, Arc::clone(engine))))
}

/// Returns the error of a session type whose fairing is not attached.
pub(super) fn no_fairing<T: SessionData>() -> Error {
    let name = T::NAME;
    let context =
        format!("the fairing of session type `{name}` is not attached: add `.attach(Session::<{name}>::fairing())`");
    Error::new(ErrorKind::NoFairing, context)
}

pub(super) fn status(error: &Error) -> Status {
    match error.kind() {
        // A visitor's input can cause these errors, for example a value that is nested too deeply or too large.
        ErrorKind::Encode | ErrorKind::TooLarge => Status::UnprocessableEntity,
        ErrorKind::TooManySessions => Status::Conflict,
        ErrorKind::AmbiguousCredentials => Status::BadRequest,
        kind if kind.is_drop() => Status::Conflict,
        kind if kind.is_transient() => Status::ServiceUnavailable,
        _ => Status::InternalServerError,
    }
}

/// Returns whether the fairing of `T` is missing. If so, logs an error.
///
/// Rocket calls this function for each guard in a mounted route, and aborts the launch if the result is true.
pub fn missing_fairing<T: SessionData>(rocket: &Rocket<Ignite>) -> bool {
    let missing = rocket.state::<Attached<T>>().is_none();
    if missing {
        let name = T::NAME;
        log::error!(
            target: "session_rocket",
            "a mounted route uses the session type `{name}`, but its fairing is not attached: add \
             `.attach(Session::<{name}>::fairing())`",
        );
    }
    missing
}

#[cfg(test)]
mod tests;
