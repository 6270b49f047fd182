//! A store in memory that counts its calls and can be made to fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use session_rocket::store::memory::MemoryStore;
use session_rocket::store::{Create, Lookup, Retire, Store, Touch, Update};
use session_rocket::{Clock, Error, ErrorKind, Key, Record, Timestamp, Tombstone, Version};

/// A store in memory. Clones share the same data and counts.
#[derive(Clone)]
pub struct Spy(Arc<Inner>);

struct Inner {
    store: MemoryStore,
    loads: AtomicUsize,
    writes: AtomicUsize,
    creates: AtomicUsize,
    sweeps: AtomicUsize,
    fails_to_load: AtomicBool,
    fails_to_write: AtomicBool,
    has_no_index: AtomicBool,
}

impl Spy {
    /// Creates an empty store.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            store: MemoryStore::new(200_000, clock),
            loads: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            creates: AtomicUsize::new(0),
            sweeps: AtomicUsize::new(0),
            fails_to_load: AtomicBool::new(false),
            fails_to_write: AtomicBool::new(false),
            has_no_index: AtomicBool::new(false),
        }))
    }

    /// Makes the store one that cannot list the sessions of a user.
    #[must_use]
    pub fn without_index(self) -> Self {
        self.0.has_no_index.store(true, Ordering::SeqCst);
        self
    }

    /// Returns the number of loads since the last call of this method.
    pub fn take_loads(&self) -> usize {
        self.0.loads.swap(0, Ordering::SeqCst)
    }

    /// Returns the number of writes since the last call of this method.
    pub fn take_writes(&self) -> usize {
        self.0.writes.swap(0, Ordering::SeqCst)
    }

    /// The number of calls of `create` so far.
    pub fn creates(&self) -> usize {
        self.0.creates.load(Ordering::SeqCst)
    }

    /// Returns the number of sweeps so far.
    pub fn sweeps(&self) -> usize {
        self.0.sweeps.load(Ordering::SeqCst)
    }

    /// Makes later loads fail or succeed.
    pub fn fail_loads(&self, fail: bool) {
        self.0.fails_to_load.store(fail, Ordering::SeqCst);
    }

    /// Makes later writes fail or succeed.
    pub fn fail_writes(&self, fail: bool) {
        self.0.fails_to_write.store(fail, Ordering::SeqCst);
    }

    /// Counts a write, and fails if writes are to fail.
    fn count_write(&self) -> Result<(), Error> {
        self.0.writes.fetch_add(1, Ordering::SeqCst);
        fail_if(self.0.fails_to_write.load(Ordering::SeqCst))
    }
}

fn fail_if(fail: bool) -> Result<(), Error> {
    if fail { Err(Error::new(ErrorKind::Unavailable, "the store is down")) } else { Ok(()) }
}

#[async_trait]
impl Store for Spy {
    async fn load(&self, key: &Key) -> Result<Lookup, Error> {
        self.0.loads.fetch_add(1, Ordering::SeqCst);
        fail_if(self.0.fails_to_load.load(Ordering::SeqCst))?;
        self.0.store.load(key).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create, Error> {
        self.count_write()?;
        self.0.creates.fetch_add(1, Ordering::SeqCst);
        self.0.store.create(key, record).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update, Error> {
        self.count_write()?;
        self.0.store.update(key, expected, record).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch, Error> {
        self.count_write()?;
        self.0.store.touch(key, expected, expires_at).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire, Error> {
        self.count_write()?;
        self.0.store.retire(key, expected, tombstone).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.count_write()?;
        self.0.store.delete(key).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64, Error> {
        self.0.sweeps.fetch_add(1, Ordering::SeqCst);
        self.0.store.delete_expired(limit).await
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>, Error> {
        fail_if(self.0.fails_to_load.load(Ordering::SeqCst))?;
        self.0.store.list(scope, identity).await
    }

    fn has_identity_index(&self) -> bool {
        !self.0.has_no_index.load(Ordering::SeqCst)
    }
}
