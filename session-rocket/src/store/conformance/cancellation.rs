//! Calls whose futures are dropped: at a timeout, when a client goes away.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::task::JoinSet;

use super::{Bench, Broken, Checked, HOUR, Verdict, ensure, same};
use crate::id::Key;
use crate::record::{Fate, Record, Tombstone};
use crate::store::{Create, Lookup};

/// No store is expected to wait more often than this in one call.
const MOST_POLLS: usize = 64;

/// When a future is dropped.
#[derive(Debug, Clone, Copy)]
struct Cut {
    polls: usize,
    /// When it would be polled next, an answer waiting; else at once, while the back-end is at work.
    late: bool,
}

impl Cut {
    /// What `call` gives, unless it is dropped first.
    async fn apply<T>(self, call: impl Future<Output = T>) -> Option<T> {
        let mut call = pin!(call);
        let mut left = self.polls;
        poll_fn(move |context| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= 1;
            match call.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if left == 0 && !self.late => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

/// A call to be cut, on a key that holds `before` and would hold `after`.
#[derive(Debug, Clone, Copy)]
enum Call {
    Load,
    Create,
    Update,
    Touch,
    Retire,
    Delete,
    Sweep,
    List,
    RetireAll,
}

const CALLS: [Call; 9] = [
    Call::Load,
    Call::Create,
    Call::Update,
    Call::Touch,
    Call::Retire,
    Call::Delete,
    Call::Sweep,
    Call::List,
    Call::RetireAll,
];

/// What a cut call is about.
struct Scene {
    key: Key,
    before: Lookup,
    after: Lookup,
    old: Record,
    new: Record,
    tombstone: Tombstone,
}

impl Scene {
    async fn set(bench: &Bench, call: Call) -> Checked<Self> {
        let key = Bench::key()?;
        let old = bench.record("old")?.with_identity("somebody");
        let new = bench.record("new")?;
        let tombstone = bench.tombstone(Fate::Ended);
        let before = if matches!(call, Call::Create) { Lookup::Absent } else { Lookup::Found(old.clone()) };
        if !matches!(call, Call::Create) {
            bench.create(&key, &old).await?;
        }
        let mut touched = old.clone();
        touched.expires_at = bench.now().plus(HOUR * 2);
        let after = match call {
            Call::Load | Call::List | Call::Sweep => before.clone(),
            Call::Create | Call::Update => Lookup::Found(new.clone()),
            Call::Touch => Lookup::Found(touched),
            Call::Retire | Call::RetireAll => Lookup::Tombstone(tombstone),
            Call::Delete => Lookup::Absent,
        };
        Ok(Self { key, before, after, old, new, tombstone })
    }

    /// Makes the call, and drops it; true if it was done before that.
    async fn call(&self, bench: &Bench, call: Call, cut: Cut) -> bool {
        let (key, store, expected) = (&self.key, &bench.store, self.old.version);
        let (later, until) = (bench.now().plus(HOUR * 2), self.tombstone.expires_at);
        match call {
            Call::Load => cut.apply(store.load(key)).await.is_some(),
            Call::Create => cut.apply(store.create(key, &self.new)).await.is_some(),
            Call::Update => cut.apply(store.update(key, expected, &self.new)).await.is_some(),
            Call::Touch => cut.apply(store.touch(key, expected, later)).await.is_some(),
            Call::Retire => cut.apply(store.retire(key, Some(expected), self.tombstone)).await.is_some(),
            Call::Delete => cut.apply(store.delete(key)).await.is_some(),
            Call::Sweep => cut.apply(store.delete_expired(1000)).await.is_some(),
            Call::List => cut.apply(store.list(&bench.scope, "somebody")).await.is_some(),
            Call::RetireAll => cut.apply(store.retire_all(&bench.scope, "somebody", None, until)).await.is_some(),
        }
    }

    /// That the call happened or did not, and that the key is as good as any other.
    async fn is_whole(&self, bench: &Bench, what: &str) -> Checked<()> {
        let found = bench.store.load(&self.key).await?;
        ensure!(found == self.before || found == self.after, "{what}: neither happened nor not: {found:?}");
        bench.store.delete(&self.key).await?;
        let fresh = bench.record("fresh")?;
        if bench.store.create(&self.key, &fresh).await? == Create::Taken {
            // A call that was cut may still be on its way, and arrive late; but as it is or not at all.
            let late = bench.store.load(&self.key).await?;
            ensure!(late == self.after, "{what}: the key cannot be used afterwards: {late:?}");
            return Ok(());
        }
        bench.holds_record(&self.key, &fresh, what).await
    }
}

pub(super) async fn a_cut_call_happened_or_did_not(bench: Bench) -> Checked {
    let (neighbour, untouched) = bench.stored("neighbour").await?;
    for call in CALLS {
        for late in [false, true] {
            for polls in 0..MOST_POLLS {
                let cut = Cut { polls, late };
                let what = format!("after a {call:?} dropped after {polls} polls");
                let scene = Scene::set(&bench, call).await?;
                let done = scene.call(&bench, call, cut).await;
                bench.holds_record(&neighbour, &untouched, &what).await?;
                scene.is_whole(&bench, &what).await?;
                if done {
                    break;
                }
            }
        }
    }
    Ok(Verdict::Kept)
}

pub(super) async fn a_cut_call_leaves_no_answer_behind(bench: Bench) -> Checked {
    const ROUNDS: usize = 24;
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let bench = bench.clone();
        tasks.spawn(async move {
            let (mine, mut record) = bench.stored(format!("{task}")).await?;
            let (other, _) = bench.stored(format!("other {task}")).await?;
            for round in 0..ROUNDS {
                let cut = Cut { polls: (round + task) % 6, late: round % 2 == 0 };
                if round % 3 == 0 {
                    let wrong = bench.record("never stored")?;
                    cut.apply(bench.store.update(&other, wrong.version, &wrong)).await;
                } else {
                    cut.apply(bench.store.load(&other)).await;
                }
                let Lookup::Found(found) = bench.store.load(&mine).await? else {
                    return Err(Broken("a load gave another call's answer".to_owned()));
                };
                same(&found, &record, "a load among calls that are dropped")?;
                let next = bench.record(format!("{task} {round}"))?;
                let done = bench.store.update(&mine, record.version, &next).await?;
                ensure!(done == crate::store::Update::Updated, "an update among calls that are dropped: {done:?}");
                record = next;
            }
            Ok(())
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.map_err(|_| Broken("a call panicked".to_owned()))??;
    }
    Ok(Verdict::Kept)
}
