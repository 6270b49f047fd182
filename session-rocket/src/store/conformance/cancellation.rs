//! Clause 10: calls that are dropped before they end.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::task::JoinSet;

use super::subject::{HOUR, Subject, random_key, version};
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
/// take the same number of polls each time. After each cut, neighbours call, and each must get its own answer.
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

    /// Cuts `call` off at the next point. Returns whether it ended before.
    async fn cut(&mut self, call: impl Future) -> bool {
        let ended = cut_off(self.tried / 2, self.tried % 2 == 1, call).await;
        self.tried += 1;
        self.ended += u32::from(ended);
        self.neighbours_call().await;
        ended
    }

    /// Cuts off `call`, which changes what `key` holds from `old` to `new`. Returns whether `key` holds `old`.
    async fn cut_change(&mut self, call: impl Future, key: &Key, old: Lookup, new: Lookup) -> bool {
        let ended = self.cut(call).await;
        let held = self.on.load(key).await;
        assert!(held == old || held == new, "half a change: {held:?}");
        assert!(!ended || held == new, "an acknowledged change was lost");
        held == old
    }

    async fn neighbours_call(&mut self) {
        let mut tasks = JoinSet::new();
        for (number, (key, record)) in self.neighbours.drain(..).enumerate() {
            let on = self.on.clone();
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
        self.neighbours = tasks.join_all().await;
    }
}

pub(super) async fn reads(on: Subject) {
    let mut cuts = Cuts::new(&on).await;
    let record = on.record("read").with_identity("read");
    let key = on.stored(&record).await;
    while cuts.is_unfinished() {
        cuts.cut(on.store.load(&key)).await;
        on.holds(&key, &record).await;
    }
}

pub(super) async fn creates(on: Subject) {
    let mut cuts = Cuts::new(&on).await;
    while cuts.is_unfinished() {
        let (key, first, second) = (random_key(), on.record("first"), on.record("second"));
        let call = on.store.create(&key, &first);
        let absent = cuts.cut_change(call, &key, Lookup::Absent, Lookup::Found(first.clone())).await;
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
        let (old, new) = (Lookup::Found(first.clone()), Lookup::Found(second.clone()));
        let is_old = cuts.cut_change(call, &key, old, new).await;
        match on.update(&key, first.version, &third).await {
            Update::Updated if is_old => on.holds(&key, &third).await,
            Update::Conflict(fresh) => assert_eq!(fresh, second, "a record that nobody wrote"),
            wrong => panic!("after an update that was cut off, the next update returned {wrong:?}"),
        }
    }
}

pub(super) async fn touches(on: Subject) {
    let mut cuts = Cuts::new(&on).await;
    while cuts.is_unfinished() {
        let first = on.record("touched");
        let key = on.stored(&first).await;
        let touched = Record { expires_at: first.expires_at.plus(HOUR), ..first.clone() };
        let call = on.store.touch(&key, first.version, touched.expires_at);
        cuts.cut_change(call, &key, Lookup::Found(first), Lookup::Found(touched)).await;
    }
}

pub(super) async fn retires(on: Subject) {
    let mut cuts = Cuts::new(&on).await;
    while cuts.is_unfinished() {
        let (record, tombstone) = (on.record("retired"), on.moved(random_key()));
        let key = on.stored(&record).await;
        let call = on.store.retire(&key, Some(record.version), tombstone);
        cuts.cut_change(call, &key, Lookup::Found(record), Lookup::Tombstone(tombstone)).await;
    }
}

pub(super) async fn deletes(on: Subject) {
    let mut cuts = Cuts::new(&on).await;
    while cuts.is_unfinished() {
        let record = on.record("deleted");
        let key = on.stored(&record).await;
        cuts.cut_change(on.store.delete(&key), &key, Lookup::Found(record), Lookup::Absent).await;
    }
}

pub(super) async fn sweeps(on: Subject) {
    let mut cuts = Cuts::new(&on).await;
    while cuts.is_unfinished() {
        let record = on.record("live");
        let key = on.stored(&record).await;
        cuts.cut(on.store.delete_expired(10)).await;
        on.holds(&key, &record).await;
    }
}

pub(super) async fn retire_alls(on: Subject) {
    let mut cuts = Cuts::new(&on).await;
    while cuts.is_unfinished() {
        let identity = version().bits().to_string();
        let record = on.record("theirs").with_identity(&identity);
        let keys = [on.stored(&record).await, on.stored(&record).await];
        cuts.cut(on.store.retire_all("conformance", &identity, None, on.ended().expires_at)).await;
        for key in keys {
            let held = on.load(&key).await;
            let whole = held == Lookup::Found(record.clone()) || held == Lookup::Tombstone(on.ended());
            assert!(whole, "half a retire_all: {held:?}");
        }
    }
}
