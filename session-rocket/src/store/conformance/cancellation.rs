//! Clause 10: calls that are dropped before they end.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::task::JoinSet;

use super::subject::{HOUR, Subject, random_key};
use crate::base::id::Key;
use crate::store::record::Record;
use crate::store::{Create, Lookup, Touch, Update};

/// Polls `call` at most `polls` times, then drops it: right after the last poll, while the back-end works, or, if
/// `late`, when the call would be polled again, with a reply waiting. Returns whether the call ended.
async fn cut_off(polls: usize, late: bool, call: impl Future) -> bool {
    let mut call = pin!(call);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 && !late => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Drops a call after 0, 1, 2, … polls until the call ends first, and then a few times more, because a call does not
/// take the same number of polls each time. After each cut, neighbours call, and each must get its own reply.
struct Cuts {
    on: Subject,
    neighbours: Vec<(Key, Record)>,
    tried: usize,
    ended: u32,
}

impl Cuts {
    async fn new(on: &Subject) -> Self {
        let mut neighbours = Vec::new();
        for number in 0..4 {
            let record = on.record(&format!("neighbour {number}"));
            neighbours.push((on.stored(&record).await, record));
        }
        Self { on: on.clone(), neighbours, tried: 0, ended: 0 }
    }

    fn is_unfinished(&self) -> bool {
        const MORE: u32 = 4;
        const MOST: usize = 10_000;
        assert!(self.tried < MOST, "a call did not end within {MOST} polls");
        self.ended <= MORE
    }

    /// Cuts off `call`, which changes what `key` holds from `old` to `new`, at the next point. Returns whether `key` holds
    /// `old`.
    async fn cut(&mut self, call: impl Future, key: &Key, old: &Lookup, new: &Lookup) -> bool {
        let ended = cut_off(self.tried / 2, self.tried % 2 == 1, call).await;
        self.tried += 1;
        self.ended += u32::from(ended);
        self.neighbours_call().await;
        let entry = self.on.load(key).await;
        assert!(entry == *old || entry == *new, "half a change: {entry:?}");
        assert!(!ended || entry == *new, "an acknowledged change was lost");
        entry == *old
    }

    async fn neighbours_call(&mut self) {
        let mut tasks = JoinSet::new();
        for (number, (key, record)) in self.neighbours.drain(..).enumerate() {
            let on = self.on.clone();
            tasks.spawn(async move {
                on.holds(&key, &record).await;
                let next = on.record(&format!("neighbour {number}, again"));
                assert_eq!(on.update(&key, record.version, &next).await, Update::Updated, "another call's reply");
                assert_eq!(on.load(&random_key()).await, Lookup::Absent, "another call's reply");
                let touched = on.touch(&key, record.version, on.in_an_hour()).await;
                assert_eq!(touched, Touch::Conflict, "another call's reply");
                on.holds(&key, &next).await;
                (key, next)
            });
        }
        self.neighbours = tasks.join_all().await;
    }
}

/// Cuts off calls on a record. `prepare` returns what the key holds after the call, and the call.
async fn cut_each<F: Future>(on: Subject, prepare: impl Fn(Subject, Key, Record) -> (Lookup, F)) {
    let mut cuts = Cuts::new(&on).await;
    while cuts.is_unfinished() {
        // With an identity of its own.
        let record = on.record("cut off").with_identity(random_key().to_hex());
        let key = on.stored(&record).await;
        let (new, call) = prepare(on.clone(), key, record.clone());
        cuts.cut(call, &key, &Lookup::Found(record), &new).await;
    }
}

pub(super) async fn reads(on: Subject) {
    cut_each(on, |on, key, record| (Lookup::Found(record), async move { on.load(&key).await })).await;
}

pub(super) async fn creates(on: Subject) {
    let mut cuts = Cuts::new(&on).await;
    while cuts.is_unfinished() {
        let (key, first, second) = (random_key(), on.record("first"), on.record("second"));
        let call = on.store.create(&key, &first);
        let absent = cuts.cut(call, &key, &Lookup::Absent, &Lookup::Found(first.clone())).await;
        let second_won = on.create(&key, &second).await == Create::Created;
        assert!(absent || !second_won, "an acknowledged create was overwritten");
        cuts.neighbours_call().await;
        on.holds(&key, if second_won { &second } else { &first }).await;
    }
}

pub(super) async fn updates(on: Subject) {
    let mut cuts = Cuts::new(&on).await;
    while cuts.is_unfinished() {
        let (first, second, third) = (on.record("first"), on.record("second"), on.record("third"));
        let key = on.stored(&first).await;
        let call = on.store.update(&key, first.version, &second);
        let is_old = cuts.cut(call, &key, &Lookup::Found(first.clone()), &Lookup::Found(second.clone())).await;
        match on.update(&key, first.version, &third).await {
            Update::Updated if is_old => on.holds(&key, &third).await,
            Update::Conflict(fresh) => assert_eq!(fresh, second, "a record that nobody wrote"),
            wrong => panic!("after an update that was cut off, the next update returned {wrong:?}"),
        }
    }
}

pub(super) async fn touches(on: Subject) {
    cut_each(on, |on, key, record| {
        let expires_at = record.expires_at.plus(HOUR);
        let touched = Record { expires_at, ..record.clone() };
        (Lookup::Found(touched), async move { on.touch(&key, record.version, expires_at).await })
    })
    .await;
}

pub(super) async fn retires(on: Subject) {
    cut_each(on, |on, key, record| {
        let tombstone = on.moved(random_key());
        (Lookup::Tombstone(tombstone), async move { on.retire(&key, Some(record.version), tombstone).await })
    })
    .await;
}

pub(super) async fn deletes(on: Subject) {
    cut_each(on, |on, key, _| (Lookup::Absent, async move { on.delete(&key).await })).await;
}

pub(super) async fn sweeps(on: Subject) {
    cut_each(on, |on, _, record| (Lookup::Found(record), async move { on.store.delete_expired(10).await })).await;
}

pub(super) async fn lists(on: Subject) {
    if !on.store.has_identity_index() {
        return;
    }
    let mut cuts = Cuts::new(&on).await;
    let identity = random_key().to_hex();
    // One record for all lists, because a list may wait once for each record in the store.
    let record = on.record("listed").with_identity(&identity);
    let key = on.stored(&record).await;
    let entry = Lookup::Found(record);
    while cuts.is_unfinished() {
        cuts.cut(on.store.list("conformance", &identity), &key, &entry, &entry).await;
    }
}
