//! Clauses 2 to 5: many concurrent calls for one key.

use std::panic::resume_unwind;

use futures::future::join_all;

use super::{Create, HOUR, Key, Lookup, Record, Retire, Subject, Touch, Update, random_key};

/// The number of concurrent calls.
const CROWD: usize = 16;
const ROUNDS: usize = 4;

/// Runs `call` for all numbers of the crowd concurrently. Returns the answers in the order of the numbers.
async fn crowd<F, R>(call: impl Fn(usize) -> F) -> Vec<R>
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let tasks = (0..CROWD).map(|number| tokio::spawn(call(number))).collect::<Vec<_>>();
    let answers = join_all(tasks).await;
    answers.into_iter().map(|answer| answer.unwrap_or_else(|error| resume_unwind(error.into_panic()))).collect()
}

/// The number of the only answer for which `won` is true.
fn winner<R>(answers: &[R], won: impl Fn(&R) -> bool) -> usize {
    let winners: Vec<usize> = (0..answers.len()).filter(|number| won(&answers[*number])).collect();
    assert_eq!(winners.len(), 1, "exactly one of {CROWD} concurrent calls must win");
    winners[0]
}

fn records(on: &Subject) -> Vec<Record> {
    (0..CROWD).map(|number| on.record(&format!("number {number}"))).collect()
}

pub(super) async fn creates(on: Subject) {
    for _ in 0..ROUNDS {
        let (key, records) = (random_key(), records(&on));
        let answers = crowd(|number| {
            let (on, record) = (on.clone(), records[number].clone());
            async move { on.create(&key, &record).await }
        })
        .await;
        let winner = winner(&answers, |answer| *answer == Create::Created);
        on.holds(&key, &records[winner]).await;
    }
}

pub(super) async fn updates(on: Subject) {
    for _ in 0..ROUNDS {
        let (first, records) = (on.record("first"), records(&on));
        let key = on.stored(&first).await;
        let answers = crowd(|number| {
            let (on, expected, record) = (on.clone(), first.version, records[number].clone());
            async move { on.update(&key, expected, &record).await }
        })
        .await;
        let winner = winner(&answers, |answer| *answer == Update::Updated);
        on.holds(&key, &records[winner]).await;
        for answer in answers.into_iter().filter(|answer| *answer != Update::Updated) {
            assert_eq!(answer, Update::Conflict(records[winner].clone()), "a conflict tells the record now there");
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
    crowd(|_| {
        let (on, first) = (on.clone(), first.clone());
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
        let later = first.expires_at.plus(HOUR);
        let answers = crowd(|number| {
            let (on, expected, second) = (on.clone(), first.version, second.clone());
            async move {
                if number == CROWD / 2 {
                    assert_eq!(
                        on.update(&key, expected, &second).await,
                        Update::Updated,
                        "a touch changed the version"
                    );
                    return Touch::Conflict;
                }
                on.touch(&key, expected, later).await
            }
        })
        .await;
        assert!(!answers.contains(&Touch::Gone), "a live record was taken for an ended one");
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
        let (first, records) = (on.record("first"), records(&on));
        let key = on.stored(&first).await;
        let answers = crowd(|number| {
            let (on, expected, record) = (on.clone(), first.version, records[number].clone());
            async move {
                if number % 2 == 0 {
                    Raced::Update(on.update(&key, expected, &record).await)
                } else {
                    Raced::Retire(on.retire(&key, Some(expected), on.ended()).await)
                }
            }
        })
        .await;
        let won = [Raced::Update(Update::Updated), Raced::Retire(Retire::Retired)];
        let winner = winner(&answers, |answer| won.contains(answer));
        let updated = answers[winner] == won[0];
        let held = if updated { Lookup::Found(records[winner].clone()) } else { Lookup::Tombstone(on.ended()) };
        assert_eq!(on.load(&key).await, held, "not what the winner left");
        for answer in answers.into_iter().filter(|answer| !won.contains(answer)) {
            let told = match answer {
                Raced::Update(Update::Conflict(fresh)) | Raced::Retire(Retire::Conflict(fresh)) => Some(fresh),
                Raced::Update(Update::Gone) | Raced::Retire(Retire::Gone) => None,
                wrong => panic!("a loser was told {wrong:?}"),
            };
            assert_eq!(told, updated.then(|| records[winner].clone()), "a loser is told what is now there");
        }
    }
}
