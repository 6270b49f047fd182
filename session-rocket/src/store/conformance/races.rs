//! Clauses 2 to 5: many concurrent calls for one key.

use std::panic::resume_unwind;

use futures::future::join_all;

use super::subject::{HOUR, Subject, random_key};
use crate::base::id::Key;
use crate::store::record::Record;
use crate::store::{Create, Lookup, Retire, Touch, Update};

/// The number of concurrent calls.
const CROWD: usize = 16;
const ROUNDS: usize = 4;

/// Runs `call` for all numbers of the crowd concurrently, each with a record of its own. Returns the records and answers
/// in the order of the numbers.
async fn crowd<F, A>(on: &Subject, call: impl Fn(Subject, usize, Record) -> F) -> Vec<(Record, A)>
where
    F: Future<Output = A> + Send + 'static,
    A: Send + 'static,
{
    let calls = (0..CROWD).map(|number| {
        let record = on.record(&format!("number {number}"));
        let call = tokio::spawn(call(on.clone(), number, record.clone()));
        async move { (record, call.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))) }
    });
    // The calls run in tasks of their own from the moment that `collect` has spawned them.
    join_all(calls.collect::<Vec<_>>()).await
}

/// The only record whose call returned one of the answers `won`, and the answers of the other calls.
fn winner<A: PartialEq>(raced: Vec<(Record, A)>, won: &[A]) -> (Record, A, Vec<A>) {
    let (mut winners, losers): (Vec<_>, Vec<_>) = raced.into_iter().partition(|(_, answer)| won.contains(answer));
    assert_eq!(winners.len(), 1, "exactly one of {CROWD} concurrent calls must win");
    let (record, answer) = winners.remove(0);
    (record, answer, losers.into_iter().map(|(_, answer)| answer).collect())
}

pub(super) async fn creates(on: Subject) {
    for _ in 0..ROUNDS {
        let key = random_key();
        let raced = crowd(&on, |on, _, record| async move { on.create(&key, &record).await }).await;
        let (record, ..) = winner(raced, &[Create::Created]);
        on.holds(&key, &record).await;
    }
}

pub(super) async fn updates(on: Subject) {
    for _ in 0..ROUNDS {
        let first = on.record("first");
        let (key, expected) = (on.stored(&first).await, first.version);
        let raced = crowd(&on, |on, _, record| async move { on.update(&key, expected, &record).await }).await;
        let (record, _, losers) = winner(raced, &[Update::Updated]);
        on.holds(&key, &record).await;
        for answer in losers {
            assert_eq!(answer, Update::Conflict(record.clone()), "a conflict returns the record that the key holds");
        }
    }
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
        let raced = crowd(&on, |on, number, _| {
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
        assert!(raced.iter().all(|(_, answer)| *answer != Touch::Gone), "a live record was taken for an ended one");
        on.holds(&key, &second).await;
    }
}

/// The answers of the two kinds of call in a race.
#[derive(Debug, PartialEq)]
enum Raced {
    Update(Update),
    Retire(Retire),
}

pub(super) async fn retires(on: Subject) {
    for _ in 0..ROUNDS {
        let first = on.record("first");
        let (key, expected) = (on.stored(&first).await, first.version);
        let raced = crowd(&on, |on, number, record| async move {
            if number % 2 == 0 {
                Raced::Update(on.update(&key, expected, &record).await)
            } else {
                Raced::Retire(on.retire(&key, Some(expected), on.ended()).await)
            }
        })
        .await;
        let won = [Raced::Update(Update::Updated), Raced::Retire(Retire::Retired)];
        let (record, answer, losers) = winner(raced, &won);
        let updated = (answer == won[0]).then_some(record);
        let held = updated.clone().map_or(Lookup::Tombstone(on.ended()), Lookup::Found);
        assert_eq!(on.load(&key).await, held, "not what the winner left");
        for answer in losers {
            let told = match answer {
                Raced::Update(Update::Conflict(fresh)) | Raced::Retire(Retire::Conflict(fresh)) => Some(fresh),
                Raced::Update(Update::Gone) | Raced::Retire(Retire::Gone) => None,
                wrong => panic!("a losing call returned {wrong:?}"),
            };
            assert_eq!(told, updated, "a losing call returns what the key holds");
        }
    }
}
