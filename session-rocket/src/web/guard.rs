//! The request guards: `Session<T>`, and `&T` by what the derive makes of [`snapshot`].

use std::future::Future;
use std::pin::Pin;

pub use rocket::request::{FromRequest, Outcome, Request};
use rocket::response::{self, Responder};
pub use rocket::{Ignite, Rocket, Sentinel};

pub use super::attached::missing_fairing;
use super::attached::{Cached, status};
#[cfg(doc)]
use crate::base::error::ErrorKind;
use crate::base::error::{Chain, Error};
use crate::session::Session;
use crate::session::SessionData;
use crate::state::change::View;

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
