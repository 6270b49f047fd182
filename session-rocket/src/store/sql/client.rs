//! Runs statements in a database: with retries, within the time limit, and in the file that was opened.

use std::sync::Arc;
use std::time::Duration;

use super::connections::{Borrowed, Connections};
use super::dialect::{Dialect, Fault, Group};
#[cfg(feature = "sqlite")]
use super::file::DatabaseFile;
use super::launch::prepare;
use super::retry::retry;
use super::statement::Statement;
use super::statements::{Grouped, Statements};
use super::table::Table;
use super::value::{Rows, Value};
use crate::base::clock::Clock;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::Options;

/// A database, the connections to it, and the statements of a session table.
pub(super) struct Client<DB: Dialect> {
    pub statements: Statements,
    pub clock: Arc<dyn Clock>,
    pub writer: Connections<DB>,
    readers: Connections<DB>,
    timeout: Duration,
    /// The longest value that the database accepts, in bytes.
    longest: usize,
    #[cfg(feature = "sqlite")]
    file: Option<DatabaseFile>,
}

/// Why a statement has no answer.
pub(super) enum Failure {
    /// The database refused the statement and did nothing. Each call of a group may be made alone.
    Refused(Error),
    /// It is unknown what the statement did, or a call made alone would fail as well.
    Unclear(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Unclear(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) | Failure::Unclear(error) => error,
        }
    }
}

impl<DB: Dialect> Client<DB> {
    /// Creates the table or checks it, as `options.migrate` says.
    pub(super) async fn open(writer: Connections<DB>, readers: Connections<DB>, options: &Options) -> Result<Self> {
        let table = Table::new(&options.table, DB::WORDS.quote, DB::WORDS.has_schemas)?;
        let statements = Statements::new::<DB>(&table);
        // Large, and used once.
        let longest = Box::pin(prepare(&writer, &table, &statements.probes, options)).await?;
        Ok(Self {
            statements,
            clock: options.clock.clone(),
            writer,
            readers,
            timeout: options.timeout,
            longest,
            #[cfg(feature = "sqlite")]
            file: None,
        })
    }

    /// Fails all calls from the time on at which the path no longer leads to `file`.
    #[cfg(feature = "sqlite")]
    pub(super) fn watching(self, file: Option<DatabaseFile>) -> Self {
        Self { file, ..self }
    }

