//! The store of a cache that may have been unreachable at launch.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::Mutex;

use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::store::Store;

pub(crate) type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn Store>>> + Send>>;

/// A store that each call tries to open until an attempt succeeds.
pub(crate) struct LazyStore {
    opened: Arc<OnceLock<Arc<dyn Store>>>,
    open: Box<dyn Fn() -> Opening + Send + Sync>,
    /// The end of the last failed attempt, and its error. The call that holds the lock makes the next attempt.
    failure: Arc<Mutex<Option<(Instant, Error)>>>,
}

impl LazyStore {
    /// A store that could not be opened yet.
    pub(crate) fn new(open: impl Fn() -> Opening + Send + Sync + 'static) -> Self {
        Self { opened: Arc::default(), open: Box::new(open), failure: Arc::default() }
    }

    /// The store, opened now if it was not.
    pub(super) async fn get(&self) -> Result<Arc<dyn Store>> {
        if let Some(store) = self.opened.get() {
            return Ok(store.clone());
        }
        let arrived = Instant::now();
        let mut failure = self.failure.clone().lock_owned().await;
        if let Some(store) = self.opened.get() {
            return Ok(store.clone());
        }
        // All calls that waited for an attempt get its error. Otherwise each of them would make one more attempt.
        if let Some((failed_at, error)) = &*failure
            && arrived < *failed_at
        {
            return Err(error.clone());
        }
        let (opening, opened) = ((self.open)(), self.opened.clone());
        // In a task, because opening the cache may take longer than the caller waits.
        let attempt = tokio::spawn(async move {
            let opening = opening.await.inspect_err(|error| {
                // An error of the configuration only appears once the store can be reached. The log has it once.
                let is_known = failure.as_ref().is_some_and(|(_, last)| last.kind() == ErrorKind::Config);
                if error.kind() == ErrorKind::Config && !is_known {
                    log::error!(target: "session_rocket", "{}", Chain(error));
                }
                *failure = Some((Instant::now(), error.clone()));
            });
            opening.map(|store| opened.get_or_init(|| store).clone())
        });
        let interrupted = |e| Error::with_source(ErrorKind::Unavailable, "opening the cache was interrupted", e);
        attempt.await.map_err(interrupted)?
    }
}

impl From<Arc<dyn Store>> for LazyStore {
    /// A store that is open already.
    fn from(store: Arc<dyn Store>) -> Self {
        let never = || -> Opening { Box::pin(std::future::pending()) };
        Self { opened: Arc::new(store.into()), ..Self::new(never) }
    }
}
