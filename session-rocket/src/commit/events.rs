//! The receivers of events: the application's function, and the tasks of this process that wait for the end of a
//! session.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use hashlink::DefaultHashBuilder;
use tokio::sync::Notify;

use crate::base::event::{Event, OnEvent};
use crate::base::id::Key;

#[derive(Default)]
pub(crate) struct Events {
    on_event: Option<Arc<OnEvent>>,
    /// The sessions that tasks of this process wait for, with the number of tasks and their notifier.
    awaited: Mutex<HashMap<Key, (usize, Arc<Notify>), DefaultHashBuilder>>,
}

impl Events {
    pub(crate) fn new(on_event: Option<Arc<OnEvent>>) -> Self {
        Self { on_event, awaited: Mutex::default() }
    }

    /// Registers a task that waits until the session at `key` ends or gets a new id. Dropping the result removes the
    /// registration.
    pub(super) fn wait_for(&self, key: Key) -> Awaited<'_> {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        let (tasks, notify) = awaited.entry(key).or_default();
        *tasks += 1;
        Awaited { events: self, key, notify: notify.clone() }
    }

    /// Passes an event to the application's function, if there is one.
    pub(super) fn send(&self, event: impl FnOnce() -> Event, type_name: &str) {
        let Some(on_event) = &self.on_event else { return };
        let event = event();
        // The store has confirmed the change, so a panic of the function must not fail the request.
        if catch_unwind(AssertUnwindSafe(|| on_event(&event))).is_err() {
            log::error!(target: "session_rocket", "the `on_event` function of session type `{type_name}` panicked");
        }
    }

    pub(super) fn wake(&self, key: &Key) {
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, notify)) = awaited.get(key) {
            notify.notify_waiters();
        }
    }
}

/// The registration of a task that waits for the end of a session.
pub(super) struct Awaited<'e> {
    events: &'e Events,
    key: Key,
    pub(super) notify: Arc<Notify>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let mut awaited = self.events.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = awaited.entry(self.key) {
            entry.get_mut().0 -= 1;
            if entry.get().0 == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests;
