//! Sessions in PostgreSQL.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgQueryResult};
use sqlx::{Arguments, Connection, Executor, Postgres};

use super::dialect::{COMMON_SYNTAX, Dialect, Fault, Syntax};
use super::server::{Server, parse};
use super::store::SqlStore;
use super::table::{Migration, Table};
use super::value::Value;
use crate::base::error::{Error, ErrorKind, Result};
use crate::store::Options;

const NO_STATEMENT_CACHE: &str = "with `statement-cache-capacity=0` in the URL, each call leaves a prepared statement in the \
                                  server: remove the parameter; if you use a pooler, let it pool by session, or use \
                                  PgBouncer 1.21 or later with `max_prepared_statements`";

/// A store in a PostgreSQL database.
pub type PostgresStore = SqlStore<Postgres>;

impl PostgresStore {
    /// Opens the database that `options.url` names: `postgres://user:password@host:port/database?sslmode=verify-full`.
    ///
    /// The server cancels a statement after `options.timeout`, unless the URL's `options` set another
    /// `statement_timeout`.
    ///
    /// # Errors
    /// Returns an error if the database cannot be reached, migrated or written to, or if the URL or the table's name is
    /// invalid. Each attempt to connect and each check of the table ends after `options.timeout`; a migration may take
    /// longer. The URL must not contain `statement-cache-capacity=0`, because each call would then leave a prepared
    /// statement in the server.
    pub async fn open(options: &Options) -> Result<Self> {
        if options.url.split(['?', '&']).any(|pair| pair == "statement-cache-capacity=0") {
            return Err(Error::new(ErrorKind::Config, NO_STATEMENT_CACHE));
        }
        let connect = parse::<Postgres>(&options.url)?;
        Self::on_own_connections(move || connect.clone(), options).await
    }
}

impl Dialect for Postgres {
    const SYNTAX: Syntax = Syntax {
        has_schemas: true,
        has_numbered_parameters: true,
        has_arrays: true,
        // PostgreSQL evaluates an array once, but may evaluate a subquery of `IN` many times.
        due_rows: "key = ANY (ARRAY \
              (SELECT key FROM {table} WHERE sweep_at <= ?1 ORDER BY sweep_at LIMIT ?2 FOR UPDATE SKIP LOCKED))",
        // `LATERAL` and `OFFSET 0` force one index search for each key. Otherwise the planner may read the whole table.
        load_rows: "SELECT live.* FROM (SELECT DISTINCT unnest($1)) AS wanted (wanted_key) CROSS JOIN LATERAL \
                    (SELECT {columns}, moved_to FROM {table} WHERE key = wanted_key AND expires_at > $2 OFFSET 0) AS live",
        // The inner query finds and locks each row once. It skips locked rows, because otherwise the whole group would
        // wait for them. `OFFSET 0` keeps the planner from merging the inner query into the update. The update finds rows by
        // their `ctid`. If another transaction has just changed a row, the update does not see the new `ctid`, so the
        // call runs again, alone.
        change_rows: "UPDATE {table} SET {set} FROM (SELECT v.*, row_id FROM {rows} CROSS JOIN LATERAL \
                      (SELECT ctid AS row_id FROM {table} WHERE key = v.column1 FOR NO KEY UPDATE SKIP LOCKED) AS unlocked \
                      OFFSET 0) AS v WHERE {when} AND ctid = row_id{returning}",
        ..COMMON_SYNTAX
    };
    const MIGRATIONS: &'static [Migration] =
        &[(1, "create", include_str!("../../../migrations/postgres/0001_create.sql"))];
    const IS_SERVER: bool = true;

    fn bind(arguments: &mut PgArguments, value: &Value) -> Result<(), BoxDynError> {
        match value {
            Value::Int(_) | Value::Now(_) => arguments.add(value.as_int()),
            Value::Scope(scope) => arguments.add(&**scope),
            // An identity is bound as bytes, because PostgreSQL's strings cannot contain a NUL.
            Value::Key(_) | Value::Payload(_) | Value::Identity(_) => arguments.add(value.as_bytes()),
        }
    }

