//! Expiry and sweep, by a clock that the checks move.

use std::time::Duration;

use super::{Bench, Broken, Checked, HOUR, Verdict, ensure};
use crate::error::ErrorKind;
use crate::id::Key;
use crate::record::{Fate, Record, Version};
use crate::store::{Lookup, Retire, Touch, Update};

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// That no call finds a record at `key`, whose version was `version`; in the end, that it can be created anew.
async fn is_absent(bench: &Bench, key: &Key, version: Version) -> Checked<()> {
    bench.holds(key, &Lookup::Absent, "load of what expired").await?;
    let record = bench.record("anew")?;
    let done = bench.store.update(key, version, &record).await?;
    ensure!(done == Update::Gone, "update of what expired: {done:?}");
    let done = bench.store.touch(key, version, bench.now().plus(HOUR)).await?;
    ensure!(done == Touch::Gone, "touch of what expired: {done:?}");
    for expected in [None, Some(version)] {
        let done = bench.store.retire(key, expected, bench.tombstone(Fate::Ended)).await?;
        ensure!(done == Retire::Gone, "retire of what expired: {done:?}");
    }
    bench.holds(key, &Lookup::Absent, "after calls on what expired").await?;
    bench.create(key, &record).await?;
    bench.holds_record(key, &record, "created where something expired").await
}

/// A record with an hour to live, whose identity is known.
async fn identified(bench: &Bench) -> Checked<(Key, Record)> {
    let (key, record) = (Bench::key()?, bench.record("payload")?.with_identity("somebody"));
    bench.create(&key, &record).await?;
    Ok((key, record))
}

pub(super) async fn expired_records_are_absent(bench: Bench) -> Checked {
    let (key, record) = identified(&bench).await?;
    bench.clock.advance(HOUR - MILLISECOND);
    bench.holds_record(&key, &record, "a millisecond before it expires").await?;
    bench.clock.advance(MILLISECOND);
    is_absent(&bench, &key, record.version).await?;

    let (key, record) = identified(&bench).await?;
    bench.clock.advance(HOUR * 24);
    is_absent(&bench, &key, record.version).await?;
    // The record created anew has no identity, so what the index still finds has expired.
    match bench.store.list(&bench.scope, "somebody").await {
        Ok(found) => {
            ensure!(found.is_empty(), "list finds {} records that expired", found.len());
            let ended = bench.store.retire_all(&bench.scope, "somebody", None, bench.now().plus(MINUTE)).await?;
            ensure!(ended == 0, "retire_all ends {ended} records that expired");
        }
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Verdict::Kept)
}

pub(super) async fn expired_tombstones_are_absent(bench: Bench) -> Checked {
    for fate in [Fate::Ended, Fate::Moved(Bench::key()?)] {
        let (key, record) = bench.stored("payload").await?;
        let tombstone = bench.tombstone(fate);
        bench.store.retire(&key, None, tombstone).await?;
        bench.clock.advance(MINUTE - MILLISECOND);
        bench.holds(&key, &Lookup::Tombstone(tombstone), "a millisecond before it expires").await?;
        bench.clock.advance(MILLISECOND);
        is_absent(&bench, &key, record.version).await?;
    }
    Ok(Verdict::Kept)
}

pub(super) async fn a_new_expiry_counts(bench: Bench) -> Checked {
    let (touched, first) = bench.stored("touched").await?;
    let (updated, second) = bench.stored("updated").await?;
    let (shortened, third) = bench.stored("shortened").await?;
    let later = bench.now().plus(HOUR * 3);
    bench.store.touch(&touched, first.version, later).await?;
    let mut fresh = bench.record("updated")?;
    fresh.expires_at = later;
    bench.store.update(&updated, second.version, &fresh).await?;
    bench.store.touch(&shortened, third.version, bench.now().plus(MINUTE)).await?;
    bench.clock.advance(MINUTE);
    is_absent(&bench, &shortened, third.version).await?;
    bench.clock.advance(HOUR * 2);
    for key in [touched, updated] {
        let found = bench.store.load(&key).await?;
        ensure!(matches!(found, Lookup::Found(_)), "before the new expiry: {found:?}");
    }
    bench.clock.advance(HOUR);
    is_absent(&bench, &touched, first.version).await?;
    is_absent(&bench, &updated, fresh.version).await?;
    // A record may be born expired.
    let (key, mut record) = (Bench::key()?, bench.record("late")?);
    record.expires_at = bench.now();
    bench.store.create(&key, &record).await?;
    bench.holds(&key, &Lookup::Absent, "created at its expiry").await?;
    Ok(Verdict::Kept)
}

/// What earlier checks left in the store, removed; false if the store does not sweep.
async fn drained(bench: &Bench) -> Checked<bool> {
    // Each call removes something, or is the last.
    loop {
        match bench.store.delete_expired(1000).await {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) async fn sweep_removes_the_expired_alone(bench: Bench) -> Checked {
    if !drained(&bench).await? {
        return Ok(Verdict::Unsupported);
    }
    let mut expired = Vec::new();
    for n in 0..4 {
        expired.push(bench.stored(format!("expires {n}")).await?);
    }
    let (retired, _) = bench.retired(Fate::Ended).await?;
    bench.clock.advance(HOUR - MILLISECOND);
    let (live, record) = bench.stored("live").await?;
    let (ended, tombstone) = bench.retired(Fate::Moved(live)).await?;
    let removed = bench.store.delete_expired(1000).await?;
    ensure!(removed == 1, "a tombstone has expired, and {removed} were removed");
    bench.clock.advance(MILLISECOND);
    let none = bench.store.delete_expired(0).await?;
    ensure!(none == 0, "with a limit of 0, {none} were removed");
    for expected in [3, 1, 0] {
        let removed = bench.store.delete_expired(3).await?;
        ensure!(removed == expected, "with a limit of 3, {removed} were removed instead of {expected}");
    }
    bench.holds_record(&live, &record, "a live record after the sweep").await?;
    bench.holds(&ended, &Lookup::Tombstone(tombstone), "a live tombstone after the sweep").await?;
    for (key, record) in &expired {
        is_absent(&bench, key, record.version).await?;
    }
    bench.holds(&retired, &Lookup::Absent, "a tombstone that was swept").await?;
    Ok(Verdict::Kept)
}
