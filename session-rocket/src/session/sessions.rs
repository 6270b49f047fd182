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
use crate::state::{Live, SessionStatus};

/// Lists, ends and changes the sessions of a user.
///
/// `Sessions<T>` is a request guard; tasks without a request use [`Sessions::of`]. Every call asks the store, so the
/// result includes sessions that other processes created. After a call has ended a session, no new request gets that
/// session, in any process. A [cache that fails](crate::guide::ending_sessions#how-soon-a-session-ends) can delay the
/// end in other processes.
///
/// With sealed cookies and Memcached, every method fails with [`ErrorKind::Unsupported`]. With the stores `memory:` and
/// `file:`, every call reads the sessions of all users.
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

/// A live session of a user, from [`Sessions::list`].
///
/// If `T` implements `Serialize`, `Listing<T>` does too, for templates and JSON.
#[non_exhaustive]
#[derive(Serialize)]
pub struct Listing<T> {
    /// The public name of the session, as [`Session::handle`] returns it.
    pub handle: SessionHandle,
    /// The data of the session.
    pub data: T,
    /// When the user logged in. A later authentication does not change it.
    pub created_at: Timestamp,
    /// When the user last authenticated. The absolute timeout counts from this time.
    pub authenticated_at: Timestamp,
    /// When the session was last saved.
    pub last_saved: Timestamp,
    /// When the session expires if nothing renews it before.
    pub expires_at: Timestamp,
}

impl<T: SessionData> Sessions<T> {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, data: PhantomData }
    }

    /// Returns the live sessions of a user, sorted by [`authenticated_at`](Listing::authenticated_at), latest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] or [`Timeout`](ErrorKind::Timeout) if the store cannot be read, and
    /// [`Unsupported`](ErrorKind::Unsupported) if it cannot list sessions.
    pub async fn list(&self, identity: &T::Identity) -> Result<Vec<Listing<T>>>
    where
        T: SessionIdentity,
    {
        let listed = self.engine.list(&identity.to_string()).await?;
        Ok(listed.into_iter().map(Listing::of).collect())
    }

    /// Ends one session of a user. Returns 1, or 0 if the user has no live session with this handle.
    ///
    /// # Errors
    /// The errors of [`list`](Self::list). After an error, it is unknown whether the session ended.
    pub async fn revoke(&self, identity: &T::Identity, handle: &SessionHandle) -> Result<u64>
    where
        T: SessionIdentity,
    {
        Ok(u64::from(self.engine.revoke(&identity.to_string(), handle).await?))
    }

    /// Ends all sessions of a user. Returns the number of ended sessions.
    ///
    /// If the user sent the current request, that session ends too. The session of a concurrent login may survive. A
    /// session that gets a new id during the call may count twice.
    ///
    /// # Errors
    /// The errors of [`list`](Self::list). After an error, some sessions may have ended.
    pub async fn revoke_all(&self, identity: &T::Identity) -> Result<u64>
    where
        T: SessionIdentity,
    {
        self.engine.revoke_all(&identity.to_string(), None).await
    }

    /// Ends all sessions of the user of `session`, except `session`. Returns the number of ended sessions.
    ///
    /// `revoke_others` first saves the changes of `session`, such as a login. It returns 0 if nobody is logged in.
    ///
    /// # Errors
    /// The errors of [`list`](Self::list) and [`Session::save`]. After an error, some sessions may have ended.
    pub async fn revoke_others(&self, session: &Session<T>) -> Result<u64>
    where
        T: SessionIdentity,
    {
        session.save().await?;
        match (session.state().status(), session.identity_text()) {
            (SessionStatus::Live(live), Some(identity)) => self.engine.revoke_all(&identity, Some(live.key)).await,
            // Fails, because sealed cookies cannot be revoked.
            (SessionStatus::Sealed(_), Some(identity)) => self.engine.revoke_all(&identity, None).await,
            _ => Ok(0),
        }
    }

    /// Changes all live sessions of a user, for example after a change of role. Returns the number of changed sessions.
    ///
    /// If a request changes a session at the same time, `op` runs again on the newer data, so no change is lost. Each
    /// session is renewed. A session that ends during the call does not count. A request that has already loaded its
    /// session does not see the change.
    ///
    /// # Errors
    /// The errors of [`list`](Self::list) and [`Session::save`], and [`ErrorKind::TooLate`] if `op` changes the
    /// identity. After an error, some sessions may be changed.
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
            let state = State::new(SessionStatus::Live(live), values, Vec::new());
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
