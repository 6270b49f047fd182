//! The request guards: `Session<T>`, and `&T` by what the derive makes of [`snapshot`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rocket::http::Status;
pub use rocket::request::{FromRequest, Outcome, Request};
use rocket::response::{self, Responder};
pub use rocket::{Ignite, Rocket, Sentinel};
use tokio::sync::OnceCell;

use super::fairing::Attached;
use crate::change::View;
use crate::commit::Loaded;
use crate::data::SessionData;
use crate::error::{Chain, Error, ErrorKind, Result};
use crate::session::{Core, Session};
use crate::state::State;

/// What one request knows of its session of type `T`.
pub(super) struct Cached<T: SessionData> {
    session: OnceCell<Result<Session<T>>>,
    snapshot: OnceCell<T>,
    /// The response is made: a session loaded from now on can no longer tell the browser anything.
    pub responded: AtomicBool,
}

impl<T: SessionData> Cached<T> {
    pub(super) fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        request.local_cache(|| Self {
            session: OnceCell::new(),
            snapshot: OnceCell::new(),
            responded: AtomicBool::new(false),
        })
    }

    /// The session, if a guard asked for it.
    pub(super) fn loaded(&self) -> Option<&Result<Session<T>>> {
        self.session.get()
    }

    /// The session, loaded at its first use in the request.
    pub(super) async fn session(&self, request: &Request<'_>) -> &Result<Session<T>> {
        self.session
            .get_or_init(|| async {
                let session = load::<T>(request).await.inspect_err(|error| {
                    log::error!(target: "session_rocket", "cannot load a session of type `{}`: {}", T::NAME, Chain(error));
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
    let attached = request.rocket().state::<Attached<T>>().ok_or_else(|| {
        let name = T::NAME;
        Error::new(ErrorKind::NoFairing, format!("attach the fairing: `.attach(Session::<{name}>::fairing())`"))
    })?;
    let engine = &attached.engine;
    let mut cookies = attached.cookie.values(request).peekable();
    let Loaded { carrier, values, others } = if cookies.peek().is_none() && attached.cookie.is_withheld_from(request) {
        engine.withheld()
    } else {
        engine.load(&mut cookies).await?
    };
    Ok(Session::new(Core::new(State::new(carrier, values, others), Arc::clone(engine))))
}

/// The status of a response that an error made.
pub(super) fn status(error: &Error) -> Status {
    match error.kind() {
        // A value that a visitor chose may cause these: it is nested too deeply, or the session is full.
        ErrorKind::Encode | ErrorKind::TooLarge => Status::UnprocessableEntity,
        kind if kind.is_drop() => Status::Conflict,
        kind if kind.is_transient() => Status::ServiceUnavailable,
        _ => Status::InternalServerError,
    }
}

/// For handlers that return the error with `?`: the error is logged, and the catcher of its status answers. The status
/// is 422 for a value that cannot be saved ([`ErrorKind::Encode`], [`ErrorKind::TooLarge`]), 409 for changes that were
/// dropped ([`ErrorKind::Ended`], [`ErrorKind::Withheld`]), 503 for an error of the
/// store that may be over soon ([`ErrorKind::is_transient`]), and 500 for a mistake of the application.
impl<'r> Responder<'r, 'static> for Error {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        log::error!(target: "session_rocket", "a handler returned a session's error: {}", Chain(&self));
        Err(status(&self))
    }
}

/// The live session. Fails with 503 when the store cannot be read, with 500 where the fairing is missing.
#[rocket::async_trait]
impl<'r, T: SessionData> FromRequest<'r> for Session<T> {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match Cached::<T>::of(request).session(request).await {
            Ok(session) => Outcome::Success(session.clone()),
            Err(error) => Outcome::Error((status(error), error.clone())),
        }
    }
}

/// Aborts the launch when a mounted route takes a session whose fairing is not attached.
impl<T: SessionData> Sentinel for Session<T> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        missing_fairing::<T>(rocket)
    }
}

/// Whether the fairing of `T` is missing; says so in the log.
pub fn missing_fairing<T: SessionData>(rocket: &Rocket<Ignite>) -> bool {
    let missing = rocket.state::<Attached<T>>().is_none();
    if missing {
        let name = T::NAME;
        log::error!(
            target: "session_rocket",
            "a mounted route uses the session type `{name}`, but its fairing is not attached: \
             `.attach(Session::<{name}>::fairing())`",
        );
    }
    missing
}

/// What the guard of a snapshot gives.
pub type SnapshotFuture<'f, 'r, T> = Pin<Box<dyn Future<Output = Outcome<&'r T, Error>> + Send + 'f>>;

/// The read-only snapshot of a session: taken at its first use in the request, and the same until the request ends.
pub fn snapshot<'f, 'r: 'f, 'a: 'f, T: SessionData>(request: &'r Request<'a>) -> SnapshotFuture<'f, 'r, T> {
    Box::pin(async move {
        let cached = Cached::<T>::of(request);
        match cached.session(request).await {
            Ok(session) => {
                let take = || async { T::snapshot(&mut View::new(session.core().state.snapshot().1)) };
                Outcome::Success(cached.snapshot.get_or_init(take).await)
            }
            Err(error) => Outcome::Error((status(error), error.clone())),
        }
    })
}
