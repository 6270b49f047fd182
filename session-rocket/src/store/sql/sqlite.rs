//! Sessions in SQLite.

mod fault;
mod place;
mod recipe;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteQueryResult, SqliteRow};
use sqlx::{Arguments, Sqlite, SqlitePool};

use self::place::{Opened, Place};
use self::recipe::Recipe;
use super::kept::Kept;
use super::statement::{self, Dialect, Held, Rows, Value, Words};
use super::statements::Statements;
use super::table::{Step, Table, not_run};
use super::{Call, Driver, Failure, Group, SqlStore, patiently};
use crate::base::clock::Clock;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::{Migrate, Options, Stats};

/// A store in a SQLite database.
///
/// Write-ahead log, `synchronous = FULL` unless the URL says `?synchronous=normal`, one connection that writes and
/// several that read.
pub type SqliteStore = SqlStore<SqliteFile>;

/// A SQLite database and the connections to it.
#[doc(hidden)]
pub struct SqliteFile {
    place: Place,
    table: Table,
    statements: Arc<Statements>,
    migrate: Migrate,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl SqliteStore {
    /// Opens the database that `options.url` names, creating it where it is missing.
    ///
    /// # Errors
    /// When the database cannot be opened or migrated, or the URL or the table's name is wrong.
    pub async fn open(options: &Options) -> Result<Self> {
        let table = table(options)?;
        Self::at(Place::open(Recipe::new(options)?, options.timeout).await?, table, options).await
    }

    /// Opens a store in the database of an application's pool, on connections of its own, which use the pool's connect
    /// options: its file name, journal mode, `synchronous`, encryption key and other pragmas. `options.url` is not used.
    ///
    /// The store borrows the pool's connections, as [`from_shared_pool`](Self::from_shared_pool) does, if the database is in
    /// memory: its data belongs to the pool's connections.
    ///
    /// # Errors
    /// When the database cannot be opened or migrated, or the table's name is invalid.
    pub async fn from_pool(pool: SqlitePool, options: &Options) -> Result<Self> {
        let table = table(options)?;
        let place = match recipe::file_of(&pool, options.timeout).await? {
            Some(file) => Place::open(Recipe::of_pool(&pool, file, options), options.timeout).await?,
            None => Place::of_pool(pool, options.timeout),
        };
        Self::at(place, table, options).await
    }

    /// Opens a store that borrows the connections of an application's pool. `options.url` and `options.max_connections`
    /// are not used, and the pool's settings stay as they are.
    ///
    /// # Errors
    /// When the database cannot be migrated, or the table's name is invalid.
    pub async fn from_shared_pool(pool: SqlitePool, options: &Options) -> Result<Self> {
        let table = table(options)?;
        // Fails the launch within `timeout`, although the pool may wait longer for a free connection.
        recipe::file_of(&pool, options.timeout).await?;
        Self::at(Place::of_pool(pool, options.timeout), table, options).await
    }

    /// What `PRAGMA synchronous` is on the connection that writes: 2 is `FULL`, 1 `NORMAL`.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn synchronous(&self) -> Result<i64> {
        let opened = self.sql.driver.opened().await?;
        let value = async {
            let mut writer = opened.writer.borrow().await?;
            let value = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *writer).await;
            writer.ended(value)
        };
        let value = value.await;
        self.sql.driver.confirm(&opened, "look at", value).await
    }

    async fn at(place: Place, table: Table, options: &Options) -> Result<Self> {
        let statements = Arc::new(Statements::new::<Sqlite>(&table));
        let (migrate, timeout, clock) = (options.migrate, options.timeout, options.clock.clone());
        let driver = SqliteFile { place, table, statements: statements.clone(), migrate, timeout, clock };
        let opened = driver.opened().await?;
        driver.prepare(&opened).await?;
        Ok(Self::with(driver, statements, options))
    }
}

fn table(options: &Options) -> Result<Table> {
    Table::new(&options.table, Sqlite::WORDS.quote, Sqlite::WORDS.has_schemas)
}

