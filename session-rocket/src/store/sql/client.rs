//! Runs statements in a database: with retries, within the time limit, and in the file that was opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::connections::{Borrowed, Connections};
use super::dialect::{Dialect, Fault};
use super::driver::Bound;
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
    /// Creates the table or checks it, as `options.migrate` says. From then on, all calls fail as soon as the `path` of a
    /// SQLite file no longer leads to the file that is open.
    pub(super) async fn open(
        writer: Connections<DB>,
        readers: Connections<DB>,
        path: Option<PathBuf>,
        options: &Options,
    ) -> Result<Self> {
        let table = Table::new(&options.table, DB::WORDS.quote, DB::WORDS.has_schemas)?;
        let statements = Statements::new::<DB>(&table);
        // Large, and used once.
        let longest = Box::pin(prepare(&writer, &table, &statements.probes, options)).await?;
        // The launch has read the database, so its log exists.
        let file = path.map(DatabaseFile::new).transpose()?;
        let (clock, timeout) = (options.clock.clone(), options.timeout);
        Ok(Self { statements, clock, writer, readers, timeout, longest, file })
    }

    /// Runs a statement that writes, and returns the number of changed rows.
    pub(super) async fn write(&self, verb: &str, statement: &Statement, values: &[Value<'_>]) -> Result<u64> {
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
            let done = DB::execute(connection.get(), bound).await;
            match connection.ended(done) {
                Ok(done) => Ok(DB::rows_affected(&done)),
                Err(error) if DB::fault(&error) == Fault::Taken => Ok(0),
                Err(error) => Err(error),
            }
        };
        Ok(self.run(verb, is_busy::<DB>, execute).await?)
    }

    /// Runs a statement that reads.
    pub(super) async fn read(&self, verb: &str, statement: &Statement, values: &[Value<'_>]) -> Result<Vec<DB::Row>> {
        Ok(self.run(verb, is_busy::<DB>, || self.fetch(DB::bound(statement, values))).await?)
    }

    /// Runs a statement that changes many rows, and returns the keys of the changed rows. The statement waits for nobody
    /// who has locked one of the rows.
    pub(super) async fn change_many(&self, grouped: &Grouped, rows: Rows<'_>) -> Result<Vec<Key>, Failure> {
        // Each value has a type and a length before it.
        let length: usize = rows.iter().flatten().map(|value| value.len() + 16).sum();
        if length > self.longest {
            return Err(Failure::Refused(Error::new(ErrorKind::TooLarge, "a group is longer than a statement may be")));
        }
        let group = grouped.group::<DB>(rows);
        let change = || async {
            let mut connection = self.borrow(&self.writer).await?;
            let changed = DB::change_many(connection.get(), &group).await;
            connection.ended(changed)
        };
        self.run(grouped.verb, is_locked::<DB>, change).await
    }

    /// Runs a statement that reads many rows, at the time `now`.
    pub(super) async fn read_many(
        &self,
        grouped: &Grouped,
        rows: Rows<'_>,
        now: Value<'_>,
    ) -> Result<Vec<DB::Row>, Failure> {
        let group = grouped.group::<DB>(rows);
        self.run(grouped.verb, is_locked::<DB>, || self.fetch(DB::bound_rows(group.statement, rows, &[now]))).await
    }

    async fn fetch(&self, bound: sqlx::Result<Bound<DB>>) -> sqlx::Result<Vec<DB::Row>> {
        let bound = bound?;
        let mut connection = self.borrow(&self.readers).await?;
        let rows = DB::fetch(connection.get(), bound).await;
        connection.ended(rows)
    }

    /// Waits for a connection, also while the server starts.
    async fn borrow(&self, connections: &Connections<DB>) -> sqlx::Result<Borrowed<DB>> {
        retry(&*self.clock, self.timeout, is_starting::<DB>, || connections.borrow()).await
    }

    async fn run<A, F>(
        &self,
        verb: &str,
        is_retryable: fn(&sqlx::Error) -> bool,
        call: impl Fn() -> F,
    ) -> Result<A, Failure>
    where
        F: Future<Output = sqlx::Result<A>>,
    {
        self.check_file(verb)?;
        let called = retry(&*self.clock, self.timeout, is_retryable, call);
        let answer = match tokio::time::timeout(self.timeout, called).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if DB::is_refusal(&error) => return Err(Failure::Refused(failed::<DB>(verb, error))),
            Ok(Err(error)) => return Err(Failure::Unclear(failed::<DB>(verb, error))),
            Err(_) => {
                let context = format!("cannot {verb} a session in {}: it did not answer in time", DB::NAME);
                return Err(Failure::Unclear(Error::new(ErrorKind::Timeout, context)));
            }
        };
        self.check_file(verb)?;
        Ok(answer)
    }

    fn check_file(&self, verb: &str) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.check(verb))
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

fn failed<DB: Dialect>(verb: &str, error: sqlx::Error) -> Error {
    let (kind, advice) = match DB::fault(&error) {
        Fault::Busy | Fault::Late => (ErrorKind::Timeout, ""),
        Fault::TooLarge => (ErrorKind::TooLarge, ""),
        Fault::Damaged => (ErrorKind::Unavailable, ": the file is damaged: restore a copy and restart the site"),
        _ => (ErrorKind::Unavailable, ""),
    };
    Error::with_source(kind, format!("cannot {verb} a session in {}{advice}", DB::NAME), error)
}
