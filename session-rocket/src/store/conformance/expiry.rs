//! Clauses 7 and 8: what time does.

use std::time::Duration;

use super::{Clock, Create, HOUR, Lookup, Retire, Subject, Tombstone, Touch, Update, Version, random_key, version};

const TICK: Duration = Duration::from_millis(1);

pub(super) async fn records_end(on: Subject) {
    let mut record = on.record("brief").with_identity("brief");
    record.expires_at = on.clock.now().plus(TICK * 2);
    let key = on.stored(&record).await;
    on.clock.advance(TICK);
    on.holds(&key, &record).await;
    on.clock.advance(TICK);
    // From the very millisecond on, and later.
    for later in [Duration::ZERO, HOUR] {
        on.clock.advance(later);
        assert_eq!(on.load(&key).await, Lookup::Absent);
        for expected in [record.version, version()] {
            assert_eq!(on.update(&key, expected, &on.record("late")).await, Update::Gone);
            assert_eq!(on.touch(&key, expected, on.in_an_hour()).await, Touch::Gone);
            assert_eq!(on.retire(&key, Some(expected), on.ended()).await, Retire::Gone);
        }
        assert_eq!(on.retire(&key, None, on.ended()).await, Retire::Gone);
        assert_eq!(on.load(&key).await, Lookup::Absent, "a call revived what had expired");
    }
    on.delete(&key).await;
}

pub(super) async fn tombstones_end(on: Subject) {
    for tombstone in [on.ended(), on.moved(random_key())] {
        let tombstone = Tombstone { expires_at: on.clock.now().plus(TICK * 2), ..tombstone };
        let key = on.buried(tombstone).await;
        on.clock.advance(TICK);
        assert_eq!(on.load(&key).await, Lookup::Tombstone(tombstone));
        on.clock.advance(TICK);
        assert_eq!(on.load(&key).await, Lookup::Absent);
        for expected in [version(), Version::from_bits(0)] {
            assert_eq!(on.update(&key, expected, &on.record("late")).await, Update::Gone);
            assert_eq!(on.touch(&key, expected, on.in_an_hour()).await, Touch::Gone);
        }
        assert_eq!(on.retire(&key, None, on.ended()).await, Retire::Gone);
        assert_eq!(on.load(&key).await, Lookup::Absent, "a call revived a tombstone that had expired");
    }
}

pub(super) async fn keys_are_free_again(on: Subject) {
    let mut record = on.record("first life").with_identity("first");
    record.expires_at = on.clock.now().plus(TICK);
    let lived = on.stored(&record).await;
    let moved = on.buried(Tombstone { expires_at: record.expires_at, ..on.moved(random_key()) }).await;
    let ended = on.buried(Tombstone { expires_at: record.expires_at, ..on.ended() }).await;
    on.clock.advance(TICK);
    for key in [lived, moved, ended] {
        let second = on.record("second life");
        assert_eq!(on.create(&key, &second).await, Create::Created);
        on.holds(&key, &second).await;
        let third = on.record("third");
        assert_eq!(on.update(&key, second.version, &third).await, Update::Updated);
        assert_eq!(on.retire(&key, None, on.ended()).await, Retire::Retired);
        assert_eq!(on.load(&key).await, Lookup::Tombstone(on.ended()));
    }
}

pub(super) async fn touched_records_live_on(on: Subject) {
    let mut record = on.record("touched");
    record.expires_at = on.clock.now().plus(TICK);
    let key = on.stored(&record).await;
    let later = record.expires_at.plus(HOUR);
    assert_eq!(on.touch(&key, record.version, later).await, Touch::Touched);
    record.expires_at = later;
    on.clock.advance(HOUR);
    on.sweep(100).await;
    on.holds(&key, &record).await;
    on.clock.advance(TICK);
    assert_eq!(on.load(&key).await, Lookup::Absent);
}

pub(super) async fn sweep_removes_the_expired(on: Subject) {
    const RECORDS: u64 = 5;
    const TOMBSTONES: u64 = 2;
    on.sweep(1000).await;
    let soon = on.clock.now().plus(TICK);
    let mut keys = Vec::new();
    for _ in 0..RECORDS {
        let mut record = on.record("swept");
        record.expires_at = soon;
        keys.push(on.stored(&record).await);
    }
    for _ in 0..TOMBSTONES {
        keys.push(on.buried(Tombstone { expires_at: soon, ..on.ended() }).await);
    }
    assert_eq!(on.sweep(1000).await, 0, "a sweep counted what is live");
    on.clock.advance(TICK);
    // A limit that the number is no multiple of.
    let swept = on.sweep(3).await;
    // Where the back-end removes what expired by itself, nothing is left to sweep.
    assert!([0, RECORDS + TOMBSTONES].contains(&swept), "{RECORDS} and {TOMBSTONES} expired, {swept} were swept");
    for key in keys {
        assert_eq!(on.load(&key).await, Lookup::Absent);
    }
}

pub(super) async fn sweep_follows_updates(on: Subject) {
    const OF_EACH: u64 = 4;
    on.sweep(1000).await;
    let (now, later) = (on.clock.now(), on.in_an_hour());
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for _ in 0..OF_EACH {
        let mut brief = on.record("brief");
        brief.expires_at = now.plus(TICK);
        gone.push(on.stored(&brief).await);
        let key = on.stored(&brief).await;
        assert_eq!(on.touch(&key, brief.version, later).await, Touch::Touched);
        kept.push(key);
        let key = on.stored(&brief).await;
        assert_eq!(on.update(&key, brief.version, &on.record("longer")).await, Update::Updated);
        kept.push(key);
        let long = on.record("long");
        let key = on.stored(&long).await;
        brief.version = version();
        assert_eq!(on.update(&key, long.version, &brief).await, Update::Updated);
        gone.push(key);
    }
    on.clock.advance(TICK);
    for (keys, live) in [(&gone, true), (&kept, false)] {
        // Where the back-end removes what expired by itself, nothing is left to sweep.
        if on.sweep(3).await > 0
            && let Ok(stats) = on.store.stats().await
        {
            assert_eq!(stats.expired, 0, "a sweep left something that expired");
        }
        for key in keys {
            assert_eq!(on.load(key).await, Lookup::Absent);
        }
        for key in &kept {
            assert_eq!(matches!(on.load(key).await, Lookup::Found(_)), live);
        }
        on.clock.advance(HOUR);
    }
}

pub(super) async fn sweep_spares_the_living(on: Subject) {
    let mut record = on.record("live");
    record.expires_at = on.clock.now().plus(TICK * 2);
    let key = on.stored(&record).await;
    let tombstone = Tombstone { expires_at: record.expires_at, ..on.moved(key) };
    let buried = on.buried(tombstone).await;
    on.clock.advance(TICK);
    on.sweep(1000).await;
    on.holds(&key, &record).await;
    assert_eq!(on.load(&buried).await, Lookup::Tombstone(tombstone), "a sweep removed a live tombstone");
}
