//! A store that counts calls and can be made to fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use session_rocket::store::memory::MemoryStore;
use session_rocket::store::{Create, Lookup, Retire, Store, Touch, Update};
use session_rocket::{Clock, Error, ErrorKind, Key, Record, Timestamp, Tombstone, Version};

/// A store in memory; clones are the same store.
#[derive(Clone)]
pub struct Spy(Arc<Inner>);

struct Inner {
    store: MemoryStore,
    loads: AtomicUsize,
    writes: AtomicUsize,
    rows: AtomicUsize,
    fails_to_load: AtomicBool,
    fails_to_write: AtomicBool,
}

impl Spy {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            store: MemoryStore::new(200_000, clock),
            loads: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            rows: AtomicUsize::new(0),
            fails_to_load: AtomicBool::new(false),
            fails_to_write: AtomicBool::new(false),
        }))
    }

    /// How often it was read since the last time this was asked.
    pub fn loads(&self) -> usize {
        self.0.loads.swap(0, Ordering::SeqCst)
    }

    /// How often it was written to since the last time this was asked.
    pub fn writes(&self) -> usize {
        self.0.writes.swap(0, Ordering::SeqCst)
    }

    /// How many records were created so far.
    pub fn rows(&self) -> usize {
        self.0.rows.load(Ordering::SeqCst)
    }

    /// From now on, loads fail, or do no more.
    pub fn fail_loads(&self, fail: bool) {
        self.0.fails_to_load.store(fail, Ordering::SeqCst);
    }

    /// From now on, writes fail, or do no more.
    pub fn fail_writes(&self, fail: bool) {
        self.0.fails_to_write.store(fail, Ordering::SeqCst);
    }

    fn write(&self) -> Result<(), Error> {
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
        self.write()?;
        self.0.rows.fetch_add(1, Ordering::SeqCst);
        self.0.store.create(key, record).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update, Error> {
        self.write()?;
        self.0.store.update(key, expected, record).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch, Error> {
        self.write()?;
        self.0.store.touch(key, expected, expires_at).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire, Error> {
        self.write()?;
        self.0.store.retire(key, expected, tombstone).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.write()?;
        self.0.store.delete(key).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64, Error> {
        self.0.store.delete_expired(limit).await
    }
}
