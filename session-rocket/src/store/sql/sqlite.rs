//! Sessions in SQLite.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::migrate::{Migrate as _, MigrateError};
use sqlx::sqlite::{SqliteQueryResult, SqliteRow};
use sqlx::{AssertSqlSafe, Row, SqlSafeStr, SqlStr, SqlitePool};

use super::place::{Opened, Place};
use super::{Table, fault};
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Key, random_bytes};
use crate::record::{Fate, Record, Tombstone, Version};
use crate::store::{Create, Lookup, Migrate, Options, Retire, Store, Touch, Update};

const MIGRATIONS: &[(i64, &str, &str)] = &[(1, "create", include_str!("../../../migrations/sqlite/0001_create.sql"))];

/// A store in a SQLite database.
///
/// Write-ahead log, `synchronous = FULL` unless the URL says `?synchronous=normal`, one connection that writes and
/// several that read. Every call is one statement, or one and a look at why it changed nothing.
pub struct SqliteStore {
    place: Place,
    table: Table,
    sql: Statements,
    migrate: Migrate,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// The statements, with the table's name in them.
struct Statements {
    load: SqlStr,
    create: SqlStr,
    update: SqlStr,
    touch: SqlStr,
    retire: SqlStr,
    delete: SqlStr,
    delete_expired: SqlStr,
    list: SqlStr,
    retire_all: SqlStr,
    probe: SqlStr,
}

impl Statements {
    fn new(table: &Table) -> Self {
        // The table's name is quoted; everything else in these statements is written here.
        let sql = |text: &str| AssertSqlSafe(table.fill(text)).into_sql_str();
        const ENDED: &str = "payload = NULL, identity = NULL, updated_at = ?1, expires_at = ?2, version = 0";
        Self {
            load: sql("SELECT * FROM {table} WHERE key = ?1 AND expires_at > ?2"),
            create: sql("INSERT INTO {table} (key, scope, identity, payload, version, created_at, updated_at, \
                 expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (key) DO UPDATE SET \
                 scope = excluded.scope, identity = excluded.identity, payload = excluded.payload, \
                 version = excluded.version, created_at = excluded.created_at, updated_at = excluded.updated_at, \
                 expires_at = excluded.expires_at, moved_to = NULL WHERE expires_at <= ?9"),
            update: sql("UPDATE {table} SET scope = ?2, identity = ?3, payload = ?4, version = ?5, created_at = ?6, \
                 updated_at = ?7, expires_at = ?8 \
                 WHERE key = ?1 AND version = ?9 AND payload IS NOT NULL AND expires_at > ?10"),
            touch: sql("UPDATE {table} SET expires_at = MAX(expires_at, ?2) \
                 WHERE key = ?1 AND version = ?3 AND payload IS NOT NULL AND expires_at > ?4"),
            retire: sql(&format!(
                "UPDATE {{table}} SET {ENDED}, moved_to = ?3 \
                 WHERE key = ?4 AND payload IS NOT NULL AND expires_at > ?1 AND (?5 IS NULL OR version = ?5)"
            )),
            delete: sql("DELETE FROM {table} WHERE key = ?1"),
            delete_expired: sql("DELETE FROM {table} WHERE key IN \
                 (SELECT key FROM {table} WHERE expires_at <= ?1 LIMIT ?2) AND expires_at <= ?1"),
            list: sql("SELECT * FROM {table} \
                 WHERE scope = ?1 AND identity = ?2 AND payload IS NOT NULL AND expires_at > ?3"),
            retire_all: sql(&format!(
                "UPDATE {{table}} SET {ENDED}, moved_to = NULL \
                 WHERE scope = ?3 AND identity = ?4 AND payload IS NOT NULL AND expires_at > ?1 \
                 AND (?5 IS NULL OR key <> ?5)"
            )),
            probe: sql("SELECT key, scope, identity, payload, version, created_at, updated_at, expires_at, moved_to \
                 FROM {table} LIMIT 0"),
        }
    }
}

impl SqliteStore {
    /// Opens the database that `options.url` names, creating it where it is missing.
    ///
    /// # Errors
    /// When the database cannot be opened or migrated, or the URL or the table's name is wrong.
    pub async fn open(options: &Options) -> Result<Self> {
        let table = Table::new(&options.table)?;
        Self::new(Place::open(options).await?, table, options).await
    }

    /// Keeps sessions in the database of an application's own pool; `options.url` and `options.max_connections` are
    /// not used, and the pool's settings stay as they are.
    ///
    /// # Errors
    /// When the database cannot be migrated, or the table's name is wrong.
    pub async fn from_pool(pool: SqlitePool, options: &Options) -> Result<Self> {
        let table = Table::new(&options.table)?;
        Self::new(Place::of_pool(pool), table, options).await
    }

