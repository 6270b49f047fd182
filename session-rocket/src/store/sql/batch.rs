//! Calls that arrive while others of their kind are running, sent together.
//!
//! A call that finds nobody else is sent at once and alone; no timer collects others. Calls that arrive while it runs wait,
//! and then go as one group, and so on until no call waits. Each call gets an answer of its own. A call that the group has
//! no answer for is made alone, so that no call suffers from its neighbours.

use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout};

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;

/// The number of calls in a queue. Further calls wait for a slot.
const SLOTS: usize = 1024;

/// The largest weight of a group of several calls, in bytes.
const HEAVIEST: usize = 1024 * 1024;

/// The sizes of groups. Each connection keeps a prepared statement for each size that it met, so there are few sizes.
pub(super) const SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, LARGEST];

/// The largest number of calls in a group.
const LARGEST: usize = 256;

/// How long other calls wait for a call or a group that is running. So a call that meets a lock, or whose connection fell
/// silent, delays the others no longer.
const PATIENCE: Duration = Duration::from_millis(50);

/// Calls of one kind, and how they are made together.
pub(super) trait Together: Send + Sync + 'static {
    /// A call for one key.
    type Call: Send + Sync + 'static;
    /// The answer to one call.
    type Answer: Send + 'static;

    /// Whether a group may contain two calls for one key.
    const MAY_REPEAT: bool;

    /// The key of a call.
    fn key(call: &Self::Call) -> &Key;

    /// The number of bytes of a call, roughly.
    fn weight(call: &Self::Call) -> usize;

    /// Makes calls, which are sorted by their keys, and returns their answers in the same order: `None` for a call that
    /// has to be made alone.
    ///
    /// # Errors
    /// When it is unknown what the calls did.
    fn together(&self, calls: &[&Self::Call]) -> impl Future<Output = Result<Vec<Option<Self::Answer>>>> + Send;
}

/// The queue of the calls of one kind.
pub(super) struct Batch<T: Together>(Arc<Shared<T>>);

struct Shared<T: Together> {
    together: T,
    queue: Mutex<Queue<T>>,
    slots: Arc<Semaphore>,
}

struct Queue<T: Together> {
    waiting: VecDeque<Waiting<T>>,
    /// When the running call or group started.
    busy_since: Option<Instant>,
    /// The number of the lead that has the turn. A lead that takes too long loses its turn.
    turn: u64,
}

struct Waiting<T: Together> {
    call: T::Call,
    answer: oneshot::Sender<Result<Option<T::Answer>>>,
    _slot: OwnedSemaphorePermit,
}

/// The way a call is made.
pub(super) enum Turn<T: Together> {
    /// Alone. If there is a lead, calls that arrive meanwhile wait until the lead is dropped.
    Alone(Option<Lead<T>>),
    /// In a group, which has answered the call.
    Made(T::Answer),
}

/// The right to send the next calls. When the lead is dropped, the waiting calls get the right.
pub(super) struct Lead<T: Together> {
    shared: Arc<Shared<T>>,
    turn: u64,
    /// Whether the lead is in a task that has not started yet.
    is_fresh: bool,
}

impl<T: Together> Batch<T> {
    pub(super) fn new(together: T) -> Self {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), busy_since: None, turn: 0 });
        Self(Arc::new(Shared { together, queue, slots: Arc::new(Semaphore::new(SLOTS)) }))
    }

    /// Waits until a group has answered the call, or until the call may be made alone.
    ///
    /// # Errors
    /// When it is unknown what the call did.
    pub(super) async fn turn(&self, call: impl FnOnce() -> T::Call) -> Result<Turn<T>> {
        if let Some(lead) = self.0.lead() {
            return Ok(Turn::Alone(Some(lead)));
        }
        let slot = self.0.slots.clone().acquire_owned().await.map_err(|_| lost())?;
        let (answer, mut answered) = oneshot::channel();
        if let Some(lead) = self.0.lead_or_wait(Waiting { call: call(), answer, _slot: slot }) {
            return Ok(Turn::Alone(Some(lead)));
        }
        let answer = match timeout(PATIENCE, &mut answered).await {
            Ok(answer) => answer,
            Err(_) => {
                self.0.overtake();
                answered.await
            }
        };
        Ok(answer.map_err(|_| lost())??.map_or(Turn::Alone(None), Turn::Made))
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "a group of calls to the database was cut off")
}

impl<T: Together> Shared<T> {
    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lead(self: &Arc<Self>) -> Option<Lead<T>> {
        let mut queue = self.queue();
        queue.busy_since.is_none().then(|| self.take_over(&mut queue))
    }

