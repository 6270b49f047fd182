//! The sessions of a user: listing, ending and changing them.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;

use super::core::Core;
use super::session_data::SessionIdentity;
use super::{Session, SessionData};
use crate::base::clock::Timestamp;
use crate::base::error::{ErrorKind, Result};
use crate::base::id::SessionHandle;
use crate::commit::{Engine, Listed};
use crate::state::State;
use crate::state::change::View;
use crate::state::{Carrier, Live};

/// Lists, ends and changes the sessions of a user.
///
/// It is a request guard. Tasks that have no request use [`Sessions::of`]. Every call goes to the store, so it includes
/// the sessions that other processes of the site created. After a call has ended a session, no new request gets that
/// session, in any process. A [cache that fails](crate::guide::ending_sessions#how-soon-a-session-ends) can delay this.
///
/// Sealed cookies and Memcached cannot list the sessions of a user. With them, every method fails with
/// [`ErrorKind::Unsupported`]. The memory store and files search all sessions.
///
/// ```
/// use rocket::http::Status;
/// use session_rocket::{Error, LoggedIn, Session, SessionHandle, Sessions};
///
/// #[derive(Session)]
/// struct Account {
///     #[session(identity)]
///     user_id: Option<i64>,
///     device: Option<String>,
/// }
///
/// #[rocket::get("/devices")]
/// async fn devices(user: LoggedIn<Account>, sessions: Sessions<Account>) -> Result<String, Error> {
///     let listed = sessions.list(user.identity()).await?;
///     let lines = listed.iter().map(|listing| format!("{} {:?}\n", listing.handle, listing.data.device));
///     Ok(lines.collect())
/// }
///
/// #[rocket::delete("/devices/<handle>")]
/// async fn log_out(
///     user: LoggedIn<Account>,
///     sessions: Sessions<Account>,
///     handle: SessionHandle,
/// ) -> Result<Status, Error> {
///     let ended = sessions.revoke(user.identity(), &handle).await?;
///     Ok(if ended == 1 { Status::NoContent } else { Status::NotFound })
/// }
/// ```
pub struct Sessions<T> {
    engine: Arc<Engine>,
    data: PhantomData<fn() -> T>,
}

/// A live session of a user, as [`Sessions::list`] returns it.
///
/// If `T` implements `Serialize`, `Listing<T>` does too, for templates and JSON.
#[non_exhaustive]
#[derive(Serialize)]
pub struct Listing<T> {
    /// The public name of the session. [`Session::handle`] is the name of the current one.
    pub handle: SessionHandle,
    /// The data of the session.
    pub data: T,
    /// When the user logged in and the session began. A later authentication does not change it.
    pub created_at: Timestamp,
    /// When the user authenticated last: at the login, or later. The absolute timeout counts from then.
    pub authenticated_at: Timestamp,
    /// When the session was last saved.
    pub last_saved: Timestamp,
    /// When the session expires, unless it is saved before.
    pub expires_at: Timestamp,
}

