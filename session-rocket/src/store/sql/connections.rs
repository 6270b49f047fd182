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
use tokio::time::{Instant, timeout};

use super::dialect::{ConnectOptions, Dialect, Fault};
use super::idle::{Idle, IdleConnections};

/// The connections of a store to one database.
pub(super) struct Connections<DB: Dialect>(Arc<Source<DB>>);

enum Source<DB: Dialect> {
    Own(Own<DB>),
    Application { pool: Pool<DB>, runtime: Handle, limit: Duration },
}

struct Own<DB: Dialect> {
    connect: Box<dyn Fn() -> ConnectOptions<DB> + Send + Sync>,
    limit: Duration,
    permits: Arc<Semaphore>,
    idle: Mutex<IdleConnections<DB::Connection>>,
}

/// A connection for one call.
pub(super) struct Borrowed<DB: Dialect> {
    source: Arc<Source<DB>>,
    /// `None` only while the value is dropped, and after a failed test.
    connection: Option<Lent<DB>>,
    end: End,
}

enum Lent<DB: Dialect> {
    Own { connection: DB::Connection, opened_at: Instant, _permit: OwnedSemaphorePermit },
    Application(PoolConnection<DB>),
}

/// How the statement on a connection ended.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// Its caller went away, so the reply is unread.
    CutOff,
    /// With an error after which the connection may be broken.
    Failed,
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
    ) -> Self {
        // At least one, so that no call waits for ever.
        let permits = Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(1).clamp(1, Semaphore::MAX_PERMITS)));
        let idle = Mutex::new(IdleConnections::new());
        Self(Arc::new(Source::Own(Own { connect: Box::new(connect), limit, permits, idle })))
    }

    /// The connections of an application's pool. Call this function within a runtime.
    pub(super) fn of_application(pool: Pool<DB>, limit: Duration) -> Self {
        Self(Arc::new(Source::Application { pool, runtime: Handle::current(), limit }))
    }

    /// The address of the database.
    pub(super) fn address(&self) -> String {
        match &*self.0 {
            Source::Own(own) => DB::address(&(own.connect)()),
            Source::Application { pool, .. } => DB::address(&pool.connect_options()),
        }
    }

    /// Waits for a free connection, and opens one if none is idle.
    pub(super) async fn borrow(&self) -> sqlx::Result<Borrowed<DB>> {
        let own = match &*self.0 {
            Source::Own(own) => own,
            Source::Application { pool, .. } => return Ok(self.lend(Lent::Application(pool.acquire().await?))),
        };
        loop {
            let permit = own.permits.clone().acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
            let Some(idle) = own.take_idle() else {
                let mut connection = DB::Connection::connect_with(&(own.connect)()).await?;
                DB::set_up(&mut connection, own.limit).await?;
                return Ok(self.lend(Lent::Own { connection, opened_at: Instant::now(), _permit: permit }));
            };
            let needs_test = idle.needs_test();
            let Idle { connection, opened_at, .. } = idle;
            // Lent before the test, so that the connection is taken back if the caller drops the future meanwhile.
            let mut borrowed = self.lend(Lent::Own { connection, opened_at, _permit: permit });
            if !needs_test || own.is_alive(borrowed.get()).await {
                return Ok(borrowed);
            }
            // A broken connection is not taken back.
            borrowed.connection = None;
        }
    }

    fn lend(&self, lent: Lent<DB>) -> Borrowed<DB> {
        Borrowed { source: self.0.clone(), connection: Some(lent), end: End::CutOff }
    }
}

impl<DB: Dialect> Clone for Connections<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: Dialect> Own<DB> {
    fn idle(&self) -> MutexGuard<'_, IdleConnections<DB::Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the idle connection that is to be used next, after those that are too old were closed.
    fn take_idle(&self) -> Option<Idle<DB::Connection>> {
        self.close_old();
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
        // The other connections were idle for longer or failed. If the call tested each of them, it would run out of time.
        self.close_all();
        false
    }

    /// Takes a connection back. One to SQLite stays open as long as the store: SQLite removes its log with the last
    /// connection, and a database in memory with its only one.
    fn take_back(&self, connection: DB::Connection, opened_at: Instant, end: End) {
        if DB::IS_SERVER && end == End::CutOff {
            // Nobody else may read the reply.
            return;
        }
        self.idle().push(connection, opened_at, end != End::Answered);
        if end == End::Forbidden {
            // After a failover, the old primary is read-only. The next call connects anew, and so to the new primary.
            self.close_all();
        } else {
            self.close_old();
        }
    }

    /// Closes the idle connections that are too old. Those to SQLite stay open.
    fn close_old(&self) {
        if DB::IS_SERVER {
            let old = self.idle().remove_old();
            self.close(old);
        }
    }

    /// Closes all idle connections.
    fn close_all(&self) {
        let all = self.idle().remove_all();
        self.close(all);
    }

    /// Tells the server that the connections end. Without a runtime, they are dropped.
    fn close(&self, connections: Vec<Idle<DB::Connection>>) {
        if let Ok(runtime) = Handle::try_current() {
            for Idle { connection, .. } in connections {
                runtime.spawn(timeout(self.limit, connection.close()));
            }
        }
    }
}

impl<DB: Dialect> Borrowed<DB> {
    pub(super) fn get(&mut self) -> &mut DB::Connection {
        match self.connection.as_mut().expect("a connection is lent until the value is dropped or its test has failed")
        {
            Lent::Own { connection, .. } => connection,
            Lent::Application(connection) => connection,
        }
    }

    /// Notes how the statement on the connection ended.
    pub(super) fn ended<A>(&mut self, answer: sqlx::Result<A>) -> sqlx::Result<A> {
        self.end = match &answer {
            Err(error) if DB::IS_SERVER && DB::fault(error) == Fault::Forbidden => End::Forbidden,
            Err(error) if !DB::is_refusal(error) => End::Failed,
            _ => End::Answered,
        };
        answer
    }
}

impl<DB: Dialect> Drop for Borrowed<DB> {
    fn drop(&mut self) {
        match (&*self.source, self.connection.take()) {
            (Source::Own(own), Some(Lent::Own { connection, opened_at, _permit })) => {
                own.take_back(connection, opened_at, self.end);
            }
            (Source::Application { runtime, limit, .. }, Some(Lent::Application(connection))) => {
                // The pool needs a runtime, even one that has ended.
                let _inside = runtime.enter();
                give_back(connection, self.end, *limit, runtime);
            }
            _ => {}
        }
    }
}

/// Gives a connection back to the application's pool, which tests it. A connection to a server that fell silent would
/// occupy its place in the pool for ever, so the test has a time limit.
fn give_back<DB: Dialect>(mut connection: PoolConnection<DB>, end: End, limit: Duration, runtime: &Handle) {
    if !DB::IS_SERVER {
        return;
    }
    if matches!(end, End::CutOff | End::Forbidden) {
        connection.close_on_drop();
        return;
    }
    let back = connection.return_to_pool();
    runtime.spawn(async move { timeout(limit, back).await });
}