    fn rows_affected(result: &PgQueryResult) -> u64 {
        result.rows_affected()
    }

    fn values_table(row: &[Value], _: usize) -> String {
        let columns = |prefix| (1..=row.len()).map(|column| format!("{prefix}{column}")).collect::<Vec<_>>().join(", ");
        format!("unnest({}) AS v ({})", columns("$"), columns("column"))
    }

    /// Binds an array for each column.
    fn bind_rows(arguments: &mut PgArguments, rows: &[impl AsRef<[Value]>]) -> Result<(), BoxDynError> {
        let Some(first) = rows.first() else { return Ok(()) };
        for (column, kind) in first.as_ref().iter().enumerate() {
            let values = rows.iter().map(|row| &row.as_ref()[column]);
            match kind {
                Value::Int(_) | Value::Now(_) => arguments.add(values.map(Value::as_int).collect::<Vec<_>>())?,
                Value::Scope(_) => arguments.add(values.map(scope).collect::<Vec<_>>())?,
                _ => arguments.add(values.map(Value::as_bytes).collect::<Vec<_>>())?,
            }
        }
        Ok(())
    }

    // https://www.postgresql.org/docs/current/errcodes-appendix.html
    fn database_fault(error: &sqlx::Error) -> Fault {
        match code(error).as_deref() {
            // A serialization failure, a deadlock, no free connection, or a server that is starting or stopping.
            Some("40001" | "40P01" | "53300" | "57P03") => Fault::Busy,
            // The statement was cancelled, or the wait for a lock or the transaction timed out.
            Some("57014" | "55P03" | "25P04") => Fault::Timeout,
            Some("28P01" | "28000") => Fault::Login,
            Some("3D000") => Fault::NoDatabase,
            Some("42P01" | "42703") => Fault::NoTable,
            Some("3F000") => Fault::NoSchema,
            // The user lacks a right, or the server is a replica.
            Some("42501" | "25006") => Fault::Forbidden,
            _ => Fault::Other,
        }
    }

    fn is_refusal(error: &sqlx::Error) -> bool {
        // With these codes and classes, a pooler has lost the server, or the server stops or closes the connection. In
        // these cases, the statement may have been committed.
        code(error).is_some_and(|code| {
            !["08", "25P03", "25P04", "57P", "58", "XX"].iter().any(|prefix| code.starts_with(prefix))
        })
    }

    fn address(connect: &PgConnectOptions) -> String {
        match connect.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", connect.get_host(), connect.get_port()),
        }
    }

    async fn migrate(connection: &mut PgConnection, table: &Table, limit: Duration) -> sqlx::Result<()> {
        let mut transaction = connection.begin().await?;
        // The settings are local, because a pooler may give the connection to another client after the transaction. The
        // statements have no time limit, because the migration of a large table may take longer than a call may.
        transaction.execute("SET LOCAL statement_timeout = 0").await?;
        let limit = limit.as_millis().to_string();
        sqlx::query("SELECT set_config('lock_timeout', $1, true)").bind(limit).execute(&mut *transaction).await?;
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended('session-rocket ' || $1, 0))";
        sqlx::query(lock).bind(table.name()).execute(&mut *transaction).await?;
        table.migrate::<Self>(Self::MIGRATIONS, &mut transaction).await?;
        transaction.commit().await
    }
}

impl Server for Postgres {
    const URL_EXAMPLE: &'static str = "postgres://user:password@host:port/database";
    const PARAMETERS: &'static [&'static str] = &[
        "sslrootcert",
        "ssl-root-cert",
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "password",
        "application_name",
        "options",
    ];

    fn with_statement_timeout(connect: PgConnectOptions, limit: Duration) -> PgConnectOptions {
        match connect.get_options() {
            Some(options) if options.contains("statement_timeout") => connect,
            _ => connect.options([("statement_timeout", limit.as_millis().to_string())]),
        }
    }
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

fn scope(value: &Value) -> Option<&str> {
    if let Value::Scope(scope) = value { Some(scope) } else { None }
}

#[cfg(test)]
mod tests;
