//! A cache that could not be reached at launch.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::{Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Store, Touch, Update};

/// For this long after a failed attempt to open the store, reads do not try again.
const READ_PAUSE: Duration = Duration::from_millis(500);
/// Writes always try, because another process may be served the record that the write replaces.
const WRITE_PAUSE: Duration = Duration::ZERO;

pub(crate) type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn Store>>> + Send>>;

/// A store that its calls open: each call fails until an attempt to open the store succeeds.
pub(crate) struct DeferredStore {
    open: Box<dyn Fn() -> Opening + Send + Sync>,
    opened: Arc<OnceLock<Arc<dyn Store>>>,
    /// The end of the last attempt, and its error. The call that holds the lock makes the next attempt.
    failure: Arc<Mutex<(Timestamp, Error)>>,
    clock: Arc<dyn Clock>,
}

impl DeferredStore {
    /// A store that `open` failed to open just now, with `failure`.
    pub(crate) fn new(
        open: impl Fn() -> Opening + Send + Sync + 'static,
        failure: Error,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let failure = Arc::new(Mutex::new((clock.now(), failure)));
        Self { open: Box::new(open), opened: Arc::default(), failure, clock }
    }

    /// The store. Fails for `pause` after a failed attempt.
    async fn opened(&self, pause: Duration) -> Result<Arc<dyn Store>> {
        if let Some(store) = self.opened.get() {
            return Ok(store.clone());
        }
        let mut failure = self.failure.clone().lock_owned().await;
        if let Some(store) = self.opened.get() {
            return Ok(store.clone());
        }
        let now = self.clock.now();
        // A clock that was set back does not prolong the pause.
        if now >= failure.0 && now < failure.0.plus(pause) {
            return Err(failure.1.clone());
        }
        let (opening, opened, clock) = ((self.open)(), self.opened.clone(), self.clock.clone());
        // In a task, because opening the cache may take longer than the caller waits.
        let attempt = tokio::spawn(async move {
            match opening.await {
                Ok(store) => Ok(opened.get_or_init(|| store).clone()),
                Err(error) => {
                    if error.kind() == ErrorKind::Config && failure.1.kind() != ErrorKind::Config {
                        log::error!(target: "session_rocket", "{}", Chain(&error));
                    }
                    *failure = (clock.now(), error.clone());
                    Err(error)
                }
            }
        });
        let interrupted = |e| Error::with_source(ErrorKind::Unavailable, "opening the cache was interrupted", e);
        attempt.await.map_err(interrupted)?
    }
}

#[async_trait]
impl Store for DeferredStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        self.opened(READ_PAUSE).await?.load(key).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        self.opened(WRITE_PAUSE).await?.create(key, record).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        self.opened(WRITE_PAUSE).await?.update(key, expected, record).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        self.opened(WRITE_PAUSE).await?.touch(key, expected, expires_at).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        self.opened(WRITE_PAUSE).await?.retire(key, expected, tombstone).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.opened(WRITE_PAUSE).await?.delete(key).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        self.opened(READ_PAUSE).await?.delete_expired(limit).await
    }
}
