//! The live session of a request.

mod core;
mod field_accessors;
mod lifetime;
mod session_data;
mod whole_struct;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};

use crate::base::error::Result;
use crate::base::id::{SessionHandle, SessionId};
use crate::data::csrf::{CsrfSecret, CsrfToken};
use crate::data::values::Values;
use crate::state::{Carrier, Live, State};

pub(crate) use self::core::{CookieUpdate, Core};
pub use self::session_data::{SessionData, SessionFields};

/// The live session of a request, with the accessors that `#[derive(Session)]` made for the fields of `T`.
///
/// It is a cheap handle: clones, and all guards of one request, are the same session. Changes are saved when the
/// response is made, before its head is sent, unless its status is 5xx. Code that runs after that, in a stream or a task,
/// must call [`save`](Self::save).
///
/// As a request guard it fails with 503 when the store cannot be read. Take `Result<Session<T>, session_rocket::Error>`
/// to handle that. `Option<Session<T>>` hides an outage, because Rocket makes every failure of a guard `None`.
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

    /// The accessors of the fields, which `Session<T>` dereferences to. Use this for a field whose getter is hidden by a
    /// method of `Session` with the same name.
    pub fn fields(&self) -> &T::Fields {
        &self.fields
    }

    /// The stored names of all that is stored, undeclared ones included.
    pub fn keys(&self) -> Vec<String> {
        self.values().keys()
    }

    /// All that is stored, by stored name, undeclared keys included, in the order of `serde_json`'s maps.
    /// [`keys`](Self::keys) has the order of the struct.
    pub fn items(&self) -> Map<String, Json> {
        self.values().items()
    }

    /// Removes all data. The session keeps its id, unless somebody was logged in: then it gets a new id.
    #[track_caller]
    pub fn clear(&self) {
        self.state().clear();
    }

    /// Ends the session: its data, its record and its cookie. This is how to log out.
    ///
    /// Values set afterwards in the same request make a new session. Every session whose id the request presented ends,
    /// in case the browser sent several cookies of the name. If another user logged in on the session after this request
    /// loaded it, or somebody where nobody was logged in, `flush` does not end their login. `flush` takes effect whatever
    /// the response's status.
    ///
    /// With sealed cookies, only the browser's copy is removed: there is no record to end.
    #[track_caller]
    pub fn flush(&self) {
        self.state().flush();
    }

    /// Gives the session a new id and keeps its data. Call it where privileges change; setting the identity does so by
    /// itself. A sealed cookie, which has no id, is sealed anew.
    ///
    /// `cycle_id` takes effect whatever the response's status. Earlier CSRF tokens become invalid.
    #[track_caller]
    pub fn cycle_id(&self) {
        self.state().cycle_id();
    }

    /// Starts a test of whether the browser accepts cookies. Call [`test_cookie_worked`](Self::test_cookie_worked) in the
    /// next request.
    #[track_caller]
    pub fn set_test_cookie(&self) {
        self.state().set_test_cookie(true);
    }

    /// Whether the test cookie came back.
    pub fn test_cookie_worked(&self) -> bool {
        self.values().test_cookie()
    }

    /// Ends the test of whether the browser accepts cookies.
    #[track_caller]
    pub fn delete_test_cookie(&self) {
        self.state().set_test_cookie(false);
    }

    /// A token for this session's forms. Put it into a hidden field named `csrf_token`, and take the form as a
    /// [`CsrfForm`](crate::CsrfForm), which refuses forms that another site posted.
    ///
    /// Every call returns another string. All are valid until the session ends or gets a new id, for example at a login.
    /// The first call stores a secret in the session, so for a visitor without a session it starts one. If the operating
    /// system has no random bytes, the token is empty and the request fails with 503.
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
        let token = self.state().csrf().and_then(CsrfSecret::token);
        token.unwrap_or_else(|error| {
            self.state().fail_response(error);
            CsrfToken::empty()
        })
    }

    /// Whether `token` is one of this session's, compared in constant time. For requests that are not forms and carry the
    /// token in a header. Stores nothing.
    pub fn verify_csrf_token(&self, token: &str) -> bool {
        self.state().csrf_secret().is_some_and(|secret| secret.verifies(token))
    }

    /// The session's id. `None` while the session has no id that this request knows: before the first save, after
    /// [`cycle_id`](Self::cycle_id), a login or [`flush`](Self::flush) until the next save, after another request gave
    /// the session a new id, and in a sealed cookie, which needs none.
    pub fn id(&self) -> Option<SessionId> {
        self.live().and_then(|live| live.id)
    }

    /// The public name of this session, which is safe in pages, URLs and logs. `None` before the first save, after
    /// [`cycle_id`](Self::cycle_id), a login or [`flush`](Self::flush) until the next save, and in a sealed cookie.
    pub fn handle(&self) -> Option<SessionHandle> {
        self.live().map(|live| live.key.handle())
    }

    /// Where the session is stored, if it keeps that place.
    fn live(&self) -> Option<Live> {
        match self.state().carrier() {
            Carrier::Live(live) if self.state().keeps_id() => Some(live),
            _ => None,
        }
    }

    /// Whether nothing is stored in it.
    pub fn is_empty(&self) -> bool {
        self.values().is_empty()
    }

    /// Whether it is not saved anywhere yet.
    pub fn is_new(&self) -> bool {
        !matches!(self.state().carrier(), Carrier::Live(_) | Carrier::Sealed(_))
    }

    /// Whether there are changes that are not saved yet.
    pub fn is_modified(&self) -> bool {
        self.state().is_modified()
    }

    /// Saves now. For streams, WebSockets and tasks, which change the session after the response is made, and for
    /// handlers that want to see the error themselves.
    ///
    /// Dropping the future does not cancel the save. If the save fails then, the response fails as well.
    ///
    /// Without changes, `save` asks the store whether the session is still alive, and does not renew it. A session in a
    /// sealed cookie is saved when the response reaches the browser; `save` only seals it.
    ///
    /// # Errors
    /// If the store did not confirm, or a value could not be encoded. The changes are dropped then and are not saved
    /// later. [`ErrorKind::Ended`] if another request ended the session or logged in somebody else, or if the session
    /// expired. [`ErrorKind::Withheld`] if the browser did not send its cookie with this cross-site request; this includes
    /// `flush` and `save` together. [`ErrorKind::TooLate`] if the response head is sent and the browser would need a new
    /// cookie. [`ErrorKind`] lists the status of each kind for handlers that return the error with `?`.
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

    /// Reads the session again, and returns whether it still exists.
    ///
    /// For streams and WebSockets. Returns `false` after a logout, after the session expired, or if somebody logged in on
    /// it after this request had loaded it, the visitor of the stream included. The session then reads as empty, and the
    /// page has to open the stream again (`EventSource` reconnects by itself). After another login of the same user,
    /// `reload` returns `true`.
    ///
    /// `reload` does not renew the session. Changes that are not saved yet stay on top. If another request of the same user
    /// gave the session a new id, `reload` follows it, and [`handle`](Self::handle) differs. For a sealed cookie, `reload`
    /// reads nothing and returns `true`.
    ///
    /// # Errors
    /// If the store cannot be read. The session stays as it is then.
    pub async fn reload(&self) -> Result<bool> {
        self.core.reload().await
    }
}

impl<T: SessionData> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("type", &T::NAME).field("handle", &self.handle()).finish_non_exhaustive()
    }
}

/// The declared fields by name, defaults filled in; ready for a template's context.
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
