//! Caches and databases that fail, hang, forget or are late.

use std::time::{Duration, Instant};

use super::wire::{Fault, pause};
use super::{DAY, KEY, START, TIMEOUT, TTL, record, tombstone, world};
use crate::base::error::ErrorKind;
use crate::base::id::Key;
use crate::store::cached::cache::place;
use crate::store::conformance::errors_are_not_answers;
use crate::store::record::{Record, Version};
use crate::store::{Create, Lookup, Retire, Store, Touch, revoke_all};

const FAULTS: [Fault; 5] = [Fault::Refuse, Fault::LoseAnswer, Fault::Hang, Fault::DoneHang, Fault::Late];

#[tokio::test]
async fn what_was_loaded_or_saved_is_served_without_the_database() {
    let (world, clock) = world();
    world.begin().await;
    let (one, other) = (world.process(), world.process());
    assert_eq!((one.version().await, one.database.calls()), (1, 1));
    assert_eq!(other.load().await, Lookup::Found(record(1)), "to the bit");
    assert_eq!(other.database.calls(), 0);
    one.update(1, 2).await;
    assert_eq!((other.version().await, other.database.calls()), (2, 0));
    clock.advance(TTL);
    assert_eq!((other.version().await, other.database.calls()), (2, 1), "an entry is served for longer than it may");
    assert_eq!((one.version().await, one.database.calls()), (2, 1), "the update, and no load");
}

#[tokio::test]
async fn no_entry_outlives_its_record() {
    let (world, clock) = world();
    let brief = Record { expires_at: START.plus(TTL / 2), ..record(1) };
    world.database.create(&KEY, &brief).await.unwrap();
    let process = world.process();
    assert_eq!(process.version().await, 1);
    clock.advance(TTL / 2);
    assert_eq!(process.load().await, Lookup::Absent);
}

#[tokio::test]
async fn that_there_is_nothing_is_not_kept() {
    let (world, _) = world();
    let (one, other) = (world.process(), world.process());
    assert_eq!(one.load().await, Lookup::Absent);
    assert_eq!(other.store.create(&KEY, &record(1)).await.unwrap(), Create::Created);
    assert_eq!(one.version().await, 1);
    one.store.retire(&KEY, None, tombstone()).await.unwrap();
    assert_eq!(other.load().await, Lookup::Tombstone(tombstone()));
    other.store.delete(&KEY).await.unwrap();
    assert_eq!(one.load().await, Lookup::Absent);
}

#[tokio::test]
async fn a_place_that_was_leased_and_left_can_be_filled_soon() {
    let (world, clock) = world();
    world.begin().await;
    let process = world.process();
    process.database.fail(Fault::Refuse);
    assert!(process.store.load(&KEY).await.is_err());
    process.database.fail(Fault::Pass);
    clock.advance(TIMEOUT);
    process.load().await;
    process.database.calls();
    assert_eq!((process.version().await, process.database.calls()), (1, 0));
}

#[tokio::test]
async fn a_cache_that_fails_costs_no_error_and_no_wrong_answer() {
    for fault in FAULTS {
        let (world, clock) = world();
        world.begin().await;
        let process = world.process();
        assert_eq!(process.version().await, 1);
        process.cache.fail(fault);
        process.update(1, 2).await;
        // What it holds now is old, and it can be reached.
        process.cache.fail(Fault::Pass);
        process.cache.calls();
        let last = Duration::from_millis(1);
        for later in [Duration::ZERO, TTL.saturating_sub(last)] {
            clock.advance(later);
            assert_eq!(process.version().await, 2, "{fault:?}");
            assert_eq!(process.cache.calls(), 0, "{fault:?}: a cache that failed is read");
        }
        clock.advance(last);
        for calls in [1, 0] {
            process.database.calls();
            assert_eq!((process.version().await, process.database.calls()), (2, calls), "{fault:?}: no recovery");
        }
    }
}

