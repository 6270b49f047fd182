//! A queue that groups calls of the same kind.
//!
//! If no call of the queue is running, a new call runs immediately and alone. Calls that arrive meanwhile wait. When the
//! running call ends, or takes longer than [`MAX_WAIT`], the waiting calls run as one group, and so on until no call waits.
//! No timer collects calls. If a group has no reply for one of its calls, that call runs again, alone.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};

use super::value::Call;
use crate::base::error::{Error, ErrorKind, Result};

/// The maximum [weight](Call::weight) of a group, in bytes. A single call may be heavier.
const MAX_GROUP_BYTES: usize = 1024 * 1024;

/// The allowed sizes of groups if the SQL depends on the size. There are few sizes, because each connection caches a
/// statement for each kind of call and size. All of MySQL's statements fit into sqlx's cache of 100 statements.
pub(super) const SIZES: [usize; 11] = [1, 2, 3, 4, 6, 8, 12, 16, 32, 64, MAX_GROUP];

/// The maximum number of calls in a group.
const MAX_GROUP: usize = 256;

/// The maximum time that calls wait for the running call or group. After this time, the next group starts before the
/// running call ends, because the running call may wait for a lock, or its connection may no longer respond.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// A kind of call, such as a load.
pub(super) trait CallKind: Send + Sync + 'static {
    type Reply: Send + 'static;

    /// Whether a group may contain two calls for one key.
    const ALLOWS_SAME_KEY: bool;

    /// Whether a group may have any size. Otherwise, its size is one of [`SIZES`].
    const ALLOWS_ANY_SIZE: bool;

    fn run_alone(&self, call: &Call) -> impl Future<Output = Result<Self::Reply>> + Send;

    /// Runs calls, which are sorted by key, and returns their replies in the same order. If a reply is `None` or missing at
    /// the end, its call must run alone.
    ///
    /// # Errors
    /// Returns an error if it is unknown which calls took effect.
    fn run_group(&self, calls: &[&Call]) -> impl Future<Output = Result<Vec<Option<Self::Reply>>>> + Send;
}

pub(super) struct CallQueue<T: CallKind> {
    kind: T,
    state: Mutex<QueueState<T>>,
}

struct QueueState<T: CallKind> {
    /// The waiting calls. Calls whose caller went away are removed when the next group starts.
    waiting: VecDeque<Waiting<T>>,
    /// When the running call or group started. `None` if nothing runs.
    busy_since: Option<Instant>,
    /// The number of the leader that has the turn. A leader that takes too long loses its turn.
    turn: u64,
}

struct Waiting<T: CallKind> {
    call: Call,
    reply: Sender<GroupReply<T>>,
}

/// The reply of a group to one call, or `None` if the call must run alone.
type GroupReply<T> = Result<Option<<T as CallKind>::Reply>>;

/// The turn to run calls. A caller or a task has the turn. Dropping the leader gives the turn to a task that runs the
/// waiting calls, if any call waits.
struct Leader<T: CallKind> {
    queue: Arc<CallQueue<T>>,
    turn: u64,
    /// Whether the leader was moved to a task that has not started yet.
    is_unstarted: bool,
}

impl<T: CallKind> CallQueue<T> {
    pub(super) fn new(kind: T) -> Arc<Self> {
        let state = Mutex::new(QueueState { waiting: VecDeque::new(), busy_since: None, turn: 0 });
        Arc::new(Self { kind, state })
    }

    /// Runs a call, in a group or alone.
    pub(super) async fn call(self: &Arc<Self>, call: &Call) -> Result<T::Reply> {
        // Other calls wait until the leader of this call is dropped.
        let _leader = match self.lead_or_enqueue(call) {
            Ok(leader) => Some(leader),
            Err(receiver) => match self.wait_for_reply(receiver).await? {
                Some(reply) => return Ok(reply),
                None => None,
            },
        };
        // Boxed, because this future is large and calls in a group do not need it.
        Box::pin(self.kind.run_alone(call)).await
    }

    fn state(&self) -> MutexGuard<'_, QueueState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the turn if nobody has it, or puts the call into the queue.
    fn lead_or_enqueue(self: &Arc<Self>, call: &Call) -> Result<Leader<T>, Receiver<GroupReply<T>>> {
        let mut state = self.state();
        if state.busy_since.is_none() {
            return Ok(self.take_turn(&mut state));
        }
        let (reply, receiver) = channel();
        state.waiting.push_back(Waiting { call: call.clone(), reply });
        Err(receiver)
    }

