//! The connections of a store: its own, or those of an application's pool.
//!
//! The store's own connections are not in a pool of sqlx. Such a pool tests every connection that is returned to it, and
//! the test would cost a round trip and a timer in each call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection, Pool};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::dialect::{ConnectOptions, Dialect, Fault};
use super::idle::{OwnConnection, put_back, put_back_uncertain};

/// The maximum number of connections reserved for reads, so that reads continue while a lock on the table blocks all writes.
const MAX_RESERVED: usize = 2;

pub(super) enum Connections<DB: Dialect> {
    Own(OwnConnections<DB>),
    Application { pool: Pool<DB>, runtime: Handle, limit: Duration },
}

pub(super) struct OwnConnections<DB: Dialect> {
    connect: Box<dyn Fn() -> ConnectOptions<DB> + Send + Sync>,
    limit: Duration,
    permits: Arc<Semaphore>,
    write_permits: Arc<Semaphore>,
    /// The last connection is the next to be used.
    idle: Mutex<Vec<OwnConnection<DB::Connection>>>,
}

/// A connection for one call.
pub(super) struct Borrowed<DB: Dialect> {
    connections: Arc<Connections<DB>>,
    /// `None` only after a failed test, and while the `Borrowed` is dropped.
    connection: Option<LentConnection<DB>>,
    state: ConnectionState,
    /// Released after the connection is returned.
    write_permit: Option<OwnedSemaphorePermit>,
}

enum LentConnection<DB: Dialect> {
    Own(OwnConnection<DB::Connection>, OwnedSemaphorePermit),
    Application(PoolConnection<DB>),
}

/// Whether a connection can be used again after its last statement.
#[derive(Clone, Copy, PartialEq)]
enum ConnectionState {
    /// The connection may be broken, or may still receive the reply to a statement whose caller went away.
    Uncertain,
    /// The server refused the statement because the server is read-only, or because the user lacks a right.
    Forbidden,
    /// The reply was read completely.
    Ready,
}

impl<DB: Dialect> Connections<DB> {
    /// Creates a set of at most `size` connections of the store's own. Calls `connect` for the options of each new
    /// connection.
    pub(super) fn own(
        connect: impl Fn() -> ConnectOptions<DB> + Send + Sync + 'static,
        size: u32,
        limit: Duration,
    ) -> Arc<Self> {
        // With zero permits, every call would wait forever.
        let size = usize::try_from(size).unwrap_or(1).clamp(1, Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(size));
        // A store with few connections reserves fewer, because writes that wait for locked rows need connections too.
        let write_permits = Arc::new(Semaphore::new(size - MAX_RESERVED.min(size / 4)));
        let idle = Mutex::new(Vec::new());
        Arc::new(Self::Own(OwnConnections { connect: Box::new(connect), limit, permits, write_permits, idle }))
    }

    /// Uses an application's pool. Must be called within a runtime.
    pub(super) fn of_application(pool: Pool<DB>, limit: Duration) -> Arc<Self> {
        Arc::new(Self::Application { pool, runtime: Handle::current(), limit })
    }

    pub(super) fn address(&self) -> String {
        match self {
            Self::Own(own) => DB::address(&(own.connect)()),
            Self::Application { pool, .. } => DB::address(&pool.connect_options()),
        }
    }

    /// Waits for a free connection, and opens one if none is idle.
    pub(super) async fn borrow(self: &Arc<Self>) -> sqlx::Result<Borrowed<DB>> {
        let own = match &**self {
            Self::Own(own) => own,
            Self::Application { pool, .. } => return Ok(self.lend(LentConnection::Application(pool.acquire().await?))),
        };
        loop {
            let permit = own.permits.clone().acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
            let Some(opened) = own.take_idle() else {
                let mut connection = DB::Connection::connect_with(&(own.connect)()).await?;
                DB::set_up(&mut connection, own.limit).await?;
                return Ok(self.lend(LentConnection::Own(OwnConnection::new(connection), permit)));
            };
            let needs_test = opened.needs_test();
            // Lent before the test, so that the connection is taken back if the caller drops the future during the test.
            let mut borrowed = self.lend(LentConnection::Own(opened, permit));
            if !needs_test || own.is_alive(borrowed.get()).await {
                return Ok(borrowed);
            }
            borrowed.connection = None;
        }
    }

    pub(super) async fn borrow_to_write(self: &Arc<Self>) -> sqlx::Result<Borrowed<DB>> {
        let permit = match &**self {
            Self::Own(own) => own.write_permits.clone().acquire_owned().await.ok(),
            Self::Application { .. } => None,
        };
        let mut borrowed = self.borrow().await?;
        borrowed.write_permit = permit;
        Ok(borrowed)
    }

