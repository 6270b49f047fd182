//! Calls that come while others are under way, sent together.
//!
//! A call that meets nobody goes at once and alone: there is no timer. What comes while it is under way waits, and then
//! goes as one group, and so on until nobody waits any more. Each call gets an answer of its own; one that a group has
//! none for is made alone, so that no call is worse off for its neighbours.

use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;

/// How many calls wait; those above wait to be let in.
const PLACES: usize = 1024;

/// How many bytes the calls of a group weigh together, at most, unless it is only one.
const HEAVIEST: usize = 1024 * 1024;

/// How large groups are. Each connection keeps a statement for each size that it met, so they are few.
pub(super) const SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, LARGEST];

/// How many calls a group has at most.
const LARGEST: usize = 256;

/// How long others wait for a call or a group that is under way: one that meets a lock, or a connection that went silent,
/// holds up nobody else for longer.
const PATIENCE: Duration = Duration::from_millis(50);

/// Calls of one kind, and how they are made together.
pub(super) trait Together: Send + Sync + 'static {
    /// What is asked of one key.
    type Call: Send + Sync + 'static;
    /// What it is answered.
    type Answer: Send + 'static;

    /// Whether a group may ask twice of one key.
    const MAY_REPEAT: bool;

    /// The key that a call is about.
    fn key(call: &Self::Call) -> &Key;

    /// How many bytes a call takes, roughly.
    fn weight(call: &Self::Call) -> usize;

    /// Answers calls, sorted by their keys, in their order. `None` where a call is to be made alone.
    ///
    /// # Errors
    /// When it is not known what became of the calls.
    fn together(&self, calls: &[&Self::Call]) -> impl Future<Output = Result<Vec<Option<Self::Answer>>>> + Send;
}

/// The calls of one kind that wait.
pub(super) struct Batch<T: Together>(Arc<Shared<T>>);

struct Shared<T: Together> {
    together: T,
    queue: Mutex<Queue<T>>,
    places: Arc<Semaphore>,
}

struct Queue<T: Together> {
    waiting: VecDeque<Waiting<T>>,
    /// Since when a call, or a group, is under way.
    busy_since: Option<Instant>,
    /// Whose turn it is. One that takes too long loses it.
    turn: u64,
}

struct Waiting<T: Together> {
    call: T::Call,
    answer: oneshot::Sender<Result<Option<T::Answer>>>,
    _place: OwnedSemaphorePermit,
}

/// How a call is made.
pub(super) enum Turn<T: Together> {
    /// Alone, and those who come meanwhile wait if there is a lead.
    Alone(Option<Lead<T>>),
    /// It was made, together with others.
    Made(T::Answer),
}

/// The right to be under way. Whoever waits when it is dropped goes next.
pub(super) struct Lead<T: Together> {
    shared: Arc<Shared<T>>,
    turn: u64,
    /// Whether it is in a task that did not start yet.
    is_fresh: bool,
}

/// What became of a call that was put into the queue.
enum Place<T: Together> {
    /// Nobody is under way.
    Lead(Lead<T>),
    /// It is the first that waits.
    First,
    /// Others wait before it.
    Behind,
}