    /// What `PRAGMA synchronous` is on the connection that writes: 2 is `FULL`, 1 `NORMAL`.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn synchronous(&self) -> Result<i64> {
        let opened = self.opened().await?;
        let value = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&opened.writer).await;
        self.confirm(&opened, "look at", value).await
    }

    async fn new(place: Place, table: Table, options: &Options) -> Result<Self> {
        let sql = Statements::new(&table);
        let (migrate, timeout) = (options.migrate, options.timeout);
        let store = Self { place, table, sql, migrate, timeout, clock: options.clock.clone() };
        let opened = store.opened().await?;
        store.prepare(&opened).await?;
        Ok(store)
    }

    /// Makes sure that the table is there, or makes it.
    async fn prepare(&self, opened: &Opened) -> Result<()> {
        match self.migrate {
            Migrate::Auto => self.run_migrations(opened).await,
            Migrate::Check => self.check_migrations(opened).await,
            Migrate::Off => Ok(()),
        }?;
        let probe = sqlx::query(self.sql.probe.clone()).execute(&opened.writer).await;
        probe.map(|_| ()).map_err(|e| {
            let name = &self.table.name;
            let context = format!(
                "the table `{name}` is missing or not as it should be: set `migrate = \"auto\"`, or another `table`"
            );
            Error::with_source(fault::launch_kind(&e), context, e)
        })
    }

    /// Several processes may start at once: whoever has the write lock migrates, and the others find it done.
    async fn run_migrations(&self, opened: &Opened) -> Result<()> {
        let run = async {
            let mut transaction = self.patiently(|| opened.writer.begin_with("BEGIN IMMEDIATE")).await?;
            // `run` does the same, but its future is not `Send` for every lifetime.
            self.table.migrator(MIGRATIONS).run_direct(None, &mut *transaction, false).await?;
            Ok(transaction.commit().await?)
        };
        let cannot = |e| Error::with_source(fault::migration_kind(&e), "cannot migrate the session table", e);
        run.await.map_err(cannot)
    }

    async fn check_migrations(&self, opened: &Opened) -> Result<()> {
        let cannot_check = |e: MigrateError| {
            let context = "cannot read which migrations of the session table were run: run them by a launch with \
                           `migrate = \"auto\"`";
            Error::with_source(fault::migration_kind(&e), context, e)
        };
        let mut connection = opened.writer.acquire().await.map_err(|e| cannot_check(e.into()))?;
        let table = self.table.quoted_with("migrations");
        let applied = connection.list_applied_migrations(&table).await.map_err(cannot_check)?;
        let missing = MIGRATIONS.iter().find(|(version, ..)| !applied.iter().any(|done| done.version == *version));
        missing.map_or(Ok(()), |(version, name, _)| {
            let context = format!(
                "migration {version} (`{name}`) of the session table was not run: run it by a launch with \
                 `migrate = \"auto\"`"
            );
            Err(Error::new(ErrorKind::Config, context))
        })
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

    /// Runs a statement that writes, and says how many rows it did.
    async fn write<F>(&self, opened: &Opened, what: &str, statement: impl Fn() -> F) -> Result<u64>
    where
        F: Future<Output = sqlx::Result<SqliteQueryResult>>,
    {
        let done = self.patiently(statement).await;
        self.confirm(opened, what, done).await.map(|done| done.rows_affected())
    }

    /// Asks again and again while another process holds the lock. What is cut off in between leaves no statement
    /// behind that is still to come.
    async fn patiently<A, F>(&self, ask: impl Fn() -> F) -> sqlx::Result<A>
    where
        F: Future<Output = sqlx::Result<A>>,
    {
        let started = Instant::now();
        loop {
            match ask().await {
                Err(error) if fault::is_busy(&error) && started.elapsed() < self.timeout => {
                    // Without the system's randomness there are other things to worry about than a fair turn.
                    let [random] = random_bytes::<1>().unwrap_or([128]);
                    self.clock.sleep(Duration::from_micros(u64::from(random) * 40)).await;
                }
                done => return done,
            }
        }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millis()
    }

    /// Why a key's record was not replaced.
    async fn refusal(&self, opened: &Opened, key: &Key) -> Result<Lookup> {
        let row = sqlx::query(self.sql.load.clone())
            .bind(key.as_bytes().as_slice())
            .bind(self.now())
            .fetch_optional(&opened.writer)
            .await;
        self.confirm(opened, "load", row).await?.map_or(Ok(Lookup::Absent), |row| lookup(&row))
    }
}

fn unreadable(error: sqlx::Error) -> Error {
    Error::with_source(ErrorKind::Unavailable, "a row of the session table is not as it should be", error)
}

fn lookup(row: &SqliteRow) -> Result<Lookup> {
    read_row(row).map_err(unreadable)
}

fn read_row(row: &SqliteRow) -> sqlx::Result<Lookup> {
    let millis = |column: &str| row.try_get::<i64, _>(column).map(Timestamp::from_millis);
    let expires_at = millis("expires_at")?;
    let Some(payload) = row.try_get::<Option<Vec<u8>>, _>("payload")? else {
        let moved_to = row.try_get::<Option<&[u8]>, _>("moved_to")?.and_then(Key::from_slice);
        let fate = moved_to.map_or(Fate::Ended, Fate::Moved);
        return Ok(Lookup::Tombstone(Tombstone { fate, expires_at }));
    };
    let version = Version::from_bits(row.try_get::<i64, _>("version")?.cast_unsigned());
    let scope: String = row.try_get("scope")?;
    let mut record = Record::new(scope, Bytes::from(payload), version, millis("updated_at")?, expires_at);
    record.created_at = millis("created_at")?;
    record.identity = row.try_get("identity")?;
    Ok(Lookup::Found(record))
}

