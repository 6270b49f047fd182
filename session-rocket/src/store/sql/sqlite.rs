//! Sessions in SQLite.

mod url;

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteQueryResult};
use sqlx::{Arguments, Connection, Sqlite, SqlitePool};

use self::url::Url;
use super::connections::Connections;
use super::dialect::{Dialect, Fault};
use super::store::SqlStore;
use super::table::{Migration, Table};
use super::value::Value;
use crate::base::error::{Error, ErrorKind, Result};
use crate::store::{Migrate, Options};

/// The default number of connections that read.
const READERS: u32 = 4;

/// The time for which SQLite itself waits for a lock. It is short, because a statement that waits inside SQLite continues
/// after its caller has gone away. The store retries instead.
const BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// The page size of a new file, in bytes. A save writes whole pages, and most sessions are far smaller than SQLite's default of
/// 4,096 bytes.
///
/// Pages of 1,024 bytes were slower with a million sessions, and with large sessions.
const PAGE_SIZE: u32 = 2048;

/// Selects the absolute path of the database's file. The path of a database in memory is empty.
const SELECT_FILE: &str = "SELECT file FROM pragma_database_list WHERE name = 'main'";

/// A store in a SQLite database.
///
/// A database that is opened from a URL uses a write-ahead log, and `synchronous = FULL` unless the URL sets another value,
/// such as `?synchronous=normal`. The store has one connection that writes and several that read.
///
/// If the file is moved, removed or replaced while it is open, every call fails with
/// [`ErrorKind::Unavailable`] until the site is restarted.
pub type SqliteStore = SqlStore<Sqlite>;

impl SqliteStore {
    /// Opens the database that `options.url` names. Creates a missing file if `options.migrate` is [`Migrate::Auto`] and
    /// `options.create_if_missing` is `true`, unless the `mode` in the URL forbids it.
    ///
    /// # Errors
    /// Returns an error if the database cannot be opened or migrated, or if the URL or the table's name is invalid.
    pub async fn open(options: &Options) -> Result<Self> {
        let url = Url::parse(&options.url)?;
        let connect = SqliteConnectOptions::from_str(&url.for_sqlx)
            .map_err(|e| Error::with_source(ErrorKind::Config, "invalid SQLite URL", e))?;
        if url.is_in_memory {
            let connection = own_connections(connect, 1, options);
            return Self::on_connections(connection.clone(), connection, None, options).await;
        }
        // The path must be absolute, because the application may change its working directory before later connections
        // open.
        let path = std::path::absolute(connect.get_filename()).map_err(|e| {
            Error::with_source(ErrorKind::Config, "the URL contains no file name: write `sqlite://sessions.db`", e)
        })?;
        let mut connect = connect
            .filename(&path)
            .page_size(PAGE_SIZE)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(url.synchronous);
        // If nothing migrates a new file, the file has no table. A missing file then probably means that the path is wrong.
        let create_if_missing = options.migrate == Migrate::Auto && options.create_if_missing;
        if !create_if_missing || !url.has_mode {
            connect = connect.create_if_missing(create_if_missing);
        }
        check_path(&path, create_if_missing)?;
        // With another VFS, the path may not be a path in the file system.
        Self::in_file(connect, (!url.has_vfs).then_some(path), options).await
    }

    /// Opens a store in the database of an application's pool, on connections of the store's own. The connections use
    /// the pool's connect options: file name, journal mode, `synchronous`, encryption key and other pragmas.
    /// `options.url` is not used.
    ///
    /// If the database is in memory, the store borrows the pool's connections, as
    /// [`from_shared_pool`](Self::from_shared_pool) does, because the data belongs to the pool's connections.
    ///
    /// # Errors
    /// Returns an error if the database cannot be opened or migrated, or if the table's name is invalid.
    pub async fn from_pool(pool: SqlitePool, options: &Options) -> Result<Self> {
        match file_of(&pool, options.timeout).await? {
            Some(file) => {
                // With a shared cache, table locks of the application's connections would block the store's
                // connections.
                let connect = (*pool.connect_options()).clone().filename(&file).shared_cache(false);
                Self::in_file(connect, Some(file), options).await
            }
            None => Self::from_shared_pool(pool, options).await,
        }
    }

    /// Opens a store in a file. If `path` is known, every call checks that the file was not replaced.
    async fn in_file(connect: SqliteConnectOptions, path: Option<PathBuf>, options: &Options) -> Result<Self> {
        let readers = connect.clone().create_if_missing(false).pragma("query_only", "on");
        let readers = own_connections(readers, options.max_connections.unwrap_or(READERS), options);
        Self::on_connections(own_connections(connect, 1, options), readers, path, options).await
    }
}