    /// Runs a statement that writes, and returns the number of changed rows.
    pub(super) async fn write(&self, what: &str, statement: &Statement, values: &[Value<'_>]) -> Result<u64> {
        if values.iter().any(|value| value.len() > self.longest) {
            let context = format!(
                "{} accepts no value of more than {} bytes: lower `max_size`, or raise the server's limit",
                DB::NAME,
                self.longest
            );
            return Err(Error::new(ErrorKind::TooLarge, context));
        }
        let execute = || async {
            let bound = DB::bound(statement, values)?;
            let mut connection = self.borrow(&self.writer).await?;
            let done = DB::execute(&mut connection, bound).await;
            match connection.ended(done) {
                Ok(done) => Ok(DB::rows_affected(&done)),
                Err(error) if DB::fault(&error) == Fault::Taken => Ok(0),
                Err(error) => Err(error),
            }
        };
        Ok(self.run(what, is_busy::<DB>, execute).await?)
    }

    /// Runs a statement that reads.
    pub(super) async fn read(&self, what: &str, statement: &Statement, values: &[Value<'_>]) -> Result<Vec<DB::Row>> {
        let fetch = || async {
            let bound = DB::bound(statement, values)?;
            let mut connection = self.borrow(&self.readers).await?;
            let rows = DB::fetch(&mut connection, bound).await;
            connection.ended(rows)
        };
        Ok(self.run(what, is_busy::<DB>, fetch).await?)
    }

    /// Runs a statement that changes many rows, and returns the keys of the changed rows. The statement waits for nobody
    /// who has locked one of the rows.
    pub(super) async fn change_many(&self, what: &str, grouped: &Grouped, rows: Rows<'_>) -> Result<Vec<Key>, Failure> {
        // Each value has a type and a length before it.
        let length: usize = rows.iter().flatten().map(|value| value.len() + 16).sum();
        if length > self.longest {
            return Err(Failure::Refused(Error::new(ErrorKind::TooLarge, "a group is longer than a statement may be")));
        }
        let group: Group<'_> = grouped.group::<DB>(rows);
        let change = || async {
            let mut connection = self.borrow(&self.writer).await?;
            let changed = DB::change_many(&mut connection, &group).await;
            connection.ended(changed)
        };
        self.run(what, is_locked::<DB>, change).await
    }

    /// Runs a statement that reads many rows, at the time `now`.
    pub(super) async fn read_many(
        &self,
        what: &str,
        grouped: &Grouped,
        rows: Rows<'_>,
        now: Value<'_>,
    ) -> Result<Vec<DB::Row>, Failure> {
        let group = grouped.group::<DB>(rows);
        let fetch = || async {
            let bound = DB::bound_rows(group.statement, group.rows, &[now])?;
            let mut connection = self.borrow(&self.readers).await?;
            let rows = DB::fetch(&mut connection, bound).await;
            connection.ended(rows)
        };
        self.run(what, is_locked::<DB>, fetch).await
    }

    /// Waits for a connection, also while the server starts.
    async fn borrow(&self, connections: &Connections<DB>) -> sqlx::Result<Borrowed<DB>> {
        retry(&*self.clock, self.timeout, is_starting::<DB>, || connections.borrow()).await
    }

    async fn run<A, F>(
        &self,
        what: &str,
        is_retryable: fn(&sqlx::Error) -> bool,
        call: impl Fn() -> F,
    ) -> Result<A, Failure>
    where
        F: Future<Output = sqlx::Result<A>>,
    {
        self.check_file(what)?;
        let called = retry(&*self.clock, self.timeout, is_retryable, call);
        let answer = match tokio::time::timeout(self.timeout, called).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if DB::is_refusal(&error) => return Err(Failure::Refused(failed::<DB>(what, error))),
            Ok(Err(error)) => return Err(Failure::Unclear(failed::<DB>(what, error))),
            Err(_) => {
                let context = format!("cannot {what} a session in {}: it did not answer in time", DB::NAME);
                return Err(Failure::Unclear(Error::new(ErrorKind::Timeout, context)));
            }
        };
        self.check_file(what)?;
        Ok(answer)
    }

    #[cfg(feature = "sqlite")]
    fn check_file(&self, what: &str) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.check(what))
    }

    #[cfg(not(feature = "sqlite"))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "only SQLite has a file")]
    fn check_file(&self, _: &str) -> Result<()> {
        Ok(())
    }
}

fn is_busy<DB: Dialect>(error: &sqlx::Error) -> bool {
    DB::fault(error) == Fault::Busy
}

/// Whether another process has the lock of the whole database, so that the calls of a group would meet it alone as well.
fn is_locked<DB: Dialect>(error: &sqlx::Error) -> bool {
    !DB::IS_SERVER && is_busy::<DB>(error)
}

fn is_starting<DB: Dialect>(error: &sqlx::Error) -> bool {
    let is_refused = matches!(error, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused);
    is_refused || DB::IS_SERVER && is_busy::<DB>(error)
}

fn failed<DB: Dialect>(what: &str, error: sqlx::Error) -> Error {
    let kind = match DB::fault(&error) {
        Fault::Busy | Fault::Late => ErrorKind::Timeout,
        Fault::TooLarge => ErrorKind::TooLarge,
        Fault::Damaged => {
            let context = format!(
                "cannot {what} a session in {}: the database is damaged: restore it from a copy and restart the site",
                DB::NAME
            );
            return Error::with_source(ErrorKind::Unavailable, context, error);
        }
        _ => ErrorKind::Unavailable,
    };
    Error::with_source(kind, format!("cannot {what} a session in {}", DB::NAME), error)
}
