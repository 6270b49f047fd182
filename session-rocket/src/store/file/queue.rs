//! The calls of this process that wait for one shard's lock.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(super) struct Queue {
    /// Only the call that holds this mutex tries to take the shard's lock.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// When the last attempt failed because another process held the lock. `None` if the last attempt took the lock.
    held_at: Mutex<Option<Instant>>,
}

impl Queue {
    /// Records an attempt to take the lock. `is_held` says whether another process held the lock.
    pub(super) fn record_attempt(&self, is_held: bool) {
        *self.held_at.lock().unwrap_or_else(PoisonError::into_inner) = is_held.then(Instant::now);
    }

    /// Whether the last attempt failed because another process held the lock. Ignores an attempt older than `max_age`,
    /// because the disk has not replied to a later attempt, so the lock may be free.
    pub(super) fn is_held(&self, max_age: Duration) -> bool {
        let held_at = *self.held_at.lock().unwrap_or_else(PoisonError::into_inner);
        held_at.is_some_and(|held_at| held_at.elapsed() < max_age)
    }
}

#[cfg(test)]
mod tests;
