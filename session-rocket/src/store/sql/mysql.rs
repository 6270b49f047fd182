//! Sessions in MySQL and MariaDB.

use std::time::Duration;

use bytes::Bytes;
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlQueryResult};
use sqlx::{Arguments, Connection, MySql, SqlStr};

use super::dialect::{COMMON_SYNTAX, Dialect, Fault, Syntax};
use super::driver::Driver;
use super::idle::MAX_IDLE;
use super::server::{Server, parse};
use super::store::SqlStore;
use super::table::{Migration, Table};
use super::value::{Call, Value};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::Options;

/// The number of bytes that a packet needs besides its longest value, for the other values and the protocol.
const OVERHEAD: usize = 4096;

/// A store in a MySQL or MariaDB database.
pub type MySqlStore = SqlStore<MySql>;

impl MySqlStore {
    /// Opens the database that `options.url` names: `mysql://user:password@host:port/database?ssl-mode=VERIFY_IDENTITY`,
    /// or `mariadb://…`.
    ///
    /// The connections use MySQL's strict mode, in which a value that is too long is an error. They wait for a lock for at
    /// most `options.timeout`. The server closes a connection that sends nothing for two minutes.
    ///
    /// # Errors
    /// Returns an error if the database cannot be reached, migrated or written to, or if the URL or the table's name is
    /// invalid. Each attempt to connect and each check of the table ends after `options.timeout`; a migration may take longer.
    pub async fn open(options: &Options) -> Result<Self> {
        let url = match options.url.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("mariadb") => format!("mysql:{rest}"),
            _ => options.url.clone(),
        };
        let connect = parse::<MySql>(&url)?;
        if connect.get_database().is_none() {
            return Err(Error::new(ErrorKind::Config, "the URL contains no database name: write `mysql://…/database`"));
        }
        Self::on_own_connections(move || connect.clone(), options).await
    }
}

impl Dialect for MySql {
    const SYNTAX: Syntax = Syntax {
        quote: '`',
        // `INSERT IGNORE` would also ignore values that do not fit. So the store uses `INSERT`, and recognizes the error for an
        // existing key.
        has_on_conflict_and_returning: false,
        integer: "SIGNED",
        // MySQL accepts no `LIMIT` in a subquery of a condition. `FOR UPDATE` locks all rows together, so that two sweeps
        // cannot each lock a part and wait for each other.
        due_rows: "(SELECT {key} AS due_key FROM {table} WHERE sweep_at <= ?1 ORDER BY sweep_at LIMIT ?2 FOR UPDATE) AS due \
              STRAIGHT_JOIN {table} ON {key} = due_key",
        sweep: "DELETE {table} FROM {due} WHERE expires_at <= ?1",
        postpone: "UPDATE {due} SET sweep_at = expires_at WHERE expires_at > ?1",
        // `STRAIGHT_JOIN` reads `{rows}` first. Otherwise MySQL may read a small table completely, and wait for rows that
        // another transaction has locked.
        change_rows: "UPDATE {rows} STRAIGHT_JOIN {table} SET {set} WHERE {when}",
        ..COMMON_SYNTAX
    };
    const MIGRATIONS: &'static [Migration] =
        &[(1, "create", include_str!("../../../migrations/mysql/0001_create.sql"))];
    const IS_SERVER: bool = true;

    /// Binds strings as bytes, so that no character set changes them.
    fn bind(arguments: &mut MySqlArguments, value: &Value) -> Result<(), BoxDynError> {
        match value {
            Value::Int(_) | Value::Now(_) => arguments.add(value.as_int()),
            _ => arguments.add(value.as_bytes()),
        }
    }

    fn rows_affected(result: &MySqlQueryResult) -> u64 {
        result.rows_affected()
    }

    fn values_table(row: &[Value], rows: usize) -> String {
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
            // MySQL ended this statement because of a deadlock, or the server has no free connection.
            Some(1213 | 1040) => Fault::Busy,
            // The wait for a lock timed out, or the statement was cancelled.
            Some(1205 | 1317 | 1907 | 1969 | 3024) => Fault::Timeout,
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
        // With these numbers, the server stops or closes the connection, or a proxy has lost the server. In these cases,
        // the statement may have been committed.
        number(error).is_some_and(|number| !matches!(number, 1053 | 1152 | 1184 | 1927 | 2006 | 2013 | 4031 | 9000..))
    }

