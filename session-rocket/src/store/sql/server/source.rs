//! The application's pool behind the store's own connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::Pool;

use super::{ConnectOptions, Served};

/// An application's pool whose connect options the store's own connections use.
///
/// An application that rotates its password sets new connect options on its pool. The store takes them over, because its
/// next connection would be refused otherwise.
pub(super) struct Source<DB: Served> {
    pool: Pool<DB>,
    limit: Duration,
    seen: Mutex<Arc<ConnectOptions<DB>>>,
}

impl<DB: Served> Source<DB> {
    pub(super) fn new(pool: Pool<DB>, limit: Duration) -> Self {
        let seen = Mutex::new(pool.connect_options());
        Self { pool, limit, seen }
    }

    /// The connect options for the store's own connections.
    pub(super) fn connect_options(&self) -> ConnectOptions<DB> {
        self.limited(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn limited(&self, options: &ConnectOptions<DB>) -> ConnectOptions<DB> {
        DB::with_limit(options.clone(), self.limit)
    }

    /// Gives the application's connect options to the store's own pool if they have changed.
    pub(super) fn update(&self, own: &Pool<DB>) {
        let current = self.pool.connect_options();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&seen, &current) {
            // Under the lock, so that another caller cannot set older options afterwards.
            own.set_connect_options(self.limited(&current));
            *seen = current;
        }
    }
}
