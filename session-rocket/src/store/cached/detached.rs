//! Calls that continue after their caller has gone away.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use super::cache::Cache;
use crate::base::id::Key;

/// For each key, the number of running calls whose caller has gone away.
#[derive(Clone, Default)]
pub(super) struct DetachedCalls(Arc<Mutex<HashMap<Key, usize>>>);

impl DetachedCalls {
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.counts().contains_key(key)
    }

    /// Runs `work` in the caller's task. If the returned future is dropped, `work` continues in its own task.
    pub(super) fn complete<'c, A: Send + 'static>(
        &self,
        cache: &'c Cache,
        key: Key,
        work: impl Future<Output = A> + Send + 'static,
    ) -> Completion<'c, A> {
        let runtime = Handle::try_current().ok();
        Completion { work: Some(Box::pin(work)), detached: self.clone(), cache, key, runtime }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Key, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, key: Key) -> CountedCall {
        *self.counts().entry(key).or_default() += 1;
        CountedCall { detached: self.clone(), key }
    }
}

/// Counts a call until this value is dropped, even if the call panics.
struct CountedCall {
    detached: DetachedCalls,
    key: Key,
}

impl Drop for CountedCall {
    fn drop(&mut self) {
        let mut counts = self.detached.counts();
        if let Some(number) = counts.get_mut(&self.key) {
            *number -= 1;
            if *number == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// The future of [`DetachedCalls::complete`].
pub(super) struct Completion<'c, A: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = A> + Send>>>,
    detached: DetachedCalls,
    cache: &'c Cache,
    key: Key,
    runtime: Option<Handle>,
}

impl<A: Send + 'static> Future for Completion<'_, A> {
    type Output = A;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<A> {
        // Taken out during the poll, so that nobody polls `work` again after a panic.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<A: Send + 'static> Drop for Completion<'_, A> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let Some(runtime) = &self.runtime else {
            // Without a runtime, the work cannot continue, so the cache may keep an outdated entry.
            return self.cache.distrust();
        };
        let counted = self.detached.count(self.key);
        runtime.spawn(async move {
            work.await;
            drop(counted);
        });
    }
}
