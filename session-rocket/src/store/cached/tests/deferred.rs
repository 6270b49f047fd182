//! Tests of processes that start while they cannot reach the cache.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::base::error::{Error, ErrorKind};
use crate::store::Retire;
use crate::store::cached::deferred::{DeferredStore, OpenFuture};

/// A process that could not open its cache at launch.
struct DeferredProcess {
    store: CachedStore,
    /// Whether the cache can be opened.
    is_up: Arc<AtomicBool>,
    attempts: Arc<AtomicUsize>,
}

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "the cache is down")
}

impl DeferredProcess {
    fn start(world: &World) -> Self {
        let (is_up, attempts) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (cache, up, counted) = (world.cache.clone(), is_up.clone(), attempts.clone());
        let open = move || -> OpenFuture {
            counted.fetch_add(1, Ordering::SeqCst);
            let opened: crate::base::error::Result<Arc<dyn Store>> =
                if up.load(Ordering::SeqCst) { Ok(cache.clone()) } else { Err(down()) };
            Box::pin(std::future::ready(opened))
        };
        let (database, cache) = (world.database.clone(), DeferredStore::new(open));
        let store = CachedStore::with_deferred(database, cache, TTL, world.timeout, world.clock.clone());
        store.start_without_cache(&down());
        Self { store, is_up, attempts }
    }

    async fn version(&self) -> u64 {
        match self.store.load(&KEY).await.expect("no fault of the cache is an error") {
            Lookup::Found(record) => record.version.bits(),
            Lookup::Tombstone(_) | Lookup::Absent => 0,
        }
    }

    async fn update(&self, from: u64, to: u64) {
        let updated = self.store.update(&KEY, Version::from_bits(from), &record(to)).await;
        assert_eq!(updated.expect("no fault of the cache is an error"), crate::store::Update::Updated);
    }
}

#[tokio::test]
async fn a_record_that_this_process_changed_without_the_cache_is_not_read_from_it() {
    let (world, clock) = world();
    world.create_first_record().await;
    let other = world.process();
    assert_eq!(other.version().await, 1);
    let process = DeferredProcess::start(&world);
    clock.advance(TTL / 2);
    process.update(1, 2).await;
    // The cache still holds version 1.
    process.is_up.store(true, Ordering::SeqCst);
    for _ in 0..8 {
        assert_eq!(process.version().await, 2);
        clock.advance(TTL / 4);
    }
    assert_eq!(other.version().await, 2);
}

#[tokio::test]
async fn a_record_that_an_earlier_process_changed_without_the_cache_is_not_read_from_it() {
    let (world, clock) = world();
    world.create_first_record().await;
    assert_eq!(world.process().version().await, 1);
    DeferredProcess::start(&world).update(1, 2).await;
    let next = DeferredProcess::start(&world);
    next.is_up.store(true, Ordering::SeqCst);
    for _ in 0..8 {
        clock.advance(TTL / 4);
        assert_eq!(next.version().await, 2);
    }
}

#[tokio::test]
async fn the_cache_is_used_after_it_can_be_opened() {
    let (world, clock) = world();
    world.create_first_record().await;
    let process = DeferredProcess::start(&world);
    // The cache is not read for one `ttl`.
    assert_eq!((process.version().await, process.attempts.load(Ordering::SeqCst)), (1, 0));
    for attempts in 1..4 {
        clock.advance(TTL);
        for _ in 0..10 {
            assert_eq!(process.version().await, 1);
        }
        assert_eq!(process.attempts.load(Ordering::SeqCst), attempts);
    }
    process.is_up.store(true, Ordering::SeqCst);
    clock.advance(TTL);
    assert_eq!(process.version().await, 1);
    assert_eq!(process.attempts.load(Ordering::SeqCst), 4);
    process.update(1, 2).await;
    let key = super::super::cache::cache_key(&KEY);
    assert!(matches!(world.cache.load(&key).await, Ok(Lookup::Found(entry)) if entry.version.bits() == 2));
    assert_eq!((process.version().await, process.attempts.load(Ordering::SeqCst)), (2, 4));
}

#[tokio::test]
async fn a_write_tries_to_open_the_cache_shortly_after_a_failed_attempt() {
    let (world, clock) = world();
    world.create_first_record().await;
    let process = DeferredProcess::start(&world);
    // Another write cannot reach the cache.
    let _ = process.store.delete(&Key::from_bytes([8; 32])).await;
    clock.advance(Duration::from_secs(1));
    let _ = process.store.delete(&Key::from_bytes([8; 32])).await;
    // The cache can be opened now.
    process.is_up.store(true, Ordering::SeqCst);
    let other = world.process();
    assert_eq!(other.version().await, 1, "and holds the session");
    clock.advance(Duration::from_millis(100));
    let tombstone = Tombstone { fate: Fate::Ended, expires_at: clock.now().plus(TTL) };
    assert_eq!(process.store.retire(&KEY, None, tombstone).await.unwrap(), Retire::Retired);
    assert_eq!(other.version().await, 0, "a session is served after its logout was acknowledged");
}

#[tokio::test]
async fn calls_that_wait_for_an_attempt_share_its_error() {
    let attempts = Arc::<AtomicUsize>::default();
    let counted = attempts.clone();
    let deferred = DeferredStore::new(move || -> OpenFuture {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            // Lets all calls arrive before the attempt ends.
            tokio::task::yield_now().await;
            Err(down())
        })
    });
    let opened = futures::future::join_all((0..20).map(|_| deferred.get())).await;
    assert!(opened.iter().all(Result::is_err));
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    assert!(deferred.get().await.is_err());
    assert_eq!(attempts.load(Ordering::SeqCst), 2);
}
