//! The idle connections of a store.

use std::time::Duration;

use tokio::time::Instant;

/// A connection that was idle for longer is tested before its next use, because the server may have been restarted.
const UNTESTED: Duration = Duration::from_secs(1);

/// A connection to a server is closed after this time without use, because firewalls drop connections that are idle for
/// long, and notify neither end.
const LONGEST_IDLE: Duration = Duration::from_secs(60);

/// A connection to a server is closed at this age, so that settings of the server and changes of its address take effect.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// An idle connection.
pub(super) struct Idle<C> {
    pub connection: C,
    pub opened_at: Instant,
    since: Instant,
    /// Whether the connection may be broken, or may still run a statement whose caller went away.
    is_doubtful: bool,
}

impl<C> Idle<C> {
    pub(super) fn needs_test(&self) -> bool {
        self.is_doubtful || self.since.elapsed() > UNTESTED
    }

    fn is_too_old(&self, now: Instant) -> bool {
        now.duration_since(self.since) > LONGEST_IDLE || now.duration_since(self.opened_at) > LIFETIME
    }
}

/// A stack of idle connections. The last one is the next to be used.
pub(super) struct IdleConnections<C>(Vec<Idle<C>>);

impl<C> IdleConnections<C> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a connection, which becomes idle now. A doubtful connection is used only after all others.
    pub(super) fn push(&mut self, connection: C, opened_at: Instant, is_doubtful: bool) {
        let index = if is_doubtful { 0 } else { self.0.len() };
        self.0.insert(index, Idle { connection, opened_at, since: Instant::now(), is_doubtful });
    }

    /// Removes and returns the connection to be used next.
    pub(super) fn pop(&mut self) -> Option<Idle<C>> {
        self.0.pop()
    }

    /// Removes and returns the connections to a server that are too old to be used.
    pub(super) fn remove_old(&mut self) -> Vec<Idle<C>> {
        let now = Instant::now();
        self.0.extract_if(.., |idle| idle.is_too_old(now)).collect()
    }

    /// Removes and returns all connections.
    pub(super) fn remove_all(&mut self) -> Vec<Idle<C>> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests;