    fn lend(self: &Arc<Self>, lent: LentConnection<DB>) -> Borrowed<DB> {
        let (connections, connection) = (self.clone(), Some(lent));
        Borrowed { connections, connection, state: ConnectionState::Uncertain, write_permit: None }
    }
}

impl<DB: Dialect> OwnConnections<DB> {
    fn idle(&self) -> MutexGuard<'_, Vec<OwnConnection<DB::Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the idle connection that was used last. First closes connections to a server that are too old.
    fn take_idle(&self) -> Option<OwnConnection<DB::Connection>> {
        if DB::IS_SERVER {
            self.close_idle(OwnConnection::is_too_old);
        }
        self.idle().pop()
    }

    async fn is_alive(&self, connection: &mut DB::Connection) -> bool {
        if !DB::IS_SERVER {
            // The ping waits until a statement whose caller went away has finished. The ping has no time limit, because
            // a connection to SQLite must stay open, as `take_back` explains.
            return connection.ping().await.is_ok();
        }
        // A quarter of the time limit leaves enough time for a new connection and the statement.
        if let Ok(reply) = timeout(self.limit / 4, connection.ping()).await {
            return reply.is_ok();
        }
        // The other connections have been idle for longer, and the call has no time to test each of them. So they are
        // closed.
        self.close_idle(|_| true);
        false
    }

    /// Puts a connection back, or closes it.
    ///
    /// An uncertain connection to a server is closed, because a later call could read the reply to an earlier call. A
    /// connection to SQLite is never closed: when the last connection closes, SQLite removes the write-ahead log, and the
    /// data of a database in memory is lost.
    fn take_back(&self, opened: OwnConnection<DB::Connection>, state: ConnectionState) {
        match state {
            ConnectionState::Uncertain if DB::IS_SERVER => drop(opened),
            ConnectionState::Uncertain => put_back_uncertain(&mut self.idle(), opened),
            ConnectionState::Ready => put_back(&mut self.idle(), opened),
            ConnectionState::Forbidden => {
                put_back(&mut self.idle(), opened);
                // After a failover, the old primary is read-only, but a new connection leads to the new primary. So all idle
                // connections are closed, including this connection.
                self.close_idle(|_| true);
            }
        }
    }

    /// Closes the idle connections that `is_closed` selects, and notifies the server. Outside a runtime, only drops them.
    fn close_idle(&self, is_closed: impl Fn(&OwnConnection<DB::Connection>) -> bool) {
        let closed: Vec<_> = self.idle().extract_if(.., |connection| is_closed(connection)).collect();
        if let Ok(runtime) = Handle::try_current() {
            for OwnConnection { connection, .. } in closed {
                runtime.spawn(timeout(self.limit, connection.close()));
            }
        }
    }
}

impl<DB: Dialect> Borrowed<DB> {
    pub(super) fn get(&mut self) -> &mut DB::Connection {
        match self.connection.as_mut().expect("a connection is lent until the value is dropped or its test has failed")
        {
            LentConnection::Own(opened, _) => &mut opened.connection,
            LentConnection::Application(connection) => connection,
        }
    }

    /// Records whether the connection can be used again after a statement with this result.
    pub(super) fn record_result<A>(&mut self, result: sqlx::Result<A>) -> sqlx::Result<A> {
        self.state = match &result {
            Err(error) if DB::IS_SERVER && DB::fault(error) == Fault::Forbidden => ConnectionState::Forbidden,
            Err(error) if !DB::is_refusal(error) => ConnectionState::Uncertain,
            _ => ConnectionState::Ready,
        };
        result
    }
}

impl<DB: Dialect> Drop for Borrowed<DB> {
    fn drop(&mut self) {
        match (&*self.connections, self.connection.take()) {
            // The permit is released after the connection is returned.
            (Connections::Own(own), Some(LentConnection::Own(opened, _permit))) => own.take_back(opened, self.state),
            (Connections::Application { runtime, limit, .. }, Some(LentConnection::Application(mut connection))) => {
                // The pool takes a connection back only within a runtime, but the runtime may have shut down.
                let _inside = runtime.enter();
                if DB::IS_SERVER && self.state == ConnectionState::Ready {
                    // The pool tests the connection without a time limit. If the server no longer responds, the test
                    // never ends.
                    let (returning, limit) = (connection.return_to_pool(), *limit);
                    runtime.spawn(async move { timeout(limit, returning).await });
                } else if DB::IS_SERVER {
                    connection.close_on_drop();
                }
            }
            _ => {}
        }
    }
}
