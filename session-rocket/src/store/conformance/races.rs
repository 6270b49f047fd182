//! Clauses 2 to 5: many concurrent calls for one key.

use tokio::task::JoinSet;

use super::subject::{HOUR, Subject, random_key};
use crate::base::id::Key;
use crate::store::record::Record;
use crate::store::{Create, Lookup, Retire, Touch, Update};

/// The number of concurrent calls.
const CROWD: usize = 16;
const ROUNDS: usize = 4;

/// Makes calls concurrently, each with a number and a record of its own, and returns their results.
async fn crowd<F, R>(on: &Subject, call: impl Fn(Subject, usize, Record) -> F) -> Vec<R>
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let call = |number| call(on.clone(), number, on.record(&format!("number {number}")));
    (0..CROWD).map(call).collect::<JoinSet<R>>().join_all().await
}

pub(super) async fn creates(on: Subject) {
    for _ in 0..ROUNDS {
        let key = random_key();
        let create = |on: Subject, _, record| async move {
            let created = on.create(&key, &record).await == Create::Created;
            created.then_some(record)
        };
        let created: Vec<Record> = crowd(&on, create).await.into_iter().flatten().collect();
        assert_eq!(created.len(), 1, "exactly one of {CROWD} concurrent calls must win");
        on.holds(&key, &created[0]).await;
    }
}

/// Races updates and retires of one record. Each reply says whether the call won, and what the key holds.
async fn race(on: &Subject, is_update: fn(usize) -> bool) {
    for _ in 0..ROUNDS {
        let first = on.record("first");
        let (key, expected) = (on.stored(&first).await, first.version);
        let call = |on: Subject, number, record| async move {
            let tombstone = Lookup::Tombstone(on.ended());
            if is_update(number) {
                match on.update(&key, expected, &record).await {
                    Update::Updated => (true, Lookup::Found(record)),
                    Update::Conflict(fresh) => (false, Lookup::Found(fresh)),
                    Update::Gone => (false, tombstone),
                    Update::Moved(_) => panic!("no call moved the session"),
                }
            } else {
                match on.retire(&key, Some(expected), on.ended()).await {
                    Retire::Retired => (true, tombstone),
                    Retire::Conflict(fresh) => (false, Lookup::Found(fresh)),
                    Retire::Gone => (false, tombstone),
                }
            }
        };
        let replies = crowd(on, call).await;
        let winners = replies.iter().filter(|(won, _)| *won).count();
        assert_eq!(winners, 1, "exactly one of {CROWD} concurrent calls must win");
        let entry = on.load(&key).await;
        assert!(replies.iter().all(|(_, shown)| *shown == entry), "a reply is not what the key holds");
    }
}

pub(super) async fn updates(on: Subject) {
    race(&on, |_| true).await;
}

pub(super) async fn updates_and_retires(on: Subject) {
    race(&on, |number| number.is_multiple_of(2)).await;
}

/// Adds one by compare-and-swap, and retries until it succeeds.
async fn increment(on: &Subject, key: &Key, mut current: Record) {
    loop {
        let count: u32 = std::str::from_utf8(&current.payload).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let next = on.record(&(count + 1).to_string());
        match on.update(key, current.version, &next).await {
            Update::Updated => return,
            Update::Conflict(fresh) => current = fresh,
            Update::Moved(_) | Update::Gone => panic!("a live record was taken for an ended one"),
        }
    }
}

pub(super) async fn increments(on: Subject) {
    const EACH: usize = 4;
    let first = on.record("0");
    let key = on.stored(&first).await;
    crowd(&on, |on, _, _| {
        let first = first.clone();
        async move {
            for _ in 0..EACH {
                increment(&on, &key, first.clone()).await;
            }
        }
    })
    .await;
    let Lookup::Found(last) = on.load(&key).await else { panic!("the record is gone") };
    assert_eq!(last.payload, (CROWD * EACH).to_string(), "increments were lost or counted twice");
}

pub(super) async fn touch_and_update(on: Subject) {
    for _ in 0..ROUNDS {
        let (first, second) = (on.record("first"), on.record("second"));
        let key = on.stored(&first).await;
        let (expected, later) = (first.version, first.expires_at.plus(HOUR));
        let replies = crowd(&on, |on, number, _| {
            let second = second.clone();
            async move {
                if number != CROWD / 2 {
                    return on.touch(&key, expected, later).await;
                }
                assert_eq!(on.update(&key, expected, &second).await, Update::Updated, "a touch changed the version");
                Touch::Conflict
            }
        })
        .await;
        assert!(replies.iter().all(|reply| *reply != Touch::Gone), "a live record was taken for an ended one");
        on.holds(&key, &second).await;
    }
}
