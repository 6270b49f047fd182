//! The sweeper on a store that counts its calls.

use std::sync::Mutex;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::*;
use crate::base::clock::{Sleep, Timestamp};
use crate::base::error::Error;
use crate::base::id::Key;
use crate::store::record::{Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Touch, Update};

/// A store with `left` expired entries, which records the limits of its sweeps.
struct SweptStore {
    left: Mutex<u64>,
    limits: Mutex<Vec<u32>>,
}

#[async_trait]
impl Store for SweptStore {
    async fn load(&self, _: &Key) -> Result<Lookup> {
        Ok(Lookup::Absent)
    }

    async fn create(&self, _: &Key, _: &Record) -> Result<Create> {
        Ok(Create::Taken)
    }

    async fn update(&self, _: &Key, _: Version, _: &Record) -> Result<Update> {
        Ok(Update::Gone)
    }

    async fn touch(&self, _: &Key, _: Version, _: Timestamp) -> Result<Touch> {
        Ok(Touch::Gone)
    }

    async fn retire(&self, _: &Key, _: Option<Version>, _: Tombstone) -> Result<Retire> {
        Ok(Retire::Gone)
    }

    async fn delete(&self, _: &Key) -> Result<()> {
        Ok(())
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        let mut left = self.left.lock().unwrap();
        self.limits.lock().unwrap().push(limit);
        if *left == u64::MAX {
            return Err(Error::new(ErrorKind::Unavailable, "out of order"));
        }
        let removed = (*left).min(u64::from(limit));
        *left -= removed;
        Ok(removed)
    }
}

/// A clock whose first sleeps end immediately. Later sleeps never end.
struct LimitedClock(Mutex<u32>);

impl Clock for LimitedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        assert!((540..=660).contains(&duration.as_secs()), "{duration:?}");
        let mut left = self.0.lock().unwrap();
        if *left == 0 {
            return Box::pin(std::future::pending());
        }
        *left -= 1;
        Box::pin(std::future::ready(()))
    }
}

fn store(left: u64) -> Arc<SweptStore> {
    Arc::new(SweptStore { left: Mutex::new(left), limits: Mutex::default() })
}

async fn run_sweeper(store: &Arc<SweptStore>, sleeps: u32) {
    let (end, ended) = oneshot::channel::<()>();
    let clock = Arc::new(LimitedClock(Mutex::new(sleeps)));
    let shutdown = async { ended.await.unwrap_or(()) };
    let sweeper = tokio::spawn(run(store.clone(), Duration::from_secs(600), clock, shutdown));
    // The sweeper yields after each batch, so it needs one turn for each batch.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!sweeper.is_finished(), "it ended before the shutdown");
    end.send(()).unwrap();
    sweeper.await.unwrap();
}

#[tokio::test]
async fn the_sweeper_works_in_batches_until_nothing_is_left() {
    let store = store(2500);
    run_sweeper(&store, 1).await;
    assert_eq!(*store.left.lock().unwrap(), 0);
    assert_eq!(*store.limits.lock().unwrap(), [1000; 4]);
}

#[tokio::test]
async fn a_limit_is_kept_to_the_last_batch() {
    let store = store(5000);
    let (removed, ended) = in_batches(2100, |limit| store.delete_expired(limit)).await;
    assert!(ended.is_ok());
    assert_eq!((removed, *store.left.lock().unwrap()), (2100, 2900));
    assert_eq!(*store.limits.lock().unwrap(), [1000, 1000, 100]);
}

#[tokio::test]
async fn the_sweeper_tries_again_after_an_error() {
    let store = store(u64::MAX);
    run_sweeper(&store, 2).await;
    assert_eq!(*store.limits.lock().unwrap(), [1000; 2]);
}

#[tokio::test]
async fn the_sweeper_yields_to_other_tasks_and_stops_at_shutdown_between_two_batches() {
    // More batches than there are turns.
    let store = store(100_000);
    run_sweeper(&store, 1).await;
    let batches = store.limits.lock().unwrap().len();
    assert!(batches > 1 && batches <= 22, "{batches} batches");
}
