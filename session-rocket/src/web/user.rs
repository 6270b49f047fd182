//! The request guard for the account of the logged-in user.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rocket::http::Status;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::tokio::sync::Mutex;
use rocket::{Ignite, Rocket, Sentinel};

use super::attached::{RequestCache, missing_fairing, status};
use super::login::LoggedIn;
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::event::EndReason;
use crate::session::{Session, SessionIdentity};

/// The error of [`LoadUser::load`], to which `?` converts every error type.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

/// An account that [`CurrentUser`] loads for the identity of a session.
///
/// ```
/// use rocket::Request;
/// use session_rocket::{CurrentUser, LoadError, LoadUser, Session};
///
/// #[derive(Session)]
/// struct Account {
///     #[session(identity)]
///     user_id: Option<i64>,
/// }
///
/// struct User {
///     id: i64,
///     name: String,
///     password_hash: String,
/// }
///
/// impl LoadUser for User {
///     type Session = Account;
///
///     async fn load(id: &i64, _request: &Request<'_>) -> Result<Option<Self>, LoadError> {
///         // A site asks its database.
///         let known = *id == 7;
///         Ok(known.then(|| Self { id: *id, name: "Ada".into(), password_hash: "$argon2id$…".into() }))
///     }
///
///     fn identity(&self) -> i64 {
///         self.id
///     }
///
///     fn auth_hash(&self) -> Option<String> {
///         Some(self.password_hash.clone())
///     }
/// }
///
/// #[rocket::get("/")]
/// fn home(user: CurrentUser<User>) -> String {
///     format!("Hello, {}!", user.name)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an account that `CurrentUser` can load",
    note = "implement `session_rocket::LoadUser` for `{Self}`"
)]
pub trait LoadUser: Sized + Send + Sync + 'static {
    /// The session type whose identity is the user's id.
    type Session: SessionIdentity;

    /// Loads the account of `identity`, or returns `None` if the account no longer exists.
    ///
    /// If `load` returns `None`, [`CurrentUser`] ends the session. An implementation can be an `async fn`.
    ///
    /// # Errors
    /// If the account cannot be loaded. [`CurrentUser`] then logs the error and fails with 503.
    fn load(
        identity: &<Self::Session as SessionIdentity>::Identity,
        request: &Request<'_>,
    ) -> impl Future<Output = Result<Option<Self>, LoadError>> + Send;

    /// Returns the id of the user, which is also the identity in the user's sessions.
    fn identity(&self) -> <Self::Session as SessionIdentity>::Identity;

    /// Returns a string, usually the hash of the password. If the string changes, earlier logins become invalid.
    ///
    /// In each request that uses [`CurrentUser`], the guard checks the string, and ends the session if the string has
    /// changed since the login. The session stores only a salted MAC of the string. Django: `get_session_auth_hash`.
    ///
    /// When a user changes the password, call [`log_in`](Self::log_in) to keep the current session, and
    /// [`Sessions::revoke_others`](crate::Sessions::revoke_others) to end the other sessions immediately. The guards
    /// [`LoggedIn`] and [`RecentLogin`](crate::RecentLogin), and open event streams, do not check the hash.
    ///
    /// _Default:_ `None`, which means no check. If `auth_hash` returns a string, log users in with `log_in`. After a login
    /// that only sets the identity field, `CurrentUser` ends the session.
    fn auth_hash(&self) -> Option<String> {
        None
    }

    /// Logs the user in: sets the identity of `session`, and stores a MAC of the [`auth_hash`](Self::auth_hash).
    ///
    /// The session gets a new id, and keeps its data unless another user was logged in. Also call `log_in` when the user
    /// confirms or changes the password.
    #[track_caller]
    fn log_in(&self, session: &Session<Self::Session>) {
        session.log_in(self.identity(), self.auth_hash().as_deref());
    }
}

/// The account of the logged-in user, with the user's session.
///
/// As a request guard, `CurrentUser` forwards with 401 if nobody is logged in. If the account no longer exists or its
/// [`auth_hash`](LoadUser::auth_hash) has changed, the guard ends the session and forwards with 401. If the store or the
/// account cannot be read, the guard fails with 503. The guard loads the account once per request.
///
/// `CurrentUser` dereferences to the account. [`LoadUser`] has an example.
pub struct CurrentUser<U: LoadUser> {
    user: Arc<U>,
    session: LoggedIn<U::Session>,
}

impl<U: LoadUser> CurrentUser<U> {
    /// Returns the session of the user.
    pub fn session(&self) -> &LoggedIn<U::Session> {
        &self.session
    }
}

impl<U: LoadUser> Deref for CurrentUser<U> {
    type Target = U;

    fn deref(&self) -> &U {
        &self.user
    }
}

/// Shows the session only, because the account is personal data.
impl<U: LoadUser> fmt::Debug for CurrentUser<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentUser").field("session", &self.session).finish_non_exhaustive()
    }
}

/// The account that a request has loaded, with its identity.
struct Loaded<U>(Mutex<Option<(String, Arc<U>)>>);

#[rocket::async_trait]
impl<'r, U: LoadUser> FromRequest<'r> for CurrentUser<U> {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        let session = match RequestCache::<U::Session>::of(request).session(request).await {
            Ok(session) => session,
            Err(error) => return Outcome::Error((status(error), error.clone())),
        };
        let Some(session) = LoggedIn::of(session) else { return Outcome::Forward(Status::Unauthorized) };
        match load::<U>(&session, request).await {
            Ok(Some(user)) => Outcome::Success(Self { user, session }),
            Ok(None) => Outcome::Forward(Status::Unauthorized),
            Err(error) => {
                log::error!(target: "session_rocket", "{}", Chain(&error));
                Outcome::Error((status(&error), error))
            }
        }
    }
}

/// Returns the account of the session's user. Ends the session if the account is gone or its auth hash changed.
async fn load<U: LoadUser>(session: &LoggedIn<U::Session>, request: &Request<'_>) -> Result<Option<Arc<U>>> {
    let loaded = request.local_cache(|| Loaded::<U>(Mutex::new(None)));
    let mut loaded = loaded.0.lock().await;
    let identity = session.identity().to_string();
    // The user may have changed since an earlier guard of this request loaded the account.
    if let Some((loaded_identity, user)) = &*loaded
        && *loaded_identity == identity
    {
        return Ok(Some(user.clone()));
    }
    let user = U::load(session.identity(), request).await.map_err(|error| {
        let context = format!("cannot load the account of `{}`", std::any::type_name::<U>());
        Error::with_source(ErrorKind::Unavailable, context, error)
    })?;
    let Some(user) = user else {
        session.end(EndReason::UserGone);
        return Ok(None);
    };
    if let Some(auth_hash) = user.auth_hash()
        && !session.has_auth_hash(&auth_hash)
    {
        warn_without_auth_hash::<U>(session);
        session.end(EndReason::AuthHashChanged);
        return Ok(None);
    }
    let user = Arc::new(user);
    *loaded = Some((identity, user.clone()));
    Ok(Some(user))
}

/// Warns once if a login did not store the auth hash, because `CurrentUser` then ends the session.
fn warn_without_auth_hash<U: LoadUser>(session: &Session<U::Session>) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !session.has_auth() && !WARNED.swap(true, Ordering::Relaxed) {
        log::warn!(
            target: "session_rocket",
            "`CurrentUser<{}>` ended a session whose login stored no auth hash: log users in with `log_in`",
            std::any::type_name::<U>(),
        );
    }
}

impl<U: LoadUser> Sentinel for CurrentUser<U> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        missing_fairing::<U::Session>(rocket)
    }
}
