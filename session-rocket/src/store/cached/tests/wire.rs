//! A way to a store that can be cut.

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

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) enum Fault {
    #[default]
    Pass,
    /// It is not done, and the answer is an error.
    Refuse,
    /// It is done, and the answer is an error.
    LoseAnswer,
    /// It is not done, and there is no answer.
    Hang,
    /// It is done, and there is no answer.
    DoneHang,
    /// The answer is an error, and it is done when it [arrives](Wire::arrive).
    Late,
    /// What an update is to put there is too large.
    TooLarge,
    /// The first call is refused; then all is well.
    RefuseOnce,
    /// It is done, and the answer comes when there is another fault, or none.
    Hold,
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

/// A wire to a store. Each call lets others run before and after.
pub(super) struct Wire {
    store: Arc<MemoryStore>,
    faults: Mutex<Faults>,
    late: Mutex<Vec<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    calls: AtomicUsize,
    is_holding: AtomicBool,
}

/// Lets others run once.
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

impl Wire {
    pub(super) fn to(store: Arc<MemoryStore>) -> Arc<Self> {
        let (faults, late) = (Mutex::default(), Mutex::default());
        Arc::new(Self { store, faults, late, calls: AtomicUsize::new(0), is_holding: AtomicBool::new(false) })
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

    /// Whether an answer has been held back.
    pub(super) fn is_holding(&self) -> bool {
        self.is_holding.load(Ordering::SeqCst)
    }

    /// How many calls there were since the last time this was asked.
    pub(super) fn calls(&self) -> usize {
        self.calls.swap(0, Ordering::SeqCst)
    }

    /// Does what is late.
    pub(super) async fn arrive(&self) {
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
        let lost = || Err(Error::new(ErrorKind::Unavailable, "the wire is cut"));
        self.calls.fetch_add(1, Ordering::SeqCst);
        let call = run(self.store.clone());
        pause().await;
        let answer = match self.fault(is_read) {
            Fault::Pass | Fault::TooLarge => call.await,
            Fault::RefuseOnce => {
                self.fail(Fault::Pass);
                lost()
            }
            Fault::Hold => {
                let answer = call.await;
                while self.fault(is_read) == Fault::Hold {
                    self.is_holding.store(true, Ordering::SeqCst);
                    pause().await;
                }
                answer
            }
            Fault::Refuse => lost(),
            Fault::LoseAnswer => call.await.and_then(|_| lost()),
            Fault::Hang => std::future::pending().await,
            Fault::DoneHang => {
                let _ = call.await;
                std::future::pending().await
            }
            Fault::Late => {
                self.late.lock().unwrap().push(Box::pin(async {
                    let _ = call.await;
                }));
                lost()
            }
        };
        pause().await;
        answer
    }
}

#[async_trait]
impl Store for Wire {
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
