//! Reading and changing all fields of a session as one struct.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Session, SessionData};
use crate::base::error::{Error, ErrorKind, Result};
use crate::state::CommitScope;
use crate::state::change::{Edit, View};

impl<T: SessionData> Session<T> {
    /// All fields as they are now, defaults filled in.
    pub fn get(&self) -> T {
        T::snapshot(&mut View::new(self.values()))
    }

    /// Sets the fields that differ from `data`, and deletes those that are `None` in it. If `data` has another user's
    /// identity, sets all fields: nothing of the former user is left.
    ///
    /// As with a setter, another request's change of a field set here is overwritten; [`update`](Self::update) loses
    /// nothing.
    #[track_caller]
    pub fn replace(&self, data: T) {
        self.state().replace(|edit| data.replace(edit));
    }

    /// Changes several fields at once, by a rule that holds across them.
    ///
    /// `op` may run again, as a clone, on fresher data, when another request changed the session meanwhile. So the change
    /// is never lost and counts once. The result is that of the first run; [`transact`](Self::transact) returns the result
    /// of the run that was committed. If `op` changes one user into another, only the fields that `op` sets are left.
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

    /// Runs `op` on the session as it is stored, saves, and gives the result of the run that was committed.
    ///
    /// `op` may run again, as a clone, when another request changed the session meanwhile; the result is then that of
    /// the last run. So a value that `op` takes is taken once, by one of all concurrent requests: a one-time message, an
    /// OAuth state, a coupon. Changes made before are saved as well. Use [`update`](Self::update) if you do not need the
    /// committed result: it saves with the response. `op` runs at the call; if the future is not awaited, the response
    /// saves the change.
    ///
    /// A run that changes nothing also writes to the store, to prove that it saw the stored session. This renews the
    /// session, so on a page with many requests check first whether there is a value to take.
    ///
    /// With a sealed cookie, nothing is taken once: each request changes its own copy.
    ///
    /// # Errors
    /// Those of [`save`](Self::save). The changes are not saved then, and the result of `op` is lost.
    /// [`ErrorKind::Ended`] also if another guard of the same request empties the session, by a logout or a login as somebody
    /// else, before `op` is committed. [`ErrorKind::Timeout`] also if `op` logs out a user, or replaces the user by another,
    /// and another request changed the session meanwhile.
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
        let completed = self.state().completed();
        let last = Arc::new(Mutex::new(None));
        let slot = last.clone();
        self.state().transact(move |edit: &mut Edit| {
            let mut data = T::snapshot(&mut edit.view);
            let result = op.clone()(&mut data);
            data.replace(edit);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        });
        let emptied = self.state().emptied();
        let core = self.core.clone();
        async move {
            core.commit_since(completed, CommitScope::Everything).await?;
            // Another guard of this request may have dropped the change, with a logout or a login as somebody else.
            let is_kept = core.state.emptied() == emptied;
            let result = last.lock().unwrap_or_else(PoisonError::into_inner).take().filter(|_| is_kept);
            result.ok_or_else(|| Error::new(ErrorKind::Ended, "the session was emptied before the closure was saved"))
        }
    }
}