/// Binds what a record is made of, in the order of the statements that write one.
macro_rules! bind_record {
    ($query:expr, $key:expr, $record:expr) => {
        $query
            .bind($key.as_bytes().as_slice())
            .bind($record.scope.as_str())
            .bind($record.identity.as_deref())
            .bind(&$record.payload[..])
            .bind($record.version.bits().cast_signed())
            .bind($record.created_at.as_millis())
            .bind($record.updated_at.as_millis())
            .bind($record.expires_at.as_millis())
    };
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        let opened = self.opened().await?;
        let row = sqlx::query(self.sql.load.clone())
            .bind(key.as_bytes().as_slice())
            .bind(self.now())
            .fetch_optional(&opened.readers)
            .await;
        self.confirm(&opened, "load", row).await?.map_or(Ok(Lookup::Absent), |row| lookup(&row))
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        let opened = self.opened().await?;
        let create = || {
            let query = bind_record!(sqlx::query(self.sql.create.clone()), key, record);
            query.bind(self.now()).execute(&opened.writer)
        };
        let rows = self.write(&opened, "create", create).await?;
        Ok(if rows == 1 { Create::Created } else { Create::Taken })
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let opened = self.opened().await?;
        let update = || {
            let query = bind_record!(sqlx::query(self.sql.update.clone()), key, record);
            query.bind(expected.bits().cast_signed()).bind(self.now()).execute(&opened.writer)
        };
        if self.write(&opened, "save", update).await? == 1 {
            return Ok(Update::Updated);
        }
        Ok(match self.refusal(&opened, key).await? {
            Lookup::Found(fresh) => Update::Conflict(fresh),
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => Update::Moved(to),
            Lookup::Tombstone(_) | Lookup::Absent => Update::Gone,
        })
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let opened = self.opened().await?;
        let touch = || {
            sqlx::query(self.sql.touch.clone())
                .bind(key.as_bytes().as_slice())
                .bind(expires_at.as_millis())
                .bind(expected.bits().cast_signed())
                .bind(self.now())
                .execute(&opened.writer)
        };
        if self.write(&opened, "refresh", touch).await? == 1 {
            return Ok(Touch::Touched);
        }
        Ok(match self.refusal(&opened, key).await? {
            Lookup::Found(_) => Touch::Conflict,
            Lookup::Tombstone(_) | Lookup::Absent => Touch::Gone,
        })
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let opened = self.opened().await?;
        let moved_to = match &tombstone.fate {
            Fate::Moved(to) => Some(to.as_bytes().as_slice()),
            Fate::Ended => None,
        };
        let retire = || {
            sqlx::query(self.sql.retire.clone())
                .bind(self.now())
                .bind(tombstone.expires_at.as_millis())
                .bind(moved_to)
                .bind(key.as_bytes().as_slice())
                .bind(expected.map(|version| version.bits().cast_signed()))
                .execute(&opened.writer)
        };
        if self.write(&opened, "end", retire).await? == 1 {
            return Ok(Retire::Retired);
        }
        Ok(match self.refusal(&opened, key).await? {
            Lookup::Found(fresh) => Retire::Conflict(fresh),
            Lookup::Tombstone(_) | Lookup::Absent => Retire::Gone,
        })
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let opened = self.opened().await?;
        let delete = || sqlx::query(self.sql.delete.clone()).bind(key.as_bytes().as_slice()).execute(&opened.writer);
        self.write(&opened, "delete", delete).await.map(|_| ())
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        let opened = self.opened().await?;
        let sweep =
            || sqlx::query(self.sql.delete_expired.clone()).bind(self.now()).bind(limit).execute(&opened.writer);
        self.write(&opened, "sweep", sweep).await
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let opened = self.opened().await?;
        let rows = sqlx::query(self.sql.list.clone())
            .bind(scope)
            .bind(identity)
            .bind(self.now())
            .fetch_all(&opened.readers)
            .await;
        let mut records = Vec::new();
        for row in self.confirm(&opened, "list", rows).await? {
            let key = row.try_get::<&[u8], _>("key").map_err(unreadable)?;
            if let (Some(key), Lookup::Found(record)) = (Key::from_slice(key), lookup(&row)?) {
                records.push((key, record));
            }
        }
        Ok(records)
    }

    async fn retire_all(&self, scope: &str, identity: &str, except: Option<&Key>, until: Timestamp) -> Result<u64> {
        let opened = self.opened().await?;
        let retire = || {
            sqlx::query(self.sql.retire_all.clone())
                .bind(self.now())
                .bind(until.as_millis())
                .bind(scope)
                .bind(identity)
                .bind(except.map(|key| key.as_bytes().as_slice()))
                .execute(&opened.writer)
        };
        self.write(&opened, "end", retire).await
    }
}
