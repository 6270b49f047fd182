//! Clauses 1 to 6: each call on a key in each state. The calls are made one at a time, and many at once, which a store may
//! send to its back-end together.

use tokio::task::JoinSet;

use super::subject::{HOUR, MINUTE, Subject, any_versions, random_key};
use crate::base::clock::{Clock, Timestamp};
use crate::base::id::Key;
use crate::store::Lookup;
use crate::store::record::Version;

pub(super) const ALONE: usize = 1;
pub(super) const AT_ONCE: usize = 64;
/// Each state and version occurs among this many cases.
const VARIETY: usize = 24;
const ROUNDS: usize = 3;
/// Larger than some columns and packets.
const LARGE: usize = 70_000;

/// A key of its own for one call.
struct Case {
    number: usize,
    key: Key,
    entry: Lookup,
    /// The version that the caller expects.
    expected: Version,
}

impl Case {
    async fn new(on: &Subject, number: usize) -> Self {
        let [created_at, updated_at] = [1, 2].map(Timestamp::from_millis);
        let record = on.record(&format!("number {number}")).with_identity(format!("user {number}"));
        let record = record.with_times(created_at, updated_at);
        let [current, other, zero] = any_versions(record.version);
        // Of records, most are to be changed.
        let expected = match (number % 8, number / 8 % 3) {
            (0, 0) | (1..=3, 1) => other,
            (0, _) | (1..=3, 2) => zero,
            _ => current,
        };
        let (key, entry) = match number % 8 {
            1 => on.buried(&record, on.ended()).await,
            2 => on.buried(&record, on.moved(random_key())).await,
            3 => (random_key(), Lookup::Absent),
            _ => (on.stored(&record).await, Lookup::Found(record)),
        };
        Self { number, key, entry, expected }
    }
}

/// Makes `call` for keys in all states, `at_once` calls concurrently. No call may change the twin of its key, which holds
/// the same record.
async fn each<F>(on: &Subject, at_once: usize, call: impl Fn(Subject, Case) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    for first in (0..VARIETY.max(ROUNDS * at_once)).step_by(at_once) {
        let (mut cases, mut twins) = (Vec::new(), Vec::new());
        for number in first..first + at_once {
            let case = Case::new(on, number).await;
            if let Lookup::Found(record) = &case.entry {
                twins.push((on.stored(record).await, record.clone()));
            }
            cases.push(case);
        }
        let tasks: JoinSet<()> = cases.into_iter().map(|case| call(on.clone(), case)).collect();
        tasks.join_all().await;
        for (twin, record) in twins {
            on.holds(&twin, &record).await;
        }
    }
}

pub(super) async fn loads(on: Subject, at_once: usize) {
    let hot = on.stored(&on.record("hot")).await;
    each(&on, at_once, |on, case| async move {
        assert_eq!(on.load(&case.key).await, case.entry, "wrong reply from load");
        assert!(matches!(on.load(&hot).await, Lookup::Found(_)), "wrong reply to one of many loads of one key");
    })
    .await;
}

pub(super) async fn creates(on: Subject, at_once: usize) {
    each(&on, at_once, |on, Case { number, key, entry, .. }| async move {
        on.check_create(&key, entry, &on.record(&format!("new {number}"))).await;
    })
    .await;
}

pub(super) async fn updates(on: Subject, at_once: usize) {
    each(&on, at_once, |on, Case { number, key, entry, expected }| async move {
        let mut record = on.record(&format!("new {number}"));
        record.identity = match number % 3 {
            0 => None,
            1 => Some(format!("user {number}")),
            _ => Some(format!("other {number}")),
        };
        if number % 7 == 0 {
            record.expires_at = on.clock.now().plus(HOUR / 2);
        }
        if number % 16 == 4 {
            record.payload = vec![7; LARGE].into();
        }
        on.check_update(&key, entry, expected, &record).await;
    })
    .await;
}

pub(super) async fn touches(on: Subject, at_once: usize) {
    each(&on, at_once, |on, Case { number, key, entry, expected }| async move {
        // A late touch does not move the expiry back.
        let lifetime = if number % 5 == 0 { MINUTE } else { HOUR * 2 };
        on.check_touch(&key, entry, expected, on.clock.now().plus(lifetime)).await;
    })
    .await;
}

pub(super) async fn retires(on: Subject, at_once: usize) {
    each(&on, at_once, |on, Case { number, key, entry, expected }| async move {
        let tombstone = if number % 2 == 0 { on.ended() } else { on.moved(random_key()) };
        // Some calls retire any version.
        on.check_retire(&key, entry, (number % 3 > 0).then_some(expected), tombstone).await;
    })
    .await;
}

pub(super) async fn deletes(on: Subject, at_once: usize) {
    each(&on, at_once, |on, Case { key, expected, .. }| async move {
        let record = on.record("created again");
        on.delete(&key).await;
        on.check_update(&key, Lookup::Absent, expected, &record).await;
        on.check_create(&key, Lookup::Absent, &record).await;
    })
    .await;
}
