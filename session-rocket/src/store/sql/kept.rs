//! Connections that stay with a store from call to call.
//!
//! A pool asks each connection that comes back whether it still stands: a round trip for every call, and a timer for
//! every connection that it lends. What is used again at once needs neither.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};
use tokio::runtime::Handle;

/// A connection that was idle for longer goes back to the pool, which asks it whether it still stands.
const IDLE: Duration = Duration::from_secs(1);

/// A connection goes back to the pool after so long, which may replace it when it is old.
const KEPT: Duration = Duration::from_secs(60);

/// A pool, and the connections of it that are kept.
pub(super) struct Kept<DB: Database>(Arc<Shared<DB>>);

struct Shared<DB: Database> {
    pool: Pool<DB>,
    uses: Uses,
    runtime: Handle,
    /// How long giving a connection back may take.
    limit: Duration,
    idle: Mutex<IdleOnes<DB>>,
}

/// What a pool's connections are used for.
#[derive(Clone, Copy)]
pub(super) struct Uses {
    /// By nobody else: they may be kept.
    pub alone: bool,
    /// For statements that go on in a server when they are cut off: their connections are closed.
    pub served: bool,
}

struct IdleOnes<DB: Database> {
    kept: Vec<Idle<DB>>,
    /// How many wait for the pool to lend them one: what comes free is theirs.
    wanted: usize,
    is_closed: bool,
}

struct Idle<DB: Database> {
    connection: PoolConnection<DB>,
    since: Instant,
    lent_at: Instant,
}

/// A connection, for one call.
pub(super) struct Borrowed<DB: Database> {
    shared: Arc<Shared<DB>>,
    /// Taken when it is dropped.
    connection: Option<PoolConnection<DB>>,
    lent_at: Instant,
    end: End,
}

/// How the statement of a connection ended.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// Nobody waited for it.
    CutOff,
    /// With an error, after which the connection may be of no use.
    Failed,
    Answered,
}

/// Waits for a connection of the pool.
struct Wanted<'k, DB: Database>(&'k Shared<DB>);

impl<DB: Database> Kept<DB> {
    /// To be called within a runtime.
    pub(super) fn new(pool: Pool<DB>, uses: Uses, limit: Duration) -> Self {
        let idle = Mutex::new(IdleOnes { kept: Vec::new(), wanted: 0, is_closed: false });
        Self(Arc::new(Shared { pool, uses, runtime: Handle::current(), limit, idle }))
    }

    pub(super) async fn borrow(&self) -> sqlx::Result<Borrowed<DB>> {
        let shared = &self.0;
        let (mut connection, mut lent_at) = (None, Instant::now());
        let stale = {
            let mut idle = shared.idle();
            match idle.kept.pop() {
                Some(kept) if kept.since.elapsed() < IDLE => {
                    (connection, lent_at) = (Some(kept.connection), kept.lent_at);
                    None
                }
                stale => {
                    idle.wanted += 1;
                    stale
                }
            }
        };
        if connection.is_none() {
            let _wanted = Wanted(shared);
            if let Some(Idle { connection, .. }) = stale {
                shared.give_back(connection);
            }
            connection = Some(shared.pool.acquire().await?);
        }
        Ok(Borrowed { shared: shared.clone(), connection, lent_at, end: End::CutOff })
    }

    /// The pool, whose connections may be in use or kept.
    pub(super) fn pool(&self) -> &Pool<DB> {
        &self.0.pool
    }

    /// Closes all connections, once the last one has come back.
    #[cfg(feature = "sqlite")]
    pub(super) async fn close(&self) {
        let kept = {
            let mut idle = self.0.idle();
            idle.is_closed = true;
            std::mem::take(&mut idle.kept)
        };
        drop(kept);
        self.0.pool.close().await;
    }
}

impl<DB: Database> Clone for Kept<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: Database> Shared<DB> {
    fn idle(&self) -> MutexGuard<'_, IdleOnes<DB>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection for the next call, unless the pool is to have it. So are those that nobody took for long.
    fn keep(&self, connection: PoolConnection<DB>, lent_at: Instant) -> Vec<PoolConnection<DB>> {
        let mut idle = self.idle();
        if !self.uses.alone || idle.wanted > 0 || idle.is_closed || lent_at.elapsed() > KEPT {
            return vec![connection];
        }
        // The last that came is the first that goes: the stale ones are in front.
        let stale = idle.kept.iter().take_while(|kept| kept.since.elapsed() >= IDLE).count();
        let stale = idle.kept.drain(..stale).map(|kept| kept.connection).collect();
        idle.kept.push(Idle { connection, since: Instant::now(), lent_at });
        stale
    }

    /// Gives a connection back to the pool, which asks it whether it still stands. Behind a connection to a server that went
    /// silent, it would wait for that for ever, and its place would be lost.
    fn give_back(&self, mut connection: PoolConnection<DB>) {
        // A pool needs a runtime, even one that has ended.
        let _inside = self.runtime.enter();
        let (limit, back) = (self.limit, connection.return_to_pool());
        drop(connection);
        if self.uses.served {
            self.runtime.spawn(async move { tokio::time::timeout(limit, back).await });
        } else {
            self.runtime.spawn(back);
        }
    }
}

impl<DB: Database> Borrowed<DB> {
    /// Notes how its statement ended.
    pub(super) fn ended<A>(&mut self, answer: sqlx::Result<A>) -> sqlx::Result<A> {
        self.end = if answer.is_ok() { End::Answered } else { End::Failed };
        answer
    }
}

impl<DB: Database> Drop for Borrowed<DB> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        match self.end {
            // Whoever was to read the answer is gone: nobody else is to read it.
            End::CutOff if self.shared.uses.served => {
                let _inside = self.shared.runtime.enter();
                connection.close_on_drop();
                drop(connection);
            }
            End::CutOff | End::Failed => self.shared.give_back(connection),
            End::Answered => {
                for unwanted in self.shared.keep(connection, self.lent_at) {
                    self.shared.give_back(unwanted);
                }
            }
        }
    }
}

impl<DB: Database> Deref for Borrowed<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.connection.as_ref().expect("it is taken only when it is dropped")
    }
}

impl<DB: Database> DerefMut for Borrowed<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.connection.as_mut().expect("it is taken only when it is dropped")
    }
}

impl<DB: Database> Drop for Wanted<'_, DB> {
    fn drop(&mut self) {
        self.0.idle().wanted -= 1;
    }
}

impl<DB: Database> Drop for Shared<DB> {
    fn drop(&mut self) {
        for Idle { connection, .. } in std::mem::take(&mut self.idle().kept) {
            self.give_back(connection);
        }
    }
}
