//! Sessions in PostgreSQL.

use std::str::FromStr;
use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgQueryResult, PgRow};
use sqlx::{Arguments, Connection, Executor, Postgres};

use super::server::{Fault, Served, Server, check_url};
use super::statement::{self, Dialect, Held, Rows, Value, Words};
use super::table::{Step, Table};
use super::{Group, SqlStore};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::{Options, Stats};

const FORM: &str = "postgres://user:password@host:port/database";
/// What sqlx takes behind the `?`.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

const UNCACHED: &str = "the URL says `statement-cache-capacity=0`, with which each call leaves a prepared statement in \
                        the server: leave it out, and have a pooler in between pool by session, or keep track of prepared \
                        statements (PgBouncer from 1.21 on, with `max_prepared_statements`)";

/// A store in a PostgreSQL database.
pub type PostgresStore = SqlStore<Server<Postgres>>;

impl PostgresStore {
    /// Opens the database that `options.url` names: `postgres://user:password@host:port/database?sslmode=verify-full`.
    ///
    /// The server is told to give up a statement after `options.timeout`, unless the URL's `options` say otherwise.
    ///
    /// # Errors
    /// When the database cannot be reached, migrated or written to, or the URL or the table's name is wrong: within
    /// `options.timeout`. [`ErrorKind::Config`] for `statement-cache-capacity=0`, with which sqlx leaves a prepared
    /// statement in the server for each call.
    pub async fn open(options: &Options) -> Result<Self> {
        check_url(&options.url, FORM, PARAMETERS)?;
        if options.url.split(['?', '&']).any(|pair| pair == "statement-cache-capacity=0") {
            return Err(Error::new(ErrorKind::Config, UNCACHED));
        }
        let wrong = || Error::new(ErrorKind::Config, format!("invalid PostgreSQL URL: write `{FORM}`"));
        let connect = PgConnectOptions::from_str(&options.url).map_err(|_| wrong())?;
        Self::connect(Postgres::with_limit(connect, options.timeout), options).await
    }
}

impl Dialect for Postgres {
    const WORDS: Words = Words {
        quote: '"',
        has_schemas: true,
        parameter: Some('$'),
        key: "key",
        larger: "GREATEST",
        smaller: "LEAST",
        same: "IS NOT DISTINCT FROM",
        integer: "BIGINT",
        or_nothing: " ON CONFLICT (key) DO NOTHING",
        // One look into the index for each, also where the planner would rather read the whole table.
        load_rows: "SELECT {columns} FROM (SELECT DISTINCT unnest($1)) AS wanted (place) CROSS JOIN LATERAL \
                    (SELECT {columns} FROM {table} WHERE key = place AND expires_at > $2 OFFSET 0) AS found",
        telling: " RETURNING key",
        // What another statement holds is passed over: it would keep all others of the group waiting.
        change_rows: "UPDATE {table} SET {set} FROM {rows} WHERE {when} AND ctid = ANY (ARRAY \
                      (SELECT place FROM unnest($1) AS wanted (wish) CROSS JOIN LATERAL \
                      (SELECT ctid AS place FROM {table} WHERE key = wish FOR UPDATE SKIP LOCKED) AS free)){telling}",
        // An array is made once; a set could be asked for again and again.
        sweep: "DELETE FROM {table} WHERE key = ANY (ARRAY \
                (SELECT key FROM {table} WHERE sweep_at <= ?1 ORDER BY sweep_at LIMIT ?2 FOR UPDATE SKIP LOCKED)) \
                AND expires_at <= ?1",
        put_off: "UPDATE {table} SET sweep_at = expires_at WHERE key = ANY (ARRAY \
                  (SELECT key FROM {table} WHERE sweep_at <= ?1 ORDER BY sweep_at LIMIT ?2 FOR UPDATE SKIP LOCKED)) \
                  AND expires_at > ?1",
    };
    const STEPS: &'static [Step] = &[(1, "create", include_str!("../../../migrations/postgres/0001_create.sql"))];

    fn bind(arguments: &mut PgArguments, value: Value<'_>) -> Result<(), BoxDynError> {
        match value {
            Value::Int(number) => arguments.add(number),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Scope(scope) => arguments.add(scope),
            // Its texts cannot hold a NUL.
            Value::Identity(identity) => arguments.add(identity.map(str::as_bytes)),
        }
    }

    fn read(row: &PgRow) -> sqlx::Result<Held> {
        statement::read(row)
    }

