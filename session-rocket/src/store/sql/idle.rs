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

/// A connection of the store's own.
pub(super) struct OwnConnection<C> {
    pub connection: C,
    opened_at: Instant,
    used_at: Instant,
    /// Whether the connection may be broken, or may still run a statement whose caller went away.
    is_doubtful: bool,
}

impl<C> OwnConnection<C> {
    pub(super) fn new(connection: C) -> Self {
        let now = Instant::now();
        Self { connection, opened_at: now, used_at: now, is_doubtful: false }
    }

    pub(super) fn needs_test(&self) -> bool {
        self.is_doubtful || self.used_at.elapsed() > UNTESTED
    }

    pub(super) fn is_too_old(&self) -> bool {
        self.used_at.elapsed() > LONGEST_IDLE || self.opened_at.elapsed() > LIFETIME
    }
}

/// Adds a connection, which becomes idle now, to a stack of idle connections. The last one is the next to be used, and a
/// doubtful connection is used only after all others.
pub(super) fn put_back<C>(idle: &mut Vec<OwnConnection<C>>, connection: OwnConnection<C>, is_doubtful: bool) {
    let index = if is_doubtful { 0 } else { idle.len() };
    idle.insert(index, OwnConnection { used_at: Instant::now(), is_doubtful, ..connection });
}

#[cfg(test)]
mod tests;
