//! A database in a server of its own: connections, and launches.

use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{Migrate as Migrates, MigrateError};
use sqlx::pool::{PoolConnectionMetadata, PoolOptions};
use sqlx::{Connection, Executor, IntoArguments, Pool};

use super::kept::{Kept, Uses};
use super::statement::{Dialect, Value};
use super::statements::Statements;
use super::table::{Table, not_run};
use super::{Call, Driver, Failure, Group, SqlStore, patiently};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::id::Key;
use crate::store::{Migrate, Options};

/// A connection that was idle for longer is asked whether it still stands: the server may have been restarted.
const IDLE: Duration = Duration::from_secs(1);

/// What to tell a launch that waited in vain.
const LATE: &str = "it did not answer in time: is it overloaded, or behind a firewall?";

/// A database that is reached over the network.
pub trait Served: Dialect {
    /// What an error means.
    fn fault(error: &sqlx::Error) -> Fault;

    /// Whether the server, and nobody in between, says that it did not do what it was asked.
    fn is_refusal(error: &sqlx::Error) -> bool;

    /// Makes the table, or brings it up to date, while others that would do the same wait for no longer than `limit`.
    fn migrate<'c>(
        connection: &'c mut Self::Connection,
        table: &'c Table,
        limit: Duration,
    ) -> impl Future<Output = Result<(), MigrateError>> + Send + 'c;

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
    DB::Connection: Migrates,
    DB::Arguments: IntoArguments<DB>,
{
    /// On connections of its own, to `place`.
    pub(super) async fn connect(
        connect: <DB::Connection as Connection>::Options,
        place: &str,
        settings: PoolOptions<DB>,
        options: &Options,
    ) -> Result<Self> {
        // Before there is a pool, which would try again and again where nobody listens.
        let first = || async { DB::Connection::connect_with(&connect).await?.close().await };
        let first = patiently(&*options.clock, options.timeout, is_busy::<DB>, first);
        let problem = format!("cannot connect to {} at {place}", DB::NAME);
        let first = async { first.await.map_err(|e| explained::<DB>(problem.clone(), e)) };
        Box::pin(in_time(options.timeout, || problem.clone(), first)).await?;
        let settings = settings.acquire_timeout(options.timeout).test_before_acquire(false).before_acquire(
            |connection, PoolConnectionMetadata { idle_for, .. }| Box::pin(is_alive(connection, idle_for)),
        );
        let settings = match options.max_connections {
            Some(number) => settings.max_connections(number),
            None => settings,
        };
        Self::on(settings.connect_lazy_with(connect), true, options).await
    }

    /// Keeps sessions in the database of an application's own pool; `options.url` and `options.max_connections` are
    /// not used, and the pool's settings stay as they are.
    ///
    /// # Errors
    /// When the database cannot be reached, migrated or written to, or the table's name is wrong.
    pub async fn from_pool(pool: Pool<DB>, options: &Options) -> Result<Self> {
        Self::on(pool, false, options).await
    }

    async fn on(pool: Pool<DB>, alone: bool, options: &Options) -> Result<Self> {
        let table = Table::new(&options.table, DB::WORDS.quote, DB::WORDS.has_schemas)?;
        let statements = Statements::new::<DB>(&table);
        // Large, and needed once.
        let largest = Box::pin(prepare(&pool, &table, &statements, options)).await?;
        let connections = Kept::new(pool, Uses { alone, served: true }, options.timeout);
        let driver = Server { connections, timeout: options.timeout, clock: options.clock.clone(), largest };
        Ok(Self::with(driver, Arc::new(statements), options))
    }
}

