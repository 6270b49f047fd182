//! Checks at launch that the database can be reached, migrates the table, and checks that the table can be used.

use std::sync::Arc;

use super::connections::Connections;
use super::dialect::{Dialect, Fault};
use super::retry::retry;
use super::statements::Statement;
use super::table::Table;
use crate::base::error::{Error, ErrorKind, Result};
use crate::store::{Migrate, Options};

/// Migrates or checks the table, as `options.migrate` says. Returns the length of the longest value that the database accepts, in
/// bytes.
pub(super) async fn prepare<DB: Dialect>(
    connections: &Arc<Connections<DB>>,
    table: &Table,
    probes: &[Statement],
    options: &Options,
) -> Result<usize> {
    // If several processes start at the same time, only one can lock a SQLite database, and the others have to retry.
    let is_retryable = |error: &Error| error.kind() == ErrorKind::Timeout;
    retry(&*options.clock, options.timeout, is_retryable, || prepare_once(connections, table, probes, options)).await
}

async fn prepare_once<DB: Dialect>(
    connections: &Arc<Connections<DB>>,
    table: &Table,
    probes: &[Statement],
    options: &Options,
) -> Result<usize> {
    // Boxed, because this future is large and runs once.
    let borrowed = Box::pin(in_time(options, connections.borrow())).await;
    let mut connection = borrowed.map_err(|e| {
        error_with_advice::<DB>(&format!("cannot connect to {} at {}", DB::NAME, connections.address()), table, e)
    })?;
    if options.migrate != Migrate::Off {
        migrate::<DB>(connection.get(), table, options).await?;
    }
    let probe = async {
        for probe in probes {
            DB::execute(connection.get(), probe.bound::<DB>(&[])?).await?;
        }
        DB::max_value_len(connection.get()).await
    };
    let probed = Box::pin(in_time(options, probe)).await;
    connection.record_result(probed).map_err(|e| table_error::<DB>("use", table, e))
}

async fn migrate<DB: Dialect>(connection: &mut DB::Connection, table: &Table, options: &Options) -> Result<()> {
    match (options.migrate, in_time(options, table.first_missing::<DB>(DB::MIGRATIONS, connection)).await) {
        (_, Ok(None)) => Ok(()),
        (Migrate::Check, Ok(Some((version, name, _)))) => Err(not_migrated(*version, name)),
        (migrate, Err(error)) if migrate == Migrate::Check || DB::fault(&error) == Fault::Timeout => {
            Err(table_error::<DB>("read the migrations of", table, error))
        }
        // The user lacks the right to read the table of migrations, but may have all rights on the session table. The
        // probes check those rights.
        (_, Err(error)) if DB::fault(&error) == Fault::Forbidden => Ok(()),
        (_, Ok(Some(_)) | Err(_)) => {
            let migrated = DB::migrate(connection, table, options.timeout).await;
            migrated.map_err(|e| table_error::<DB>("migrate", table, e))
        }
    }
}

async fn in_time<A>(options: &Options, step: impl Future<Output = sqlx::Result<A>>) -> sqlx::Result<A> {
    tokio::time::timeout(options.timeout, step).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

fn not_migrated(version: i64, name: &str) -> Error {
    let context = format!(
        "migration {version} (`{name}`) of the session table has not run: run `session-rocket migrate`, or launch the site \
         with `migrate = \"auto\"`"
    );
    Error::new(ErrorKind::Config, context)
}

fn table_error<DB: Dialect>(verb: &str, table: &Table, error: sqlx::Error) -> Error {
    error_with_advice::<DB>(&format!("cannot {verb} the table `{}` in {}", table.name(), DB::NAME), table, error)
}

/// Adds advice to an error of a launch. The kind of the error says whether a retry or another configuration may help.
fn error_with_advice<DB: Dialect>(problem: &str, table: &Table, error: sqlx::Error) -> Error {
    let rights = format!(
        "grant the user in the URL the rights SELECT, INSERT, UPDATE and DELETE on the table, and SELECT on `{}_migrations`; \
         if the table is missing or out of date, run `session-rocket migrate` as a user who may create and change tables",
        table.name()
    );
    let (kind, advice) = match DB::fault(&error) {
        Fault::Login => (ErrorKind::Config, "correct the user name and password in the URL"),
        Fault::NoDatabase => (ErrorKind::Config, "create the database, or connect to another one"),
        Fault::NoTable => (
            ErrorKind::Config,
            "the table or one of its columns is missing: run `session-rocket migrate`, set `migrate = \"auto\"`, or set \
             another `table`",
        ),
        Fault::NoSchema => (ErrorKind::Config, "create the schema, or set another `table`"),
        Fault::Forbidden if DB::IS_SERVER => (ErrorKind::Config, rights.as_str()),
        Fault::Forbidden => {
            (ErrorKind::Config, "the database is read-only: allow this user to write to the file and its directory")
        }
        Fault::Busy | Fault::Timeout if DB::IS_SERVER => (
            ErrorKind::Timeout,
            "the server did not reply in time: check that it is not overloaded or behind a firewall",
        ),
        Fault::Busy | Fault::Timeout => {
            (ErrorKind::Timeout, "another process has locked the database: end that process, or launch later")
        }
        _ if DB::IS_SERVER => (ErrorKind::Unavailable, "check that the server is running, and check its address"),
        _ => (
            ErrorKind::Unavailable,
            "check that this user may create, read and write the file, and that it is a SQLite database",
        ),
    };
    Error::with_source(kind, format!("{problem}: {advice}"), error)
}
