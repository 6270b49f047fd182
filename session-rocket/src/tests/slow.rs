//! A store that is slow or fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::fixture::Visitor;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::session::Session;
use crate::store::memory::MemoryStore;
use crate::store::record::{Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Store, Touch, Update};

/// A store that delays the reply of the next write (`hold`), or fails all writes (`fail`).
pub(super) struct Slow {
    store: Arc<MemoryStore>,
    pub(super) hold: AtomicBool,
    held: Semaphore,
    pub(super) release: Semaphore,
    pub(super) fail: AtomicBool,
}

impl Slow {
    pub(super) fn new(store: Arc<MemoryStore>) -> Arc<Self> {
        Arc::new(Self {
            store,
            hold: AtomicBool::new(false),
            held: Semaphore::new(0),
            release: Semaphore::new(0),
            fail: AtomicBool::new(false),
        })
    }

    async fn write<A>(&self, call: impl Future<Output = Result<A>> + Send) -> Result<A> {
        if self.fail.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the store is down"));
        }
        let reply = call.await;
        if self.hold.swap(false, Ordering::SeqCst) {
            self.held.add_permits(1);
            self.release.acquire().await.unwrap().forget();
        }
        reply
    }

    /// Waits until a reply is delayed.
    pub(super) async fn is_held(&self) {
        self.held.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl Store for Slow {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        self.store.load(key).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        self.write(self.store.create(key, record)).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        self.write(self.store.update(key, expected, record)).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        self.write(self.store.touch(key, expected, expires_at)).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        self.write(self.store.retire(key, expected, tombstone)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.store.delete(key).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        self.store.delete_expired(limit).await
    }
}

pub(super) fn spawn_save(session: &Session<Visitor>) -> tokio::task::JoinHandle<Result<()>> {
    let session = session.clone();
    tokio::spawn(async move { session.save().await })
}