impl<T: Together> Batch<T> {
    pub(super) fn new(together: T) -> Self {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), busy_since: None, turn: 0 });
        Self(Arc::new(Shared { together, queue, places: Arc::new(Semaphore::new(PLACES)) }))
    }

    /// Waits for what a group answers to a call, or for the turn to make it alone.
    ///
    /// # Errors
    /// When it is not known what became of the call.
    pub(super) async fn turn(&self, call: impl FnOnce() -> T::Call) -> Result<Turn<T>> {
        if let Some(lead) = self.0.lead() {
            return Ok(Turn::Alone(Some(lead)));
        }
        let place = self.0.places.clone().acquire_owned().await.map_err(|_| lost())?;
        let (answer, answered) = oneshot::channel();
        let answer = match self.0.lead_or_wait(Waiting { call: call(), answer, _place: place }) {
            Place::Lead(lead) => return Ok(Turn::Alone(Some(lead))),
            Place::First => self.0.watch(answered).await,
            Place::Behind => answered.await,
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

    fn lead_or_wait(self: &Arc<Self>, waiting: Waiting<T>) -> Place<T> {
        let mut queue = self.queue();
        if queue.busy_since.is_none() {
            return Place::Lead(self.take_over(&mut queue));
        }
        queue.waiting.push_back(waiting);
        let is_first = queue.waiting.len() == 1;
        drop(queue);
        if is_first {
            return Place::First;
        }
        // The first may be held up itself.
        self.overtake();
        Place::Behind
    }

    /// Whoever has the turn loses it.
    fn take_over(self: &Arc<Self>, queue: &mut Queue<T>) -> Lead<T> {
        queue.turn += 1;
        queue.busy_since = Some(Instant::now());
        Lead { shared: self.clone(), turn: queue.turn, is_fresh: false }
    }

    /// Takes the turn from one that has had it for too long.
    fn overtake(self: &Arc<Self>) {
        let mut queue = self.queue();
        let is_late = queue.busy_since.is_some_and(|since| since.elapsed() >= PATIENCE);
        if is_late && !queue.waiting.is_empty() {
            let lead = self.take_over(&mut queue);
            drop(queue);
            lead.hand_over();
        }
    }

    /// Waits for an answer, and sees to it that nobody waits for one whose turn takes too long.
    async fn watch<A>(self: &Arc<Self>, mut answered: oneshot::Receiver<A>) -> Result<A, RecvError> {
        let mut watch = Watch(Some(self));
        let early = timeout(PATIENCE, &mut answered).await;
        watch.0 = None;
        if let Ok(answer) = early {
            return answer;
        }
        self.overtake();
        answered.await
    }

    async fn make(&self, group: Vec<Waiting<T>>) {
        let calls: Vec<&T::Call> = group.iter().map(|waiting| &waiting.call).collect();
        match self.together.together(&calls).await {
            Ok(answers) => {
                for (Waiting { answer: to, .. }, answer) in group.into_iter().zip(answers) {
                    // Whoever asked may have gone away.
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

/// The watch of the first that waits. If that one goes away, a task keeps it for those behind.
struct Watch<'s, T: Together>(Option<&'s Arc<Shared<T>>>);

impl<T: Together> Drop for Watch<'_, T> {
    fn drop(&mut self) {
        if let (Some(shared), Ok(runtime)) = (self.0, Handle::try_current()) {
            let shared = shared.clone();
            runtime.spawn(async move {
                tokio::time::sleep(PATIENCE).await;
                shared.overtake();
            });
        }
    }
}

/// How many of the calls that wait, in their order, make the next group.
fn size<T: Together>(waiting: &VecDeque<Waiting<T>>) -> usize {
    let (mut keys, mut weight, mut most) = (HashSet::new(), 0, 0);
    for Waiting { call, .. } in waiting.iter().take(LARGEST) {
        weight += T::weight(call);
        let is_too_heavy = most > 0 && weight > HEAVIEST;
        // The changes of one key stay in order: the second one goes with another group.
        if is_too_heavy || !T::MAY_REPEAT && !keys.insert(*T::key(call)) {
            break;
        }
        most += 1;
    }
    SIZES.into_iter().rev().find(|size| *size <= most).unwrap_or(0)
}

impl<T: Together> Lead<T> {
    /// Goes on in a task of its own.
    fn hand_over(mut self) {
        if let Ok(runtime) = Handle::try_current() {
            self.is_fresh = true;
            runtime.spawn(self.serve());
        }
    }

    /// Takes the next group out of the queue, sorted, unless somebody else has the turn.
    fn next(&self) -> Vec<Waiting<T>> {
        let mut queue = self.shared.queue();
        if queue.turn != self.turn {
            return Vec::new();
        }
        queue.busy_since = Some(Instant::now());
        // Whoever went away is not asked for any more.
        queue.waiting.retain(|waiting| !waiting.answer.is_closed());
        let size = size(&queue.waiting);
        let mut group: Vec<Waiting<T>> = queue.waiting.drain(..size).collect();
        drop(queue);
        group.sort_by(|a, b| T::key(&a.call).cmp(T::key(&b.call)));
        group
    }

    /// Makes groups as long as somebody waits and it has the turn.
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
            // Those that were answered, and others, may have more to ask.
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
            // No runtime is there to serve those who wait, or it is shutting down: they are told.
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