    fn address(connect: &MySqlConnectOptions) -> String {
        match connect.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", connect.get_host(), connect.get_port()),
        }
    }

    async fn set_up(connection: &mut MySqlConnection, limit: Duration) -> sqlx::Result<()> {
        let seconds = limit.as_secs().max(1);
        // The first two time limits are for row locks and table locks. `wait_timeout` matters if the host of this process
        // disappears during a transaction. By default, the transaction's rows could stay locked for eight hours.
        let settings = format!(
            "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), innodb_lock_wait_timeout = {seconds}, \
             lock_wait_timeout = {seconds}, wait_timeout = LEAST(@@wait_timeout, {})",
            2 * MAX_IDLE.as_secs()
        );
        Self::run_script(connection, settings).await.map(|_| ())
    }

    /// Migrates while it holds a named lock. After an error, the caller closes the connection, which releases the lock.
    async fn migrate(connection: &mut MySqlConnection, table: &Table, limit: Duration) -> sqlx::Result<()> {
        // The lock's name contains the database, because the databases of a server share lock names. The name is hashed
        // to fit into 64 characters.
        let lock = "SELECT COALESCE(GET_LOCK(SHA2(CONCAT('session-rocket ', DATABASE(), '.', ?), 256), ?), 0)";
        let limit = limit.as_secs().max(1).cast_signed();
        let got: i64 = sqlx::query_scalar(lock).bind(table.name()).bind(limit).fetch_one(&mut *connection).await?;
        if got != 1 {
            return Err(sqlx::Error::PoolTimedOut);
        }
        table.migrate::<Self>(Self::MIGRATIONS, connection).await?;
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
            // A statement without `lock` is an insert, which inserts all rows or fails.
            Self::execute(connection, Self::bound_rows(sql, calls, &[])?).await?;
            return Ok(calls.iter().map(|call| call.key).collect());
        };
        if calls.len() == 1 {
            // Returns no reply, so that the call runs alone, which needs only one statement.
            return Ok(Vec::new());
        }
        // Sets the isolation level of the next transaction. At the default level, MySQL would also lock the gap around a missing
        // key, so that other calls could not insert there.
        Self::run_script(connection, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned()).await?;
        let mut transaction = connection.begin().await?;
        match change_locked(&mut transaction, sql, lock, calls).await {
            Ok(changed) if !changed.is_empty() => transaction.commit().await.map(|()| changed),
            // The transaction is rolled back now, because it has locked rows.
            undone => transaction.rollback().await.and(undone),
        }
    }

    async fn max_value_len(connection: &mut MySqlConnection) -> sqlx::Result<usize> {
        let packet: u64 = sqlx::query_scalar("SELECT @@max_allowed_packet").fetch_one(connection).await?;
        Ok(usize::try_from(packet).unwrap_or(usize::MAX).saturating_sub(OVERHEAD))
    }
}

impl Server for MySql {
    const URL_EXAMPLE: &'static str = "mysql://user:password@host:port/database";
    const PARAMETERS: &'static [&'static str] = &["sslca", "charset", "collation", "socket", "timezone", "time-zone"];
}

fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// Locks the rows of a group, changes them, and returns their keys. Returns no keys if a locked row was not changed.
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

/// Returns the values of a change without the payload, which the lock does not need.
fn without_payload(call: &Call) -> Vec<Value> {
    let value = |value: &Value| match value {
        Value::Payload(_) => Value::Payload(Bytes::new()),
        other => other.clone(),
    };
    call.values.iter().map(value).collect()
}

/// Returns the values of a change. If this transaction has not locked the row, the key is `NULL`, because otherwise the
/// statement could wait for the lock of another transaction.
fn only_if_locked(locked: &[Key], call: &Call) -> Vec<Value> {
    let mut values = call.values.clone();
    values[0] = Value::Key(locked.contains(&call.key).then_some(call.key));
    values
}
