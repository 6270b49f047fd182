//! Sessions in MySQL and MariaDB.

use std::str::FromStr;
use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::mysql::{
    MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlQueryResult, MySqlRow,
};
use sqlx::pool::PoolOptions;
use sqlx::{Arguments, AssertSqlSafe, Connection, Executor, MySql};

use super::server::{Fault, Served, Server, check_url};
use super::statement::{self, Dialect, Held, Rows, Value, Words};
use super::table::{Step, Table};
use super::{Group, SqlStore};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::{Options, Stats};

const FORM: &str = "mysql://user:password@host:port/database";
/// What sqlx takes behind the `?`.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslca",
    "ssl-ca",
    "charset",
    "collation",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "socket",
    "timezone",
    "time-zone",
];

/// What a statement needs besides its longest value: the others, and the protocol's own.
const OVERHEAD: usize = 4096;

/// A store in a MySQL or MariaDB database.
pub type MySqlStore = SqlStore<Server<MySql>>;

impl MySqlStore {
    /// Opens the database that `options.url` names: `mysql://user:password@host:port/database?ssl-mode=VERIFY_IDENTITY`,
    /// or `mariadb://…`.
    ///
    /// Connections of its own are strict (what does not fit is an error, not cut), and wait no longer than
    /// `options.timeout` for a lock.
    ///
    /// # Errors
    /// When the database cannot be reached, migrated or written to, or the URL or the table's name is wrong: within
    /// `options.timeout`.
    pub async fn open(options: &Options) -> Result<Self> {
        let url = match options.url.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("mariadb") => format!("mysql:{rest}"),
            _ => options.url.clone(),
        };
        check_url(&url, FORM, PARAMETERS)?;
        let wrong = || Error::new(ErrorKind::Config, format!("invalid MySQL URL: write `{FORM}`"));
        let connect = MySqlConnectOptions::from_str(&url).map_err(|_| wrong())?;
        if connect.get_database().is_none() {
            return Err(Error::new(ErrorKind::Config, "the URL names no database: write `mysql://…/database`"));
        }
        Self::connect(connect, options).await
    }
}

impl Dialect for MySql {
    const WORDS: Words = Words {
        quote: '`',
        has_schemas: false,
        parameter: None,
        key: "`key`",
        larger: "GREATEST",
        smaller: "LEAST",
        same: "<=>",
        integer: "SIGNED",
        // `INSERT IGNORE` would ignore what does not fit as well: the error is looked at instead.
        or_nothing: "",
        load_rows: "SELECT {columns} FROM {table} WHERE `key` {list} AND expires_at > ?",
        telling: "",
        // In this order: of a small table, it would rather read all rows, also those that others hold.
        change_rows: "UPDATE {rows} STRAIGHT_JOIN {table} SET {set} WHERE {when}",
        // It takes no limit in a condition. What is locked at once is not locked by two sweeps, each in part.
        sweep: "DELETE {table} FROM (SELECT `key` AS place FROM {table} WHERE sweep_at <= ?1 \
                ORDER BY sweep_at LIMIT ?2 FOR UPDATE) AS due STRAIGHT_JOIN {table} ON `key` = place \
                WHERE expires_at <= ?1",
        put_off: "UPDATE (SELECT `key` AS place FROM {table} WHERE sweep_at <= ?1 \
                  ORDER BY sweep_at LIMIT ?2 FOR UPDATE) AS due STRAIGHT_JOIN {table} ON `key` = place \
                  SET sweep_at = expires_at WHERE expires_at > ?1",
    };
    const STEPS: &'static [Step] = &[(1, "create", include_str!("../../../migrations/mysql/0001_create.sql"))];

    fn bind(arguments: &mut MySqlArguments, value: Value<'_>) -> Result<(), BoxDynError> {
        match value {
            Value::Int(number) => arguments.add(number),
            Value::Bytes(bytes) => arguments.add(bytes),
            // As bytes, so that no character set comes between.
            Value::Scope(scope) => arguments.add(scope.as_bytes()),
            Value::Identity(identity) => arguments.add(identity.map(str::as_bytes)),
        }
    }

    fn read(row: &MySqlRow) -> sqlx::Result<Held> {
        statement::read(row)
    }

    fn read_stats(row: &MySqlRow) -> sqlx::Result<Stats> {
        statement::read_stats(row)
    }

    fn done(result: &MySqlQueryResult) -> u64 {
        result.rows_affected()
    }

    fn table_of(rows: Rows<'_>) -> String {
        let column = |(at, value): (usize, &Value<'_>)| match value {
            Value::Int(_) => format!("CAST(? AS SIGNED) AS column{}", at + 1),
            _ => format!("CAST(? AS BINARY) AS column{}", at + 1),
        };
        let row = |row: &Vec<Value<'_>>| row.iter().enumerate().map(column).collect::<Vec<_>>().join(", ");
        let rows: Vec<_> = rows.iter().map(row).collect();
        format!("(SELECT {}) AS v", rows.join(" UNION ALL SELECT "))
    }
}

