//! The live session of a request.

mod core;
mod field_accessors;
mod lifetime;
mod session_data;
mod sessions;
mod user;
mod whole_struct;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};

#[cfg(doc)]
use crate::base::error::ErrorKind;
use crate::base::error::{Chain, Result};
use crate::base::event::EndReason;
use crate::base::id::{SessionHandle, SessionId};
use crate::data::csrf::{CsrfSecret, CsrfToken};
use crate::data::values::Values;
use crate::state::{Carrier, CsrfCheck, Live, State};

pub(crate) use self::core::{CookieUpdate, Core};
pub use self::session_data::{SessionData, SessionFields, SessionIdentity};
pub use self::sessions::{Listing, Sessions};

/// The live session of a request, with the accessors that `#[derive(Session)]` generates for the fields of `T`.
///
/// A `Session` is a cheap handle. Its clones and all guards of one request share the same session. The fairing saves
/// the changes before Rocket sends the response head, unless the status is 500 or above. Code that runs after the
/// response head is sent, in a stream or a task, must call [`save`](Self::save).
///
/// As a request guard, `Session<T>` fails with 503 if the store cannot be read. Use the guard
/// `Result<Session<T>, session_rocket::Error>` to handle this error. `Option<Session<T>>` hides an outage, because
/// Rocket turns every failure of a guard into `None`.
///
/// ```
/// use session_rocket::Session;
///
/// #[derive(Session)]
/// struct Visitor {
///     num_visits: u32,
/// }
///
/// #[rocket::get("/")]
/// fn index(session: Session<Visitor>) -> String {
///     session.update_num_visits(|visits| *visits += 1);
///     format!("Visit count: {}", session.num_visits())
/// }
/// ```
pub struct Session<T: SessionData> {
    fields: T::Fields,
    core: Arc<Core>,
}

impl<T: SessionData> Clone for Session<T> {
    fn clone(&self) -> Self {
        Self::of(self.core.clone())
    }
}

impl<T: SessionData> Deref for Session<T> {
    type Target = T::Fields;

    fn deref(&self) -> &T::Fields {
        &self.fields
    }
}

impl<T: SessionData> Session<T> {
    pub(crate) fn new(core: Core) -> Self {
        Self::of(Arc::new(core))
    }

