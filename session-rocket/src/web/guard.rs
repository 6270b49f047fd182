//! The request guards: `Session<T>`, and `&T`, which the derive implements with [`snapshot`].

use std::future::Future;
use std::pin::Pin;

pub use rocket::request::{FromRequest, Outcome, Request};
use rocket::response::{self, Responder};
pub use rocket::{Ignite, Rocket, Sentinel};

pub use super::attached::missing_fairing;
use super::attached::{RequestCache, status};
#[cfg(doc)]
use crate::base::error::ErrorKind;
use crate::base::error::{Chain, Error};
use crate::session::Session;
use crate::session::SessionData;
use crate::state::change::View;

/// Lets a handler return the error with `?`. The library logs the error, and Rocket calls the catcher for the status.
///
/// [`ErrorKind`] lists the status of each kind.
impl<'r> Responder<'r, 'static> for Error {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        log::error!(target: "session_rocket", "a handler returned a session error: {}", Chain(&self));
        Err(status(&self))
    }
}

/// The guard fails with 503 if the store cannot be read, with 500 if the fairing is not attached, and with 400 for
/// [`ErrorKind::AmbiguousCredentials`].
#[rocket::async_trait]
impl<'r, T: SessionData> FromRequest<'r> for Session<T> {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match RequestCache::<T>::of(request).session(request).await {
            Ok(session) => Outcome::Success(session.clone()),
            Err(error) => Outcome::Error((status(error), error.clone())),
        }
    }
}

impl<T: SessionData> Sentinel for Session<T> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        missing_fairing::<T>(rocket)
    }
}

/// The future that the guard of a snapshot returns.
pub type SnapshotFuture<'f, 'r, T> = Pin<Box<dyn Future<Output = Outcome<&'r T, Error>> + Send + 'f>>;

/// Returns the read-only snapshot of the session. The first call in a request takes the snapshot.
pub fn snapshot<'f, 'r: 'f, 'a: 'f, T: SessionData>(request: &'r Request<'a>) -> SnapshotFuture<'f, 'r, T> {
    Box::pin(async move {
        let cached = RequestCache::<T>::of(request);
        match cached.session(request).await {
            Ok(session) => {
                let take = || async { T::snapshot(&mut View::new(session.core().state.snapshot().1)) };
                Outcome::Success(cached.snapshot.get_or_init(take).await)
            }
            Err(error) => Outcome::Error((status(error), error.clone())),
        }
    })
}