fn own_connections(connect: SqliteConnectOptions, size: u32, options: &Options) -> Arc<Connections<Sqlite>> {
    let connect = connect.busy_timeout(BUSY_TIMEOUT.min(options.timeout));
    Connections::own(move || connect.clone(), size, options.timeout)
}

/// Fails for a missing file or directory, because SQLite's own error does not contain the path.
fn check_path(path: &Path, create_if_missing: bool) -> Result<()> {
    let directory = path.parent().map(|directory| (directory.display(), directory.metadata()));
    let context = match directory {
        Some((shown, Err(error))) if error.kind() == io::ErrorKind::NotFound => {
            format!("the directory `{shown}` of the SQLite file is missing: create the directory")
        }
        Some((shown, Err(error))) => {
            format!("the directory `{shown}` of the SQLite file cannot be opened: {error}: choose another directory")
        }
        Some((shown, Ok(metadata))) if !metadata.is_dir() => {
            format!("`{shown}` is not a directory: choose another directory for the SQLite file")
        }
        _ if !create_if_missing && !path.exists() => format!(
            "the SQLite file `{}` is missing: run `session-rocket migrate`, or launch the site with `migrate = \"auto\"`",
            path.display()
        ),
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Unavailable, context))
}

/// Returns the file of an application's pool, or `None` for a database in memory or in a temporary file, whose data
/// only the pool's own connections can access.
async fn file_of(pool: &SqlitePool, limit: Duration) -> Result<Option<PathBuf>> {
    let context = "the application's pool cannot open its SQLite database";
    let query = sqlx::query_scalar::<_, Option<String>>(SELECT_FILE).fetch_one(pool);
    let file = match tokio::time::timeout(limit, query).await {
        Ok(file) => file.map_err(|e| Error::with_source(ErrorKind::Unavailable, context, e))?,
        Err(_) => {
            let context = "all connections of the application's pool are in use: raise the pool's `max_connections`";
            return Err(Error::new(ErrorKind::Timeout, context));
        }
    };
    Ok(file.map(PathBuf::from).filter(|path| path.is_file()))
}

impl Dialect for Sqlite {
    const MIGRATIONS: &'static [Migration] =
        &[(1, "create", include_str!("../../../migrations/sqlite/0001_create.sql"))];
    const IS_SERVER: bool = false;

    fn bind(arguments: &mut SqliteArguments, value: &Value) -> Result<(), BoxDynError> {
        match value {
            Value::Int(_) | Value::Now(_) => arguments.add(value.as_int()),
            Value::Key(_) | Value::Payload(_) => arguments.add(value.as_bytes()),
            Value::Scope(scope) => arguments.add(&**scope),
            Value::Identity(identity) => arguments.add(identity.as_deref()),
        }
    }

    fn rows_affected(result: &SqliteQueryResult) -> u64 {
        result.rows_affected()
    }

    fn values_table(row: &[Value], rows: usize) -> String {
        let row = format!("({})", vec!["?"; row.len()].join(", "));
        format!("(VALUES {}) AS v", vec![row; rows].join(", "))
    }

    // https://www.sqlite.org/rescode.html
    fn database_fault(error: &sqlx::Error) -> Fault {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        // The low byte is the code, and the other bytes are details.
        match code.and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff) {
            // The SQL names a table or column that does not exist.
            Some(1) => Fault::NoTable,
            // Another connection has the lock.
            Some(5 | 6) => Fault::Busy,
            Some(8) => Fault::Forbidden,
            // The file is malformed, or is not a database.
            Some(11 | 26) => Fault::Damaged,
            _ => Fault::Other,
        }
    }

    fn is_refusal(error: &sqlx::Error) -> bool {
        matches!(error, sqlx::Error::Database(_)) && Self::fault(error) != Fault::Busy
    }

    fn address(connect: &SqliteConnectOptions) -> String {
        connect.get_filename().display().to_string()
    }

    /// Fails with [`Fault::Busy`] while another process migrates; the launch retries.
    async fn migrate(connection: &mut SqliteConnection, table: &Table, _: Duration) -> sqlx::Result<()> {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        table.migrate::<Self>(Self::MIGRATIONS, &mut transaction).await?;
        transaction.commit().await
    }
}

#[cfg(test)]
mod tests;
