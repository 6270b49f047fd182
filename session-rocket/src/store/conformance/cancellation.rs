//! Clause 10: calls that are dropped half way.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::task::JoinSet;

use super::{Create, ErrorKind, HOUR, Key, Lookup, Record, Subject, Touch, Update, random_key, version};

/// When a call is dropped.
#[derive(Clone, Copy)]
struct Cut {
    polls: usize,
    /// When it would be polled next, with an answer waiting; else at once, while the back-end is at work.
    late: bool,
}

/// Polls `call` so often at most, then drops it. Whether it had ended.
async fn cut_off(cut: Cut, call: impl Future) -> bool {
    let mut call = pin!(call);
    let mut left = cut.polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 && !cut.late => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Cuts after 0, 1, 2, … polls, until the call ends before it is cut off, and some times more: a call does not take
/// the same number of polls each time.
#[derive(Default)]
struct Cuts {
    tried: usize,
    ended: u32,
}

impl Cuts {
    fn next(&mut self) -> Option<Cut> {
        const MORE: u32 = 4;
        const MOST: usize = 10_000;
        assert!(self.tried < MOST, "a call did not end within {MOST} polls");
        let cut = Cut { polls: self.tried / 2, late: self.tried % 2 == 1 };
        self.tried += 1;
        (self.ended <= MORE).then_some(cut)
    }

    fn note(&mut self, ended: bool) {
        self.ended += u32::from(ended);
    }
}

/// Others' keys and records, and their calls: each must be given its own answer.
struct Neighbours(Vec<(Key, Record)>);

impl Neighbours {
    async fn new(on: &Subject) -> Self {
        let mut neighbours = Vec::new();
        for number in 0..4 {
            let record = on.record(&format!("neighbour {number}"));
            neighbours.push((on.stored(&record).await, record));
        }
        Self(neighbours)
    }

    /// All of them call at once.
    async fn call(&mut self, on: &Subject) {
        let mut tasks = JoinSet::new();
        for (number, (key, record)) in self.0.drain(..).enumerate() {
            let on = on.clone();
            tasks.spawn(async move {
                on.holds(&key, &record).await;
                let next = on.record(&format!("neighbour {number}, again"));
                assert_eq!(on.update(&key, record.version, &next).await, Update::Updated, "a neighbour's answer");
                assert_eq!(on.load(&random_key()).await, Lookup::Absent, "a stranger's answer");
                assert_eq!(on.touch(&key, record.version, on.in_an_hour()).await, Touch::Conflict, "their answer");
                on.holds(&key, &next).await;
                (key, next)
            });
        }
        self.0 = tasks.join_all().await;
    }
}

pub(super) async fn reads(on: Subject) {
    let mut neighbours = Neighbours::new(&on).await;
    let record = on.record("read").with_identity("read");
    let key = on.stored(&record).await;
    let mut cuts = Cuts::default();
    while let Some(cut) = cuts.next() {
        let ended = cut_off(cut, on.store.load(&key)).await;
        neighbours.call(&on).await;
        on.holds(&key, &record).await;
        cuts.note(ended);
    }
}

pub(super) async fn creates(on: Subject) {
    let mut neighbours = Neighbours::new(&on).await;
    let mut cuts = Cuts::default();
    while let Some(cut) = cuts.next() {
        let (key, first, second) = (random_key(), on.record("first"), on.record("second"));
        let ended = cut_off(cut, on.store.create(&key, &first)).await;
        neighbours.call(&on).await;
        let held = on.load(&key).await;
        assert!(held == Lookup::Absent || held == Lookup::Found(first.clone()), "half a create: {held:?}");
        let second_won = on.create(&key, &second).await == Create::Created;
        assert!(!(second_won && (ended || held != Lookup::Absent)), "an acknowledged create was overwritten");
        neighbours.call(&on).await;
        on.holds(&key, if second_won { &second } else { &first }).await;
        cuts.note(ended);
    }
}

pub(super) async fn updates(on: Subject) {
    let mut neighbours = Neighbours::new(&on).await;
    let mut cuts = Cuts::default();
    while let Some(cut) = cuts.next() {
        let (first, second, third) = (on.record("first"), on.record("second"), on.record("third"));
        let key = on.stored(&first).await;
        let ended = cut_off(cut, on.store.update(&key, first.version, &second)).await;
        neighbours.call(&on).await;
        let held = on.load(&key).await;
        let old = held == Lookup::Found(first.clone());
        assert!(old || held == Lookup::Found(second.clone()), "half an update: {held:?}");
        assert!(!(ended && old), "an acknowledged update was lost");
        match on.update(&key, first.version, &third).await {
            Update::Updated if old => on.holds(&key, &third).await,
            Update::Conflict(fresh) => assert_eq!(fresh, second, "a record that nobody wrote"),
            wrong => panic!("after an update that was cut off, the next gave {wrong:?}"),
        }
        cuts.note(ended);
    }
}

pub(super) async fn touches(on: Subject) {
    let mut neighbours = Neighbours::new(&on).await;
    let mut cuts = Cuts::default();
    while let Some(cut) = cuts.next() {
        let first = on.record("touched");
        let key = on.stored(&first).await;
        let mut touched = first.clone();
        touched.expires_at = first.expires_at.plus(HOUR);
        let ended = cut_off(cut, on.store.touch(&key, first.version, touched.expires_at)).await;
        neighbours.call(&on).await;
        let held = on.load(&key).await;
        let old = held == Lookup::Found(first.clone());
        assert!(old || held == Lookup::Found(touched), "half a touch: {held:?}");
        assert!(!(ended && old), "an acknowledged touch was lost");
        cuts.note(ended);
    }
}

pub(super) async fn retires(on: Subject) {
    let mut neighbours = Neighbours::new(&on).await;
    let mut cuts = Cuts::default();
    while let Some(cut) = cuts.next() {
        let (record, tombstone) = (on.record("retired"), on.moved(random_key()));
        let key = on.stored(&record).await;
        let ended = cut_off(cut, on.store.retire(&key, Some(record.version), tombstone)).await;
        neighbours.call(&on).await;
        let held = on.load(&key).await;
        let old = held == Lookup::Found(record.clone());
        assert!(old || held == Lookup::Tombstone(tombstone), "half a retire: {held:?}");
        assert!(!(ended && old), "an acknowledged retire was lost");
        cuts.note(ended);
    }
}

pub(super) async fn deletes(on: Subject) {
    let mut neighbours = Neighbours::new(&on).await;
    let mut cuts = Cuts::default();
    while let Some(cut) = cuts.next() {
        let record = on.record("deleted");
        let key = on.stored(&record).await;
        let ended = cut_off(cut, on.store.delete(&key)).await;
        neighbours.call(&on).await;
        let held = on.load(&key).await;
        let old = held == Lookup::Found(record.clone());
        assert!(old || held == Lookup::Absent, "half a delete: {held:?}");
        assert!(!(ended && old), "an acknowledged delete was lost");
        cuts.note(ended);
    }
}

pub(super) async fn sweeps(on: Subject) {
    let mut neighbours = Neighbours::new(&on).await;
    let mut cuts = Cuts::default();
    while let Some(cut) = cuts.next() {
        let record = on.record("live");
        let key = on.stored(&record).await;
        let ended = cut_off(cut, on.store.delete_expired(10)).await;
        neighbours.call(&on).await;
        on.holds(&key, &record).await;
        cuts.note(ended);
    }
}

pub(super) async fn retire_alls(on: Subject) {
    let mut neighbours = Neighbours::new(&on).await;
    let mut cuts = Cuts::default();
    while let Some(cut) = cuts.next() {
        let identity = version().bits().to_string();
        let record = on.record("theirs").with_identity(&identity);
        let keys = [on.stored(&record).await, on.stored(&record).await];
        let call = async {
            let retired = on.store.retire_all("conformance", &identity, None, on.ended().expires_at).await;
            retired.err().is_none_or(|error| error.kind() != ErrorKind::Unsupported)
        };
        let ended = cut_off(cut, call).await;
        neighbours.call(&on).await;
        for key in keys {
            let held = on.load(&key).await;
            let whole = held == Lookup::Found(record.clone()) || held == Lookup::Tombstone(on.ended());
            assert!(whole, "half a retire_all: {held:?}");
        }
        cuts.note(ended);
    }
}
