//! The idle connections of a store.

use std::time::Duration;

use tokio::time::Instant;

/// A connection that was idle for longer than this is tested before its next use, because the server may have
/// restarted.
const MAX_UNTESTED_IDLE: Duration = Duration::from_secs(1);

/// A connection to a server is closed after this time without use, because firewalls drop idle connections without notice.
pub(super) const MAX_IDLE: Duration = Duration::from_secs(60);

/// A connection to a server is closed at this age, so that changes of the server's settings and address take effect.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

/// A connection of the store's own.
pub(super) struct OwnConnection<C> {
    pub connection: C,
    opened_at: Instant,
    used_at: Instant,
    /// Whether the connection may be broken, or may still run a statement whose caller went away.
    is_uncertain: bool,
}

impl<C> OwnConnection<C> {
    pub(super) fn new(connection: C) -> Self {
        let now = Instant::now();
        Self { connection, opened_at: now, used_at: now, is_uncertain: false }
    }

    pub(super) fn needs_test(&self) -> bool {
        self.is_uncertain || self.used_at.elapsed() > MAX_UNTESTED_IDLE
    }

    pub(super) fn is_too_old(&self) -> bool {
        self.used_at.elapsed() > MAX_IDLE || self.opened_at.elapsed() > MAX_AGE
    }
}

/// Adds a connection. The next call uses this connection.
pub(super) fn put_back<C>(idle: &mut Vec<OwnConnection<C>>, connection: OwnConnection<C>) {
    idle.push(OwnConnection { used_at: Instant::now(), is_uncertain: false, ..connection });
}

/// Adds a connection that must be tested before its next use. It is used only if no other connection is idle.
pub(super) fn put_back_uncertain<C>(idle: &mut Vec<OwnConnection<C>>, connection: OwnConnection<C>) {
    idle.insert(0, OwnConnection { used_at: Instant::now(), is_uncertain: true, ..connection });
}

#[cfg(test)]
mod tests;