/// Looks at a URL before the driver does, which would take a password with a slip in it for a host, and write parameters
/// that it does not know into the log.
///
/// # Errors
/// [`ErrorKind::Config`], which shows no value.
pub(super) fn check_url(url: &str, form: &str, parameters: &[&str]) -> Result<()> {
    let wrong =
        |problem: &str| Err(Error::new(ErrorKind::Config, format!("the `store` URL {problem}: write `{form}`")));
    let Some((_, rest)) = url.split_once("://") else { return wrong("has no `//`") };
    let (place, more) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if more.contains('@') {
        return wrong(
            "has an `@` where none can be: in a user name or a password, `@`, `/`, `?`, `#` and `:` are written \
                      `%40`, `%2F`, `%3F`, `%23` and `%3A`",
        );
    }
    let port = place.rsplit_once('@').map_or(place, |(_, host)| host).rsplit_once(':').map(|(_, port)| port);
    if port.is_some_and(|port| !port.ends_with(']') && port.parse::<u16>().is_err()) {
        return wrong("has a port that is no number");
    }
    let query = more.split_once('?').map_or("", |(_, query)| query);
    let names = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    let is_known = |name: &str| name.is_empty() || parameters.contains(&name) || name.starts_with("options[");
    match names.into_iter().find(|name| !is_known(name)) {
        Some(_) => wrong(&format!("has a parameter that is none of {}", parameters.join(", "))),
        None => Ok(()),
    }
}

fn is_busy<DB: Served>(error: &sqlx::Error) -> bool {
    DB::fault(error) == Fault::Busy
}

/// Makes sure that the table is there and can be written to, or makes it; says what the longest value is.
async fn prepare<DB: Served>(
    pool: &Pool<DB>,
    table: &Table,
    statements: &Statements,
    options: &Options,
) -> Result<usize>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Connection: Migrates,
    DB::Arguments: IntoArguments<DB>,
{
    let cannot_use = |e| cannot_use::<DB>(table, e);
    let problem = || format!("cannot use the table `{}` in {}", table.name(), DB::NAME);
    let limit = options.timeout;
    // What is locked here is released with the connection, which is the pool's no more.
    let acquired = in_time(limit, problem, async { pool.acquire().await.map_err(cannot_use) });
    let mut connection = acquired.await?.detach();
    if options.migrate != Migrate::Off {
        let looked = in_time(limit, problem, async { Ok(table.missing(DB::STEPS, &mut connection).await) }).await?;
        match (options.migrate, looked) {
            (_, Ok(None)) => {}
            (Migrate::Check, Ok(Some(step))) => return Err(not_run(step)),
            (Migrate::Check, Err(e)) => {
                return Err(cannot_migrate::<DB>("read which migrations were run", table, e));
            }
            // A user that may not look there may serve a table that is there: the probes will tell.
            (_, Err(MigrateError::Execute(error))) if DB::fault(&error) == Fault::Forbidden => {}
            // Many may start at once: one migrates, and the others find it done.
            (_, Ok(Some(_)) | Err(_)) => {
                let migrated = DB::migrate(&mut connection, table, limit).await;
                migrated.map_err(|e| cannot_migrate::<DB>("migrate the session table", table, e))?;
            }
        }
    }
    let probe = async {
        for probe in &statements.probes {
            (&mut connection).execute(probe.query::<DB>(&[])?).await?;
        }
        let largest = DB::largest(&mut connection).await?;
        connection.close().await.map(|()| largest)
    };
    in_time(limit, problem, async { probe.await.map_err(cannot_use) }).await
}

/// Does a part of a launch for no longer than `limit`.
async fn in_time<A>(limit: Duration, problem: impl Fn() -> String, part: impl Future<Output = Result<A>>) -> Result<A> {
    let late = || Err(Error::new(ErrorKind::Timeout, format!("{}: {LATE}", problem())));
    tokio::time::timeout(limit, part).await.unwrap_or_else(|_| late())
}