#[tokio::test]
async fn every_call_does_without_a_cache() {
    for fault in FAULTS {
        let (world, _) = world();
        let process = world.process();
        process.cache.fail(fault);
        let (store, first) = (&process.store, Version::from_bits(1));
        assert_eq!(process.load().await, Lookup::Absent);
        assert_eq!(store.create(&KEY, &record(1)).await.unwrap(), Create::Created);
        assert_eq!(store.touch(&KEY, first, START.plus(DAY * 2)).await.unwrap(), Touch::Touched);
        process.update(1, 2).await;
        assert_eq!(process.version().await, 2);
        assert_eq!(store.retire(&KEY, None, tombstone()).await.unwrap(), Retire::Retired);
        assert_eq!(process.load().await, Lookup::Tombstone(tombstone()));
        store.delete(&KEY).await.unwrap();
        assert_eq!(revoke_all(store, "s", "ada", None, START.plus(DAY)).await.unwrap(), []);
        assert_eq!(store.delete_expired(10).await.unwrap(), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn a_cache_that_hangs_is_waited_for_once() {
    let (world, _) = world();
    world.begin().await;
    let process = world.process();
    process.cache.fail(Fault::Hang);
    process.load().await;
    let started = Instant::now();
    for _ in 0..1000 {
        process.load().await;
    }
    assert!(started.elapsed() < TIMEOUT * 10, "1000 loads took {:?}", started.elapsed());
    assert_eq!(process.cache.calls(), 1);
}

#[tokio::test]
async fn a_connection_that_broke_while_idle_hides_no_write() {
    let (world, _) = world();
    world.begin().await;
    let (one, other) = (world.process(), world.process());
    assert_eq!(other.version().await, 1);
    one.cache.fail(Fault::RefuseOnce);
    one.store.touch(&KEY, Version::from_bits(1), START.plus(DAY * 2)).await.unwrap();
    let Lookup::Found(found) = other.load().await else { panic!("it is gone") };
    assert_eq!(found.expires_at, START.plus(DAY * 2));
}

/// The bound that the documentation states, from both sides.
#[tokio::test]
async fn what_a_process_writes_while_cut_off_others_see_after_the_time_to_live() {
    let (world, clock) = world();
    world.begin().await;
    let (cut_off, other) = (world.process(), world.process());
    assert_eq!(other.version().await, 1);
    cut_off.cache.fail(Fault::Refuse);
    cut_off.update(1, 2).await;
    assert_eq!(cut_off.version().await, 2);
    clock.advance(TTL.saturating_sub(Duration::from_millis(1)));
    assert_eq!(other.version().await, 1, "the bound could be lower");
    clock.advance(Duration::from_millis(1));
    assert_eq!(other.version().await, 2);
}

/// The time counts from before the call that read the record or wrote it, not from when the cache was told.
#[tokio::test]
async fn the_time_to_live_counts_from_when_a_record_was_current() {
    for is_read in [true, false] {
        let (world, clock) = world();
        world.begin().await;
        let (slow, cut_off, other) = (world.process(), world.process(), world.process());
        // It is read from the database, or it replaces what is in the cache already.
        let current = if is_read { 1 } else { 2 };
        if !is_read {
            assert_eq!(other.version().await, 1);
        }
        slow.database.fail(Fault::Hold);
        cut_off.cache.fail(Fault::Refuse);
        let call = async {
            if is_read {
                assert_eq!(slow.version().await, 1);
            } else {
                slow.update(1, 2).await;
            }
        };
        let meanwhile = async {
            while !slow.database.is_holding() {
                pause().await;
            }
            clock.advance(TIMEOUT / 2);
            cut_off.update(current, current + 1).await;
            slow.database.fail(Fault::Pass);
        };
        tokio::join!(call, meanwhile);
        assert_eq!(other.version().await, current, "it was not put into the cache");
        clock.advance(TTL.saturating_sub(TIMEOUT / 2));
        assert_eq!(other.version().await, current + 1, "is_read: {is_read}");
    }
}

#[tokio::test]
async fn a_cache_that_forgets_all_or_evicts_is_filled_again() {
    let (world, _) = world();
    world.begin().await;
    let process = world.process();
    for version in 1..5 {
        assert_eq!(process.version().await, version);
        world.cache.delete(&place(&KEY)).await.unwrap();
        process.update(version, version + 1).await;
    }
    process.load().await;
    process.database.calls();
    assert_eq!((process.version().await, process.database.calls()), (5, 0));
}

#[tokio::test]
async fn what_is_too_large_for_the_cache_is_not_kept_and_nobody_minds() {
    let (world, _) = world();
    world.begin().await;
    let (one, other) = (world.process(), world.process());
    assert_eq!(one.version().await, 1);
    one.cache.fail(Fault::TooLarge);
    one.update(1, 2).await;
    assert_eq!(other.version().await, 2, "the small one before it is still there");
    one.cache.fail(Fault::Pass);
    one.cache.calls();
    one.load().await;
    assert!(one.cache.calls() > 0, "the cache is not trusted any more");
}

#[tokio::test]
async fn errors_of_the_database_are_passed_on() {
    for fault in [Fault::Refuse, Fault::Hang] {
        let (world, _) = world();
        let process = world.process();
        process.database.fail(fault);
        let check = errors_are_not_answers(&process.store);
        if fault == Fault::Refuse {
            check.await;
        } else {
            let started = Instant::now();
            let error = process.store.delete(&KEY).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert!(started.elapsed() < TIMEOUT * 2);
        }
    }
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_seen_by_all() {
    for fault in [Fault::LoseAnswer, Fault::DoneHang] {
        let (world, _) = world();
        world.begin().await;
        let (one, other) = (world.process(), world.process());
        assert_eq!(other.version().await, 1);
        one.database.fail_writes(fault);
        assert!(one.store.update(&KEY, Version::from_bits(1), &record(2)).await.is_err());
        assert_eq!((one.version().await, other.version().await), (2, 2), "{fault:?}");
    }
}

#[tokio::test]
async fn a_write_that_comes_late_is_seen_at_once_and_the_cache_is_used_again_later() {
    let (world, clock) = world();
    world.begin().await;
    let (one, other) = (world.process(), world.process());
    one.database.fail_writes(Fault::Late);
    assert!(one.store.update(&KEY, Version::from_bits(1), &record(2)).await.is_err());
    for _ in 0..2 {
        clock.advance(TTL / 2);
        assert_eq!((one.version().await, other.version().await), (1, 1));
        // Somebody else's write, which clears the place, takes the barrier from nobody.
        other.store.touch(&KEY, Version::from_bits(1), START.plus(DAY)).await.unwrap();
        assert_eq!(other.version().await, 1);
    }
    one.database.arrive().await;
    assert_eq!((one.version().await, other.version().await), (2, 2));
    clock.advance(TIMEOUT);
    for calls in [1, 0] {
        other.database.calls();
        assert_eq!((other.version().await, other.database.calls()), (2, calls));
    }
}

/// A barrier stands already, and would end too early for the second one.
#[tokio::test]
async fn a_second_write_that_fails_prolongs_the_barrier() {
    let (world, clock) = world();
    world.begin().await;
    let (one, other) = (world.process(), world.process());
    one.database.fail_writes(Fault::Late);
    for _ in 0..2 {
        clock.advance(TTL);
        assert!(one.store.touch(&KEY, Version::from_bits(1), START.plus(DAY * 2)).await.is_err());
    }
    clock.advance(TTL);
    for _ in 0..2 {
        other.database.calls();
        assert_eq!((other.version().await, other.database.calls()), (1, 1));
    }
}

#[tokio::test]
async fn a_sweep_sweeps_the_cache_as_well() {
    let (world, clock) = world();
    let process = world.process();
    for number in 0..25 {
        let key = Key::from_bytes([number; 32]);
        world.database.create(&key, &record(1)).await.unwrap();
        process.store.load(&key).await.unwrap();
    }
    clock.advance(TTL);
    assert_eq!(process.store.delete_expired(10).await.unwrap(), 0, "what the cache removes is counted");
    assert_eq!(world.cache.delete_expired(100).await.unwrap(), 0, "the cache was not swept");
}
