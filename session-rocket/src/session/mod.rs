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
/// All clones and guards of one request share the same session. The fairing saves the changes before Rocket sends the
/// response head, unless the status is 500 or above. Code that runs after the response head is sent, in a stream or a
/// task, must call [`save`](Self::save).
///
/// As a request guard, `Session<T>` fails with 503 if the store cannot be read. To handle this error, use the guard
/// `Result<Session<T>, session_rocket::Error>`. `Option<Session<T>>` hides an outage, because Rocket turns every
/// failure of a guard into `None`.
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
    /// Use this method to pass all accessors to a function, or to call an accessor that a method of a trait hides.
    pub fn fields(&self) -> &T::Fields {
        &self.fields
    }

    /// Returns the names of all stored values, in the order of the fields in the struct.
    ///
    /// The names are those in the store. Keys that no field declares come last.
    pub fn keys(&self) -> Vec<String> {
        self.values().keys()
    }

    /// Returns all stored values, in the order of `serde_json`'s maps.
    ///
    /// The names are those in the store. Keys that no field declares are included; fields without a stored value are
    /// missing.
    pub fn items(&self) -> Map<String, Json> {
        self.values().items()
    }

    /// Removes all data of the session.
    ///
    /// If a user is logged in, `clear` logs the user out, and the session gets a new id. Otherwise the session keeps
    /// its id.
    #[track_caller]
    pub fn clear(&self) {
        self.state().clear();
    }

    /// Ends the session and removes its data, record and cookie, for example to log a user out.
    ///
    /// Values that are set afterwards in the same request go into a new session. If the browser sent several session
    /// cookies, `flush` ends all of their sessions. `flush` takes effect regardless of the status of the response.
    ///
    /// If another user logged in on the session after this request loaded it, `flush` does not end that login. If
    /// nobody was logged in at the load, `flush` ends no later login.
    ///
    /// With sealed cookies, only the browser's copy is removed. An earlier copy of the cookie stays valid until it
    /// expires.
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
    /// [`CsrfForm`](crate::CsrfForm).
    ///
    /// Every call returns a different token. All tokens are valid until the session ends or gets a new id, for example
    /// at a login.
    ///
    /// A token starts no session. For a visitor without a session, the response sets a cookie with the token's secret,
    /// which lasts until the browser is closed and has the name of the session cookie followed by `-csrf`. The
    /// visitor's first session takes over the secret, but a login does not. If a browser without this cookie loads
    /// several pages at the same time, only the forms of one of them work; the others get 403.
    ///
    /// The token is empty if the operating system returns no random bytes, and the response is then 503. It is also
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
    /// Use this method for a token that neither [`CsrfForm`](crate::CsrfForm) nor [`CsrfHeader`](crate::CsrfHeader)
    /// verifies. The comparison takes constant time.
    pub fn verify_csrf_token(&self, token: &str) -> bool {
        self.state().check_csrf(token) == CsrfCheck::Valid
    }

    /// Returns the id of the session, or `None` if this request knows no id.
    ///
    /// There is no id before the first save, and from [`cycle_id`](Self::cycle_id), [`flush`](Self::flush) or a login
    /// to the next save. The id is unknown after another request gave the session a new id. Sealed cookies have no id.
    /// An [app](crate::guide::apps) sends the id as its bearer token.
    pub fn id(&self) -> Option<SessionId> {
        self.live().and_then(|live| live.id)
    }

    /// Returns the public name of the session, which is safe in pages, URLs and logs, or `None` if there is none.
    ///
    /// There is no handle before the first save, and from [`cycle_id`](Self::cycle_id), [`flush`](Self::flush) or a
    /// login to the next save. Sealed cookies have no handle.
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
    /// True before the first save, after the session ended, and if the browser withheld its cookie.
    pub fn is_new(&self) -> bool {
        !matches!(self.state().carrier(), Carrier::Live(_) | Carrier::Sealed(_))
    }

    /// Returns whether the session has changes that are not saved yet.
    pub fn is_modified(&self) -> bool {
        self.state().is_modified()
    }

    /// Saves the changes now, instead of with the response.
    ///
    /// Streams, WebSockets and tasks must call `save`, because they run after the response head is sent. A handler can
    /// call `save` to handle the error itself.
    ///
    /// Dropping the future after its first poll does not cancel the save. If such a save fails, so does the response.
    ///
    /// Without changes, `save` checks that the session still exists in the store, and does not renew it. With sealed
    /// cookies, `save` only seals the new cookie, which the browser stores when it receives the response.
    ///
    /// # Errors
    /// After any error, the changes are dropped.
    ///
    /// - [`ErrorKind::Unavailable`], [`Timeout`](ErrorKind::Timeout) or [`Uncertain`](ErrorKind::Uncertain): the store
    ///   did not confirm the save.
    /// - [`ErrorKind::Encode`], [`TooLarge`](ErrorKind::TooLarge) or [`Panicked`](ErrorKind::Panicked): a value could
    ///   not be encoded, or the session is too large.
    /// - [`ErrorKind::Ended`]: another request ended the session, somebody else logged in on it, or it expired.
    /// - [`ErrorKind::TooManySessions`]: a login exceeds `max_sessions`, and `when_full` is `"refuse login"`.
    /// - [`ErrorKind::Withheld`]: the browser did not send its cookie with this cross-site request, even after `flush`.
    /// - [`ErrorKind::TooLate`]: the change needs a new session cookie, but the response head is sent.
    /// - [`ErrorKind::Random`]: the operating system returned no random bytes.
    ///
    /// If a handler returns the error with `?`, its [kind](ErrorKind) decides the status.
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
    /// In streams and WebSockets, `reload` shows changes of other requests, and a logout.
    ///
    /// Returns `false` if the session ended or expired, or if another user logged in on it after this request loaded
    /// it. If nobody was logged in at the load, every login counts as that of another user. The session then reads as
    /// empty, and the page has to open the stream again (`EventSource` reconnects automatically). If the same user logs
    /// in again, `reload` returns `true`.
    ///
    /// `reload` does not renew the session. Unsaved changes are applied to the loaded data. If another request of the
    /// same user gave the session a new id, `reload` follows it, and [`handle`](Self::handle) changes. For a sealed
    /// cookie, `reload` reads nothing and returns `true`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`] if the store cannot be read. The session stays unchanged.
    pub async fn reload(&self) -> Result<bool> {
        self.core.reload().await
    }

    /// Completes when the session has ended: after a logout, a revocation, a login of somebody else, or its expiry.
    ///
    /// [Streams](crate::guide::streams) and WebSockets use it to stop. If another process ends the session, `ended`
    /// completes within [`poll_interval`](field@crate::Config::poll_interval), otherwise immediately. While the store
    /// cannot be read, `ended` waits.
    ///
    /// A new id for the same user does not end the session. For a visitor without a session, and for sealed cookies,
    /// `ended` never completes. Each future asks the store when it is first polled, so create one future before a loop,
    /// not one in each iteration.
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
            let value = values.json_or_default(*field).map_err(S::Error::custom)?;
            map.serialize_entry(field.spec().name, &value)?;
        }
        map.end()
    }
}
