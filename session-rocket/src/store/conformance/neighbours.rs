//! Clauses 1 to 5: many calls at once for different keys, which a store may send to its back-end together. Each gets an
//! answer of its own.

use tokio::task::JoinSet;

use super::{
    Clock, Create, HOUR, Key, Lookup, Record, Retire, Subject, Tombstone, Touch, Update, Version, random_key, version,
};

/// So many calls at once.
const CROWD: usize = 64;
const ROUNDS: usize = 3;
/// Larger than some columns and packets.
const LARGE: usize = 70_000;

/// What a key holds.
#[derive(Clone)]
enum Case {
    /// A record, whose version is known.
    Live(Record),
    /// A record of another version than the one that is known.
    Stale(Record),
    Ended(Tombstone),
    Moved(Tombstone, Key),
    Absent,
}

impl Case {
    async fn new(on: &Subject, number: usize) -> (Key, Self) {
        let record = on.record(&format!("number {number}")).with_identity(format!("user {number}"));
        match number % 8 {
            0 => (on.stored(&record).await, Self::Stale(record)),
            1 => {
                let tombstone = on.ended();
                (on.buried(tombstone).await, Self::Ended(tombstone))
            }
            2 => {
                let to = random_key();
                let tombstone = on.moved(to);
                (on.buried(tombstone).await, Self::Moved(tombstone, to))
            }
            3 => (random_key(), Self::Absent),
            _ => (on.stored(&record).await, Self::Live(record)),
        }
    }

    /// What is there, as long as nobody changes it.
    fn held(&self) -> Lookup {
        match self {
            Self::Live(record) | Self::Stale(record) => Lookup::Found(record.clone()),
            Self::Ended(tombstone) | Self::Moved(tombstone, _) => Lookup::Tombstone(*tombstone),
            Self::Absent => Lookup::Absent,
        }
    }

    /// The version that a caller knows.
    fn known(&self) -> Version {
        if let Self::Live(record) = self { record.version } else { version() }
    }
}

/// Runs `call` for all keys of a crowd at once.
async fn crowd<F>(on: &Subject, call: impl Fn(Subject, Key, Case, usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    for _ in 0..ROUNDS {
        let mut cases = Vec::new();
        for number in 0..CROWD {
            cases.push(Case::new(on, number).await);
        }
        let mut tasks = JoinSet::new();
        for (number, (key, case)) in cases.into_iter().enumerate() {
            tasks.spawn(call(on.clone(), key, case, number));
        }
        while let Some(done) = tasks.join_next().await {
            if let Err(panic) = done {
                std::panic::resume_unwind(panic.into_panic());
            }
        }
    }
}

pub(super) async fn loads(on: Subject) {
    let hot = on.stored(&on.record("hot")).await;
    crowd(&on, |on, key, case, _| async move {
        assert_eq!(on.load(&key).await, case.held(), "a load was given another's answer");
        assert!(matches!(on.load(&hot).await, Lookup::Found(_)), "one key, loaded by many at once");
    })
    .await;
}

pub(super) async fn creates(on: Subject) {
    crowd(&on, |on, key, case, number| async move {
        let record = on.record(&format!("new {number}"));
        let created = on.create(&key, &record).await;
        if matches!(case, Case::Absent) {
            assert_eq!(created, Create::Created);
            on.holds(&key, &record).await;
        } else {
            assert_eq!(created, Create::Taken);
            assert_eq!(on.load(&key).await, case.held(), "what was in the way was changed");
        }
    })
    .await;
}

pub(super) async fn updates(on: Subject) {
    crowd(&on, |on, key, case, number| async move {
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
        let expected = match &case {
            Case::Live(_) => Update::Updated,
            Case::Stale(held) => Update::Conflict(held.clone()),
            Case::Moved(_, to) => Update::Moved(*to),
            Case::Ended(_) | Case::Absent => Update::Gone,
        };
        assert_eq!(on.update(&key, case.known(), &record).await, expected, "an update was given another's answer");
        let held = if expected == Update::Updated { Lookup::Found(record) } else { case.held() };
        assert_eq!(on.load(&key).await, held, "an update did something else than it said");
    })
    .await;
}

pub(super) async fn touches(on: Subject) {
    crowd(&on, |on, key, case, _| async move {
        let later = on.in_an_hour().plus(HOUR);
        let (expected, held) = match &case {
            Case::Live(record) => {
                let mut record = record.clone();
                record.expires_at = later;
                (Touch::Touched, Lookup::Found(record))
            }
            Case::Stale(_) => (Touch::Conflict, case.held()),
            Case::Moved(..) | Case::Ended(_) | Case::Absent => (Touch::Gone, case.held()),
        };
        assert_eq!(on.touch(&key, case.known(), later).await, expected, "a touch was given another's answer");
        assert_eq!(on.load(&key).await, held, "a touch did something else than it said");
    })
    .await;
}

pub(super) async fn retires(on: Subject) {
    crowd(&on, |on, key, case, number| async move {
        let tombstone = if number % 2 == 0 { on.ended() } else { on.moved(random_key()) };
        // Some retire whatever there is.
        let known = (number % 3 > 0).then(|| case.known());
        let expected = match &case {
            Case::Stale(held) if known.is_some() => Retire::Conflict(held.clone()),
            Case::Live(_) | Case::Stale(_) => Retire::Retired,
            Case::Moved(..) | Case::Ended(_) | Case::Absent => Retire::Gone,
        };
        assert_eq!(on.retire(&key, known, tombstone).await, expected, "a retire was given another's answer");
        let held = if expected == Retire::Retired { Lookup::Tombstone(tombstone) } else { case.held() };
        assert_eq!(on.load(&key).await, held, "a retire did something else than it said");
    })
    .await;
}