impl<T: SessionData> Sessions<T> {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, data: PhantomData }
    }

    /// Returns the live sessions of a user, sorted by [`authenticated_at`](Listing::authenticated_at), the latest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] or [`Timeout`](ErrorKind::Timeout) if the store cannot be read, and
    /// [`Unsupported`](ErrorKind::Unsupported) if it cannot list sessions. The other methods fail with the same kinds.
    pub async fn list(&self, identity: &T::Identity) -> Result<Vec<Listing<T>>>
    where
        T: SessionIdentity,
    {
        let listed = self.engine.list(&identity.to_string()).await?;
        Ok(listed.into_iter().map(Listing::of).collect())
    }

    /// Ends one session of a user. Returns how many sessions it ended: 0 if the user has no live session with this
    /// handle, otherwise 1.
    ///
    /// # Errors
    /// As [`list`](Self::list). After an error, it is unknown whether the session ended.
    pub async fn revoke(&self, identity: &T::Identity, handle: &SessionHandle) -> Result<u64>
    where
        T: SessionIdentity,
    {
        Ok(u64::from(self.engine.revoke(&identity.to_string(), handle).await?))
    }

    /// Ends all sessions of a user. Returns how many it ended.
    ///
    /// A session of the current request ends too. A login that is saved at the same time may survive. A session that gets a
    /// new id at the same time may count twice.
    ///
    /// # Errors
    /// As [`list`](Self::list). After an error, some sessions may have ended.
    pub async fn revoke_all(&self, identity: &T::Identity) -> Result<u64>
    where
        T: SessionIdentity,
    {
        self.engine.revoke_all(&identity.to_string(), None).await
    }

    /// Ends all sessions of the user of `session`, except `session`. Returns how many it ended.
    ///
    /// First saves the changes of `session`. So after a login in the same request, `session` has its new id, and is kept.
    /// Returns 0 if nobody is logged in.
    ///
    /// # Errors
    /// As [`list`](Self::list), and as [`Session::save`], for example [`ErrorKind::Ended`] if `session` has ended. After
    /// an error, some sessions may have ended.
    pub async fn revoke_others(&self, session: &Session<T>) -> Result<u64>
    where
        T: SessionIdentity,
    {
        session.save().await?;
        match (session.state().carrier(), session.identity_text()) {
            (Carrier::Live(live), Some(identity)) => self.engine.revoke_all(&identity, Some(live.key)).await,
            // Fails, because sealed cookies cannot be revoked.
            (Carrier::Sealed(_), Some(identity)) => self.engine.revoke_all(&identity, None).await,
            _ => Ok(0),
        }
    }

    /// Changes all live sessions of a user, for example because the user's role changed. Returns how many it changed.
    ///
    /// `op` runs on the stored data of each session. If a request changes the session meanwhile, `op` runs again on the
    /// newer data, so no change is lost. Each session is renewed. Sessions that end meanwhile are neither changed nor
    /// counted. Requests that loaded the session before do not see the change.
    ///
    /// # Errors
    /// As [`list`](Self::list), and [`ErrorKind::TooLate`] if `op` changes the identity. After an error, some sessions
    /// may be changed.
    ///
    /// ```
    /// # use session_rocket::{Error, Session, Sessions};
    /// # #[derive(Session)]
    /// # struct Account { #[session(identity)] user_id: Option<i64>, is_admin: bool }
    /// async fn promote(sessions: &Sessions<Account>, user_id: i64) -> Result<u64, Error> {
    ///     sessions.update(&user_id, |account| account.is_admin = true).await
    /// }
    /// ```
    pub async fn update(&self, identity: &T::Identity, op: impl FnOnce(&mut T) + Clone + Send + 'static) -> Result<u64>
    where
        T: SessionIdentity,
    {
        let mut changed = 0;
        for Listed { live, values, .. } in self.engine.list(&identity.to_string()).await? {
            let state = State::new(Carrier::Live(live), values, Vec::new());
            // No response can carry a new cookie.
            state.send_head();
            let session = Session::<T>::new(Core::new(state, self.engine.clone()));
            session.update(op.clone());
            match session.save().await {
                Ok(()) => changed += 1,
                Err(error) if error.kind() == ErrorKind::Ended => {}
                Err(error) => return Err(error),
            }
        }
        Ok(changed)
    }
}

impl<T: SessionData> Listing<T> {
    fn of(Listed { live, values, last_saved }: Listed) -> Self {
        let Live { key, created_at: authenticated_at, expires_at, .. } = live;
        let created_at = values.began_at().unwrap_or(authenticated_at);
        let data = T::snapshot(&mut View::new(values));
        Self { handle: key.handle(), data, created_at, authenticated_at, last_saved, expires_at }
    }
}

impl<T> Clone for Sessions<T> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), data: PhantomData }
    }
}

impl<T: SessionData> fmt::Debug for Sessions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("type", &T::NAME).finish_non_exhaustive()
    }
}

/// Hides the data.
impl<T> fmt::Debug for Listing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { handle, created_at, authenticated_at, last_saved, expires_at, .. } = self;
        f.debug_struct("Listing")
            .field("handle", handle)
            .field("created_at", created_at)
            .field("authenticated_at", authenticated_at)
            .field("last_saved", last_saved)
            .field("expires_at", expires_at)
            .finish_non_exhaustive()
    }
}
