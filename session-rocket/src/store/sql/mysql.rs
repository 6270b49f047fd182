//! Sessions in MySQL and MariaDB.

use std::time::Duration;

use bytes::Bytes;
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlQueryResult};
use sqlx::{Arguments, Connection, MySql, SqlStr};

use super::dialect::{Dialect, Fault, WORDS, Words};
use super::driver::Driver;
use super::server::{Server, parse};
use super::store::SqlStore;
use super::table::{Step, Table};
use super::value::{Call, Value};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::Options;

/// The bytes of a packet besides its longest value: the other values, and the protocol's own.
const OVERHEAD: usize = 4096;

/// A store in a MySQL or MariaDB database.
pub type MySqlStore = SqlStore<MySql>;

impl MySqlStore {
    /// Opens the database that `options.url` names: `mysql://user:password@host:port/database?ssl-mode=VERIFY_IDENTITY`,
    /// or `mariadb://…`.
    ///
    /// The connections are strict (a value that does not fit is an error and is not cut), and wait no longer than
    /// `options.timeout` for a lock.
    ///
    /// # Errors
    /// When the database cannot be reached, migrated or written to, or the URL or the table's name is invalid. Each attempt
    /// to connect, and each check of the table, is given up after `options.timeout`; a migration may take longer.
    pub async fn open(options: &Options) -> Result<Self> {
        let url = match options.url.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("mariadb") => format!("mysql:{rest}"),
            _ => options.url.clone(),
        };
        let connect = parse::<MySql>(&url)?;
        if connect.get_database().is_none() {
            return Err(Error::new(ErrorKind::Config, "the URL names no database: write `mysql://…/database`"));
        }
        Self::own(move || connect.clone(), options).await
    }
}

impl Dialect for MySql {
    const WORDS: Words = Words {
        quote: '`',
        // `INSERT IGNORE` would also ignore values that do not fit, so the error is read instead.
        has_returning: false,
        integer: "SIGNED",
        // MySQL accepts no limit in a condition. All rows are locked at once, so that two sweeps do not each lock a part.
        due: "(SELECT {key} AS place FROM {table} WHERE sweep_at <= ?1 ORDER BY sweep_at LIMIT ?2 FOR UPDATE) AS due \
              STRAIGHT_JOIN {table} ON {key} = place",
        sweep: "DELETE {table} FROM {due} WHERE expires_at <= ?1",
        postpone: "UPDATE {due} SET sweep_at = expires_at WHERE expires_at > ?1",
        // In this order, because MySQL would rather read all rows of a small table, and wait for locked ones.
        change_rows: "UPDATE {rows} STRAIGHT_JOIN {table} SET {set} WHERE {when}",
        ..WORDS
    };
    const STEPS: &'static [Step] = &[(1, "create", include_str!("../../../migrations/mysql/0001_create.sql"))];
    const IS_SERVER: bool = true;

    /// Binds strings as bytes, so that no character set changes them.
    fn bind(arguments: &mut MySqlArguments, value: &Value) -> Result<(), BoxDynError> {
        match value {
            Value::Int(_) | Value::Now(_) => arguments.add(value.int()),
            _ => arguments.add(value.bytes()),
        }
    }

    fn rows_affected(result: &MySqlQueryResult) -> u64 {
        result.rows_affected()
    }

    fn table_of(row: &[Value], rows: usize) -> String {
        let column = |(index, value): (usize, &Value)| {
            let cast = if matches!(value, Value::Int(_) | Value::Now(_)) { "SIGNED" } else { "BINARY" };
            format!("CAST(? AS {cast}) AS column{}", index + 1)
        };
        let row = row.iter().enumerate().map(column).collect::<Vec<_>>().join(", ");
        format!("(SELECT {}) AS v", vec![row; rows].join(" UNION ALL SELECT "))
    }

    // https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html
    fn database_fault(error: &sqlx::Error) -> Fault {
        match number(error) {
            // A deadlock that this statement gave way to, or no connection left.
            Some(1213 | 1040) => Fault::Busy,
            // A lock was not free in time, or the statement was cancelled.
            Some(1205 | 1317 | 1907 | 1969 | 3024) => Fault::Late,
            Some(1045 | 1698) => Fault::Login,
            Some(1049) => Fault::NoDatabase,
            Some(1146 | 1054) => Fault::NoTable,
            // The user lacks a right, or the server is a replica.
            Some(1044 | 1142 | 1143 | 1227 | 1290 | 1792 | 1836) => Fault::Forbidden,
            Some(1153) => Fault::TooLarge,
            _ => Fault::Other,
        }
    }

    fn is_refusal(error: &sqlx::Error) -> bool {
        // A server that stops or kills the connection, and a proxy that lost the server, may have committed.
        number(error).is_some_and(|number| !matches!(number, 1053 | 1152 | 1184 | 1927 | 2006 | 2013 | 9000..))
    }