impl SqliteFile {
    /// Makes sure that the table is there and can be written to, or makes it.
    async fn prepare(&self, opened: &Opened) -> Result<()> {
        match self.migrate {
            Migrate::Auto => self.run_migrations(opened).await,
            Migrate::Check => self.check_migrations(opened).await,
            Migrate::Off => Ok(()),
        }?;
        for probe in &self.statements.probes {
            let probed = self.patiently(|| async { probe.query::<Sqlite>(&[])?.execute(opened.writer.pool()).await });
            probed.await.map_err(|e| self.cannot_use(e))?;
        }
        Ok(())
    }

    /// Several processes may start at once: whoever has the write lock migrates, and the others find it done.
    async fn run_migrations(&self, opened: &Opened) -> Result<()> {
        let run = async {
            let mut transaction = self.patiently(|| opened.writer.pool().begin_with("BEGIN IMMEDIATE")).await?;
            self.table.migrate(Sqlite::STEPS, &mut *transaction).await?;
            transaction.commit().await
        };
        let cannot = |e| Error::with_source(fault::launch_kind(&e), "cannot migrate the session table", e);
        run.await.map_err(cannot)
    }

    async fn check_migrations(&self, opened: &Opened) -> Result<()> {
        let cannot_check = |e: sqlx::Error| {
            let context = "cannot read which migrations of the session table were run: run them with \
                           `session-rocket migrate`, or by a launch with `migrate = \"auto\"`";
            Error::with_source(fault::launch_kind(&e), context, e)
        };
        let mut connection = opened.writer.pool().acquire().await.map_err(cannot_check)?;
        let missing = self.table.missing(Sqlite::STEPS, &mut *connection).await.map_err(cannot_check)?;
        missing.map_or(Ok(()), |step| Err(not_run(step)))
    }

    fn cannot_use(&self, error: sqlx::Error) -> Error {
        let name = self.table.name();
        if fault::is_read_only(&error) {
            let context = format!(
                "the SQLite database with the table `{name}` is read-only: let this user write to the file and to its \
                 directory"
            );
            return Error::with_source(ErrorKind::Config, context, error);
        }
        let context = format!(
            "the table `{name}` is missing or not as it should be: run `session-rocket migrate`, set `migrate = \"auto\"`, \
             or another `table`"
        );
        Error::with_source(fault::launch_kind(&error), context, error)
    }

    async fn opened(&self) -> Result<Arc<Opened>> {
        self.place.current(async |opened: &Opened| self.prepare(opened).await).await
    }

    /// What an answer is worth: one from a file that nobody else sees is none.
    async fn confirm<A>(&self, opened: &Opened, what: &str, answer: sqlx::Result<A>) -> Result<A> {
        let answer = answer.map_err(|error| {
            if fault::is_damage(&error) {
                self.place.damaged(opened);
            }
            Error::with_source(fault::kind(&error), format!("cannot {what} a session in SQLite"), error)
        })?;
        if self.place.is_sound(opened).await {
            return Ok(answer);
        }
        let context = format!("cannot {what} a session: the SQLite database was damaged, moved, removed or replaced");
        Err(Error::new(ErrorKind::Unavailable, context))
    }

    /// Asks again while another process holds the lock.
    async fn patiently<A, F>(&self, ask: impl Fn() -> F) -> sqlx::Result<A>
    where
        F: Future<Output = sqlx::Result<A>>,
    {
        patiently(&*self.clock, self.timeout, fault::is_busy, ask).await
    }
}

async fn fetch(
    connections: &Kept<Sqlite>,
    query: sqlx::Result<Query<'_, Sqlite, SqliteArguments>>,
) -> sqlx::Result<Vec<SqliteRow>> {
    let query = query?;
    let mut connection = connections.borrow().await?;
    let rows = query.fetch_all(&mut *connection).await;
    connection.ended(rows)
}

impl Driver for SqliteFile {
    type Database = Sqlite;

