//! Calls that go on when nobody waits for them any more.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use super::cache::Cache;
use crate::base::id::Key;

/// The keys with calls under way that their callers have left, and how many.
#[derive(Clone, Default)]
pub(super) struct Unfinished(Arc<Mutex<HashMap<Key, usize>>>);

impl Unfinished {
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// `work`, which goes on as a task of its own if it is dropped half way.
    pub(super) fn whole<'c, A: Send + 'static>(
        &self,
        cache: &'c Cache,
        key: Key,
        work: impl Future<Output = A> + Send + 'static,
    ) -> Whole<'c, A> {
        Whole { work: Some(Box::pin(work)), unfinished: self.clone(), cache, key, runtime: Handle::try_current().ok() }
    }

    fn enter(&self, key: Key) -> Entered {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
        Entered { unfinished: self.clone(), key }
    }
}

/// Counts a call for as long as it is there.
struct Entered {
    unfinished: Unfinished,
    key: Key,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut calls = self.unfinished.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = calls.get_mut(&self.key) {
            *number -= 1;
            if *number == 0 {
                calls.remove(&self.key);
            }
        }
    }
}

/// A call that is done in the caller's own turn, or, where the caller goes away, in a task.
pub(super) struct Whole<'c, A: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = A> + Send>>>,
    unfinished: Unfinished,
    cache: &'c Cache,
    key: Key,
    runtime: Option<Handle>,
}

impl<A: Send + 'static> Future for Whole<'_, A> {
    type Output = A;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<A> {
        // Out of its place while it runs: one that panics is not run again.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<A: Send + 'static> Drop for Whole<'_, A> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let Some(runtime) = &self.runtime else {
            // Nobody can finish it: at least this process is not misled.
            return self.cache.distrust();
        };
        let entered = self.unfinished.enter(self.key);
        runtime.spawn(async move {
            work.await;
            drop(entered);
        });
    }
}
