//! Runs statements with retries and a time limit, and checks that a SQLite file was not replaced.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::connections::Connections;
use super::dialect::{Dialect, Fault};
use super::driver::Bound;
use super::file::DatabaseFile;
use super::launch::prepare;
use super::retry::retry;
use super::statements::{Statement, Statements};
use super::table::Table;
use super::value::Value;
use crate::base::clock::Clock;
use crate::base::error::{Error, ErrorKind, Result};
use crate::store::Options;

/// A database, the connections to it, and the statements of a session table.
pub(super) struct Client<DB: Dialect> {
    pub statements: Statements,
    pub clock: Arc<dyn Clock>,
    pub writer: Arc<Connections<DB>>,
    readers: Arc<Connections<DB>>,
    timeout: Duration,
    /// The longest value that the database accepts, in bytes.
    pub max_value_len: usize,
    file: Option<DatabaseFile>,
}

impl<DB: Dialect> Client<DB> {
    /// Migrates or checks the table, as `options.migrate` says. `path` is the path of a SQLite file. If another file is at
    /// that path later, all calls fail.
    pub(super) async fn open(
        writer: Arc<Connections<DB>>,
        readers: Arc<Connections<DB>>,
        path: Option<PathBuf>,
        options: &Options,
    ) -> Result<Self> {
        let table = Table::new(&options.table, DB::SYNTAX.quote, DB::SYNTAX.has_schemas)?;
        let statements = Statements::new::<DB>(&table);
        // Boxed, because this future is large and runs once.
        let max_value_len = Box::pin(prepare(&writer, &table, &statements.probes, options)).await?;
        // `prepare` has read the database, so the write-ahead log exists now.
        let file = path.map(DatabaseFile::new).transpose()?;
        let (clock, timeout) = (options.clock.clone(), options.timeout);
        Ok(Self { statements, clock, writer, readers, timeout, max_value_len, file })
    }

    /// Runs a statement that writes, and returns the number of changed rows.
    pub(super) async fn write(&self, statement: &Statement, values: &[Value]) -> Result<u64> {
        if values.iter().any(|value| value.as_bytes().is_some_and(|bytes| bytes.len() > self.max_value_len)) {
            let context = format!(
                "{} accepts no value of more than {} bytes: lower `max_size`, or raise the server's limit",
                DB::NAME,
                self.max_value_len
            );
            return Err(Error::new(ErrorKind::TooLarge, context));
        }
        let execute = || async {
            let mut connection = self.writer.borrow_to_write().await?;
            let done = match statement.bound::<DB>(values) {
                Ok(bound) => DB::execute(connection.get(), bound).await,
                Err(error) => Err(error),
            };
            connection.record_result(done)
        };
        match self.run(statement.verb, can_run_again::<DB>, execute).await? {
            Ok(done) => Ok(DB::rows_affected(&done)),
            // The key exists. In a database with `ON CONFLICT`, the insert ignores an existing key, so a unique violation
            // has another cause.
            Err(sqlx::Error::Database(error))
                if statement.is_insert && !DB::SYNTAX.has_on_conflict_and_returning && error.is_unique_violation() =>
            {
                Ok(0)
            }
            Err(error) => Err(failed::<DB>(statement.verb, error)),
        }
    }

    /// Runs a statement that reads, and decodes each row.
    pub(super) async fn read<A>(
        &self,
        statement: &Statement,
        values: &[Value],
        decode: fn(&DB::Row) -> sqlx::Result<A>,
    ) -> Result<Vec<A>> {
        let rows =
            self.run(statement.verb, can_run_again::<DB>, || self.fetch(|| statement.bound::<DB>(values))).await?;
        let rows = rows.map_err(|e| failed::<DB>(statement.verb, e))?;
        let malformed = |e| Error::with_source(ErrorKind::Unavailable, "malformed row in the session table", e);
        rows.iter().map(|row| decode(row).map_err(malformed)).collect()
    }

    /// Runs the statement that `bind` returns. Calls `bind` after the wait for a connection, so that the bound time is current.
    pub(super) async fn fetch(&self, bind: impl FnOnce() -> sqlx::Result<Bound<DB>>) -> sqlx::Result<Vec<DB::Row>> {
        let mut connection = self.readers.borrow().await?;
        let rows = match bind() {
            Ok(bound) => DB::fetch(connection.get(), bound).await,
            Err(error) => Err(error),
        };
        connection.record_result(rows)
    }

    /// Runs a statement, and repeats it as long as its error is retryable. The outer error says that the time limit has
    /// passed or that the SQLite file was replaced. The inner error is that of the database.
    pub(super) async fn run<A, F>(
        &self,
        verb: &str,
        is_retryable: fn(&sqlx::Error) -> bool,
        statement: impl Fn() -> F,
    ) -> Result<sqlx::Result<A>>
    where
        F: Future<Output = sqlx::Result<A>>,
    {
        self.check_file(verb)?;
        let done = retry(&*self.clock, self.timeout, is_retryable, statement);
        let done = tokio::time::timeout(self.timeout, done).await.map_err(|_| {
            let context =
                format!("cannot {verb} a session in {}: the database did not reply within `timeout`", DB::NAME);
            Error::new(ErrorKind::Timeout, context)
        })?;
        self.check_file(verb)?;
        Ok(done)
    }

    fn check_file(&self, verb: &str) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.check(verb))
    }
}

/// Whether the statement of a single call had no effect and can run again.
fn can_run_again<DB: Dialect>(error: &sqlx::Error) -> bool {
    matches!(DB::fault(error), Fault::Busy | Fault::Unreachable)
}

/// Whether the statement of a group had no effect, and the group can run again as a group. Its calls could also run alone,
/// but each would fail too, because the server does not run, or another process has locked the whole database.
pub(super) fn group_can_run_again<DB: Dialect>(error: &sqlx::Error) -> bool {
    match DB::fault(error) {
        Fault::Busy => !DB::IS_SERVER,
        fault => fault == Fault::Unreachable,
    }
}

/// Converts the database's error for a statement.
pub(super) fn failed<DB: Dialect>(verb: &str, error: sqlx::Error) -> Error {
    let (kind, advice) = match DB::fault(&error) {
        Fault::Busy | Fault::Timeout => (ErrorKind::Timeout, ""),
        Fault::TooLarge => (ErrorKind::TooLarge, ""),
        Fault::Damaged => (ErrorKind::Unavailable, ": the file is damaged: restore a copy and restart the site"),
        _ => (ErrorKind::Unavailable, ""),
    };
    Error::with_source(kind, format!("cannot {verb} a session in {}{advice}", DB::NAME), error)
}