    fn address(connect: &MySqlConnectOptions) -> String {
        match connect.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", connect.get_host(), connect.get_port()),
        }
    }

    async fn set_up(connection: &mut MySqlConnection, limit: Duration) -> sqlx::Result<()> {
        let seconds = limit.as_secs().max(1);
        // The first limit is for a row's lock, the second one for a table's.
        let settings = format!(
            "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), innodb_lock_wait_timeout = {seconds}, \
             lock_wait_timeout = {seconds}"
        );
        Self::run(connection, settings).await.map(|_| ())
    }

    /// After an error, the caller closes the connection, and the server releases the lock.
    async fn migrate(connection: &mut MySqlConnection, table: &Table, limit: Duration) -> sqlx::Result<()> {
        // Names of locks belong to the whole server and have at most 64 characters.
        let lock = "SELECT COALESCE(GET_LOCK(SHA2(CONCAT('session-rocket ', DATABASE(), '.', ?), 256), ?), 0)";
        let limit = limit.as_secs().max(1).cast_signed();
        let got: i64 = sqlx::query_scalar(lock).bind(table.name()).bind(limit).fetch_one(&mut *connection).await?;
        if got != 1 {
            return Err(sqlx::Error::PoolTimedOut);
        }
        table.migrate::<Self>(Self::STEPS, connection).await?;
        let release = "DO RELEASE_LOCK(SHA2(CONCAT('session-rocket ', DATABASE(), '.', ?), 256))";
        sqlx::query(release).bind(table.name()).execute(connection).await.map(|_| ())
    }

    async fn change_many(
        connection: &mut MySqlConnection,
        sql: &SqlStr,
        lock: Option<&SqlStr>,
        calls: &[&Call],
    ) -> sqlx::Result<Vec<Key>> {
        let Some(lock) = lock else {
            // The statement inserts all rows or fails.
            Self::execute(connection, Self::bound_rows(sql, calls, &[])?).await?;
            return Ok(calls.iter().map(|call| call.key).collect());
        };
        if calls.len() == 1 {
            // Alone, the call takes one statement.
            return Ok(Vec::new());
        }
        // For the next transaction. At the default level, MySQL would also lock the gap around a key without a row, so that
        // others could not insert there.
        Self::run(connection, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned()).await?;
        let mut transaction = connection.begin().await?;
        match change_locked(&mut transaction, sql, lock, calls).await {
            Ok(changed) if !changed.is_empty() => transaction.commit().await.map(|()| changed),
            // At once, because the transaction has locked rows.
            undone => transaction.rollback().await.and(undone),
        }
    }

    async fn max_value_len(connection: &mut MySqlConnection) -> sqlx::Result<usize> {
        let packet: u64 = sqlx::query_scalar("SELECT @@max_allowed_packet").fetch_one(connection).await?;
        Ok(usize::try_from(packet).unwrap_or(usize::MAX).saturating_sub(OVERHEAD))
    }
}

impl Server for MySql {
    const FORM: &'static str = "mysql://user:password@host:port/database";
    const PARAMETERS: &'static str = "sslca, charset, collation, socket, timezone, time-zone";
}

fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// Locks the rows of a group, changes them, and returns their keys; or no keys if not all could be changed.
async fn change_locked(
    connection: &mut MySqlConnection,
    sql: &SqlStr,
    lock: &SqlStr,
    calls: &[&Call],
) -> sqlx::Result<Vec<Key>> {
    let rows: Vec<_> = calls.iter().map(|call| without_payload(call)).collect();
    let locked = MySql::fetch(connection, MySql::bound_rows(lock, &rows, &[])?).await?;
    let locked = locked.iter().map(MySql::key).collect::<sqlx::Result<Vec<_>>>()?;
    let rows: Vec<_> = calls.iter().map(|call| only_if_locked(&locked, call)).collect();
    let done = MySql::execute(connection, MySql::bound_rows(sql, &rows, &[])?).await?;
    let is_complete = usize::try_from(done.rows_affected()) == Ok(locked.len());
    Ok(if is_complete { locked } else { Vec::new() })
}

/// The values of a change without the payload, which the server does not need in order to lock the row.
fn without_payload(call: &Call) -> Vec<Value> {
    let value = |value: &Value| match value {
        Value::Payload(_) => Value::Payload(Bytes::new()),
        other => other.clone(),
    };
    call.values.iter().map(value).collect()
}

/// The values of a change. If the row is not locked, the values match no row, because the statement would wait for the
/// lock.
fn only_if_locked(locked: &[Key], call: &Call) -> Vec<Value> {
    let mut values = call.values.clone();
    values[0] = Value::Key(locked.contains(&call.key).then_some(call.key));
    values
}