impl<DB: Served> Server<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    async fn write_once(&self, call: Call<'_>) -> sqlx::Result<u64> {
        let query = call.statement.query::<DB>(call.values)?;
        let mut borrowed = self.connections.borrow().await?;
        let done = (&mut *borrowed).execute(query).await;
        match borrowed.ended(done) {
            Ok(done) => Ok(DB::done(&done)),
            Err(error) if DB::fault(&error) == Fault::Taken => Ok(0),
            Err(error) => Err(error),
        }
    }

    async fn read_once(&self, call: Call<'_>) -> sqlx::Result<Vec<DB::Row>> {
        let query = call.statement.query::<DB>(call.values)?;
        let mut borrowed = self.connections.borrow().await?;
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
            let mut borrowed = self.connections.borrow().await?;
            let changed = DB::change_many(&mut borrowed, &group).await;
            borrowed.ended(changed)
        })
        .await
    }

    async fn read_many(&self, group: Group<'_>, now: Value<'_>) -> Result<Vec<DB::Row>, Failure> {
        self.once(group.what, async {
            let query = group.statement.query_rows::<DB>(group.rows, &[now])?;
            let mut borrowed = self.connections.borrow().await?;
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

/// What to tell a launch: whether waiting helps or another configuration, and what to do.
fn explained<DB: Served>(problem: String, error: sqlx::Error) -> Error {
    let (kind, advice) = match DB::fault(&error) {
        Fault::Login => (ErrorKind::Config, "the user name or the password in `store` is wrong"),
        Fault::NoDatabase => (ErrorKind::Config, "create the database, or name another in `store`"),
        Fault::NoTable => {
            (ErrorKind::Config, "run `session-rocket migrate`, set `migrate = \"auto\"`, or another `table`")
        }
        Fault::NoSchema => (ErrorKind::Config, "create the schema, or set another `table`"),
        Fault::Forbidden => (
            ErrorKind::Config,
            "grant its user SELECT, INSERT, UPDATE and DELETE on the table, or give one in `store` that may write (to \
             make the table, it must be allowed to create tables as well)",
        ),
        Fault::Busy | Fault::Late => (ErrorKind::Timeout, LATE),
        Fault::TooLarge | Fault::Taken | Fault::Other => {
            (ErrorKind::Unavailable, "is the server running, and is the address in `store` right?")
        }
    };
    Error::with_source(kind, format!("{problem}: {advice}"), error)
}

fn cannot_use<DB: Served>(table: &Table, error: sqlx::Error) -> Error {
    explained::<DB>(format!("cannot use the table `{}` in {}", table.name(), DB::NAME), error)
}

fn cannot_migrate<DB: Served>(what: &str, table: &Table, error: MigrateError) -> Error {
    let problem = format!("cannot {what} in {}", DB::NAME);
    match error {
        MigrateError::Execute(error) if DB::fault(&error) == Fault::Forbidden => {
            let table = table.name();
            let context = format!(
                "{problem}: grant its user SELECT, INSERT, UPDATE and DELETE on the table `{table}`, and SELECT on \
                 `{table}_migrations`; to make or change them, run `session-rocket migrate` as a user that may"
            );
            Error::with_source(ErrorKind::Config, context, error)
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => explained::<DB>(problem, error),
        error => Error::with_source(ErrorKind::Config, problem, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_a_url_shows_nothing_of_it() {
        let check = |url: &str| check_url(url, "postgres://…", &["sslmode", "user"]);
        for url in [
            "postgres://site:99#geheim@host/db",
            "postgres://site:99?geheim@host/db",
            "postgres://site:99/geheim@host/db",
            "postgres://host/db?user=ada@geheim",
            "postgres://host/db?pass=geheim",
            "postgres://host/db?sslmode=require&geheim",
            "postgres://site:geheim",
            "postgres:site:geheim@host",
        ] {
            let error = check(url).expect_err(url);
            assert!(error.kind() == ErrorKind::Config && !error.to_string().contains("geheim"), "{error}");
        }
        for url in [
            "postgres://host",
            "postgres://u:p%40@host:5432/db?sslmode=require&user=x&options[a]=b",
            "postgres://u:p@q@[::1]:5432/db",
            "postgres://u@[::1]/db",
            "postgres:///db?sslmode=disable",
        ] {
            check(url).expect(url);
        }
    }
}
