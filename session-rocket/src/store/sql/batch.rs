//! Calls that arrive while others of their kind are running, sent together.
//!
//! A call that finds nobody else is sent at once and alone; no timer collects others. Calls that arrive while it runs wait,
//! and then go as one group, and so on until no call waits. Each call gets an answer of its own. A call that the group has
//! no answer for is made alone, so that no call suffers from its neighbours.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};

use super::value::Call;
use crate::base::error::{Error, ErrorKind, Result};

/// The largest weight of a group of several calls, in bytes.
const MAX_GROUP_BYTES: usize = 1024 * 1024;

/// The sizes of groups. Each connection keeps a prepared statement for each size that it met, so there are few sizes.
pub(super) const SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, MAX_GROUP];

/// The largest number of calls in a group.
const MAX_GROUP: usize = 256;

/// How long other calls wait for a call or a group that is running. So a call that meets a lock, or whose connection fell
/// silent, delays the others no longer.
const PATIENCE: Duration = Duration::from_millis(50);

/// How calls of one kind are run.
pub(super) trait CallKind: Send + Sync + 'static {
    /// The answer to one call.
    type Answer: Send + 'static;

    /// Whether a group may contain two calls for one key.
    const MAY_REPEAT: bool;

    /// Runs one call.
    fn run_alone(&self, call: &Call) -> impl Future<Output = Result<Self::Answer>> + Send;

    /// Runs calls, which are sorted by their keys, and returns their answers in the same order. A call without an answer
    /// is run alone.
    ///
    /// # Errors
    /// When it is unknown what the calls did.
    fn run_group(&self, calls: &[&Call]) -> impl Future<Output = Result<Vec<Option<Self::Answer>>>> + Send;
}

/// The calls of one kind, and their queue.
pub(super) struct Batch<T: CallKind> {
    kind: T,
    queue: Mutex<Queue<T>>,
}

struct Queue<T: CallKind> {
    /// One entry for each caller that waits, and for callers that went away since the last group started.
    waiting: VecDeque<Waiting<T>>,
    /// When the running call or group started.
    busy_since: Option<Instant>,
    /// The number of the leader that has the turn. A leader that takes too long loses its turn.
    turn: u64,
}

struct Waiting<T: CallKind> {
    call: Call,
    answer: Sender<GroupAnswer<T>>,
}

/// What a group answers to one call: `None` if the call has to be made alone.
type GroupAnswer<T> = Result<Option<<T as CallKind>::Answer>>;

/// The caller or the task that sends the next calls. When it is dropped, a task becomes the leader of the waiting calls.
struct Leader<T: CallKind> {
    batch: Arc<Batch<T>>,
    turn: u64,
    /// Whether the leader is in a task that has not started yet.
    is_unstarted: bool,
}

