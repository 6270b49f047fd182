//! The differences between databases.

use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::{Connection, Database};

use super::driver::{Bound, Driver};
use super::statement::{Statement, Words};
use super::table::{Step, Table};
use super::value::{Rows, Value};
use crate::base::id::Key;

/// The options of a connection.
pub(super) type ConnectOptions<DB> = <<DB as Database>::Connection as Connection>::Options;

/// A database in which sessions can be kept.
pub trait Dialect: Driver {
    /// Its words in statements.
    const WORDS: Words;
    /// The migrations of its table.
    const STEPS: &'static [Step];
    /// What an administrator can do about a failed launch.
    const ADVICE: Advice;
    /// Whether the database is a server, in which a statement can continue after its caller has gone away.
    const IS_SERVER: bool;

    /// Binds one more value.
    fn bind(arguments: &mut Self::Arguments, value: Value<'_>) -> Result<(), BoxDynError>;

    /// The number of rows that a statement changed.
    fn rows_affected(result: &Self::QueryResult) -> u64;

    /// The table `v` of some rows, whose columns are `column1`, `column2` and so on.
    fn table_of(rows: Rows<'_>) -> String;

    /// Binds the values of rows.
    fn bind_rows(arguments: &mut Self::Arguments, rows: Rows<'_>) -> Result<(), BoxDynError> {
        rows.iter().flatten().try_for_each(|value| Self::bind(arguments, *value))
    }

    /// The meaning of an error.
    fn fault(error: &sqlx::Error) -> Fault;

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

    /// Runs a statement that changes all rows of a group or none, and returns the keys of the changed rows. The statement
    /// skips rows that another transaction has locked, or fails.
    fn change_many(
        connection: &mut Self::Connection,
        group: &Group<'_>,
    ) -> impl Future<Output = sqlx::Result<Vec<Key>>> + Send {
        async move {
            let rows = Self::fetch(connection, Self::bound_rows(group.statement, group.rows, &[])?).await?;
            Ok(rows.iter().filter_map(Self::key).collect())
        }
    }

    /// The longest value that the database accepts, in bytes.
    fn longest(_: &mut Self::Connection) -> impl Future<Output = sqlx::Result<usize>> + Send {
        // https://www.postgresql.org/docs/current/limits.html, https://www.sqlite.org/limits.html
        async { Ok(1 << 30) }
    }

    /// A statement with its values.
    fn bound(statement: &Statement, values: &[Value<'_>]) -> sqlx::Result<Bound<Self>> {
        let mut arguments = Self::Arguments::default();
        for index in &statement.order {
            Self::bind(&mut arguments, values[*index]).map_err(sqlx::Error::Encode)?;
        }
        Ok((statement.sql.clone(), arguments))
    }

    /// A statement with the values of a group of rows, and more values behind them.
    fn bound_rows(statement: &Statement, rows: Rows<'_>, more: &[Value<'_>]) -> sqlx::Result<Bound<Self>> {
        let mut arguments = Self::Arguments::default();
        Self::bind_rows(&mut arguments, rows).map_err(sqlx::Error::Encode)?;
        more.iter().try_for_each(|value| Self::bind(&mut arguments, *value)).map_err(sqlx::Error::Encode)?;
        Ok((statement.sql.clone(), arguments))
    }
}

/// A statement for many calls, and the values of each.
#[derive(Clone, Copy)]
pub struct Group<'g> {
    pub(super) statement: &'g Statement,
    pub(super) rows: Rows<'g>,
    /// Locks the rows that the statement is going to change and returns their keys. Only MySQL needs it, because MySQL
    /// cannot return the keys of changed rows.
    pub lock: Option<&'g Statement>,
}

/// The meaning of a database's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The statement did nothing, because another one was in its way or the server is starting. It may run again.
    Busy,
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
    /// The key of an insert exists.
    Taken,
    /// The database's file is damaged.
    Damaged,
    /// The database cannot be reached, or any other error.
    Other,
}

/// What an administrator can do about a failed launch.
pub struct Advice {
    /// The user may not use the table.
    pub forbidden: &'static str,
    /// The database did not answer in time.
    pub late: &'static str,
    /// Any other error.
    pub other: &'static str,
}
