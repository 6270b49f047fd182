//! Clauses 7 and 8: expiry and sweeps.

use std::time::Duration;

use super::subject::{HOUR, Subject, any_versions, version};
use crate::base::clock::{Clock, Timestamp};
use crate::base::id::Key;
use crate::store::record::{Record, Tombstone};
use crate::store::{Lookup, Touch, Update};

const TICK: Duration = Duration::from_millis(1);

impl Subject {
    /// Stores a record and two tombstones that expire at `expires_at`. Returns their keys and entries.
    async fn expiring(&self, expires_at: Timestamp) -> Vec<(Key, Lookup)> {
        let record = Record { expires_at, ..self.record("brief").with_identity("brief") };
        let mut entries = vec![(self.create_new(&record).await, Lookup::Found(record.clone()))];
        for tombstone in self.tombstones() {
            entries.push(self.create_retired(&record, Tombstone { expires_at, ..tombstone }).await);
        }
        entries
    }
}

pub(super) async fn entries_expire(subject: Subject) {
    let entries = subject.expiring(subject.clock.now().plus(TICK * 2)).await;
    subject.clock.advance(TICK);
    for (key, entry) in &entries {
        assert_eq!(subject.load(key).await, *entry, "an entry expired too early");
    }
    for later in [TICK, HOUR] {
        subject.clock.advance(later);
        for (key, entry) in &entries {
            assert_eq!(subject.load(key).await, Lookup::Absent, "an entry expired too late");
            let current = if let Lookup::Found(record) = entry { record.version } else { version() };
            for expected in any_versions(current) {
                subject.check_update(key, Lookup::Absent, expected, &subject.record("late")).await;
                subject.check_touch(key, Lookup::Absent, expected, subject.in_an_hour()).await;
                subject.check_retire(key, Lookup::Absent, Some(expected), subject.ended_tombstone()).await;
            }
            subject.check_retire(key, Lookup::Absent, None, subject.ended_tombstone()).await;
        }
    }
}

pub(super) async fn keys_are_free_again(subject: Subject) {
    let entries = subject.expiring(subject.clock.now().plus(TICK)).await;
    subject.clock.advance(TICK);
    for (key, _) in entries {
        let (second, third) = (subject.record("second life"), subject.record("third"));
        subject.check_create(&key, Lookup::Absent, &second).await;
        subject.check_update(&key, Lookup::Found(second.clone()), second.version, &third).await;
        subject.check_retire(&key, Lookup::Found(third), None, subject.ended_tombstone()).await;
    }
}

pub(super) async fn touched_records_live_on(subject: Subject) {
    let mut record = subject.record("touched");
    record.expires_at = subject.clock.now().plus(TICK);
    let key = subject.create_new(&record).await;
    let later = record.expires_at.plus(HOUR);
    assert_eq!(subject.touch(&key, record.version, later).await, Touch::Touched);
    record.expires_at = later;
    subject.clock.advance(HOUR);
    subject.sweep(100).await;
    subject.assert_holds(&key, &record).await;
    subject.clock.advance(TICK);
    assert_eq!(subject.load(&key).await, Lookup::Absent);
}

pub(super) async fn sweep_removes_the_expired(subject: Subject) {
    // Does not divide the number of entries, so that the last sweep removes fewer.
    const LIMIT: u32 = 4;
    subject.sweep(1000).await;
    let soon = subject.clock.now().plus(TICK);
    let entries = [subject.expiring(soon).await, subject.expiring(soon).await].concat();
    assert_eq!(subject.sweep(1000).await, 0, "a sweep counted live entries");
    for (key, entry) in &entries {
        assert_eq!(subject.load(key).await, *entry, "a sweep removed a live entry");
    }
    subject.clock.advance(TICK);
    let (expired, swept) = (entries.len() as u64, subject.sweep(LIMIT).await);
    // If the back-end removes expired entries by itself, nothing is left to sweep.
    assert!([0, expired].contains(&swept), "{expired} entries expired, {swept} were swept");
    for (key, _) in &entries {
        assert_eq!(subject.load(key).await, Lookup::Absent);
    }
}

pub(super) async fn sweep_follows_updates(subject: Subject) {
    const COPIES: u64 = 4;
    subject.sweep(1000).await;
    let (now, later) = (subject.clock.now(), subject.in_an_hour());
    let (mut renewed, mut expiring) = (Vec::new(), Vec::new());
    for _ in 0..COPIES {
        let mut brief = subject.record("brief");
        brief.expires_at = now.plus(TICK);
        expiring.push(subject.create_new(&brief).await);
        let key = subject.create_new(&brief).await;
        assert_eq!(subject.touch(&key, brief.version, later).await, Touch::Touched);
        renewed.push(key);
        let key = subject.create_new(&brief).await;
        assert_eq!(subject.update(&key, brief.version, &subject.record("longer")).await, Update::Updated);
        renewed.push(key);
        let long = subject.record("long");
        let key = subject.create_new(&long).await;
        brief.version = version();
        assert_eq!(subject.update(&key, long.version, &brief).await, Update::Updated);
        expiring.push(key);
    }
    subject.clock.advance(TICK);
    for (keys, live) in [(&expiring, true), (&renewed, false)] {
        // If the back-end removes expired entries by itself, nothing is left to sweep.
        if subject.sweep(3).await > 0
            && let Ok(stats) = subject.store.stats().await
        {
            assert_eq!(stats.expired, 0, "a sweep did not remove all expired entries");
        }
        for key in keys {
            assert_eq!(subject.load(key).await, Lookup::Absent);
        }
        for key in &renewed {
            assert_eq!(matches!(subject.load(key).await, Lookup::Found(_)), live);
        }
        subject.clock.advance(HOUR);
    }
}
