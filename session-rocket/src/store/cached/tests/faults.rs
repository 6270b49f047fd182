//! Tests with caches and databases that fail, hang, lose entries or run calls late.

use std::time::{Duration, Instant};

use super::faulty_store::{Fault, pause};
use super::{DAY, KEY, START, TIMEOUT, TTL, record, tombstone, world};
use crate::base::error::ErrorKind;
use crate::base::id::Key;
use crate::store::cached::cache::cache_key;
use crate::store::conformance::failures_are_errors;
use crate::store::record::{Record, Version};
use crate::store::{Create, Lookup, Retire, Store, Touch, revoke_all};

const FAULTS: [Fault; 5] = [Fault::Refuse, Fault::LoseReply, Fault::Hang, Fault::RunAndHang, Fault::RunLater];

#[tokio::test]
async fn a_loaded_or_saved_record_is_served_without_the_database() {
    let (world, clock) = world();
    world.create_first_record().await;
    let (one, other) = (world.process(), world.process());
    assert_eq!((one.version().await, one.database.take_call_count()), (1, 1));
    assert_eq!(other.load().await, Lookup::Found(record(1)), "the cache returns another record");
    assert_eq!(other.database.take_call_count(), 0);
    one.update(1, 2).await;
    assert_eq!((other.version().await, other.database.take_call_count()), (2, 0));
    clock.advance(TTL);
    assert_eq!(
        (other.version().await, other.database.take_call_count()),
        (2, 1),
        "an entry is served for longer than `ttl`"
    );
    assert_eq!(
        (one.version().await, one.database.take_call_count()),
        (2, 1),
        "a load after an update reads the database"
    );
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
async fn a_missing_record_is_not_cached() {
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
async fn an_abandoned_lease_expires_soon() {
    let (world, clock) = world();
    world.create_first_record().await;
    let process = world.process();
    process.database.fail(Fault::Refuse);
    assert!(process.store.load(&KEY).await.is_err());
    process.database.fail(Fault::Pass);
    clock.advance(TIMEOUT);
    process.load().await;
    process.database.take_call_count();
    assert_eq!((process.version().await, process.database.take_call_count()), (1, 0));
}

#[tokio::test]
async fn a_cache_that_fails_causes_no_error_and_no_outdated_reply() {
    for fault in FAULTS {
        let (world, clock) = world();
        world.create_first_record().await;
        let process = world.process();
        assert_eq!(process.version().await, 1);
        process.cache.fail(fault);
        process.update(1, 2).await;
        // The cache can be reached again, and its entry is outdated.
        process.cache.fail(Fault::Pass);
        process.cache.take_call_count();
        let last = Duration::from_millis(1);
        for later in [Duration::ZERO, TTL.saturating_sub(last)] {
            clock.advance(later);
            assert_eq!(process.version().await, 2, "{fault:?}");
            assert_eq!(process.cache.take_call_count(), 0, "{fault:?}: a cache that failed is read");
        }
        clock.advance(last);
        for calls in [1, 0] {
            process.database.take_call_count();
            assert_eq!(
                (process.version().await, process.database.take_call_count()),
                (2, calls),
                "{fault:?}: no recovery"
            );
        }
    }
}

#[tokio::test]
async fn every_call_works_without_a_cache() {
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
async fn only_one_call_waits_for_a_cache_that_hangs() {
    let (world, _) = world();
    world.create_first_record().await;
    let process = world.process();
    process.cache.fail(Fault::Hang);
    process.load().await;
    let started = Instant::now();
    for _ in 0..1000 {
        process.load().await;
    }
    assert!(started.elapsed() < TIMEOUT * 50, "1000 loads took {:?}", started.elapsed());
    assert_eq!(process.cache.take_call_count(), 1);
}

#[tokio::test]
async fn a_connection_that_broke_while_idle_hides_no_write() {
    let (world, _) = world();
    world.create_first_record().await;
    let (one, other) = (world.process(), world.process());
    assert_eq!(other.version().await, 1);
    one.cache.fail(Fault::RefuseOnce);
    one.store.touch(&KEY, Version::from_bits(1), START.plus(DAY * 2)).await.unwrap();
    let Lookup::Found(found) = other.load().await else { panic!("the session is missing") };
    assert_eq!(found.expires_at, START.plus(DAY * 2));
}

/// Tests that the limit in the documentation is exact.
#[tokio::test]
async fn the_write_of_a_process_without_the_cache_is_seen_after_one_ttl() {
    let (world, clock) = world();
    world.create_first_record().await;
    let (cut_off, other) = (world.process(), world.process());
    assert_eq!(other.version().await, 1);
    cut_off.cache.fail(Fault::Refuse);
    cut_off.update(1, 2).await;
    assert_eq!(cut_off.version().await, 2);
    clock.advance(TTL.saturating_sub(Duration::from_millis(1)));
    assert_eq!(other.version().await, 1, "the documented limit is too high");
    clock.advance(Duration::from_millis(1));
    assert_eq!(other.version().await, 2);
}

/// The TTL starts before the call that reads or writes the record, not when the entry is stored.
#[tokio::test]
async fn the_ttl_starts_when_the_record_was_certainly_current() {
    for is_read in [true, false] {
        let (world, clock) = world();
        world.create_first_record().await;
        let (slow, cut_off, other) = (world.process(), world.process(), world.process());
        // A load fills the entry, or an update replaces it.
        let current = if is_read { 1 } else { 2 };
        if !is_read {
            assert_eq!(other.version().await, 1);
        }
        slow.database.fail(Fault::DelayReply);
        cut_off.cache.fail(Fault::Refuse);
        let call = async {
            if is_read {
                assert_eq!(slow.version().await, 1);
            } else {
                slow.update(1, 2).await;
            }
        };
        let meanwhile = async {
            while !slow.database.is_delaying() {
                pause().await;
            }
            clock.advance(TIMEOUT / 2);
            cut_off.update(current, current + 1).await;
            slow.database.fail(Fault::Pass);
        };
        tokio::join!(call, meanwhile);
        assert_eq!(other.version().await, current, "the record is not in the cache");
        clock.advance(TTL.saturating_sub(TIMEOUT / 2));
        assert_eq!(other.version().await, current + 1, "is_read: {is_read}");
    }
}

#[tokio::test]
async fn a_cache_that_loses_or_evicts_entries_is_filled_again() {
    let (world, _) = world();
    world.create_first_record().await;
    let process = world.process();
    for version in 1..5 {
        assert_eq!(process.version().await, version);
        world.cache.delete(&cache_key(&KEY)).await.unwrap();
        process.update(version, version + 1).await;
    }
    process.load().await;
    process.database.take_call_count();
    assert_eq!((process.version().await, process.database.take_call_count()), (5, 0));
}

#[tokio::test]
async fn a_record_that_is_too_large_for_the_cache_is_no_failure() {
    let (world, _) = world();
    world.create_first_record().await;
    let (one, other) = (world.process(), world.process());
    assert_eq!(one.version().await, 1);
    one.cache.fail(Fault::TooLarge);
    one.update(1, 2).await;
    assert_eq!(other.version().await, 2, "the small one before it is still there");
    one.cache.fail(Fault::Pass);
    one.cache.take_call_count();
    one.load().await;
    assert!(one.cache.take_call_count() > 0, "the cache is not trusted any more");
}

#[tokio::test]
async fn errors_of_the_database_are_returned() {
    for fault in [Fault::Refuse, Fault::Hang] {
        let (world, _) = world();
        let process = world.process();
        process.database.fail(fault);
        let check = failures_are_errors(&process.store);
        if fault == Fault::Refuse {
            check.await;
        } else {
            let started = Instant::now();
            let error = process.store.delete(&KEY).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert!(started.elapsed() < TIMEOUT * 20);
        }
    }
}

#[tokio::test]
async fn all_processes_see_a_write_whose_reply_was_lost() {
    for fault in [Fault::LoseReply, Fault::RunAndHang] {
        let (world, _) = world();
        world.create_first_record().await;
        let (one, other) = (world.process(), world.process());
        assert_eq!(other.version().await, 1);
        one.database.fail_writes(fault);
        assert!(one.store.update(&KEY, Version::from_bits(1), &record(2)).await.is_err());
        assert_eq!((one.version().await, other.version().await), (2, 2), "{fault:?}");
    }
}

#[tokio::test]
async fn a_late_write_is_seen_immediately_and_the_cache_is_used_again_later() {
    let (world, clock) = world();
    world.create_first_record().await;
    let (one, other) = (world.process(), world.process());
    one.database.fail_writes(Fault::RunLater);
    assert!(one.store.update(&KEY, Version::from_bits(1), &record(2)).await.is_err());
    for _ in 0..2 {
        clock.advance(TTL / 2);
        assert_eq!((one.version().await, other.version().await), (1, 1));
        // A write of another process invalidates the cache key, but does not remove the barrier.
        other.store.touch(&KEY, Version::from_bits(1), START.plus(DAY)).await.unwrap();
        assert_eq!(other.version().await, 1);
    }
    one.database.run_late_calls().await;
    assert_eq!((one.version().await, other.version().await), (2, 2));
    clock.advance(TIMEOUT);
    for calls in [1, 0] {
        other.database.take_call_count();
        assert_eq!((other.version().await, other.database.take_call_count()), (2, calls));
    }
}

/// A barrier exists already, and would expire too early for the second write.
#[tokio::test]
async fn a_second_failed_write_extends_the_barrier() {
    let (world, clock) = world();
    world.create_first_record().await;
    let (one, other) = (world.process(), world.process());
    one.database.fail_writes(Fault::RunLater);
    for _ in 0..2 {
        clock.advance(TTL);
        assert!(one.store.touch(&KEY, Version::from_bits(1), START.plus(DAY * 2)).await.is_err());
    }
    clock.advance(TTL);
    for _ in 0..2 {
        other.database.take_call_count();
        assert_eq!((other.version().await, other.database.take_call_count()), (1, 1));
    }
}

#[tokio::test]
async fn a_sweep_also_sweeps_the_cache() {
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
