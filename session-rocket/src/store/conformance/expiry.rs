//! Clauses 7 and 8: what time does.

use std::time::Duration;

use super::subject::{HOUR, Subject, any_versions, random_key, version};
use crate::base::clock::Clock;
use crate::base::id::Key;
use crate::store::record::{Record, Tombstone};
use crate::store::{Lookup, Touch, Update};

const TICK: Duration = Duration::from_millis(1);

impl Subject {
    /// Calls for `key`, whose entry has expired.
    async fn no_call_revives(&self, key: &Key, record: &Record) {
        for expected in any_versions(record) {
            self.check_update(key, Lookup::Absent, expected, &self.record("late")).await;
            self.check_touch(key, Lookup::Absent, expected, self.in_an_hour()).await;
            self.check_retire(key, Lookup::Absent, Some(expected), self.ended()).await;
        }
        self.check_retire(key, Lookup::Absent, None, self.ended()).await;
    }
}

pub(super) async fn records_end(on: Subject) {
    let record = Record { expires_at: on.clock.now().plus(TICK * 2), ..on.record("brief").with_identity("brief") };
    let key = on.stored(&record).await;
    on.clock.advance(TICK);
    on.holds(&key, &record).await;
    on.clock.advance(TICK);
    // From the millisecond of the expiry on, and later.
    for later in [Duration::ZERO, HOUR] {
        on.clock.advance(later);
        assert_eq!(on.load(&key).await, Lookup::Absent);
        on.no_call_revives(&key, &record).await;
    }
    on.delete(&key).await;
}

pub(super) async fn tombstones_end(on: Subject) {
    for tombstone in on.tombstones() {
        let tombstone = Tombstone { expires_at: on.clock.now().plus(TICK * 2), ..tombstone };
        let key = on.buried(tombstone).await;
        on.clock.advance(TICK);
        assert_eq!(on.load(&key).await, Lookup::Tombstone(tombstone));
        on.clock.advance(TICK);
        assert_eq!(on.load(&key).await, Lookup::Absent);
        on.no_call_revives(&key, &on.record("ended")).await;
    }
}

pub(super) async fn keys_are_free_again(on: Subject) {
    let record = Record { expires_at: on.clock.now().plus(TICK), ..on.record("first life").with_identity("first") };
    let lived = on.stored(&record).await;
    let moved = on.buried(Tombstone { expires_at: record.expires_at, ..on.moved(random_key()) }).await;
    let ended = on.buried(Tombstone { expires_at: record.expires_at, ..on.ended() }).await;
    on.clock.advance(TICK);
    for key in [lived, moved, ended] {
        let (second, third) = (on.record("second life"), on.record("third"));
        on.check_create(&key, Lookup::Absent, &second).await;
        on.check_update(&key, Lookup::Found(second.clone()), second.version, &third).await;
        on.check_retire(&key, Lookup::Found(third), None, on.ended()).await;
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
        keys.push(on.stored(&Record { expires_at: soon, ..on.record("swept") }).await);
    }
    for _ in 0..TOMBSTONES {
        keys.push(on.buried(Tombstone { expires_at: soon, ..on.ended() }).await);
    }
    assert_eq!(on.sweep(1000).await, 0, "a sweep counted what is live");
    on.clock.advance(TICK);
    // The number of entries is not a multiple of the limit.
    let swept = on.sweep(3).await;
    // If the back-end removes expired entries by itself, nothing is left to sweep.
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
        // If the back-end removes expired entries by itself, nothing is left to sweep.
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
    let record = Record { expires_at: on.clock.now().plus(TICK * 2), ..on.record("live") };
    let key = on.stored(&record).await;
    let tombstone = Tombstone { expires_at: record.expires_at, ..on.moved(key) };
    let buried = on.buried(tombstone).await;
    on.clock.advance(TICK);
    on.sweep(1000).await;
    on.holds(&key, &record).await;
    assert_eq!(on.load(&buried).await, Lookup::Tombstone(tombstone), "a sweep removed a live tombstone");
}