impl<T: CallKind> Batch<T> {
    pub(super) fn new(kind: T) -> Arc<Self> {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), busy_since: None, turn: 0 });
        Arc::new(Self { kind, queue })
    }

    /// Makes a call, in a group or alone.
    ///
    /// # Errors
    /// When it is unknown what the call did.
    pub(super) async fn call(self: &Arc<Self>, call: &Call) -> Result<T::Answer> {
        // While the call runs alone, the calls that arrive meanwhile wait until its leader is dropped.
        let _leader = match self.lead_or_wait(call) {
            Ok(leader) => Some(leader),
            Err(answer) => match self.answer(answer).await? {
                Some(answer) => return Ok(answer),
                None => None,
            },
        };
        // Large, and not needed by calls that go with a group.
        Box::pin(self.kind.run_alone(call)).await
    }

    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the turn if nobody has it, or puts the call into the queue.
    fn lead_or_wait(self: &Arc<Self>, call: &Call) -> Result<Leader<T>, Receiver<GroupAnswer<T>>> {
        let mut queue = self.queue();
        if queue.busy_since.is_none() {
            return Ok(self.take_over(&mut queue));
        }
        let (answer, answered) = channel();
        queue.waiting.push_back(Waiting { call: call.clone(), answer });
        Err(answered)
    }

    /// Waits for the answer of a group.
    async fn answer(self: &Arc<Self>, mut answered: Receiver<GroupAnswer<T>>) -> GroupAnswer<T> {
        loop {
            let late_at = self.overtake();
            if let Ok(answer) = timeout_at(late_at, &mut answered).await {
                return answer.map_err(|_| lost())?;
            }
        }
    }

    /// Takes the turn from the leader that has it.
    fn take_over(self: &Arc<Self>, queue: &mut Queue<T>) -> Leader<T> {
        queue.turn += 1;
        queue.busy_since = Some(Instant::now());
        Leader { batch: self.clone(), turn: queue.turn, is_unstarted: false }
    }

    /// Takes the turn from a leader that has had it for too long, and gives it to a task. Returns the time at which the current
    /// turn will be too long.
    fn overtake(self: &Arc<Self>) -> Instant {
        let mut queue = self.queue();
        let now = Instant::now();
        let late_at = queue.busy_since.unwrap_or(now) + PATIENCE;
        if now < late_at {
            return late_at;
        }
        if !queue.waiting.is_empty() {
            let leader = self.take_over(&mut queue);
            drop(queue);
            leader.hand_over();
        }
        now + PATIENCE
    }

    async fn make(&self, group: Vec<Waiting<T>>) {
        let calls: Vec<&Call> = group.iter().map(|waiting| &waiting.call).collect();
        let mut answers = self.kind.run_group(&calls).await.map(Vec::into_iter);
        for waiting in group {
            let answer = answers.as_mut().map(|answers| answers.next().flatten()).map_err(|error| error.clone());
            // The caller may have gone away.
            let _ = waiting.answer.send(answer);
        }
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "a group of calls to the database was cut off")
}

/// The size of the next group, which takes the waiting calls in their order.
fn size<T: CallKind>(waiting: &VecDeque<Waiting<T>>) -> usize {
    let (mut keys, mut weight, mut most) = (HashSet::new(), 0, 0);
    for Waiting { call, .. } in waiting.iter().take(MAX_GROUP) {
        weight += call.weight();
        let is_too_heavy = most > 0 && weight > MAX_GROUP_BYTES;
        // The changes of one key stay in order, so the second change goes with another group.
        if is_too_heavy || !T::MAY_REPEAT && !keys.insert(call.key) {
            break;
        }
        most += 1;
    }
    SIZES.into_iter().rev().find(|size| *size <= most).unwrap_or(0)
}

impl<T: CallKind> Leader<T> {
    /// Serves the queue in a task.
    fn hand_over(mut self) {
        if let Ok(runtime) = Handle::try_current() {
            self.is_unstarted = true;
            runtime.spawn(self.serve());
        }
    }

    /// Takes the next group out of the queue, sorted, unless another leader has the turn.
    fn next(&self) -> Vec<Waiting<T>> {
        let mut queue = self.batch.queue();
        if queue.turn != self.turn {
            return Vec::new();
        }
        queue.busy_since = Some(Instant::now());
        // Calls whose caller went away are not made.
        queue.waiting.retain(|waiting| !waiting.answer.is_closed());
        let size = size(&queue.waiting);
        let mut group: Vec<Waiting<T>> = queue.waiting.drain(..size).collect();
        drop(queue);
        group.sort_by_key(|waiting| waiting.call.key);
        group
    }

    /// Makes groups as long as calls wait and this leader has the turn.
    async fn serve(mut self) {
        self.is_unstarted = false;
        loop {
            let group = self.next();
            if group.is_empty() {
                return;
            }
            self.batch.make(group).await;
            // Callers that were answered may make another call, which then goes with the next group.
            tokio::task::yield_now().await;
        }
    }
}

impl<T: CallKind> Drop for Leader<T> {
    fn drop(&mut self) {
        let mut queue = self.batch.queue();
        if queue.turn != self.turn {
            return;
        }
        if queue.waiting.is_empty() {
            queue.busy_since = None;
        } else if self.is_unstarted || Handle::try_current().is_err() {
            // There is no runtime that could serve the waiting calls, or it is shutting down: they get an error.
            queue.busy_since = None;
            let waiting = std::mem::take(&mut queue.waiting);
            drop(queue);
            drop(waiting);
        } else {
            let leader = self.batch.take_over(&mut queue);
            drop(queue);
            leader.hand_over();
        }
    }
}

#[cfg(test)]
mod tests;
