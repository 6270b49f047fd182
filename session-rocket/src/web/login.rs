//! The request guards for logged-in users.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use rocket::http::Status;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::{Ignite, Rocket, Sentinel};

use super::attached::{RequestCache, missing_fairing, status};
use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::data::field::Value;
use crate::session::{Session, SessionData, SessionIdentity};

/// The session of a logged-in user.
///
/// As a request guard, `LoggedIn` forwards with 401 if nobody is logged in, so that the route of the next rank, or a
/// catcher for 401, can show the login page. If the store cannot be read, the guard fails with 503. `LoggedIn`
/// dereferences to [`Session`].
///
/// The guard does not load the account. If the site implements [`LoadUser::auth_hash`](crate::LoadUser::auth_hash), use
/// [`CurrentUser`](crate::CurrentUser), which checks the hash.
///
/// ```
/// use session_rocket::{LoggedIn, Session};
///
/// #[derive(Session)]
/// struct Account {
///     #[session(identity)]
///     user_id: Option<i64>,
///     theme: String,
/// }
///
/// #[rocket::get("/")]
/// fn home(user: LoggedIn<Account>) -> String {
///     format!("user {}, theme {}", user.identity(), user.theme())
/// }
///
/// #[rocket::get("/", rank = 2)]
/// fn welcome() -> &'static str {
///     "log in first"
/// }
/// ```
pub struct LoggedIn<T: SessionData> {
    session: Session<T>,
    // Not `T::Identity`, so that the compiler reports a session type without an identity only once.
    identity: Value,
    authenticated_at: Timestamp,
}

impl<T: SessionIdentity> LoggedIn<T> {
    /// Returns the user's session, or `None` if nobody is logged in.
    pub(super) fn of(session: &Session<T>) -> Option<Self> {
        let identity = session.identity()?;
        Some(Self { session: session.clone(), identity, authenticated_at: session.authenticated_at() })
    }

    /// Returns the id of the user who was logged in when the guard ran.
    pub fn identity(&self) -> &T::Identity {
        T::identity_field().peek(&self.identity)
    }

    /// Returns when the user last authenticated, by a login or by confirming the password.
    ///
    /// Each assignment to the identity field counts as an authentication, even if the value stays the same.
    pub fn authenticated_at(&self) -> Timestamp {
        self.authenticated_at
    }
}

impl<T: SessionData> Deref for LoggedIn<T> {
    type Target = Session<T>;

    fn deref(&self) -> &Session<T> {
        &self.session
    }
}

/// Omits the identity, because it may be personal data.
impl<T: SessionData> fmt::Debug for LoggedIn<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LoggedIn").field(&self.session).finish()
    }
}

#[rocket::async_trait]
impl<'r, T: SessionIdentity> FromRequest<'r> for LoggedIn<T> {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match RequestCache::<T>::of(request).session(request).await {
            Ok(session) => LoggedIn::of(session).map_or(Outcome::Forward(Status::Unauthorized), Outcome::Success),
            Err(error) => Outcome::Error((status(error), error.clone())),
        }
    }
}

impl<T: SessionData> Sentinel for LoggedIn<T> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        missing_fairing::<T>(rocket)
    }
}

/// The session of a user who authenticated in the last `SECONDS` seconds.
///
/// Use this guard for actions that need a fresh confirmation of the password, such as a change of the e-mail address
/// (OWASP ASVS 5.0, 7.5.1). To restart the period, check the password and set the identity again.
///
/// As a request guard, `RecentLogin` fails with 401 if nobody is logged in, with 403 if the user authenticated too long
/// ago, and with 503 if the store cannot be read. The guard `Result<RecentLogin<T, SECONDS>, LoginError>` tells these
/// cases apart. `RecentLogin` dereferences to [`LoggedIn`].
///
/// ```
/// use rocket::Either;
/// use rocket::response::Redirect;
/// use session_rocket::{Error, LoginError, RecentLogin, Session};
///
/// #[derive(Session)]
/// struct Account {
///     #[session(identity)]
///     user_id: Option<i64>,
/// }
///
/// #[rocket::get("/email")]
/// fn change_email(user: Result<RecentLogin<Account, 300>, LoginError>) -> Result<Either<String, Redirect>, Error> {
///     match user {
///         Ok(user) => Ok(Either::Left(format!("the form for user {}", user.identity()))),
///         Err(LoginError::TooLongAgo) => Ok(Either::Right(Redirect::to("/confirm-password"))),
///         Err(LoginError::Session(error)) => Err(error),
///         Err(_) => Ok(Either::Right(Redirect::to("/login"))),
///     }
/// }
/// ```
pub struct RecentLogin<T: SessionData, const SECONDS: u64>(LoggedIn<T>);

impl<T: SessionData, const SECONDS: u64> Deref for RecentLogin<T, SECONDS> {
    type Target = LoggedIn<T>;

    fn deref(&self) -> &LoggedIn<T> {
        &self.0
    }
}

impl<T: SessionData, const SECONDS: u64> fmt::Debug for RecentLogin<T, SECONDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecentLogin").field(&self.0.session).finish()
    }
}

/// The reason why [`RecentLogin`] failed.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum LoginError {
    /// Nobody is logged in. The status is 401.
    NotLoggedIn,
    /// The user authenticated too long ago. The status is 403.
    TooLongAgo,
    /// The session cannot be loaded. The status is 400, 500 or 503, as [`ErrorKind`](crate::ErrorKind) lists them.
    Session(Error),
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLoggedIn => "nobody is logged in",
            Self::TooLongAgo => "the user authenticated too long ago",
            Self::Session(_) => "cannot load the session",
        })
    }
}

impl std::error::Error for LoginError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Session(error) => Some(error),
            Self::NotLoggedIn | Self::TooLongAgo => None,
        }
    }
}

#[rocket::async_trait]
impl<'r, T: SessionIdentity, const SECONDS: u64> FromRequest<'r> for RecentLogin<T, SECONDS> {
    type Error = LoginError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, LoginError> {
        let session = match RequestCache::<T>::of(request).session(request).await {
            Ok(session) => session,
            Err(error) => return Outcome::Error((status(error), LoginError::Session(error.clone()))),
        };
        match LoggedIn::of(session) {
            None => Outcome::Error((Status::Unauthorized, LoginError::NotLoggedIn)),
            Some(user) if user.authenticated_at().until(session.now()) > Duration::from_secs(SECONDS) => {
                Outcome::Error((Status::Forbidden, LoginError::TooLongAgo))
            }
            Some(user) => Outcome::Success(Self(user)),
        }
    }
}

impl<T: SessionData, const SECONDS: u64> Sentinel for RecentLogin<T, SECONDS> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        missing_fairing::<T>(rocket)
    }
}