    fn read_stats(row: &PgRow) -> sqlx::Result<Stats> {
        statement::read_stats(row)
    }

    fn done(result: &PgQueryResult) -> u64 {
        result.rows_affected()
    }

    fn table_of(rows: Rows<'_>) -> String {
        let columns = 1..=rows.first().map_or(0, Vec::len);
        let arrays: Vec<_> = columns.clone().map(|column| format!("${column}")).collect();
        let names: Vec<_> = columns.map(|column| format!("column{column}")).collect();
        format!("unnest({}) AS v ({})", arrays.join(", "), names.join(", "))
    }

    /// An array for each column.
    fn bind_rows(arguments: &mut PgArguments, rows: Rows<'_>) -> Result<(), BoxDynError> {
        for column in 0..rows.first().map_or(0, Vec::len) {
            let values = rows.iter().map(|row| row[column]);
            match rows[0][column] {
                Value::Int(_) => arguments.add(values.map(Value::int).collect::<Vec<_>>())?,
                Value::Scope(_) => arguments.add(values.map(Value::text).collect::<Vec<_>>())?,
                Value::Bytes(_) | Value::Identity(_) => arguments.add(values.map(Value::bytes).collect::<Vec<_>>())?,
            }
        }
        Ok(())
    }
}

impl Served for Postgres {
    fn place(connect: &PgConnectOptions) -> String {
        match connect.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", connect.get_host(), connect.get_port()),
        }
    }

    fn with_limit(connect: PgConnectOptions, limit: Duration) -> PgConnectOptions {
        match connect.get_options() {
            Some(given) if given.contains("statement_timeout") => connect,
            _ => connect.options([("statement_timeout", limit.as_millis().to_string())]),
        }
    }

    fn pool_options(_: Duration) -> PoolOptions<Self> {
        PoolOptions::new()
    }

    // https://www.postgresql.org/docs/current/errcodes-appendix.html
    fn fault(error: &sqlx::Error) -> Fault {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        match (code.as_deref(), error) {
            // A serialization failure, a deadlock, no connection left, or a start or shutdown under way.
            (Some("40001" | "40P01" | "53300" | "57P03"), _) => Fault::Busy,
            // It was cancelled, or a lock was not to be had.
            (Some("57014" | "55P03"), _) | (_, sqlx::Error::PoolTimedOut) => Fault::Late,
            (Some("28P01" | "28000"), _) => Fault::Login,
            (Some("3D000"), _) => Fault::NoDatabase,
            (Some("42P01" | "42703"), _) => Fault::NoTable,
            (Some("3F000"), _) => Fault::NoSchema,
            // Of the user, or of a server that only follows another.
            (Some("42501" | "25006"), _) => Fault::Forbidden,
            _ => Fault::Other,
        }
    }

    fn is_refusal(error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        // A pooler reports in these classes that it lost the server, which may have committed; so does a server that stops.
        code.is_some_and(|code| !["08", "57P", "58", "XX"].iter().any(|class| code.starts_with(class)))
    }

    async fn migrate(connection: &mut PgConnection, table: &Table, limit: Duration) -> sqlx::Result<()> {
        let mut transaction = connection.begin().await?;
        // All for this transaction alone: behind a pooler, the next one is somebody else's. A large table takes longer to
        // change than a session to save.
        transaction.execute("SET LOCAL statement_timeout = 0").await?;
        let limit = limit.as_millis().to_string();
        sqlx::query("SELECT set_config('lock_timeout', $1, true)").bind(limit).execute(&mut *transaction).await?;
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended('session-rocket ' || $1, 0))";
        sqlx::query(lock).bind(table.name()).execute(&mut *transaction).await?;
        table.migrate(Self::STEPS, &mut *transaction).await?;
        transaction.commit().await
    }

    async fn change_many(connection: &mut PgConnection, group: &Group<'_>) -> sqlx::Result<Vec<Key>> {
        let rows = connection.fetch_all(group.statement.query_rows::<Self>(group.rows, &[])?).await?;
        Ok(rows.iter().filter_map(statement::key).collect())
    }

    async fn largest(_: &mut PgConnection) -> sqlx::Result<usize> {
        // https://www.postgresql.org/docs/current/limits.html
        Ok(1 << 30)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn statements_that_would_pile_up_in_the_server_are_refused() {
        let options = Options::new("postgres://127.0.0.1:1/site?sslmode=disable&statement-cache-capacity=0");
        let error = PostgresStore::open(&options).await.err().unwrap();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains("PgBouncer"), "{error}");
    }
}
