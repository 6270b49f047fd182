//! A database in a server of its own.

mod launch;
mod source;

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::{PoolConnectionMetadata, PoolOptions};
use sqlx::{Connection, Database, Executor, IntoArguments, Pool};

use self::launch::{explained, in_time, prepare};
use self::source::Source;
use super::kept::{Borrowed, Kept, Uses};
use super::statement::{Dialect, Value};
use super::statements::Statements;
use super::table::Table;
use super::{Call, Driver, Failure, Group, SqlStore, patiently};
use crate::base::clock::Clock;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::Options;

pub(super) use self::launch::check_url;

/// A connection that was idle for longer is asked whether it still stands: the server may have been restarted.
const IDLE: Duration = Duration::from_secs(1);

/// How to connect to a database.
type ConnectOptions<DB> = <<DB as Database>::Connection as Connection>::Options;

/// A database that is reached over the network.
pub trait Served: Dialect {
    /// The host and the port, or the socket, for errors: without a user name or a password.
    fn place(connect: &ConnectOptions<Self>) -> String;

    /// Tells the server to give up the statements of a connection after `limit`, if the connect options can say so.
    fn with_limit(connect: ConnectOptions<Self>, limit: Duration) -> ConnectOptions<Self>;

    /// The settings of a pool of the store's own, whose connections wait no longer than `limit` for a lock.
    fn pool_options(limit: Duration) -> PoolOptions<Self>;

    /// What an error means.
    fn fault(error: &sqlx::Error) -> Fault;

    /// Whether the server, and nobody in between, says that it did not do what it was asked.
    fn is_refusal(error: &sqlx::Error) -> bool;

    /// Makes the table, or brings it up to date, while others that would do the same wait for no longer than `limit`.
    fn migrate<'c>(
        connection: &'c mut Self::Connection,
        table: &'c Table,
        limit: Duration,
    ) -> impl Future<Output = sqlx::Result<()>> + Send + 'c;

    /// Runs a statement that changes many rows, all at once or none, and gives the keys of those that it changed. Those
    /// that others hold are passed over, or it fails.
    fn change_many<'c>(
        connection: &'c mut Self::Connection,
        group: &'c Group<'_>,
    ) -> impl Future<Output = sqlx::Result<Vec<Key>>> + Send + 'c;

    /// The longest value that the server takes, in bytes.
    fn largest(connection: &mut Self::Connection) -> impl Future<Output = sqlx::Result<usize>> + Send + '_;
}

/// What an error of a server means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The statement did nothing, for another was in its way or the server just starts: it may be run again.
    Busy,
    /// The server gave up, or no connection was free in time.
    Late,
    /// The user name or the password is wrong.
    Login,
    /// The database does not exist.
    NoDatabase,
    /// The table or a column does not exist.
    NoTable,
    /// What stands before the dot in the table's name does not exist.
    NoSchema,
    /// The user may not do that, or the server does not write.
    Forbidden,
    /// A value is larger than the server takes.
    TooLarge,
    /// A key that was to be inserted is there.
    Taken,
    /// The server cannot be reached, or anything else.
    Other,
}

/// Connections to a server.
#[doc(hidden)]
pub struct Server<DB: Served> {
    connections: Kept<DB>,
    /// The application's pool whose connect options the connections use, if there is one.
    source: Option<Source<DB>>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    /// The longest value that the server takes, in bytes.
    largest: usize,
}

/// Whether a connection of the pool still stands. Asked only of one that was idle: it takes as long as a statement.
async fn is_alive<C: Connection>(connection: &mut C, idle: Duration) -> sqlx::Result<bool> {
    if idle > IDLE {
        connection.ping().await?;
    }
    Ok(true)
}

impl<DB: Served> SqlStore<Server<DB>>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    /// Opens a store on connections of its own.
    pub(super) async fn connect(connect: ConnectOptions<DB>, options: &Options) -> Result<Self> {
        let pool = Self::own_pool(connect, options).await?;
        Self::on(pool, Uses { alone: true, served: true }, None, options).await
    }

    /// Opens a store in the database of an application's pool, on connections of its own, which use the pool's connect
    /// options. `options.url` is not used.
    ///
    /// # Errors
    /// When the database cannot be reached, migrated or written to, or the table's name is invalid.
    pub async fn from_pool(pool: Pool<DB>, options: &Options) -> Result<Self> {
        let source = Source::new(pool, options.timeout);
        let pool = Self::own_pool(source.connect_options(), options).await?;
        Self::on(pool, Uses { alone: true, served: true }, Some(source), options).await
    }

    /// Opens a store that borrows the connections of an application's pool. `options.url` and `options.max_connections`
    /// are not used, and the pool's settings stay as they are.
    ///
    /// # Errors
    /// When the database cannot be reached, migrated or written to, or the table's name is invalid.
    pub async fn from_shared_pool(pool: Pool<DB>, options: &Options) -> Result<Self> {
        Self::on(pool, Uses { alone: false, served: true }, None, options).await
    }

    async fn own_pool(connect: ConnectOptions<DB>, options: &Options) -> Result<Pool<DB>> {
        // Before there is a pool, which would try again and again where nobody listens.
        let first = || async { DB::Connection::connect_with(&connect).await?.close().await };
        let first = patiently(&*options.clock, options.timeout, is_busy::<DB>, first);
        let problem = format!("cannot connect to {} at {}", DB::NAME, DB::place(&connect));
        let first = async { first.await.map_err(|e| explained::<DB>(problem.clone(), e)) };
        Box::pin(in_time(options.timeout, || problem.clone(), first)).await?;
        let settings = DB::pool_options(options.timeout)
            .acquire_timeout(options.timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, PoolConnectionMetadata { idle_for, .. }| {
                Box::pin(is_alive(connection, idle_for))
            });
        let settings = match options.max_connections {
            Some(number) => settings.max_connections(number),
            None => settings,
        };
        Ok(settings.connect_lazy_with(connect))
    }

    async fn on(pool: Pool<DB>, uses: Uses, source: Option<Source<DB>>, options: &Options) -> Result<Self> {
        let table = Table::new(&options.table, DB::WORDS.quote, DB::WORDS.has_schemas)?;
        let statements = Statements::new::<DB>(&table);
        // Large, and needed once.
        let largest = Box::pin(prepare(&pool, &table, &statements, options)).await?;
        let connections = Kept::new(pool, uses, options.timeout);
        let driver = Server { connections, source, timeout: options.timeout, clock: options.clock.clone(), largest };
        Ok(Self::with(driver, Arc::new(statements), options))
    }
}