    fn of(core: Arc<Core>) -> Self {
        Self { fields: T::Fields::new(core.state.clone()), core }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn state(&self) -> &State {
        &self.core.state
    }

    fn values(&self) -> Values {
        self.state().snapshot().1
    }

    /// Returns the accessors of the fields, to which `Session<T>` dereferences.
    ///
    /// Use it to call an accessor that a method of `Session` with the same name hides.
    pub fn fields(&self) -> &T::Fields {
        &self.fields
    }

    /// Returns the names of all stored values, in the order of the fields in the struct.
    ///
    /// The names are those in the store. Keys that no field declares come last.
    pub fn keys(&self) -> Vec<String> {
        self.values().keys()
    }

    /// Returns all stored values by name, in the order of `serde_json`'s maps.
    ///
    /// The names are those in the store, and keys that no field declares are included. Fields without a stored value
    /// are missing. [`keys`](Self::keys) has the order of the struct.
    pub fn items(&self) -> Map<String, Json> {
        self.values().items()
    }

    /// Removes all data of the session.
    ///
    /// The session keeps its id if nobody was logged in. Otherwise `clear` also logs the user out, and the session gets
    /// a new id.
    #[track_caller]
    pub fn clear(&self) {
        self.state().clear();
    }

    /// Ends the session and removes its data, its record and its cookie. Call it to log a user out.
    ///
    /// Values that are set afterwards in the same request go into a new session. If the browser sent several session
    /// cookies, `flush` ends all of their sessions. `flush` takes effect regardless of the status of the response.
    ///
    /// If another user logged in on the session after this request loaded it, `flush` does not end that login. If nobody
    /// was logged in when this request loaded the session, `flush` does not end a later login of any user.
    ///
    /// With sealed cookies, only the browser's copy is removed. A copy that somebody made earlier stays valid until it
    /// expires, because there is no record to end.
    #[track_caller]
    pub fn flush(&self) {
        self.state().flush(EndReason::Logout);
    }

    /// Gives the session a new id and keeps its data.
    ///
    /// Call it when the privileges of the user change. Setting the identity also gives the session a new id. Earlier
    /// CSRF tokens become invalid. `cycle_id` takes effect regardless of the status of the response. A sealed cookie
    /// has no id and is sealed again.
    #[track_caller]
    pub fn cycle_id(&self) {
        self.state().cycle_id();
    }

    /// Starts a test of whether the browser accepts cookies.
    ///
    /// Call [`test_cookie_worked`](Self::test_cookie_worked) in the next request.
    #[track_caller]
    pub fn set_test_cookie(&self) {
        self.state().set_test_cookie(true);
    }

    /// Returns whether the browser sent the test cookie back.
    pub fn test_cookie_worked(&self) -> bool {
        self.values().test_cookie()
    }

    /// Removes the test cookie from the session.
    #[track_caller]
    pub fn delete_test_cookie(&self) {
        self.state().set_test_cookie(false);
    }

    /// Returns a CSRF token for the forms of this session.
    ///
    /// Put the token into a hidden form field named `csrf_token`, and accept the form as a
    /// [`CsrfForm`](crate::CsrfForm), which refuses forms from other sites.
    ///
    /// Every call returns a different token. All tokens are valid until the session ends or gets a new id, for example
    /// at a login.
    ///
    /// A token starts no session. For a visitor without a session, the response sets a cookie with the secret that
    /// belongs to the token: it has the name of the session cookie, followed by `-csrf`, and ends when the browser is
    /// closed. A session that starts later takes over this secret, but a login does not. If a browser without this
    /// cookie loads several pages at the same time, each page draws its own secret, and the browser keeps the last one.
    /// The forms of the other pages then get 403.
    ///
    /// If the operating system returns no random bytes, the token is empty and the response is 503. The token is also
    /// empty if a new secret needs a cookie but the response head is already sent.
    ///
    /// ```
    /// # use session_rocket::Session;
    /// # #[derive(Session)]
    /// # struct Visitor {}
    /// fn form(session: &Session<Visitor>) -> String {
    ///     let token = session.csrf_token();
    ///     format!("<form method=post><input type=hidden name=csrf_token value={token}><button>Buy</button></form>")
    /// }
    /// ```
    #[track_caller]
    pub fn csrf_token(&self) -> CsrfToken {
        let token = self.state().ensure_csrf_secret().and_then(CsrfSecret::token);
        token.unwrap_or_else(|error| {
            log::error!(target: "session_rocket", "cannot make a CSRF token: {}", Chain(&error));
            self.state().fail_response(error);
            CsrfToken::empty()
        })
    }

    /// Returns whether `token` is a valid CSRF token of this session.
    ///
    /// [`CsrfForm`](crate::CsrfForm) and [`CsrfHeader`](crate::CsrfHeader) verify the token of a request. Use this method
    /// for a token that a request carries elsewhere. The comparison takes constant time.
    pub fn verify_csrf_token(&self, token: &str) -> bool {
        self.state().check_csrf(token) == CsrfCheck::Valid
    }

    /// Returns the id of the session, or `None` if this request knows no id.
    ///
    /// There is no id before the first save. After [`cycle_id`](Self::cycle_id), [`flush`](Self::flush) or a login, there
    /// is no id until the next save. The id is also unknown after another request gave the session a new id. Sealed
    /// cookies have no id. An [app](crate::guide::apps) sends the id as its bearer token.
    pub fn id(&self) -> Option<SessionId> {
        self.live().and_then(|live| live.id)
    }

    /// Returns the public name of the session, which is safe in pages, URLs and logs, or `None` if there is none.
    ///
    /// There is no handle before the first save. After [`cycle_id`](Self::cycle_id), [`flush`](Self::flush) or a login,
    /// there is no handle until the next save. Sealed cookies have no handle.
    pub fn handle(&self) -> Option<SessionHandle> {
        self.live().map(|live| live.key.handle())
    }

    /// Returns the record of the session, unless the next save gives the session a new id.
    fn live(&self) -> Option<Live> {
        match self.state().carrier() {
            Carrier::Live(live) if self.state().keeps_id() => Some(live),
            _ => None,
        }
    }

    /// Returns whether the session has no stored values.
    pub fn is_empty(&self) -> bool {
        self.values().is_empty()
    }

    /// Returns whether this request has no stored session.
    ///
    /// This is the case before the first save, after the session ended, and if the browser withheld its cookie.
    pub fn is_new(&self) -> bool {
        !matches!(self.state().carrier(), Carrier::Live(_) | Carrier::Sealed(_))
    }

    /// Returns whether the session has changes that are not saved yet.
    pub fn is_modified(&self) -> bool {
        self.state().is_modified()
    }

    /// Saves the changes now, instead of with the response.
    ///
    /// Streams, WebSockets and tasks must call it, because they change the session after the response head is sent. A
    /// handler can call it to handle the error itself.
    ///
    /// Dropping the future after its first poll does not cancel the save. If such a save fails, the response fails too.
    ///
    /// Without changes, `save` checks that the session still exists in the store, and does not renew it. With sealed
    /// cookies, `save` only seals the new cookie. The browser stores the cookie when it receives the response.
    ///
    /// # Errors
    /// After any error, the changes are dropped and are never saved.
    ///
    /// - [`ErrorKind::Unavailable`], [`Timeout`](ErrorKind::Timeout) or [`Uncertain`](ErrorKind::Uncertain): the store
    ///   did not confirm the save.
    /// - [`ErrorKind::Encode`], [`TooLarge`](ErrorKind::TooLarge) or [`Panicked`](ErrorKind::Panicked): a value could
    ///   not be encoded, or the session is too large.
    /// - [`ErrorKind::Ended`]: another request ended the session, somebody else logged in on it, or it expired.
    /// - [`ErrorKind::Withheld`]: the browser did not send its cookie with this cross-site request. A `save` after
    ///   `flush` fails too.
    /// - [`ErrorKind::TooLate`]: the change needs a new session cookie, but the response head is sent.
    /// - [`ErrorKind::Random`]: the operating system returned no random bytes.
    ///
    /// A handler can return the error with `?`. [`ErrorKind`] lists the status of each kind.
    ///
    /// ```
    /// # use session_rocket::{Error, Session};
    /// # #[derive(Session)]
    /// # struct Visitor { num_visits: u32 }
    /// async fn count(session: Session<Visitor>) -> Result<u32, Error> {
    ///     session.update_num_visits(|visits| *visits += 1);
    ///     session.save().await?;
    ///     Ok(session.num_visits())
    /// }
    /// ```
    pub async fn save(&self) -> Result<()> {
        self.core.save().await
    }

    /// Loads the session again from the store, and returns whether it still exists.
    ///
    /// Streams and WebSockets use it to see changes of other requests, and to notice a logout.
    ///
    /// Returns `false` if the session ended or expired, or if another user logged in on it after this request loaded it.
    /// If nobody was logged in when this request loaded the session, every login counts as that of another user, even if
    /// the visitor of the stream logged in. The session then reads as empty, and the page has to open the stream again
    /// (`EventSource` reconnects automatically). If a user was logged in and logs in again, `reload` returns `true`.
    ///
    /// `reload` does not renew the session. Changes that are not saved yet are applied to the loaded data. If another
    /// request of the same user gave the session a new id, `reload` loads the session with the new id, and
    /// [`handle`](Self::handle) changes. For a sealed cookie, `reload` reads nothing and returns `true`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`] if the store cannot be read. The session stays unchanged.
    pub async fn reload(&self) -> Result<bool> {
        self.core.reload().await
    }

    /// Completes when the session has ended: after a logout, a revocation, a login of somebody else, or its expiry.
    ///
    /// Event streams and WebSockets use it to stop. If this process ends the session, `ended` completes immediately. If
    /// another process ends the session, `ended` completes within
    /// [`poll_interval`](field@crate::Config::poll_interval), because it asks the store at this interval. While the
    /// store cannot be read, `ended` waits.
    ///
    /// If the session gets a new id for the same user, `ended` continues to wait. For a visitor without a session, and for
    /// sealed cookies, it never completes. Each future asks the store when it is first polled, so create one future before a
    /// loop, not one in each iteration.
    ///
    /// ```
    /// # use rocket::response::stream::{Event, EventStream};
    /// # use session_rocket::Session;
    /// # #[derive(Session)]
    /// # struct Visitor { num_visits: u32 }
    /// #[rocket::get("/events")]
    /// fn events(session: Session<Visitor>) -> EventStream![] {
    ///     EventStream! {
    ///         let mut ended = std::pin::pin!(session.ended());
    ///         loop {
    ///             rocket::tokio::select! {
    ///                 () = &mut ended => return,
    ///                 () = rocket::tokio::time::sleep(std::time::Duration::from_secs(1)) => yield Event::data("tick"),
    ///             }
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn ended(&self) {
        self.core.ended().await;
    }
}

impl<T: SessionData> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("type", &T::NAME).field("handle", &self.handle()).finish_non_exhaustive()
    }
}

/// Serializes the declared fields by name, for example as the context of a template. A field without a stored value has
/// its default.
impl<T: SessionData> Serialize for Session<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values = self.values();
        let fields = T::schema().fields();
        let mut map = serializer.serialize_map(Some(fields.len()))?;
        for field in fields {
            let value = values.presented_json(*field).map_err(S::Error::custom)?;
            map.serialize_entry(field.spec().name, &value)?;
        }
        map.end()
    }
}
