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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Result};
use crate::id::Key;

/// How many calls wait; those above wait to be let in.
const PLACES: usize = 1024;

/// How many bytes the calls of a group weigh together, at most, unless it is only one.
const HEAVIEST: usize = 1024 * 1024;

/// How large groups are. Each connection keeps a statement for each size that it met, so they are few.
pub(super) const SIZES: [usize; 16] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, LARGEST];

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
    /// Whether a call, or a group, is under way.
    busy: bool,
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
    /// Whether it waits for a task that did not start yet.
    handed_over: bool,
}

impl<T: Together> Batch<T> {
    pub(super) fn new(together: T) -> Self {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), busy: false });
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
        if let Some(lead) = self.0.lead_or_wait(Waiting { call: call(), answer, _place: place }) {
            return Ok(Turn::Alone(Some(lead)));
        }
        Ok(match answered.await.map_err(|_| lost())?? {
            Some(answer) => Turn::Made(answer),
            None => Turn::Alone(None),
        })
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
        let is_free = !std::mem::replace(&mut self.queue().busy, true);
        is_free.then(|| Lead { shared: self.clone(), handed_over: false })
    }

    fn lead_or_wait(self: &Arc<Self>, waiting: Waiting<T>) -> Option<Lead<T>> {
        let mut queue = self.queue();
        if std::mem::replace(&mut queue.busy, true) {
            queue.waiting.push_back(waiting);
            return None;
        }
        Some(Lead { shared: self.clone(), handed_over: false })
    }

    /// Takes the next group out of the queue, sorted.
    fn next(&self) -> Vec<Waiting<T>> {
        let mut queue = self.queue();
        // Whoever went away is not asked for any more.
        queue.waiting.retain(|waiting| !waiting.answer.is_closed());
        let size = size(&queue.waiting);
        let mut group: Vec<Waiting<T>> = queue.waiting.drain(..size).collect();
        drop(queue);
        group.sort_by(|a, b| T::key(&a.call).cmp(T::key(&b.call)));
        group
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
    /// Makes groups as long as somebody waits.
    async fn serve(mut self) {
        self.handed_over = false;
        loop {
            let group = self.shared.next();
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

/// Makes a call alone, while others wait if there is a lead.
pub(super) async fn alone<T: Together, A>(lead: Option<Lead<T>>, call: impl Future<Output = A>) -> A {
    let Some(lead) = lead else { return call.await };
    let mut call = pin!(call);
    match timeout(PATIENCE, call.as_mut()).await {
        Ok(answer) => answer,
        Err(_) => {
            drop(lead);
            call.await
        }
    }
}

impl<T: Together> Drop for Lead<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        if queue.waiting.is_empty() {
            queue.busy = false;
            return;
        }
        match Handle::try_current() {
            Ok(runtime) if !self.handed_over => {
                drop(queue);
                runtime.spawn(Lead { shared: self.shared.clone(), handed_over: true }.serve());
            }
            // No runtime is there to serve them, or it is shutting down: they are told.
            _ => {
                queue.busy = false;
                let waiting = std::mem::take(&mut queue.waiting);
                drop(queue);
                drop(waiting);
            }
        }
    }
}

#[cfg(test)]
mod tests;
