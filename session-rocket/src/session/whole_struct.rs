//! Reading and changing all fields of a session as one struct.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Session, SessionData};
use crate::base::error::{Error, ErrorKind, Result};
use crate::state::CommitScope;
use crate::state::change::{Edit, View};

impl<T: SessionData> Session<T> {
    /// Returns a copy of all fields. A field without a stored value has its default.
    pub fn get(&self) -> T {
        T::snapshot(&mut View::new(self.values()))
    }

    /// Sets the fields to the values of `data`.
    ///
    /// `replace` sets only the fields that differ, and deletes the fields that are `None` in `data`. If `data` has the
    /// identity of another user, `replace` sets all fields and removes all data of the former user.
    ///
    /// If another request changes a field that `replace` sets, the other change is lost, as with a setter. Use
    /// [`update`](Self::update) to keep both changes.
    #[track_caller]
    pub fn replace(&self, data: T) {
        self.state().replace(|edit| data.replace(edit));
    }

    /// Changes several fields together, without losing a concurrent change.
    ///
    /// Returns the result of the first run of `op`. If another request changes the session at the same time, a clone of
    /// `op` runs again on the newer data when the session is saved. So the change is applied exactly once to the stored
    /// data. If `op` logs the user out or replaces the user, the session keeps only the fields that `op` sets.
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

    /// Changes several fields, saves the session, and returns the result of the run of `op` that was saved.
    ///
    /// If another request changes the session at the same time, a clone of `op` runs again on the newer data. So if
    /// concurrent requests take a [one-time value](crate::guide::one_time_values) out of the session, exactly one
    /// request gets the value. Use [`update`](Self::update) if you do not need the result of the saved run.
    ///
    /// `transact` also saves earlier changes of this request. `op` first runs when `transact` is called. If the future
    /// is not awaited, the change is saved with the response.
    ///
    /// Even if `op` changes nothing, `transact` calls the store to check that `op` saw the stored session. This call
    /// renews the session. On a page that causes many requests, first check whether there is a value to take.
    ///
    /// With a [sealed cookie](crate::guide::sealed_cookies), concurrent requests can take the same value.
    ///
    /// # Errors
    /// The errors of [`save`](Self::save), with two further causes. After an error, the result of `op` is lost.
    ///
    /// - [`ErrorKind::Ended`]: another guard of the same request logged out or replaced the user before the save.
    /// - [`ErrorKind::Timeout`]: `op` changes the user, and another request changed the session at the same time.
    ///
    /// ```
    /// # use session_rocket::{Error, Session};
    /// #[derive(Session)]
    /// struct Visitor {
    ///     oauth_state: Option<String>,
    /// }
    ///
    /// async fn is_expected(session: &Session<Visitor>, state: String) -> Result<bool, Error> {
    ///     let expected = session.transact(|visitor| visitor.oauth_state.take()).await?;
    ///     Ok(expected == Some(state))
    /// }
    /// ```
    #[track_caller]
    pub fn transact<R: Send + 'static>(
        &self,
        op: impl FnOnce(&mut T) -> R + Clone + Send + 'static,
    ) -> impl Future<Output = Result<R>> + Send {
        let commits_before = self.state().num_commits();
        let last = Arc::new(Mutex::new(None));
        let slot = last.clone();
        self.state().transact(move |edit: &mut Edit| {
            let mut data = T::snapshot(&mut edit.view);
            let result = op.clone()(&mut data);
            data.replace(edit);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        });
        let times_emptied_before = self.state().times_emptied();
        let core = self.core.clone();
        async move {
            core.commit_since(commits_before, CommitScope::Everything).await?;
            // If another guard of this request logged out or replaced the user, the change was dropped.
            let is_kept = core.state.times_emptied() == times_emptied_before;
            let result = last.lock().unwrap_or_else(PoisonError::into_inner).take().filter(|_| is_kept);
            result.ok_or_else(|| {
                Error::new(ErrorKind::Ended, "a login or logout in the same request dropped the changes of `transact`")
            })
        }
    }
}