    fn lead_or_wait(self: &Arc<Self>, waiting: Waiting<T>) -> Option<Lead<T>> {
        let mut queue = self.queue();
        if queue.busy_since.is_none() {
            return Some(self.take_over(&mut queue));
        }
        queue.waiting.push_back(waiting);
        drop(queue);
        // The calls in front may have gone away, or are not polled.
        self.overtake();
        None
    }

    /// Takes the turn from the lead that has it.
    fn take_over(self: &Arc<Self>, queue: &mut Queue<T>) -> Lead<T> {
        queue.turn += 1;
        queue.busy_since = Some(Instant::now());
        Lead { shared: self.clone(), turn: queue.turn, is_fresh: false }
    }

    /// Takes the turn from a lead that has had it for too long, and gives it to a task.
    fn overtake(self: &Arc<Self>) {
        let mut queue = self.queue();
        let is_late = queue.busy_since.is_some_and(|since| since.elapsed() >= PATIENCE);
        if is_late && !queue.waiting.is_empty() {
            let lead = self.take_over(&mut queue);
            drop(queue);
            lead.hand_over();
        }
    }

    async fn make(&self, group: Vec<Waiting<T>>) {
        let calls: Vec<&T::Call> = group.iter().map(|waiting| &waiting.call).collect();
        match self.together.together(&calls).await {
            Ok(answers) => {
                for (Waiting { answer: to, .. }, answer) in group.into_iter().zip(answers) {
                    // The caller may have gone away.
                    let _ = to.send(Ok(answer));
                }
            }
            Err(error) => {
                for Waiting { answer: to, .. } in group {
                    let _ = to.send(Err(error.clone()));
                }
            }
        }
    }
}

/// The size of the next group, which takes the waiting calls in their order.
fn size<T: Together>(waiting: &VecDeque<Waiting<T>>) -> usize {
    let (mut keys, mut weight, mut most) = (HashSet::new(), 0, 0);
    for Waiting { call, .. } in waiting.iter().take(LARGEST) {
        weight += T::weight(call);
        let is_too_heavy = most > 0 && weight > HEAVIEST;
        // The changes of one key stay in order, so the second change goes with another group.
        if is_too_heavy || !T::MAY_REPEAT && !keys.insert(*T::key(call)) {
            break;
        }
        most += 1;
    }
    SIZES.into_iter().rev().find(|size| *size <= most).unwrap_or(0)
}

impl<T: Together> Lead<T> {
    /// Serves the queue in a task.
    fn hand_over(mut self) {
        if let Ok(runtime) = Handle::try_current() {
            self.is_fresh = true;
            runtime.spawn(self.serve());
        }
    }

    /// Takes the next group out of the queue, sorted, unless another lead has the turn.
    fn next(&self) -> Vec<Waiting<T>> {
        let mut queue = self.shared.queue();
        if queue.turn != self.turn {
            return Vec::new();
        }
        queue.busy_since = Some(Instant::now());
        // Calls whose caller went away are not made.
        queue.waiting.retain(|waiting| !waiting.answer.is_closed());
        let size = size(&queue.waiting);
        let mut group: Vec<Waiting<T>> = queue.waiting.drain(..size).collect();
        drop(queue);
        group.sort_by(|a, b| T::key(&a.call).cmp(T::key(&b.call)));
        group
    }

    /// Makes groups as long as calls wait and this lead has the turn.
    async fn serve(mut self) {
        self.is_fresh = false;
        loop {
            let group = self.next();
            if group.is_empty() {
                return;
            }
            let shared = self.shared.clone();
            let mut made = pin!(shared.make(group));
            if timeout(PATIENCE, made.as_mut()).await.is_err() {
                drop(self);
                return made.await;
            }
            // Callers that were answered may make another call, which then goes with the next group.
            tokio::task::yield_now().await;
        }
    }
}

impl<T: Together> Drop for Lead<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        if queue.turn != self.turn {
            return;
        }
        if queue.waiting.is_empty() {
            queue.busy_since = None;
        } else if self.is_fresh || Handle::try_current().is_err() {
            // There is no runtime that could serve the waiting calls, or it is shutting down: they get an error.
            queue.busy_since = None;
            let waiting = std::mem::take(&mut queue.waiting);
            drop(queue);
            drop(waiting);
        } else {
            let lead = self.shared.take_over(&mut queue);
            drop(queue);
            lead.hand_over();
        }
    }
}

#[cfg(test)]
mod tests;
