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
use crate::state::{CsrfCheck, Live, SessionStatus, State};

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
    /// The names are those in the store. Keys that no field declares come last, or at the position of the `extra` field.
    pub fn keys(&self) -> Vec<String> {
        self.values().keys()
    }

    /// Returns all stored values, in the order of `serde_json`'s maps.
    ///
    /// The names are those in the store. Keys that no field declares are included. A field is missing if it has no
    /// stored value, or if its stored value does not decode.
    pub fn items(&self) -> Map<String, Json> {
        self.values().items()
    }

    /// Removes all data of the session.
    ///
    /// If a user is logged in, `clear` also logs the user out: the session ends, and the visitor gets a new, empty
    /// session. Otherwise the session keeps its id.
    #[track_caller]
    pub fn clear(&self) {
        self.state().clear();
    }

    /// Ends the session and removes its data, record and cookie, for example to log a user out.
    ///
    /// Values that the request sets after `flush` go into a new session. If the browser sent several session cookies,
    /// `flush` ends the sessions of all these cookies. `flush` takes effect regardless of the response's status.
    ///
    /// If a user logs in on the session after this request loaded it, `flush` ends the session only if the same user
    /// was already logged in at the load.
    ///
    /// With sealed cookies, only the browser's copy is removed. An earlier copy of the cookie stays valid until it
    /// expires.
    #[track_caller]
    pub fn flush(&self) {
        self.state().flush(EndReason::Logout);
    }

    /// Gives the session a new id and keeps its data.
    ///
    /// Call `cycle_id` when the privileges of the user change. A login needs no `cycle_id`, because setting the identity
    /// also gives the session a new id. Earlier CSRF tokens become invalid. `cycle_id` takes effect regardless of the
    /// response's status. A sealed cookie has no id: `cycle_id` only seals the cookie again.
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
    /// `csrf_token` does not start a session. If the visitor has no session, the response stores the secret of the token
    /// in a separate cookie, whose name is that of the session cookie followed by `-csrf`. The browser removes this
    /// cookie when it is closed. If the visitor's first session starts without a login, it takes over the secret. If a
    /// browser without this cookie loads several pages at the same time, only the forms of one page work. The forms of
    /// the other pages get 403.
    ///
    /// If the operating system returns no random bytes, the token is empty, and the response is 503. The token is also
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

    /// Returns the id of the session, or `None` if this request does not know an id.
    ///
    /// The result is `None` while [`handle`](Self::handle) returns `None`. It is also `None` after a save or a reload
    /// found that another request gave the session a new id. An [app](crate::guide::apps) sends the id as its bearer
    /// token.
    pub fn id(&self) -> Option<SessionId> {
        self.live().and_then(|live| live.id)
    }

    /// Returns the public name of the session, which is safe in pages, URLs and logs, or `None` if there is no name.
    ///
    /// A session has no handle before it is first saved. After [`cycle_id`](Self::cycle_id), [`flush`](Self::flush), a
    /// login or a logout, it has no handle until the next save. Sealed cookies have no handle.
    pub fn handle(&self) -> Option<SessionHandle> {
        self.live().map(|live| live.key.handle())
    }

    /// Returns the record of the session, unless the next save gives the session a new id.
    fn live(&self) -> Option<Live> {
        match self.state().status() {
            SessionStatus::Live(live) if self.state().keeps_id() => Some(live),
            _ => None,
        }
    }

    /// Returns whether the session has no stored values.
    pub fn is_empty(&self) -> bool {
        self.values().is_empty()
    }

    /// Returns whether this request has no stored session.
    ///
    /// True before the session is first saved, after it ended, and if the browser did not send its session cookie with a
    /// cross-site request.
    pub fn is_new(&self) -> bool {
        !matches!(self.state().status(), SessionStatus::Live(_) | SessionStatus::Sealed(_))
    }

    /// Returns whether the session has changes that are not saved yet.
    pub fn is_modified(&self) -> bool {
        self.state().is_modified()
    }

    /// Saves the changes now, instead of with the response.
    ///
    /// Streams, WebSockets and tasks must call `save`, because they run after the response head is sent. A handler can
    /// call `save` to handle a failed save itself.
    ///
    /// Dropping the future after its first poll does not cancel the save. If that save fails, the response fails too.
    ///
    /// Without changes, `save` only checks that the session still exists in the store, and does not renew it. With
    /// sealed cookies, `save` only seals the new cookie, which the browser stores when it receives the response.
    ///
    /// # Errors
    /// After any error, the changes are dropped, so a second `save` does not retry them.
    ///
    /// - [`ErrorKind::Unavailable`], [`Timeout`](ErrorKind::Timeout) or [`Uncertain`](ErrorKind::Uncertain): the store
    ///   did not confirm the save, or other requests changed the session during every attempt.
    /// - [`ErrorKind::Encode`], [`TooLarge`](ErrorKind::TooLarge) or [`Panicked`](ErrorKind::Panicked): a value could
    ///   not be encoded, the session is too large, or code of the application panicked.
    /// - [`ErrorKind::Ended`]: another request ended the session or changed its user, or the session expired.
    /// - [`ErrorKind::TooManySessions`]: a login exceeds `max_sessions`, and `when_full` is `"refuse login"`.
    /// - [`ErrorKind::Withheld`]: the browser did not send its session cookie with this cross-site request. In such a
    ///   request, `save` succeeds only after a login. It fails even after `flush` or without changes.
    /// - [`ErrorKind::TooLate`]: the change needs a new session cookie, but the response head is already sent.
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
    /// Call `reload` in a stream or a WebSocket to see what other requests changed, and whether they ended the session.
    ///
    /// Returns `false` if the session ended or expired, or if another request logged in a different user. If nobody was
    /// logged in before, every login counts. After `false`, the session reads as empty, and the page has to open the
    /// stream again (`EventSource` reconnects automatically).
    ///
    /// If another request gave the session a new id and kept its user, `reload` loads the session under the new id, and
    /// [`handle`](Self::handle) changes. Unsaved changes are applied to the loaded data. `reload` does not renew the
    /// session. With sealed cookies, and for a visitor without a session, `reload` reads nothing and returns `true`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`] if the store cannot be read. The session stays unchanged.
    pub async fn reload(&self) -> Result<bool> {
        self.core.reload().await
    }

    /// Completes when the session has ended: after a logout, a revocation, a login that changed the user, or the expiry.
    ///
    /// [Streams](crate::guide::streams) and WebSockets use `ended` to stop. If this process ends the session, `ended`
    /// completes immediately. If the session expires or another process ends it, `ended` completes within
    /// [`poll_interval`](field@crate::Config::poll_interval). While the store cannot be read, `ended` waits.
    ///
    /// A new id for the same user does not end the session. With sealed cookies, `ended` never completes. For a visitor
    /// without a session, `ended` waits until this request saves a new session and that session ends. Each future asks
    /// the store when it is first polled, so create one future before a loop, not one in each iteration.
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
