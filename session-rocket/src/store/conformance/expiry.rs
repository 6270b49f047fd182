//! Clauses 7 and 8: what time does.

use std::time::Duration;

use super::subject::{HOUR, Subject, any_versions, version};
use crate::base::clock::{Clock, Timestamp};
use crate::base::id::Key;
use crate::store::record::{Record, Tombstone};
use crate::store::{Lookup, Touch, Update};

const TICK: Duration = Duration::from_millis(1);

impl Subject {
    /// Keys with a record and tombstones that expire at `expires_at`.
    async fn expiring(&self, expires_at: Timestamp) -> Vec<(Key, Lookup)> {
        let record = Record { expires_at, ..self.record("brief").with_identity("brief") };
        let mut entries = vec![(self.stored(&record).await, Lookup::Found(record.clone()))];
        for tombstone in self.tombstones() {
            entries.push(self.buried(&record, Tombstone { expires_at, ..tombstone }).await);
        }
        entries
    }
}

pub(super) async fn entries_expire(on: Subject) {
    let entries = on.expiring(on.clock.now().plus(TICK * 2)).await;
    on.clock.advance(TICK);
    for (key, entry) in &entries {
        assert_eq!(on.load(key).await, *entry, "an entry expired too early");
    }
    // From the millisecond of the expiry on, and later.
    for later in [TICK, HOUR] {
        on.clock.advance(later);
        for (key, entry) in &entries {
            assert_eq!(on.load(key).await, Lookup::Absent, "an entry expired too late");
            let current = if let Lookup::Found(record) = entry { record.version } else { version() };
            for expected in any_versions(current) {
                on.check_update(key, Lookup::Absent, expected, &on.record("late")).await;
                on.check_touch(key, Lookup::Absent, expected, on.in_an_hour()).await;
                on.check_retire(key, Lookup::Absent, Some(expected), on.ended()).await;
            }
            on.check_retire(key, Lookup::Absent, None, on.ended()).await;
        }
    }
}

pub(super) async fn keys_are_free_again(on: Subject) {
    let entries = on.expiring(on.clock.now().plus(TICK)).await;
    on.clock.advance(TICK);
    for (key, _) in entries {
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
    // The number of entries is not a multiple of the limit.
    const LIMIT: u32 = 4;
    on.sweep(1000).await;
    let soon = on.clock.now().plus(TICK);
    let entries = [on.expiring(soon).await, on.expiring(soon).await].concat();
    assert_eq!(on.sweep(1000).await, 0, "a sweep counted live entries");
    for (key, entry) in &entries {
        assert_eq!(on.load(key).await, *entry, "a sweep removed a live entry");
    }
    on.clock.advance(TICK);
    let (expired, swept) = (entries.len() as u64, on.sweep(LIMIT).await);
    // If the back-end removes expired entries by itself, nothing is left to sweep.
    assert!([0, expired].contains(&swept), "{expired} entries expired, {swept} were swept");
    for (key, _) in &entries {
        assert_eq!(on.load(key).await, Lookup::Absent);
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
