//! The checks of a launch: whether the database can be reached, and the table be used.

use std::sync::Arc;

use super::connections::Connections;
use super::dialect::{Dialect, Fault};
use super::retry::retry;
use super::statements::Statement;
use super::table::Table;
use crate::base::error::{Error, ErrorKind, Result};
use crate::store::{Migrate, Options};

/// Creates the table or checks it, as `options.migrate` says, and returns the length of the longest value that the
/// database accepts.
pub(super) async fn prepare<DB: Dialect>(
    connections: &Arc<Connections<DB>>,
    table: &Table,
    probes: &[Statement],
    options: &Options,
) -> Result<usize> {
    // Several processes may start at once, and one of them has the lock of a SQLite database.
    let is_late = |error: &Error| error.kind() == ErrorKind::Timeout;
    retry(&*options.clock, options.timeout, is_late, || prepare_once(connections, table, probes, options)).await
}

async fn prepare_once<DB: Dialect>(
    connections: &Arc<Connections<DB>>,
    table: &Table,
    probes: &[Statement],
    options: &Options,
) -> Result<usize> {
    // Large, and used once.
    let borrowed = Box::pin(in_time(options, connections.borrow())).await;
    let mut connection = borrowed.map_err(|e| {
        explained::<DB>(&format!("cannot connect to {} at {}", DB::NAME, connections.address()), table, e)
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
    connection.ended(probed).map_err(|e| cannot::<DB>("use", table, e))
}

/// Runs the migrations, or checks that they have run.
async fn migrate<DB: Dialect>(connection: &mut DB::Connection, table: &Table, options: &Options) -> Result<()> {
    match (options.migrate, in_time(options, table.missing::<DB>(DB::STEPS, connection)).await) {
        (_, Ok(None)) => Ok(()),
        (Migrate::Check, Ok(Some((version, name, _)))) => Err(not_migrated(*version, name)),
        (migrate, Err(error)) if migrate == Migrate::Check || DB::fault(&error) == Fault::Late => {
            Err(cannot::<DB>("read the migrations of", table, error))
        }
        // A user who may not read the record may have a table that works: the probes tell.
        (_, Err(error)) if DB::fault(&error) == Fault::Forbidden => Ok(()),
        (_, Ok(Some(_)) | Err(_)) => {
            let migrated = DB::migrate(connection, table, options.timeout).await;
            migrated.map_err(|e| cannot::<DB>("migrate", table, e))
        }
    }
}

/// Runs a step of a launch within the time limit.
async fn in_time<A>(options: &Options, step: impl Future<Output = sqlx::Result<A>>) -> sqlx::Result<A> {
    tokio::time::timeout(options.timeout, step).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

fn not_migrated(version: i64, name: &str) -> Error {
    let context = format!(
        "migration {version} (`{name}`) of the session table has not run: run it with `session-rocket migrate`, or by a \
         launch with `migrate = \"auto\"`"
    );
    Error::new(ErrorKind::Config, context)
}

fn cannot<DB: Dialect>(verb: &str, table: &Table, error: sqlx::Error) -> Error {
    explained::<DB>(&format!("cannot {verb} the table `{}` in {}", table.name(), DB::NAME), table, error)
}

/// Tells an administrator whether to wait or to change the configuration, and what to do.
fn explained<DB: Dialect>(problem: &str, table: &Table, error: sqlx::Error) -> Error {
    let rights = format!(
        "grant its user SELECT, INSERT, UPDATE and DELETE on the table, and SELECT on `{}_migrations`; to create or change \
         them, run `session-rocket migrate` as a user with these rights",
        table.name()
    );
    let (kind, advice) = match DB::fault(&error) {
        Fault::Login => (ErrorKind::Config, "the user name or the password is wrong"),
        Fault::NoDatabase => (ErrorKind::Config, "create the database, or connect to another one"),
        Fault::NoTable => (
            ErrorKind::Config,
            "the table or one of its columns is missing: run `session-rocket migrate`, set `migrate = \"auto\"`, or set \
             another `table`",
        ),
        Fault::NoSchema => (ErrorKind::Config, "create the schema, or set another `table`"),
        Fault::Forbidden if DB::IS_SERVER => (ErrorKind::Config, rights.as_str()),
        Fault::Forbidden => {
            (ErrorKind::Config, "the database is read-only: let this user write to the file and to its directory")
        }
        Fault::Busy | Fault::Late if DB::IS_SERVER => {
            (ErrorKind::Timeout, "it did not answer in time: is it overloaded, or behind a firewall?")
        }
        Fault::Busy | Fault::Late => (ErrorKind::Timeout, "another process holds the lock of the database"),
        _ if DB::IS_SERVER => (ErrorKind::Unavailable, "is the server running, and is its address right?"),
        _ => (ErrorKind::Unavailable, "may this user read the file, and is it a SQLite database?"),
    };
    Error::with_source(kind, format!("{problem}: {advice}"), error)
}
