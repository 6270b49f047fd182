//! The differences between databases.

use std::io;
use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::{Connection, Database, SqlStr};

use super::driver::{Bound, Driver};
use super::table::{Step, Table};
use super::value::{Call, Value};
use crate::base::id::Key;

/// The options of a connection.
pub(super) type ConnectOptions<DB> = <<DB as Database>::Connection as Connection>::Options;

/// A database in which sessions can be kept.
pub trait Dialect: Driver {
    /// Its words in statements.
    const WORDS: Words = WORDS;
    /// The migrations of its table.
    const STEPS: &'static [Step];
    /// Whether the database is a server, in which a statement can continue after its caller has gone away.
    const IS_SERVER: bool;

    /// Binds one more value.
    fn bind(arguments: &mut Self::Arguments, value: &Value) -> Result<(), BoxDynError>;

    /// The number of rows that a statement changed.
    fn rows_affected(result: &Self::QueryResult) -> u64;

    /// The table `v` of as many rows as a group has calls. Its columns are `column1`, `column2` and so on, and hold the kinds
    /// of values that `row` has.
    fn table_of(row: &[Value], rows: usize) -> String;

    /// Binds the values of rows, each of which has values of the same kinds.
    fn bind_rows(arguments: &mut Self::Arguments, rows: &[impl AsRef<[Value]>]) -> Result<(), BoxDynError> {
        rows.iter().flat_map(AsRef::as_ref).try_for_each(|value| Self::bind(arguments, value))
    }

    /// The meaning of an error that the database reports.
    fn database_fault(error: &sqlx::Error) -> Fault;

    /// The meaning of an error.
    fn fault(error: &sqlx::Error) -> Fault {
        match error {
            sqlx::Error::PoolTimedOut => Fault::Late,
            sqlx::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => Fault::Unreachable,
            error => Self::database_fault(error),
        }
    }

    /// Whether the database itself, and not a program in between, reports that it did not run the statement.
    fn is_refusal(error: &sqlx::Error) -> bool;

    /// The address in connect options, for errors: without a user name or a password.
    fn address(connect: &ConnectOptions<Self>) -> String;

    /// Sets up a new connection of the store's own, whose statements wait no longer than the given time for a lock.
    fn set_up(_: &mut Self::Connection, _: Duration) -> impl Future<Output = sqlx::Result<()>> + Send {
        async { Ok(()) }
    }

    /// Creates the table or brings it up to date. Other launches that migrate at the same time wait for at most `limit`.
    fn migrate(
        connection: &mut Self::Connection,
        table: &Table,
        limit: Duration,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Runs a statement for a group of calls, which changes all their rows or none, and returns the keys of the changed
    /// rows. The statement skips rows that another transaction has locked, or fails.
    ///
    /// `lock` locks the rows that the statement is going to change and returns their keys. Only MySQL needs it, because
    /// MySQL cannot return the keys of changed rows.
    fn change_many(
        connection: &mut Self::Connection,
        sql: &SqlStr,
        _lock: Option<&SqlStr>,
        calls: &[&Call],
    ) -> impl Future<Output = sqlx::Result<Vec<Key>>> + Send {
        async move {
            let rows = Self::fetch(connection, Self::bound_rows(sql, calls, &[])?).await?;
            rows.iter().map(Self::key).collect()
        }
    }

    /// The longest value that the database accepts, in bytes.
    fn max_value_len(_: &mut Self::Connection) -> impl Future<Output = sqlx::Result<usize>> + Send {
        // https://www.postgresql.org/docs/current/limits.html, https://www.sqlite.org/limits.html
        async { Ok(1 << 30) }
    }

    /// A statement with the values of some rows, and more values behind them.
    fn bound_rows(sql: &SqlStr, rows: &[impl AsRef<[Value]>], more: &[Value]) -> sqlx::Result<Bound<Self>> {
        let mut arguments = Self::Arguments::default();
        Self::bind_rows(&mut arguments, rows).map_err(sqlx::Error::Encode)?;
        more.iter().try_for_each(|value| Self::bind(&mut arguments, value)).map_err(sqlx::Error::Encode)?;
        Ok((sql.clone(), arguments))
    }
}

/// The words in which databases differ.
pub struct Words {
    /// The quotes around a name.
    pub quote: char,
    /// Whether a table's name may have a schema before a dot.
    pub has_schemas: bool,
    /// Whether parameters are `$1`, `$2` and so on; otherwise, each is `?`.
    pub has_numbers: bool,
    /// Whether an insert can ignore a key that exists, and a change can return the keys of the changed rows.
    pub has_returning: bool,
    /// The type of integers, in a cast.
    pub integer: &'static str,
    /// SQL for the first `?2` rows whose `sweep_at` is at most `?1`. `sweep` and `postpone` contain it as `{due}`.
    pub due: &'static str,
    /// Removes the expired rows among those that are `{due}`.
    pub sweep: &'static str,
    /// Postpones the renewed rows among those that are `{due}`.
    pub postpone: &'static str,
    /// Loads the rows that are live and whose key is the key of a call.
    pub load_rows: &'static str,
    /// SQL that changes the rows of a group. `{rows}` has one row of values for each call; its first column is the key.
    pub change_rows: &'static str,
}

/// The words of SQLite, which PostgreSQL and MySQL share unless they say otherwise.
pub(super) const WORDS: Words = Words {
    quote: '"',
    has_schemas: false,
    has_numbers: false,
    has_returning: true,
    integer: "BIGINT",
    due: "key IN (SELECT key FROM {table} WHERE sweep_at <= ?1 ORDER BY sweep_at LIMIT ?2)",
    sweep: "DELETE FROM {table} WHERE {due} AND expires_at <= ?1",
    postpone: "UPDATE {table} SET sweep_at = expires_at WHERE {due} AND expires_at > ?1",
    load_rows: "SELECT {columns}, moved_to FROM {table} WHERE {listed}",
    change_rows: "UPDATE {table} SET {set} FROM {rows} WHERE {when}{returning}",
};

/// The meaning of a database's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The statement did nothing, because another one was in its way or the server is starting. It may run again.
    Busy,
    /// Nobody listens at the server's address, for instance because the server is being restarted.
    Unreachable,
    /// The server gave up, or no connection was free in time.
    Late,
    /// The user name or the password is wrong.
    Login,
    /// The database does not exist.
    NoDatabase,
    /// The table or a column does not exist.
    NoTable,
    /// The schema in the table's name does not exist.
    NoSchema,
    /// The user lacks a right, or the database is read-only.
    Forbidden,
    /// A value is larger than the server accepts.
    TooLarge,
    /// The database's file is damaged.
    Damaged,
    /// Any other error.
    Other,
}