    async fn write(&self, call: Call<'_>) -> Result<u64> {
        let opened = self.opened().await?;
        let write = || async {
            let query = call.statement.query::<Sqlite>(call.values)?;
            let mut writer = opened.writer.borrow().await?;
            let done = query.execute(&mut *writer).await;
            writer.ended(done)
        };
        let done = self.patiently(write).await;
        self.confirm(&opened, call.what, done).await.map(|done| done.rows_affected())
    }

    async fn read(&self, call: Call<'_>, latest: bool) -> Result<Vec<SqliteRow>> {
        let opened = self.opened().await?;
        let connections = if latest { &opened.writer } else { &opened.readers };
        // Without a write-ahead log, a reader waits for a writer.
        let rows = self.patiently(|| fetch(connections, call.statement.query(call.values))).await;
        self.confirm(&opened, call.what, rows).await
    }

    async fn change_many(&self, group: Group<'_>) -> Result<Vec<Key>, Failure> {
        let opened = self.opened().await?;
        let change = || fetch(&opened.writer, group.statement.query_rows(group.rows, &[]));
        let rows = self.patiently(change).await;
        if is_undone(&rows) {
            return Err(Failure::Undone);
        }
        let rows = self.confirm(&opened, group.what, rows).await?;
        Ok(rows.iter().filter_map(statement::key).collect())
    }

    async fn read_many(&self, group: Group<'_>, now: Value<'_>) -> Result<Vec<SqliteRow>, Failure> {
        let opened = self.opened().await?;
        let read = || fetch(&opened.readers, group.statement.query_rows(group.rows, &[now]));
        let rows = self.patiently(read).await;
        if is_undone(&rows) {
            return Err(Failure::Undone);
        }
        Ok(self.confirm(&opened, group.what, rows).await?)
    }
}

/// Whether the database refused what may be right for some. Whoever holds the lock holds it against each of them.
fn is_undone<A>(answer: &sqlx::Result<A>) -> bool {
    matches!(answer, Err(error @ sqlx::Error::Database(_)) if !fault::is_busy(error))
}

impl Dialect for Sqlite {
    const WORDS: Words = Words {
        quote: '"',
        has_schemas: false,
        parameter: Some('?'),
        key: "key",
        larger: "MAX",
        smaller: "MIN",
        same: "IS",
        integer: "INTEGER",
        or_nothing: " ON CONFLICT (key) DO NOTHING",
        load_rows: "SELECT {columns} FROM {table} WHERE key {list} AND expires_at > ?",
        telling: " RETURNING key",
        change_rows: "UPDATE {table} SET {set} FROM {rows} WHERE {when}{telling}",
        sweep: "DELETE FROM {table} WHERE key IN \
                (SELECT key FROM {table} WHERE sweep_at <= ?1 ORDER BY sweep_at LIMIT ?2) AND expires_at <= ?1",
        put_off: "UPDATE {table} SET sweep_at = expires_at WHERE key IN \
                  (SELECT key FROM {table} WHERE sweep_at <= ?1 ORDER BY sweep_at LIMIT ?2) AND expires_at > ?1",
    };
    const STEPS: &'static [Step] = &[(1, "create", include_str!("../../../migrations/sqlite/0001_create.sql"))];

    fn bind(arguments: &mut SqliteArguments, value: Value<'_>) -> Result<(), BoxDynError> {
        match value {
            Value::Int(number) => arguments.add(number),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Scope(scope) => arguments.add(scope),
            Value::Identity(identity) => arguments.add(identity),
        }
    }

    fn read(row: &SqliteRow) -> sqlx::Result<Held> {
        statement::read(row)
    }

    fn read_stats(row: &SqliteRow) -> sqlx::Result<Stats> {
        statement::read_stats(row)
    }

    fn done(result: &SqliteQueryResult) -> u64 {
        result.rows_affected()
    }

    fn table_of(rows: Rows<'_>) -> String {
        let row = |row: &Vec<Value<'_>>| format!("({})", vec!["?"; row.len()].join(", "));
        format!("(VALUES {}) AS v", rows.iter().map(row).collect::<Vec<_>>().join(", "))
    }
}
