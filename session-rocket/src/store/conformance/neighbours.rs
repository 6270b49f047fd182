//! Clauses 1 to 5: many concurrent calls for different keys, which a store may send to its back-end together. Each call
//! gets its own answer.

use tokio::task::JoinSet;

use super::subject::{HOUR, Subject, random_key, version};
use crate::base::clock::Clock;
use crate::base::id::Key;
use crate::store::Lookup;
use crate::store::record::Version;

/// The number of concurrent calls.
const CROWD: usize = 64;
const ROUNDS: usize = 3;
/// Larger than some columns and packets.
const LARGE: usize = 70_000;

/// A key of a crowd.
struct Case {
    number: usize,
    key: Key,
    held: Lookup,
    /// The version that the caller knows.
    known: Version,
}

impl Case {
    async fn new(on: &Subject, number: usize) -> Self {
        let record = on.record(&format!("number {number}")).with_identity(format!("user {number}"));
        let known = if number.is_multiple_of(8) { version() } else { record.version };
        let (key, held) = match number % 8 {
            1 => (on.buried(on.ended()).await, Lookup::Tombstone(on.ended())),
            2 => {
                let tombstone = on.moved(random_key());
                (on.buried(tombstone).await, Lookup::Tombstone(tombstone))
            }
            3 => (random_key(), Lookup::Absent),
            _ => (on.stored(&record).await, Lookup::Found(record)),
        };
        Self { number, key, held, known }
    }
}

/// Runs `call` for all keys of a crowd concurrently.
async fn crowd<F>(on: &Subject, call: impl Fn(Subject, Case) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    for _ in 0..ROUNDS {
        let mut cases = Vec::new();
        for number in 0..CROWD {
            cases.push(Case::new(on, number).await);
        }
        let tasks: JoinSet<()> = cases.into_iter().map(|case| call(on.clone(), case)).collect();
        tasks.join_all().await;
    }
}

pub(super) async fn loads(on: Subject) {
    let hot = on.stored(&on.record("hot")).await;
    crowd(&on, |on, case| async move {
        assert_eq!(on.load(&case.key).await, case.held, "not the answer of load");
        assert!(matches!(on.load(&hot).await, Lookup::Found(_)), "many loads of one key");
    })
    .await;
}

pub(super) async fn creates(on: Subject) {
    crowd(&on, |on, Case { number, key, held, .. }| async move {
        on.check_create(&key, held, &on.record(&format!("new {number}"))).await;
    })
    .await;
}

pub(super) async fn updates(on: Subject) {
    crowd(&on, |on, Case { number, key, held, known }| async move {
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
        on.check_update(&key, held, known, &record).await;
    })
    .await;
}

pub(super) async fn touches(on: Subject) {
    crowd(&on, |on, Case { key, held, known, .. }| async move {
        on.check_touch(&key, held, known, on.in_an_hour().plus(HOUR)).await;
    })
    .await;
}

pub(super) async fn retires(on: Subject) {
    crowd(&on, |on, Case { number, key, held, known }| async move {
        let tombstone = if number % 2 == 0 { on.ended() } else { on.moved(random_key()) };
        // Some calls retire any version.
        on.check_retire(&key, held, (number % 3 > 0).then_some(known), tombstone).await;
    })
    .await;
}
