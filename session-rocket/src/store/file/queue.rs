//! The calls of this process that wait for one shard's lock.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The queue for one shard's lock.
#[derive(Default)]
pub(super) struct Queue {
    /// Only the call that holds this mutex tries to take the shard's lock.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// When an attempt last found that another process holds the lock, unless an attempt took the lock since.
    held_at: Mutex<Option<Instant>>,
}

impl Queue {
    /// Records whether an attempt found that another process holds the lock.
    pub(super) fn record_attempt(&self, is_held: bool) {
        *self.held_at.lock().unwrap_or_else(PoisonError::into_inner) = is_held.then(Instant::now);
    }

    /// Whether the last attempt found, less than `age` ago, that another process holds the lock. If the disk has not
    /// replied for `age`, nobody knows who holds the lock.
    pub(super) fn is_held(&self, age: Duration) -> bool {
        let held_at = *self.held_at.lock().unwrap_or_else(PoisonError::into_inner);
        held_at.is_some_and(|held_at| held_at.elapsed() < age)
    }
}

#[cfg(test)]
mod tests;
