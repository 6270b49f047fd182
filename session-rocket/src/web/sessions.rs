//! The request guard `Sessions<T>`, and session handles in routes, forms and URLs.

use rocket::form::{self, FromFormField, ValueField};
use rocket::http::impl_from_uri_param_identity;
use rocket::http::uri::fmt::{Formatter, Part, UriDisplay};
use rocket::request::{FromParam, FromRequest, Outcome, Request};
use rocket::{Ignite, Phase, Rocket, Sentinel};

use super::attached::{Attached, missing_fairing, no_fairing, status};
use crate::base::error::{Error, Result};
use crate::base::id::{InvalidHandle, SessionHandle};
use crate::session::{SessionData, SessionIdentity, Sessions};

impl<T: SessionData> Sessions<T> {
    /// Returns the sessions of an ignited or launched Rocket, for tasks that have no request.
    ///
    /// # Errors
    /// [`ErrorKind::NoFairing`](crate::ErrorKind::NoFairing) if the fairing of `T` is not attached, or Rocket is not
    /// ignited yet.
    ///
    /// ```
    /// # use session_rocket::{Error, Session, Sessions};
    /// # #[derive(Session)]
    /// # struct Account { #[session(identity)] user_id: Option<i64> }
    /// async fn ban(rocket: &rocket::Rocket<rocket::Orbit>, user_id: i64) -> Result<u64, Error> {
    ///     Sessions::<Account>::of(rocket)?.revoke_all(&user_id).await
    /// }
    /// ```
    pub fn of<P: Phase>(rocket: &Rocket<P>) -> Result<Self>
    where
        T: SessionIdentity,
    {
        let attached = rocket.state::<Attached<T>>().ok_or_else(no_fairing::<T>)?;
        Ok(Self::new(attached.engine.clone()))
    }
}

/// The guard fails with 500 if the fairing is not attached.
#[rocket::async_trait]
impl<'r, T: SessionIdentity> FromRequest<'r> for Sessions<T> {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match Self::of(request.rocket()) {
            Ok(sessions) => Outcome::Success(sessions),
            Err(error) => Outcome::Error((status(&error), error)),
        }
    }
}

impl<T: SessionData> Sentinel for Sessions<T> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        missing_fairing::<T>(rocket)
    }
}

impl<'a> FromParam<'a> for SessionHandle {
    type Error = InvalidHandle;

    fn from_param(param: &'a str) -> std::result::Result<Self, InvalidHandle> {
        param.parse()
    }
}

impl<'v> FromFormField<'v> for SessionHandle {
    fn from_value(field: ValueField<'v>) -> form::Result<'v, Self> {
        field.value.parse().map_err(|error: InvalidHandle| form::Error::validation(error.to_string()).into())
    }
}

impl<P: Part> UriDisplay<P> for SessionHandle {
    fn fmt(&self, f: &mut Formatter<'_, P>) -> std::fmt::Result {
        f.write_value(self.to_string())
    }
}

impl_from_uri_param_identity!(SessionHandle);
