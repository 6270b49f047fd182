//! Clauses 1 to 6: each call on keys in each state, alone and concurrently, because a store may group concurrent calls.

use tokio::task::JoinSet;

use super::subject::{HOUR, MINUTE, Subject, any_versions, random_key};
use crate::base::clock::{Clock, Timestamp};
use crate::base::id::Key;
use crate::store::Lookup;
use crate::store::record::Version;

pub(super) const ALONE: usize = 1;
pub(super) const CONCURRENT: usize = 64;
/// The number of cases after which each combination of state and version has occurred.
const CASES: usize = 24;
const ROUNDS: usize = 3;
/// A size of a payload that exceeds the limits of some column types and packets.
const LARGE: usize = 70_000;

struct Case {
    number: usize,
    key: Key,
    entry: Lookup,
    expected: Version,
}

impl Case {
    async fn new(subject: &Subject, number: usize) -> Self {
        let [created_at, updated_at] = [1, 2].map(Timestamp::from_millis);
        let record = subject.record(&format!("number {number}")).with_identity(format!("user {number}"));
        let record = record.with_times(created_at, updated_at);
        let [current, other, zero] = any_versions(record.version);
        // Most calls expect the record's version.
        let expected = match (number % 8, number / 8 % 3) {
            (0, 0) | (1..=3, 1) => other,
            (0, _) | (1..=3, 2) => zero,
            _ => current,
        };
        let (key, entry) = match number % 8 {
            1 => subject.create_retired(&record, subject.ended_tombstone()).await,
            2 => subject.create_retired(&record, subject.moved_tombstone(random_key())).await,
            3 => (random_key(), Lookup::Absent),
            _ => (subject.create_new(&record).await, Lookup::Found(record)),
        };
        Self { number, key, entry, expected }
    }
}

/// Makes `call` for keys in all states, `concurrent` calls at a time. Stores a copy of each record under a second key, and
/// checks that no call changes a copy.
async fn check_each_state<F>(subject: &Subject, concurrent: usize, call: impl Fn(Subject, Case) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    for first in (0..CASES.max(ROUNDS * concurrent)).step_by(concurrent) {
        let (mut cases, mut copies) = (Vec::new(), Vec::new());
        for number in first..first + concurrent {
            let case = Case::new(subject, number).await;
            if let Lookup::Found(record) = &case.entry {
                copies.push((subject.create_new(record).await, record.clone()));
            }
            cases.push(case);
        }
        let tasks: JoinSet<()> = cases.into_iter().map(|case| call(subject.clone(), case)).collect();
        tasks.join_all().await;
        for (copy, record) in copies {
            subject.assert_holds(&copy, &record).await;
        }
    }
}

pub(super) async fn loads(subject: Subject, concurrent: usize) {
    let hot = subject.create_new(&subject.record("hot")).await;
    check_each_state(&subject, concurrent, |subject, case| async move {
        assert_eq!(subject.load(&case.key).await, case.entry, "wrong reply from load");
        assert!(matches!(subject.load(&hot).await, Lookup::Found(_)), "wrong reply to one of several loads of one key");
    })
    .await;
}

pub(super) async fn creates(subject: Subject, concurrent: usize) {
    check_each_state(&subject, concurrent, |subject, Case { number, key, entry, .. }| async move {
        subject.check_create(&key, entry, &subject.record(&format!("new {number}"))).await;
    })
    .await;
}

pub(super) async fn updates(subject: Subject, concurrent: usize) {
    check_each_state(&subject, concurrent, |subject, Case { number, key, entry, expected }| async move {
        let mut record = subject.record(&format!("new {number}"));
        record.identity = match number % 3 {
            0 => None,
            1 => Some(format!("user {number}")),
            _ => Some(format!("other {number}")),
        };
        if number % 7 == 0 {
            record.expires_at = subject.clock.now().plus(HOUR / 2);
        }
        if number % 16 == 4 {
            record.payload = vec![7; LARGE].into();
        }
        subject.check_update(&key, entry, expected, &record).await;
    })
    .await;
}

pub(super) async fn touches(subject: Subject, concurrent: usize) {
    check_each_state(&subject, concurrent, |subject, Case { number, key, entry, expected }| async move {
        // Some touches have an earlier expiry than the record.
        let lifetime = if number % 5 == 0 { MINUTE } else { HOUR * 2 };
        subject.check_touch(&key, entry, expected, subject.clock.now().plus(lifetime)).await;
    })
    .await;
}

pub(super) async fn retires(subject: Subject, concurrent: usize) {
    check_each_state(&subject, concurrent, |subject, Case { number, key, entry, expected }| async move {
        let tombstone = if number % 2 == 0 { subject.ended_tombstone() } else { subject.moved_tombstone(random_key()) };
        // Some calls retire any version.
        subject.check_retire(&key, entry, (number % 3 > 0).then_some(expected), tombstone).await;
    })
    .await;
}

pub(super) async fn deletes(subject: Subject, concurrent: usize) {
    check_each_state(&subject, concurrent, |subject, Case { key, expected, .. }| async move {
        let record = subject.record("created again");
        subject.delete(&key).await;
        subject.check_update(&key, Lookup::Absent, expected, &record).await;
        subject.check_create(&key, Lookup::Absent, &record).await;
    })
    .await;
}
