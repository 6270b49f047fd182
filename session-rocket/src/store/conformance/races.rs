//! Calls at once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Bench, Broken, Checked, HOUR, Verdict, ensure};
use crate::id::Key;
use crate::record::{Fate, Record, Version};
use crate::store::{Create, Lookup, Retire, Touch, Update};

/// More than the connections a store is likely to have.
const TASKS: usize = 16;

/// Far more tries than any task needs that others overtake.
const PATIENCE: usize = 10_000;

/// Runs `task` so many times at once, and gives all their results.
async fn at_once<T, F>(tasks: usize, task: impl Fn(usize) -> F) -> Checked<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Checked<T>> + Send + 'static,
{
    let start = Arc::new(Barrier::new(tasks));
    let mut running = JoinSet::new();
    for n in 0..tasks {
        let (start, task) = (start.clone(), task(n));
        running.spawn(async move {
            start.wait().await;
            task.await
        });
    }
    let mut results = Vec::with_capacity(tasks);
    while let Some(result) = running.join_next().await {
        results.push(result.map_err(|_| Broken("a call panicked".to_owned()))??);
    }
    Ok(results)
}

pub(super) async fn of_concurrent_creates_one_wins(bench: Bench) -> Checked {
    for _ in 0..8 {
        let key = Bench::key()?;
        let results = at_once(TASKS, |n| {
            let bench = bench.clone();
            async move {
                let record = bench.record(n.to_string())?;
                Ok((bench.store.create(&key, &record).await?, record))
            }
        })
        .await?;
        let created: Vec<_> = results.iter().filter(|(done, _)| *done == Create::Created).collect();
        ensure!(created.len() == 1, "{} of {TASKS} concurrent creates of one key were Created", created.len());
        bench.holds_record(&key, &created[0].1, "after concurrent creates").await?;
    }
    Ok(Verdict::Kept)
}

pub(super) async fn of_concurrent_updates_one_wins(bench: Bench) -> Checked {
    for _ in 0..8 {
        let (key, first) = bench.stored("first").await?;
        let results = at_once(TASKS, |n| {
            let (bench, expected) = (bench.clone(), first.version);
            async move {
                let record = bench.record(n.to_string())?;
                Ok((bench.store.update(&key, expected, &record).await?, record))
            }
        })
        .await?;
        let updated: Vec<_> = results.iter().filter(|(done, _)| *done == Update::Updated).collect();
        ensure!(updated.len() == 1, "{} of {TASKS} concurrent updates of one version were Updated", updated.len());
        let winner = &updated[0].1;
        let conflicts = results.iter().filter(|(done, _)| *done == Update::Conflict(winner.clone())).count();
        ensure!(conflicts == TASKS - 1, "{conflicts} of {TASKS} concurrent updates were told of the one that won");
        bench.holds_record(&key, winner, "after concurrent updates").await?;
    }
    Ok(Verdict::Kept)
}

/// Adds one to the number in a record, as often as it takes.
async fn increment(bench: &Bench, key: &Key, mut seen: Record) -> Checked<Record> {
    for _ in 0..PATIENCE {
        let count = std::str::from_utf8(&seen.payload).ok().and_then(|text| text.parse::<u64>().ok());
        let Some(count) = count else { return Err(Broken("a conflict gave a record that was never stored".into())) };
        let next = bench.record((count + 1).to_string())?;
        match bench.store.update(key, seen.version, &next).await? {
            Update::Updated => return Ok(next),
            Update::Conflict(fresh) => seen = fresh,
            other => return Err(Broken(format!("update of a live record: {other:?}"))),
        }
        tokio::task::yield_now().await;
    }
    Err(Broken(format!("update conflicts {PATIENCE} times in a row: are the records of conflicts fresh?")))
}

pub(super) async fn no_update_is_lost(bench: Bench) -> Checked {
    const EACH: usize = 20;
    let (key, first) = bench.stored("0").await?;
    at_once(8, |n| {
        let (bench, mut seen) = (bench.clone(), first.clone());
        async move {
            for _ in 0..EACH {
                // Touches in between must neither undo an update nor be one.
                if n % 2 == 1 {
                    let later = bench.now().plus(HOUR * 2);
                    let done = bench.store.touch(&key, seen.version, later).await?;
                    ensure!(done != Touch::Gone, "touch of a live record: {done:?}");
                }
                seen = increment(&bench, &key, seen).await?;
            }
            Ok(())
        }
    })
    .await?;
    match bench.store.load(&key).await? {
        Lookup::Found(record) => {
            let expected = (8 * EACH).to_string();
            ensure!(*record.payload == *expected.as_bytes(), "of {expected} increments, some were lost");
        }
        other => return Err(Broken(format!("after updates: {other:?}"))),
    }
    Ok(Verdict::Kept)
}

/// Updates until the session is gone. True if an update went through that began after the end was acknowledged.
async fn update_until_gone(bench: Bench, key: Key, mut version: Version, ended: Arc<AtomicBool>) -> Checked<bool> {
    for _ in 0..PATIENCE {
        let late = ended.load(Ordering::SeqCst);
        let next = bench.record("still here")?;
        match bench.store.update(&key, version, &next).await? {
            Update::Updated if late => return Ok(true),
            Update::Updated => version = next.version,
            Update::Conflict(fresh) => version = fresh.version,
            Update::Gone | Update::Moved(_) => return Ok(false),
        }
        tokio::task::yield_now().await;
    }
    Err(Broken(format!("after {PATIENCE} updates the end has not come")))
}

pub(super) async fn what_is_retired_stays_retired(bench: Bench) -> Checked {
    for _ in 0..8 {
        let (key, first) = bench.stored("first").await?;
        let ended = Arc::new(AtomicBool::new(false));
        let tombstone = bench.tombstone(Fate::Ended);
        let results = at_once(5, |n| {
            let (bench, ended, version) = (bench.clone(), ended.clone(), first.version);
            async move {
                if n > 0 {
                    return update_until_gone(bench, key, version, ended).await;
                }
                let done = bench.store.retire(&key, None, tombstone).await?;
                ensure!(done == Retire::Retired, "retire of a live record: {done:?}");
                ended.store(true, Ordering::SeqCst);
                Ok(false)
            }
        })
        .await?;
        ensure!(!results.contains(&true), "an update went through after retire had been acknowledged");
        bench.holds(&key, &Lookup::Tombstone(tombstone), "after retire among updates").await?;
    }
    Ok(Verdict::Kept)
}