fn is_busy<DB: Served>(error: &sqlx::Error) -> bool {
    DB::fault(error) == Fault::Busy
}

impl<DB: Served> Server<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    async fn borrow(&self) -> sqlx::Result<Borrowed<DB>> {
        if let Some(source) = &self.source {
            source.update(self.connections.pool());
        }
        self.connections.borrow().await
    }

    async fn write_once(&self, call: Call<'_>) -> sqlx::Result<u64> {
        let query = call.statement.query::<DB>(call.values)?;
        let mut borrowed = self.borrow().await?;
        let done = (&mut *borrowed).execute(query).await;
        match borrowed.ended(done) {
            Ok(done) => Ok(DB::done(&done)),
            Err(error) if DB::fault(&error) == Fault::Taken => Ok(0),
            Err(error) => Err(error),
        }
    }

    async fn read_once(&self, call: Call<'_>) -> sqlx::Result<Vec<DB::Row>> {
        let query = call.statement.query::<DB>(call.values)?;
        let mut borrowed = self.borrow().await?;
        let rows = (&mut *borrowed).fetch_all(query).await;
        borrowed.ended(rows)
    }

    /// Does what many calls ask for, once and within the time limit. What the server refused was not done.
    async fn once<A>(&self, what: &str, ask: impl Future<Output = sqlx::Result<A>>) -> Result<A, Failure> {
        match tokio::time::timeout(self.timeout, ask).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if DB::is_refusal(&error) => Err(Failure::Undone),
            Ok(Err(error)) => Err(failed::<DB>(what, error).into()),
            Err(_) => Err(late::<DB>(what).into()),
        }
    }

    async fn patiently<A, F>(&self, what: &str, ask: impl Fn() -> F) -> Result<A>
    where
        F: Future<Output = sqlx::Result<A>>,
    {
        let asked = patiently(&*self.clock, self.timeout, is_busy::<DB>, ask);
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(answer) => answer.map_err(|e| failed::<DB>(what, e)),
            Err(_) => Err(late::<DB>(what)),
        }
    }
}

impl<DB: Served> Driver for Server<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    type Database = DB;

    async fn write(&self, call: Call<'_>) -> Result<u64> {
        if call.longest() > self.largest {
            let context = format!(
                "{} takes no value of more than {} bytes: set `max_size` to less, or raise the server's limit",
                DB::NAME,
                self.largest
            );
            return Err(Error::new(ErrorKind::TooLarge, context));
        }
        self.patiently(call.what, || self.write_once(call)).await
    }

    async fn read(&self, call: Call<'_>, _latest: bool) -> Result<Vec<DB::Row>> {
        self.patiently(call.what, || self.read_once(call)).await
    }

    async fn change_many(&self, group: Group<'_>) -> Result<Vec<Key>, Failure> {
        if group.length() > self.largest {
            return Err(Failure::Undone);
        }
        self.once(group.what, async {
            let mut borrowed = self.borrow().await?;
            let changed = DB::change_many(&mut borrowed, &group).await;
            borrowed.ended(changed)
        })
        .await
    }

    async fn read_many(&self, group: Group<'_>, now: Value<'_>) -> Result<Vec<DB::Row>, Failure> {
        self.once(group.what, async {
            let query = group.statement.query_rows::<DB>(group.rows, &[now])?;
            let mut borrowed = self.borrow().await?;
            let rows = (&mut *borrowed).fetch_all(query).await;
            borrowed.ended(rows)
        })
        .await
    }
}

fn late<DB: Served>(what: &str) -> Error {
    Error::new(ErrorKind::Timeout, format!("cannot {what} a session in {}: it did not answer in time", DB::NAME))
}

fn failed<DB: Served>(what: &str, error: sqlx::Error) -> Error {
    let kind = match DB::fault(&error) {
        Fault::Busy | Fault::Late => ErrorKind::Timeout,
        Fault::TooLarge => ErrorKind::TooLarge,
        _ => ErrorKind::Unavailable,
    };
    Error::with_source(kind, format!("cannot {what} a session in {}", DB::NAME), error)
}
