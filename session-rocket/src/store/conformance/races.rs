//! Clauses 2 to 5: many concurrent calls for one key.

use tokio::task::JoinSet;

use super::subject::{HOUR, Subject, random_key};
use crate::base::id::Key;
use crate::store::record::Record;
use crate::store::{Create, Lookup, Retire, Touch, Update};

const CALLS: usize = 16;
const ROUNDS: usize = 4;

/// Makes [`CALLS`] concurrent calls, each with its own number and record. Returns the results.
async fn concurrently<F, R>(subject: &Subject, call: impl Fn(Subject, usize, Record) -> F) -> Vec<R>
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let call = |number| call(subject.clone(), number, subject.record(&format!("number {number}")));
    (0..CALLS).map(call).collect::<JoinSet<R>>().join_all().await
}

pub(super) async fn creates(subject: Subject) {
    for _ in 0..ROUNDS {
        let key = random_key();
        let create = |subject: Subject, _, record| async move {
            let created = subject.create(&key, &record).await == Create::Created;
            created.then_some(record)
        };
        let created: Vec<Record> = concurrently(&subject, create).await.into_iter().flatten().collect();
        assert_eq!(created.len(), 1, "exactly one of {CALLS} concurrent calls must win");
        subject.assert_holds(&key, &created[0]).await;
    }
}

/// Makes concurrent updates and retires of one record. Exactly one call must succeed, and each reply must match the entry
/// that the key holds afterwards.
async fn race(subject: &Subject, is_update: fn(usize) -> bool) {
    for _ in 0..ROUNDS {
        let first = subject.record("first");
        let (key, expected) = (subject.create_new(&first).await, first.version);
        let call = |subject: Subject, number, record| async move {
            let tombstone = Lookup::Tombstone(subject.ended_tombstone());
            if is_update(number) {
                match subject.update(&key, expected, &record).await {
                    Update::Updated => (true, Lookup::Found(record)),
                    Update::Conflict(fresh) => (false, Lookup::Found(fresh)),
                    Update::Gone => (false, tombstone),
                    Update::Moved(_) => panic!("no call moved the session"),
                }
            } else {
                match subject.retire(&key, Some(expected), subject.ended_tombstone()).await {
                    Retire::Retired => (true, tombstone),
                    Retire::Conflict(fresh) => (false, Lookup::Found(fresh)),
                    Retire::Gone => (false, tombstone),
                }
            }
        };
        let replies = concurrently(subject, call).await;
        let winners = replies.iter().filter(|(won, _)| *won).count();
        assert_eq!(winners, 1, "exactly one of {CALLS} concurrent calls must win");
        let entry = subject.load(&key).await;
        assert!(replies.iter().all(|(_, shown)| *shown == entry), "a reply differs from the entry of the key");
    }
}

pub(super) async fn updates(subject: Subject) {
    race(&subject, |_| true).await;
}

pub(super) async fn updates_and_retires(subject: Subject) {
    race(&subject, |number| number.is_multiple_of(2)).await;
}

/// Adds 1 to the number in the payload by compare-and-swap, and retries until it succeeds.
async fn increment(subject: &Subject, key: &Key, mut current: Record) {
    loop {
        let count: u32 = std::str::from_utf8(&current.payload).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let next = subject.record(&(count + 1).to_string());
        match subject.update(key, current.version, &next).await {
            Update::Updated => return,
            Update::Conflict(fresh) => current = fresh,
            Update::Moved(_) | Update::Gone => panic!("update reported that a live session has ended"),
        }
    }
}

pub(super) async fn increments(subject: Subject) {
    const INCREMENTS: usize = 4;
    let first = subject.record("0");
    let key = subject.create_new(&first).await;
    concurrently(&subject, |subject, _, _| {
        let first = first.clone();
        async move {
            for _ in 0..INCREMENTS {
                increment(&subject, &key, first.clone()).await;
            }
        }
    })
    .await;
    let Lookup::Found(last) = subject.load(&key).await else { panic!("the record is missing") };
    assert_eq!(last.payload, (CALLS * INCREMENTS).to_string(), "increments were lost or counted twice");
}

pub(super) async fn touch_and_update(subject: Subject) {
    for _ in 0..ROUNDS {
        let (first, second) = (subject.record("first"), subject.record("second"));
        let key = subject.create_new(&first).await;
        let (expected, later) = (first.version, first.expires_at.plus(HOUR));
        let replies = concurrently(&subject, |subject, number, _| {
            let second = second.clone();
            async move {
                if number != CALLS / 2 {
                    return subject.touch(&key, expected, later).await;
                }
                assert_eq!(
                    subject.update(&key, expected, &second).await,
                    Update::Updated,
                    "a touch changed the version"
                );
                Touch::Conflict
            }
        })
        .await;
        assert!(replies.iter().all(|reply| *reply != Touch::Gone), "touch reported that a live session has ended");
        subject.assert_holds(&key, &second).await;
    }
}
