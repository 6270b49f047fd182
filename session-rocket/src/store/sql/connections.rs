//! The connections of a store: its own, or those of an application's pool.
//!
//! Own connections are not in a pool of sqlx. Such a pool tests each connection that comes back, which is a round trip for
//! every call, and starts a timer for each connection that it lends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection, Pool};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::dialect::{ConnectOptions, Dialect, Fault};
use super::idle::{OwnConnection, put_back};

/// The connections of a store to one database.
pub(super) enum Connections<DB: Dialect> {
    Own(OwnConnections<DB>),
    Application { pool: Pool<DB>, runtime: Handle, limit: Duration },
}

pub(super) struct OwnConnections<DB: Dialect> {
    connect: Box<dyn Fn() -> ConnectOptions<DB> + Send + Sync>,
    limit: Duration,
    permits: Arc<Semaphore>,
    /// The last one is the next to be used.
    idle: Mutex<Vec<OwnConnection<DB::Connection>>>,
}

/// A connection for one call.
pub(super) struct Borrowed<DB: Dialect> {
    connections: Arc<Connections<DB>>,
    /// `None` only while the value is dropped, and after a failed test.
    connection: Option<Lent<DB>>,
    end: End,
}

enum Lent<DB: Dialect> {
    Own(OwnConnection<DB::Connection>, OwnedSemaphorePermit),
    Application(PoolConnection<DB>),
}

/// How the statement on a connection ended.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// Its caller went away, so the reply is unread; or with an error after which the connection may be broken.
    Doubtful,
    /// A server refused the statement because it is read-only, or because the user lacks a right.
    Forbidden,
    Answered,
}

impl<DB: Dialect> Connections<DB> {
    /// At most `size` connections of the store's own, each opened with the options that `connect` returns at that time.
    pub(super) fn own(
        connect: impl Fn() -> ConnectOptions<DB> + Send + Sync + 'static,
        size: u32,
        limit: Duration,
    ) -> Arc<Self> {
        // At least one, so that no call waits for ever.
        let permits = Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(1).clamp(1, Semaphore::MAX_PERMITS)));
        let idle = Mutex::new(Vec::new());
        Arc::new(Self::Own(OwnConnections { connect: Box::new(connect), limit, permits, idle }))
    }

    /// The connections of an application's pool. Call this function within a runtime.
    pub(super) fn of_application(pool: Pool<DB>, limit: Duration) -> Arc<Self> {
        Arc::new(Self::Application { pool, runtime: Handle::current(), limit })
    }

    /// The address of the database.
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
            Self::Application { pool, .. } => return Ok(self.lend(Lent::Application(pool.acquire().await?))),
        };
        loop {
            let permit = own.permits.clone().acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
            let Some(opened) = own.take_idle() else {
                let mut connection = DB::Connection::connect_with(&(own.connect)()).await?;
                DB::set_up(&mut connection, own.limit).await?;
                return Ok(self.lend(Lent::Own(OwnConnection::new(connection), permit)));
            };
            let needs_test = opened.needs_test();
            // Lent before the test, so that the connection is taken back if the caller drops the future meanwhile.
            let mut borrowed = self.lend(Lent::Own(opened, permit));
            if !needs_test || own.is_alive(borrowed.get()).await {
                return Ok(borrowed);
            }
            // A broken connection is not taken back.
            borrowed.connection = None;
        }
    }

    fn lend(self: &Arc<Self>, lent: Lent<DB>) -> Borrowed<DB> {
        Borrowed { connections: self.clone(), connection: Some(lent), end: End::Doubtful }
    }
}

impl<DB: Dialect> OwnConnections<DB> {
    fn idle(&self) -> MutexGuard<'_, Vec<OwnConnection<DB::Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the idle connection that is to be used next, after those to a server that are too old were closed.
    fn take_idle(&self) -> Option<OwnConnection<DB::Connection>> {
        if DB::IS_SERVER {
            self.close_idle(OwnConnection::is_too_old);
        }
        self.idle().pop()
    }

    /// Tests whether a connection still works.
    async fn is_alive(&self, connection: &mut DB::Connection) -> bool {
        if !DB::IS_SERVER {
            // The test waits for a statement that was cut off. The connection has to stay even if the statement takes long,
            // because a database in memory is gone with its connection.
            return connection.ping().await.is_ok();
        }
        // Enough of the call's time is left for a new connection and the statement.
        if let Ok(answer) = timeout(self.limit / 4, connection.ping()).await {
            return answer.is_ok();
        }
        // The other connections were idle for longer. If the call tested each of them, it would run out of time.
        self.close_idle(|_| true);
        false
    }

    /// Takes a connection back. One to SQLite stays open as long as the store: SQLite removes its log with the last
    /// connection, and a database in memory with its only one.
    fn take_back(&self, opened: OwnConnection<DB::Connection>, end: End) {
        // A connection to a server is not used again after a doubtful end: nobody else may read the reply.
        if !DB::IS_SERVER || end != End::Doubtful {
            put_back(&mut self.idle(), opened, end == End::Doubtful);
        }
        if end == End::Forbidden {
            // After a failover, the old primary is read-only. The next call connects anew, and so to the new primary.
            self.close_idle(|_| true);
        }
    }

    /// Closes some of the idle connections, and tells the server so. Without a runtime, the connections are dropped.
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
            Lent::Own(opened, _) => &mut opened.connection,
            Lent::Application(connection) => connection,
        }
    }

    /// Notes how the statement on the connection ended.
    pub(super) fn ended<A>(&mut self, answer: sqlx::Result<A>) -> sqlx::Result<A> {
        self.end = match &answer {
            Err(error) if DB::IS_SERVER && DB::fault(error) == Fault::Forbidden => End::Forbidden,
            Err(error) if !DB::is_refusal(error) => End::Doubtful,
            _ => End::Answered,
        };
        answer
    }
}

impl<DB: Dialect> Drop for Borrowed<DB> {
    fn drop(&mut self) {
        match (&*self.connections, self.connection.take()) {
            // The permit is returned after the connection.
            (Connections::Own(own), Some(Lent::Own(opened, _permit))) => own.take_back(opened, self.end),
            (Connections::Application { runtime, limit, .. }, Some(Lent::Application(mut connection))) => {
                // The pool needs a runtime, even one that has ended.
                let _inside = runtime.enter();
                if DB::IS_SERVER && self.end == End::Answered {
                    // The pool tests the connection. If the server fell silent, the connection would occupy its place in the
                    // pool for ever, so the test has a time limit.
                    let (back, limit) = (connection.return_to_pool(), *limit);
                    runtime.spawn(async move { timeout(limit, back).await });
                } else if DB::IS_SERVER {
                    connection.close_on_drop();
                }
            }
            _ => {}
        }
    }
}