impl Served for MySql {
    fn place(connect: &MySqlConnectOptions) -> String {
        match connect.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", connect.get_host(), connect.get_port()),
        }
    }

    /// The pool options limit the time that a statement waits.
    fn with_limit(connect: MySqlConnectOptions, _: Duration) -> MySqlConnectOptions {
        connect
    }

    fn pool_options(limit: Duration) -> PoolOptions<Self> {
        let seconds = limit.as_secs().max(1);
        // The first of the two waits for a row, the second for a table.
        let settings = format!(
            "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), innodb_lock_wait_timeout = {seconds}, \
             lock_wait_timeout = {seconds}"
        );
        PoolOptions::new().after_connect(move |connection: &mut MySqlConnection, _| {
            let settings = AssertSqlSafe(settings.clone());
            Box::pin(async move { connection.execute(settings).await.map(|_| ()) })
        })
    }

    // https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html
    fn fault(error: &sqlx::Error) -> Fault {
        let database = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
        match (database.map(MySqlDatabaseError::number), error) {
            (Some(1062), _) => Fault::Taken,
            // A deadlock, which this statement gave way to, or no connection left.
            (Some(1213 | 1040), _) => Fault::Busy,
            // A lock was not to be had, or the statement was cancelled.
            (Some(1205 | 1317 | 1907 | 1969 | 3024), _) | (_, sqlx::Error::PoolTimedOut) => Fault::Late,
            (Some(1045 | 1698), _) => Fault::Login,
            (Some(1049), _) => Fault::NoDatabase,
            (Some(1146 | 1054), _) => Fault::NoTable,
            // Of the user, or of a server that only follows another.
            (Some(1044 | 1142 | 1143 | 1227 | 1290 | 1792 | 1836), _) => Fault::Forbidden,
            (Some(1153), _) => Fault::TooLarge,
            _ => Fault::Other,
        }
    }

    fn is_refusal(error: &sqlx::Error) -> bool {
        let database = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
        // A server that stops or kills the connection, and proxies that lost it, may have committed.
        database.is_some_and(|error| !matches!(error.number(), 1053 | 1152 | 1184 | 1927 | 2006 | 2013 | 9000..))
    }

    async fn migrate(connection: &mut MySqlConnection, table: &Table, limit: Duration) -> sqlx::Result<()> {
        // Released with the connection. Names of locks are the server's, and at most 64 characters long.
        let lock = "SELECT COALESCE(GET_LOCK(SHA2(CONCAT('session-rocket ', DATABASE(), '.', ?), 256), ?), 0)";
        let limit = limit.as_secs().max(1).cast_signed();
        let got: i64 = sqlx::query_scalar(lock).bind(table.name()).bind(limit).fetch_one(&mut *connection).await?;
        if got != 1 {
            return Err(sqlx::Error::PoolTimedOut);
        }
        table.migrate(Self::STEPS, connection).await
    }

    async fn change_many(connection: &mut MySqlConnection, group: &Group<'_>) -> sqlx::Result<Vec<Key>> {
        let Some(lock) = group.lock else {
            // It inserts all of them, or fails.
            group.statement.query_rows::<Self>(group.rows, &[])?.execute(&mut *connection).await?;
            return Ok(group.rows.iter().filter_map(|row| row[0].key()).collect());
        };
        if group.rows.len() == 1 {
            // Alone, it takes one statement.
            return Ok(Vec::new());
        }
        // For the next transaction. Otherwise a key that is not there would be locked as well, and all between its
        // neighbours, which keeps others from inserting.
        connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        let mut transaction = connection.begin().await?;
        let rows: Vec<_> = group.rows.iter().map(|row| without_content(row)).collect();
        let locked = lock.query_rows::<Self>(&rows, &[])?.fetch_all(&mut *transaction).await?;
        let locked: Vec<Key> = locked.iter().filter_map(statement::key).collect();
        let rows: Vec<_> = group.rows.iter().map(|row| only_of(&locked, row)).collect();
        let done = group.statement.query_rows::<Self>(&rows, &[])?.execute(&mut *transaction).await?;
        if usize::try_from(done.rows_affected()) != Ok(locked.len()) {
            transaction.rollback().await?;
            return Ok(Vec::new());
        }
        transaction.commit().await?;
        Ok(locked)
    }

    async fn largest(connection: &mut MySqlConnection) -> sqlx::Result<usize> {
        let packet: u64 = sqlx::query_scalar("SELECT @@max_allowed_packet").fetch_one(connection).await?;
        Ok(usize::try_from(packet).unwrap_or(usize::MAX).saturating_sub(OVERHEAD))
    }
}

/// The values of a change but for what it writes, which need not be sent to lock its row.
fn without_content<'v>(row: &[Value<'v>]) -> Vec<Value<'v>> {
    let is_content = |at: usize, value: &Value<'_>| at > 0 && matches!(value, Value::Bytes(_));
    row.iter().enumerate().map(|(at, value)| if is_content(at, value) { Value::Bytes(None) } else { *value }).collect()
}

/// The values of a change, or of one that finds no row if that is not locked: it would wait for whoever holds it.
fn only_of<'v>(locked: &[Key], row: &[Value<'v>]) -> Vec<Value<'v>> {
    let mut row = row.to_vec();
    if !row[0].key().is_some_and(|key| locked.contains(&key)) {
        row[0] = Value::Bytes(None);
    }
    row
}