    async fn wait_for_reply(self: &Arc<Self>, mut receiver: Receiver<GroupReply<T>>) -> GroupReply<T> {
        loop {
            let slow_at = self.replace_slow_leader();
            if let Ok(reply) = timeout_at(slow_at, &mut receiver).await {
                return reply.map_err(|_| interrupted())?;
            }
        }
    }

    /// Takes the turn, even from a leader that has it.
    fn take_turn(self: &Arc<Self>, state: &mut QueueState<T>) -> Leader<T> {
        state.turn += 1;
        state.busy_since = Some(Instant::now());
        Leader { queue: self.clone(), turn: state.turn, is_unstarted: false }
    }

    /// Takes the turn from a leader that has had it for longer than [`MAX_WAIT`], and gives it to a task. Returns the
    /// time at which the current leader will have had the turn for [`MAX_WAIT`].
    fn replace_slow_leader(self: &Arc<Self>) -> Instant {
        let mut state = self.state();
        let now = Instant::now();
        let slow_at = state.busy_since.unwrap_or(now) + MAX_WAIT;
        if now < slow_at {
            return slow_at;
        }
        if !state.waiting.is_empty() {
            let leader = self.take_turn(&mut state);
            drop(state);
            leader.serve_in_task();
        }
        now + MAX_WAIT
    }

    async fn run_group(&self, group: Vec<Waiting<T>>) {
        let calls: Vec<&Call> = group.iter().map(|waiting| &waiting.call).collect();
        let mut replies = self.kind.run_group(&calls).await.map(Vec::into_iter);
        for waiting in group {
            let reply = replies.as_mut().map(|replies| replies.next().flatten()).map_err(|error| error.clone());
            // `send` fails if the caller went away.
            let _ = waiting.reply.send(reply);
        }
    }
}

fn interrupted() -> Error {
    Error::new(ErrorKind::Unavailable, "a call to the database stopped before it finished")
}

/// The size of the next group. A group takes calls from the front of the queue.
fn group_size<T: CallKind>(waiting: &VecDeque<Waiting<T>>) -> usize {
    let (mut keys, mut weight, mut size) = (HashSet::new(), 0, 0);
    for Waiting { call, .. } in waiting.iter().take(MAX_GROUP) {
        weight += call.weight();
        let is_too_heavy = size > 0 && weight > MAX_GROUP_BYTES;
        // The changes of one key must run in order, so the second change waits for the next group.
        if is_too_heavy || !T::ALLOWS_SAME_KEY && !keys.insert(call.key) {
            break;
        }
        size += 1;
    }
    if T::ALLOWS_ANY_SIZE { size } else { SIZES.into_iter().rev().find(|allowed| *allowed <= size).unwrap_or(0) }
}

impl<T: CallKind> Leader<T> {
    fn serve_in_task(mut self) {
        if let Ok(runtime) = Handle::try_current() {
            self.is_unstarted = true;
            runtime.spawn(self.serve());
        }
    }

    /// Takes the next group out of the queue, and sorts its calls by key. Returns no calls if another leader has the turn.
    fn next_group(&self) -> Vec<Waiting<T>> {
        let mut state = self.queue.state();
        if state.turn != self.turn {
            return Vec::new();
        }
        state.busy_since = Some(Instant::now());
        state.waiting.retain(|waiting| !waiting.reply.is_closed());
        let size = group_size(&state.waiting);
        let mut group: Vec<Waiting<T>> = state.waiting.drain(..size).collect();
        drop(state);
        group.sort_by_key(|waiting| waiting.call.key);
        group
    }

    /// Runs groups as long as calls wait and this leader has the turn.
    async fn serve(mut self) {
        self.is_unstarted = false;
        loop {
            let group = self.next_group();
            if group.is_empty() {
                return;
            }
            self.queue.run_group(group).await;
            // Callers that got a reply may make another call, which can then join the next group.
            tokio::task::yield_now().await;
        }
    }
}

impl<T: CallKind> Drop for Leader<T> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        if state.turn != self.turn {
            return;
        }
        if state.waiting.is_empty() {
            state.busy_since = None;
        } else if self.is_unstarted || Handle::try_current().is_err() {
            // Outside a runtime, or if the runtime is shutting down, no task can run the waiting calls. Dropping the calls
            // gives their callers an error.
            state.busy_since = None;
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            drop(waiting);
        } else {
            let leader = self.queue.take_turn(&mut state);
            drop(state);
            leader.serve_in_task();
        }
    }
}

#[cfg(test)]
mod tests;
