//! The live session of a request.

mod core;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};
use time::OffsetDateTime;

use crate::change::{Edit, View};
use crate::clock::Timestamp;
use crate::csrf::{CsrfSecret, CsrfToken};
use crate::data::{SessionData, SessionFields};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::expiry::Expiry;
use crate::id::SessionId;
use crate::state::{Carrier, Scope, State};
use crate::values::Values;

pub(crate) use self::core::{Answer, Core};

/// The live session of a request, with the accessors that `#[derive(Session)]` made for the fields of `T`.
///
/// It is a cheap handle: clones, and all guards of one request, are the same session. Changes are saved when the
/// response is made, before its head is sent, unless its status is 5xx; what happens after that, in a stream or a
/// task, must call [`save`](Self::save).
///
/// As a request guard it fails with 503 when the store cannot be read. Take `Result<Session<T>, session_rocket::Error>`
/// to handle that; `Option<Session<T>>` hides an outage, for Rocket makes every failure of a guard `None`.
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

    /// All fields as they are now, defaults filled in.
    pub fn get(&self) -> T {
        T::snapshot(&mut View::new(self.values()))
    }

    /// Sets the fields that differ from `data`, and deletes those that are `None` in it. Where `data` is another user's,
    /// all of them: nothing of the former user's is left.
    ///
    /// As with a setter, another request's change of a field set here is overwritten; [`update`](Self::update) loses
    /// nothing.
    #[track_caller]
    pub fn replace(&self, data: T) {
        self.state().replace(|edit| data.replace(edit));
    }

    /// Changes several fields at once, by a rule that holds across them.
    ///
    /// `op` may run again, as a clone, on fresher data, when another request changed the session meanwhile: so it is
    /// never lost and counts once. The result is that of the first run; after [`save`](Self::save) the getters give
    /// what was committed, unless somebody logged in meanwhile: what is theirs is not for this request. Where `op` changes one user into another, only what it sets besides is left.
    ///
    /// ```
    /// # use session_rocket::Session;
    /// #[derive(Session)]
    /// struct Cart {
    ///     goods: Vec<String>,
    ///     total: u64,
    /// }
    ///
    /// fn add(cart: &Session<Cart>, item: &str, price: u64) {
    ///     let item = item.to_owned();
    ///     cart.update(move |cart| {
    ///         cart.goods.push(item);
    ///         cart.total += price;
    ///     });
    /// }
    /// ```
    #[track_caller]
    pub fn update<R>(&self, op: impl FnOnce(&mut T) -> R + Clone + Send + 'static) -> R {
        self.state().edit(move |edit: &mut Edit| {
            let mut data = T::snapshot(&mut edit.view);
            let result = op.clone()(&mut data);
            data.replace(edit);
            result
        })
    }

    /// The stored names of all that is stored, undeclared ones included.
    pub fn keys(&self) -> Vec<String> {
        self.values().keys()
    }

    /// All that is stored, by stored name, undeclared keys included; in the order that `serde_json`'s maps have. That of
    /// [`keys`](Self::keys) is the struct's.
    pub fn items(&self) -> Map<String, Json> {
        self.values().items()
    }

    /// Removes all data. The session and its id stay, but for one with an identity: nobody is logged in any more, so it
    /// gets a new id.
    #[track_caller]
    pub fn clear(&self) {
        self.state().clear();
    }

    /// Ends the session: its data, its record and its cookie. This is how to log out.
    ///
    /// What is set afterwards in the same request makes a new session. A session that somebody logged in to meanwhile is
    /// left to them. Carried out whatever the response's status. Of a
    /// session in a sealed cookie only the browser's copy goes: there is no record to end.
    #[track_caller]
    pub fn flush(&self) {
        self.state().flush();
    }

    /// Gives the session a new id and keeps its data. Call it where privileges change; setting the identity does so by
    /// itself. A sealed cookie, which has no id, is sealed anew.
    ///
    /// Carried out whatever the response's status. Form tokens of before are not valid after.
    #[track_caller]
    pub fn cycle_id(&self) {
        self.state().cycle_id();
    }

    /// Sets when this session expires: a [`Duration`] after the last save (zero: when the browser is closed), an
    /// [`OffsetDateTime`], or as configured (`None`).
    ///
    /// ```
    /// # use session_rocket::{Expiry, Session};
    /// # use std::time::Duration;
    /// # #[derive(Session)]
    /// # struct Visitor {}
    /// fn remember_me(session: &Session<Visitor>, remember: bool) {
    ///     session.set_expiry(if remember { Expiry::After(Duration::from_secs(30 * 86_400)) } else { Expiry::BrowserClose });
    ///     session.set_expiry(Duration::from_secs(300));
    ///     session.set_expiry(None);
    /// }
    /// ```
    #[track_caller]
    pub fn set_expiry(&self, expiry: impl Into<Expiry>) {
        let expiry = match expiry.into() {
            Expiry::After(duration) => Expiry::from(duration),
            other => other,
        };
        self.state().set_expiry(expiry);
    }

    /// How long the session lives if it is saved now.
    pub fn expiry_age(&self) -> Duration {
        let now = self.core.engine.rules().now();
        now.until(self.expires_at(now))
    }

    /// When the session expires if it is saved now.
    pub fn expiry_date(&self) -> OffsetDateTime {
        self.expires_at(self.core.engine.rules().now()).to_date()
    }

    fn expires_at(&self, now: Timestamp) -> Timestamp {
        let created_at = match self.state().carrier() {
            Carrier::Live(live) => live.created_at,
            Carrier::Sealed(sealed) => sealed.created_at,
            Carrier::New { .. } | Carrier::Outside { .. } | Carrier::Ended => now,
        };
        self.core.engine.rules().policy.expires_at(self.values().expiry(), created_at, now)
    }

    /// Whether the cookie ends with the browser.
    pub fn expires_at_browser_close(&self) -> bool {
        self.core.engine.rules().policy.at_browser_close(self.values().expiry())
    }

    /// Starts a test of whether the browser takes cookies; ask [`test_cookie_worked`](Self::test_cookie_worked) in the
    /// next request.
    #[track_caller]
    pub fn set_test_cookie(&self) {
        self.state().set_test_cookie(true);
    }

    /// Whether the test cookie came back.
    pub fn test_cookie_worked(&self) -> bool {
        self.values().test_cookie()
    }

    /// Ends the test of whether the browser takes cookies.
    #[track_caller]
    pub fn delete_test_cookie(&self) {
        self.state().set_test_cookie(false);
    }

    /// A token for this session's forms: put it into a hidden field named `csrf_token`, and take the form by
    /// [`CsrfForm`](crate::CsrfForm), which refuses what another site posted.
    ///
    /// Every call gives another text; all are valid until the session gets a new id, as a login gives it, or ends. The
    /// first call stores a secret in the session. Should the operating system give no random bytes, the token is empty
    /// and the request fails with 503.
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

    /// Whether `token` is one of this session's, compared in constant time: for requests that are no forms and carry it
    /// in a header. Stores nothing.
    pub fn verify_csrf_token(&self, token: &str) -> bool {
        self.state().csrf_secret().is_some_and(|secret| secret.verifies(token))
    }

    /// The session's id; `None` while it has none that the browser could hold, and for a session in a sealed cookie,
    /// which needs none.
    pub fn id(&self) -> Option<SessionId> {
        match self.state().carrier() {
            Carrier::Live(live) => live.id,
            Carrier::New { .. } | Carrier::Sealed(_) | Carrier::Outside { .. } | Carrier::Ended => None,
        }
    }

    /// Whether nothing is stored in it.
    pub fn is_empty(&self) -> bool {
        self.values().is_empty()
    }

    /// Whether it is not saved anywhere yet.
    pub fn is_new(&self) -> bool {
        matches!(self.state().carrier(), Carrier::New { .. } | Carrier::Ended)
    }

    /// Whether there are changes that are not saved yet.
    pub fn is_modified(&self) -> bool {
        self.state().is_modified()
    }

    /// Saves now. For streams, WebSockets and tasks, which change the session after the response is made, and for
    /// handlers that want to see the error themselves.
    ///
    /// Dropping the future does not take the save back: it goes on by itself, and if it fails then, so does the
    /// response.
    ///
    /// A session that expired, or was ended by another request, takes the changes with it: that is no error. A session in a
    /// sealed cookie is saved when the response reaches the browser; here it is only sealed.
    ///
    /// # Errors
    /// When the store did not confirm, or a value could not be encoded; the changes are closed then and are not saved
    /// later. [`ErrorKind::TooLate`] when the response head is sent and the browser would need a new cookie.
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
        self.core.commit(Scope::Everything).await
    }
}

impl<T: SessionData> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("type", &T::NAME).field("id", &self.id()).finish_non_exhaustive()
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
