//! Clause 10: calls that are dropped before they finish.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::task::JoinSet;

use super::subject::{HOUR, Subject, random_key};
use crate::base::id::Key;
use crate::store::record::Record;
use crate::store::{Create, Lookup, Touch, Update};

/// Polls `call` at most `polls` times, then drops it. Returns whether the call finished.
///
/// If `wait` is `false`, drops the call immediately after the last poll, while the back-end is working. If `wait` is
/// `true`, drops the call when it would be polled again, when an unread reply may exist.
async fn poll_and_drop(polls: usize, wait: bool, call: impl Future) -> bool {
    let mut call = pin!(call);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 && !wait => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Drops calls after 0, 1, 2 and so on polls, until several calls have finished, because the number of polls that a call
/// needs varies. From 32 polls, the number grows by a sixteenth, because a sweep may need hundreds of polls. After each
/// call, calls on other keys must get their own replies.
struct CallDropper {
    subject: Subject,
    /// The other keys and their records.
    neighbours: Vec<(Key, Record)>,
    polls: usize,
    /// Whether the next call is dropped when it would be polled again. Each number of polls is tried with both values.
    wait: bool,
    finished: u32,
}

impl CallDropper {
    async fn new(subject: &Subject) -> Self {
        let mut neighbours = Vec::new();
        for number in 0..4 {
            let record = subject.record(&format!("neighbour {number}"));
            neighbours.push((subject.create_new(&record).await, record));
        }
        Self { subject: subject.clone(), neighbours, polls: 0, wait: false, finished: 0 }
    }

    fn is_unfinished(&self) -> bool {
        const REPETITIONS: u32 = 4;
        const MAX_POLLS: usize = 5000;
        assert!(self.polls < MAX_POLLS, "a call did not finish within {MAX_POLLS} polls");
        self.finished <= REPETITIONS
    }

    /// Drops `call`, which changes the entry of `key` from `old` to `new`, after the next number of polls. Returns whether
    /// the entry is still `old`.
    async fn poll_and_drop(&mut self, call: impl Future, key: &Key, old: &Lookup, new: &Lookup) -> bool {
        let finished = poll_and_drop(self.polls, self.wait, call).await;
        if self.wait {
            self.polls += (self.polls / 16).max(1);
        }
        self.wait = !self.wait;
        self.finished += u32::from(finished);
        self.check_neighbours().await;
        let entry = self.subject.load(key).await;
        assert!(entry == *old || entry == *new, "a dropped call happened only partly: {entry:?}");
        assert!(!finished || entry == *new, "an acknowledged change was lost");
        entry == *old
    }

    /// Makes calls on the other keys, and checks that each call gets its own reply.
    async fn check_neighbours(&mut self) {
        const WRONG_REPLY: &str = "after a dropped call, another call got a wrong reply";
        let mut tasks = JoinSet::new();
        for (number, (key, record)) in self.neighbours.drain(..).enumerate() {
            let subject = self.subject.clone();
            tasks.spawn(async move {
                subject.assert_holds(&key, &record).await;
                let next = subject.record(&format!("neighbour {number}, again"));
                assert_eq!(subject.update(&key, record.version, &next).await, Update::Updated, "{WRONG_REPLY}");
                assert_eq!(subject.load(&random_key()).await, Lookup::Absent, "{WRONG_REPLY}");
                let touched = subject.touch(&key, record.version, subject.in_an_hour()).await;
                assert_eq!(touched, Touch::Conflict, "{WRONG_REPLY}");
                subject.assert_holds(&key, &next).await;
                (key, next)
            });
        }
        self.neighbours = tasks.join_all().await;
    }
}

/// Drops calls on a record. `prepare` returns a call, and the entry of the key after the call.
async fn drop_each<F: Future>(subject: Subject, prepare: impl Fn(Subject, Key, Record) -> (Lookup, F)) {
    let mut dropper = CallDropper::new(&subject).await;
    while dropper.is_unfinished() {
        // With an identity, so that calls that change the index are also dropped.
        let record = subject.record("dropped").with_identity(random_key().to_hex());
        let key = subject.create_new(&record).await;
        let (new, call) = prepare(subject.clone(), key, record.clone());
        dropper.poll_and_drop(call, &key, &Lookup::Found(record), &new).await;
    }
}

pub(super) async fn loads(subject: Subject) {
    drop_each(subject, |subject, key, record| (Lookup::Found(record), async move { subject.load(&key).await })).await;
}

pub(super) async fn creates(subject: Subject) {
    let mut dropper = CallDropper::new(&subject).await;
    while dropper.is_unfinished() {
        let (key, first, second) = (random_key(), subject.record("first"), subject.record("second"));
        let call = subject.store.create(&key, &first);
        let absent = dropper.poll_and_drop(call, &key, &Lookup::Absent, &Lookup::Found(first.clone())).await;
        let is_second = subject.create(&key, &second).await == Create::Created;
        assert!(absent || !is_second, "a second create replaced the record of the first");
        dropper.check_neighbours().await;
        subject.assert_holds(&key, if is_second { &second } else { &first }).await;
    }
}

pub(super) async fn updates(subject: Subject) {
    let mut dropper = CallDropper::new(&subject).await;
    while dropper.is_unfinished() {
        let (first, second, third) = (subject.record("first"), subject.record("second"), subject.record("third"));
        let key = subject.create_new(&first).await;
        let call = subject.store.update(&key, first.version, &second);
        let is_old =
            dropper.poll_and_drop(call, &key, &Lookup::Found(first.clone()), &Lookup::Found(second.clone())).await;
        match subject.update(&key, first.version, &third).await {
            Update::Updated if is_old => subject.assert_holds(&key, &third).await,
            Update::Conflict(fresh) => assert_eq!(fresh, second, "update returned a record that no call has written"),
            wrong => panic!("after a dropped update, the next update returned {wrong:?}"),
        }
    }
}

pub(super) async fn touches(subject: Subject) {
    drop_each(subject, |subject, key, record| {
        let expires_at = record.expires_at.plus(HOUR);
        let touched = Record { expires_at, ..record.clone() };
        (Lookup::Found(touched), async move { subject.touch(&key, record.version, expires_at).await })
    })
    .await;
}

pub(super) async fn retires(subject: Subject) {
    drop_each(subject, |subject, key, record| {
        let tombstone = subject.moved_tombstone(random_key());
        (Lookup::Tombstone(tombstone), async move { subject.retire(&key, Some(record.version), tombstone).await })
    })
    .await;
}

pub(super) async fn deletes(subject: Subject) {
    drop_each(subject, |subject, key, _| (Lookup::Absent, async move { subject.delete(&key).await })).await;
}

pub(super) async fn sweeps(subject: Subject) {
    drop_each(subject, |subject, _, record| {
        (Lookup::Found(record), async move { subject.store.delete_expired(10).await })
    })
    .await;
}

pub(super) async fn lists(subject: Subject) {
    if !subject.store.has_identity_index() {
        return;
    }
    let mut dropper = CallDropper::new(&subject).await;
    let identity = random_key().to_hex();
    // One record for all lists, because a list may need a poll for each record in the store.
    let record = subject.record("listed").with_identity(&identity);
    let key = subject.create_new(&record).await;
    let entry = Lookup::Found(record);
    while dropper.is_unfinished() {
        dropper.poll_and_drop(subject.store.list("conformance", &identity), &key, &entry, &entry).await;
    }
}
