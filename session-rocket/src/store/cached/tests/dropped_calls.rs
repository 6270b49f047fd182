//! Tests of calls whose caller goes away.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use shuttle::future;

use super::faulty_store::{Fault, pause};
use super::{DAY, KEY, Position, Process, START, World, record, tombstone, world};
use crate::store::record::Version;
use crate::store::{Store, revoke_all};

/// Polls `call` at most `polls` times, then drops it. Returns whether it finished.
async fn poll_and_drop(polls: usize, call: impl Future) -> bool {
    let mut call = pin!(call);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

const FIRST: Version = Version::from_bits(1);

/// Makes the call with this `number` among those that change a session.
async fn write(process: &Process, number: usize) {
    let store = &process.store;
    let done = match number {
        0 => store.update(&KEY, FIRST, &record(2)).await.is_ok(),
        1 => store.touch(&KEY, FIRST, START.plus(DAY * 2)).await.is_ok(),
        2 => store.retire(&KEY, Some(FIRST), tombstone()).await.is_ok(),
        3 => store.delete(&KEY).await.is_ok(),
        _ => revoke_all(store, "s", "ada", None, tombstone().expires_at).await.is_ok(),
    };
    assert!(done);
}

const WRITES: usize = 5;

#[tokio::test]
async fn a_write_that_is_dropped_at_any_await_leaves_no_outdated_entry_in_the_cache() {
    for number in 0..WRITES {
        for polls in 0.. {
            let (world, _) = world();
            world.create_first_record().await;
            let (one, other) = (world.process(), world.process());
            assert_eq!(other.version().await, 1);
            let ended = poll_and_drop(polls, write(&one, number)).await;
            let reported = Position::from(&one.load().await);
            let seen = Position::from(&other.load().await);
            assert!(seen >= reported, "write {number} dropped after {polls} polls: {seen:?} after {reported:?}");
            while one.store.0.detached.contains(&KEY) {
                pause().await;
                tokio::task::yield_now().await;
            }
            let truth = world.database.load(&KEY).await.unwrap();
            for process in [&one, &other] {
                assert_eq!(process.load().await, truth, "write {number} dropped after {polls} polls");
            }
            if ended {
                assert!(polls > 3, "the call finished before it could be dropped");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_load_that_is_dropped_at_any_await_disturbs_no_other_call() {
    for polls in 0.. {
        let (world, _) = world();
        world.create_first_record().await;
        let (one, other) = (world.process(), world.process());
        let ended = poll_and_drop(polls, one.load()).await;
        assert_eq!(other.version().await, 1);
        one.update(1, 2).await;
        assert_eq!((other.version().await, one.version().await), (2, 2));
        if ended {
            assert!(polls > 3, "the call finished before it could be dropped");
            break;
        }
    }
}

/// The database has run the write, but has not replied. A load in this process must see the write. After that, all other
/// loads must see the write, too.
#[tokio::test]
async fn after_a_load_has_seen_a_dropped_write_all_loads_see_it() {
    let (world, _) = world();
    world.create_first_record().await;
    let (one, other) = (world.process(), world.process());
    assert_eq!((one.version().await, other.version().await), (1, 1));
    one.database.fail_writes(Fault::RunAndHang);
    assert!(!poll_and_drop(2, one.store.update(&KEY, FIRST, &record(2))).await);
    assert_eq!(one.version().await, 2, "the load returned the outdated entry of the cache");
    assert_eq!(other.version().await, 2, "one process has loaded the write, but the other has not");
}

/// The model checker has no runtime that could spawn a task.
#[test]
fn without_a_runtime_a_dropped_write_makes_the_process_distrust_the_cache() {
    let test = || {
        future::block_on(async {
            for polls in 0..10 {
                let world = World::with_frozen_clock();
                world.create_first_record().await;
                let process = world.process();
                assert_eq!(process.version().await, 1);
                poll_and_drop(polls, process.store.update(&KEY, FIRST, &record(2))).await;
                assert_eq!(process.load().await, world.database.load(&KEY).await.unwrap(), "after {polls} polls");
            }
        });
    };
    shuttle::check_random(test, 1);
}
