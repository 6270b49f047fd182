//! The differences between databases.

use std::io;
use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::{Connection, Database, SqlStr};

use super::driver::{Bound, Driver};
use super::table::{Migration, Table};
use super::value::{Call, Value};
use crate::base::id::Key;

pub(super) type ConnectOptions<DB> = <<DB as Database>::Connection as Connection>::Options;

pub trait Dialect: Driver {
    const SYNTAX: Syntax = COMMON_SYNTAX;
    /// The migrations of the session table, in order.
    const MIGRATIONS: &'static [Migration];
    /// Whether the database is a server. SQLite runs in the process of the site.
    const IS_SERVER: bool;

    fn bind(arguments: &mut Self::Arguments, value: &Value) -> Result<(), BoxDynError>;

    fn rows_affected(result: &Self::QueryResult) -> u64;

    /// Returns SQL for a table `v` of parameters, with the columns `column1`, `column2` and so on. `rows` is the number
    /// of rows, one for each call of a group. `row` is an example of a row, which shows the types of the columns.
    fn values_table(row: &[Value], rows: usize) -> String;

    /// Appends the values of all `rows`, which have the same types, to the arguments.
    fn bind_rows(arguments: &mut Self::Arguments, rows: &[impl AsRef<[Value]>]) -> Result<(), BoxDynError> {
        rows.iter().flat_map(AsRef::as_ref).try_for_each(|value| Self::bind(arguments, value))
    }

    /// Classifies an error that the database reports.
    fn database_fault(error: &sqlx::Error) -> Fault;

    /// Classifies any error.
    fn fault(error: &sqlx::Error) -> Fault {
        match error {
            sqlx::Error::PoolTimedOut => Fault::Timeout,
            sqlx::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => Fault::Unreachable,
            error => Self::database_fault(error),
        }
    }

    /// Whether the database reports that it did not run the statement. An error of a proxy or pooler is not a refusal.
    fn is_refusal(error: &sqlx::Error) -> bool;

    /// The address of the database for error messages, without the user name and the password.
    fn address(connect: &ConnectOptions<Self>) -> String;

    /// Prepares a new connection of the store. Statements on the connection then wait for a lock for at most the given time.
    fn set_up(_: &mut Self::Connection, _: Duration) -> impl Future<Output = sqlx::Result<()>> + Send {
        async { Ok(()) }
    }

    /// Runs missing migrations. If another launch is migrating the table, waits for that launch for at most `limit`.
    fn migrate(
        connection: &mut Self::Connection,
        table: &Table,
        limit: Duration,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Runs a statement that changes the rows of a group of calls, and returns the keys of the changed rows.
    ///
    /// The changes are atomic. If another transaction has locked a row, the statement skips the row or fails. `lock` is a
    /// statement that locks the rows first and returns their keys. Only MySQL needs `lock`, because MySQL cannot return
    /// the keys of changed rows.
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

    /// Binds the values of `rows`, followed by the values in `more`, to a statement.
    fn bound_rows(sql: &SqlStr, rows: &[impl AsRef<[Value]>], more: &[Value]) -> sqlx::Result<Bound<Self>> {
        let mut arguments = Self::Arguments::default();
        Self::bind_rows(&mut arguments, rows).map_err(sqlx::Error::Encode)?;
        more.iter().try_for_each(|value| Self::bind(&mut arguments, value)).map_err(sqlx::Error::Encode)?;
        Ok((sql.clone(), arguments))
    }
}

/// The parts of SQL that differ between databases.
pub struct Syntax {
    /// The character around names.
    pub quote: char,
    /// Whether a table's name may have a schema before a dot.
    pub has_schemas: bool,
    /// Whether parameters are `$1`, `$2` and so on; otherwise, each is `?`.
    pub has_numbered_parameters: bool,
    /// Whether an insert can ignore an existing key (`ON CONFLICT`), and a change can return keys (`RETURNING`).
    pub has_on_conflict_and_returning: bool,
    /// Whether the parameters of a group are arrays, so that its SQL does not depend on its size.
    pub has_arrays: bool,
    /// The integer type in a cast.
    pub integer: &'static str,
    /// Selects the first `?2` rows whose `sweep_at` is at most `?1`. `{due}` in `sweep` and `postpone` stands for this SQL.
    pub due_rows: &'static str,
    /// Removes those rows of `{due}` that have expired.
    pub sweep: &'static str,
    /// Sets a later `sweep_at` for those rows of `{due}` that have not expired, because they were renewed.
    pub postpone: &'static str,
    /// Loads the live rows of the keys of a group.
    pub load_rows: &'static str,
    /// Changes the rows of a group. `{rows}` is the table `v` of [`Dialect::values_table`]. The first column of `v` is
    /// the key.
    pub change_rows: &'static str,
}

/// The syntax of SQLite. PostgreSQL and MySQL override some fields.
pub(super) const COMMON_SYNTAX: Syntax = Syntax {
    quote: '"',
    has_schemas: false,
    has_numbered_parameters: false,
    has_on_conflict_and_returning: true,
    has_arrays: false,
    integer: "BIGINT",
    due_rows: "key IN (SELECT key FROM {table} WHERE sweep_at <= ?1 ORDER BY sweep_at LIMIT ?2)",
    sweep: "DELETE FROM {table} WHERE {due} AND expires_at <= ?1",
    postpone: "UPDATE {table} SET sweep_at = expires_at WHERE {due} AND expires_at > ?1",
    load_rows: "SELECT {columns}, moved_to FROM {table} WHERE {listed}",
    change_rows: "UPDATE {table} SET {set} FROM {rows} WHERE {when}{returning}",
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The statement had no effect, because another statement blocked it or the server is starting. It can run again.
    Busy,
    /// No server listens at the address, for example because the server is restarting.
    Unreachable,
    /// The server stopped the statement at a time limit, or no connection was free in time.
    Timeout,
    /// The user name or the password is wrong.
    Login,
    NoDatabase,
    /// The table or a column does not exist.
    NoTable,
    /// The schema in the table's name does not exist.
    NoSchema,
    /// The user lacks a right, or the database is read-only.
    Forbidden,
    /// A value is larger than the server accepts.
    TooLarge,
    Damaged,
    Other,
}
