//! A store whose calls can fail.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use async_trait::async_trait;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::memory::MemoryStore;
use crate::store::record::{Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Store, Touch, Update};

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) enum Fault {
    #[default]
    Pass,
    /// The call does not run, and returns an error.
    Refuse,
    /// The call runs, and returns an error.
    LoseReply,
    /// The call does not run, and never returns.
    Hang,
    /// The call runs, and never returns.
    RunAndHang,
    /// The call returns an error, and runs later, in [`run_late_calls`](FaultyStore::run_late_calls).
    RunLater,
    /// An update returns [`ErrorKind::TooLarge`].
    TooLarge,
    /// The first call returns an error. Later calls succeed.
    RefuseOnce,
    /// The call runs, and returns when the test sets another fault.
    DelayReply,
}

#[derive(Clone, Copy, Default)]
struct Faults {
    reads: Fault,
    writes: Fault,
}

impl Faults {
    fn of(self, is_read: bool) -> Fault {
        if is_read { self.reads } else { self.writes }
    }
}

/// A store whose calls yield to other tasks before and after they run.
pub(super) struct FaultyStore {
    store: Arc<MemoryStore>,
    faults: Mutex<Faults>,
    late: Mutex<Vec<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    calls: AtomicUsize,
    is_delaying: AtomicBool,
}

/// Yields to other tasks once.
pub(super) async fn pause() {
    let mut is_over = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut is_over, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl FaultyStore {
    pub(super) fn new(store: Arc<MemoryStore>) -> Arc<Self> {
        let (faults, late) = (Mutex::default(), Mutex::default());
        Arc::new(Self { store, faults, late, calls: AtomicUsize::new(0), is_delaying: AtomicBool::new(false) })
    }

    pub(super) fn fail(&self, fault: Fault) {
        *self.faults.lock().unwrap() = Faults { reads: fault, writes: fault };
    }

    pub(super) fn fail_writes(&self, fault: Fault) {
        *self.faults.lock().unwrap() = Faults { reads: Fault::Pass, writes: fault };
    }

    fn fault(&self, is_read: bool) -> Fault {
        self.faults.lock().unwrap().of(is_read)
    }

    /// Whether a reply has been delayed.
    pub(super) fn is_delaying(&self) -> bool {
        self.is_delaying.load(Ordering::SeqCst)
    }

    /// Returns the number of calls since the last call of this method.
    pub(super) fn take_call_count(&self) -> usize {
        self.calls.swap(0, Ordering::SeqCst)
    }

    /// Runs the calls with the fault [`Fault::RunLater`].
    pub(super) async fn run_late_calls(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for call in late {
            call.await;
        }
    }

    async fn call<A, F>(&self, is_read: bool, run: impl FnOnce(Arc<MemoryStore>) -> F) -> Result<A>
    where
        A: Send,
        F: Future<Output = Result<A>> + Send + 'static,
    {
        let lost = || Err(Error::new(ErrorKind::Unavailable, "the connection is broken"));
        self.calls.fetch_add(1, Ordering::SeqCst);
        let call = run(self.store.clone());
        pause().await;
        let reply = match self.fault(is_read) {
            Fault::Pass | Fault::TooLarge => call.await,
            Fault::RefuseOnce => {
                self.fail(Fault::Pass);
                lost()
            }
            Fault::DelayReply => {
                let reply = call.await;
                while self.fault(is_read) == Fault::DelayReply {
                    self.is_delaying.store(true, Ordering::SeqCst);
                    pause().await;
                }
                reply
            }
            Fault::Refuse => lost(),
            Fault::LoseReply => call.await.and_then(|_| lost()),
            Fault::Hang => std::future::pending().await,
            Fault::RunAndHang => {
                let _ = call.await;
                std::future::pending().await
            }
            Fault::RunLater => {
                self.late.lock().unwrap().push(Box::pin(async {
                    let _ = call.await;
                }));
                lost()
            }
        };
        pause().await;
        reply
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        let key = *key;
        self.call(true, |store| async move { store.load(&key).await }).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        let (key, record) = (*key, record.clone());
        self.call(false, |store| async move { store.create(&key, &record).await }).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let (key, record) = (*key, record.clone());
        if self.fault(false) == Fault::TooLarge {
            return Err(Error::new(ErrorKind::TooLarge, "the store takes no record of this size"));
        }
        self.call(false, |store| async move { store.update(&key, expected, &record).await }).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let key = *key;
        self.call(false, |store| async move { store.touch(&key, expected, expires_at).await }).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let key = *key;
        self.call(false, |store| async move { store.retire(&key, expected, tombstone).await }).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let key = *key;
        self.call(false, |store| async move { store.delete(&key).await }).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        self.call(false, |store| async move { store.delete_expired(limit).await }).await
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let (scope, identity) = (scope.to_owned(), identity.to_owned());
        self.call(true, |store| async move { store.list(&scope, &identity).await }).await
    }
}
