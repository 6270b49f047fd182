//! The store that serves as the cache. If it cannot be reached at launch, it is opened later.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::Mutex;

use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::store::Store;

pub(crate) type OpenFuture = Pin<Box<dyn Future<Output = Result<Arc<dyn Store>>> + Send>>;

/// A store that is opened on demand. Each call tries to open it, until an attempt succeeds.
pub(crate) struct DeferredStore {
    opened: Arc<OnceLock<Arc<dyn Store>>>,
    open: Box<dyn Fn() -> OpenFuture + Send + Sync>,
    /// The time and error of the last failed attempt. A call holds the lock during its attempt.
    failure: Arc<Mutex<Option<(Instant, Error)>>>,
}

impl DeferredStore {
    /// Creates a store that is not open yet.
    pub(crate) fn new(open: impl Fn() -> OpenFuture + Send + Sync + 'static) -> Self {
        Self { opened: Arc::default(), open: Box::new(open), failure: Arc::default() }
    }

    /// Returns the store, and opens it if necessary.
    pub(super) async fn get(&self) -> Result<Arc<dyn Store>> {
        if let Some(store) = self.opened.get() {
            return Ok(store.clone());
        }
        let arrived = Instant::now();
        let mut failure = self.failure.clone().lock_owned().await;
        if let Some(store) = self.opened.get() {
            return Ok(store.clone());
        }
        // Calls that waited for an attempt get its error instead of making another attempt.
        if let Some((failed_at, error)) = &*failure
            && arrived < *failed_at
        {
            return Err(error.clone());
        }
        let (opening, opened) = ((self.open)(), self.opened.clone());
        // Runs in a task, because opening the cache may take longer than the caller waits.
        let attempt = tokio::spawn(async move {
            let opening = opening.await.inspect_err(|error| {
                // A mistake in the configuration may show only when the store can be reached. It is logged once.
                let is_known = failure.as_ref().is_some_and(|(_, last)| last.kind() == ErrorKind::Config);
                if error.kind() == ErrorKind::Config && !is_known {
                    log::error!(target: "session_rocket", "{}", Chain(error));
                }
                *failure = Some((Instant::now(), error.clone()));
            });
            opening.map(|store| opened.get_or_init(|| store).clone())
        });
        let interrupted = |e| {
            Error::with_source(
                ErrorKind::Unavailable,
                "the task that was opening the cache stopped before it finished",
                e,
            )
        };
        attempt.await.map_err(interrupted)?
    }
}

impl From<Arc<dyn Store>> for DeferredStore {
    fn from(store: Arc<dyn Store>) -> Self {
        let never = || -> OpenFuture { Box::pin(std::future::pending()) };
        Self { opened: Arc::new(store.into()), ..Self::new(never) }
    }
}
