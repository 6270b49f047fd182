//! Sessions in a SQL database: one store, and what each database does its own way.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use self::batch::{Batch, Turn};
use self::calls::{Change, Changes, End, Insert, Loads, Refresh, Save, written};
use self::statement::{Dialect, Held, Rows, Statement, Value};
use self::statements::{Grouped, Statements};
use super::{Create, Lookup, Options, Retire, Stats, Store, Touch, Update};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{Key, random_bytes};
use crate::store::record::{Fate, Record, Tombstone, Version};

mod batch;
mod calls;
mod kept;
#[cfg(feature = "mysql")]
pub mod mysql;
mod pool;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod statement;
mod statements;
mod table;

pub use pool::{IntoPool, Pool};

/// A store in a SQL database.
///
/// One table holds sessions and tombstones. A call for a session is one statement, or several of which at most one changes
/// anything: it is atomic without a transaction. Calls that come while others of their kind are under way go together, as
/// one statement (in MySQL, one transaction).
pub struct SqlStore<D: Driver> {
    sql: Arc<Sql<D>>,
    loads: Batch<Loads<D>>,
    inserts: Batch<Changes<D, Insert<Record>>>,
    saves: Batch<Changes<D, Save<Record>>>,
    refreshes: Batch<Changes<D, Refresh>>,
    ends: Batch<Changes<D, End>>,
}

/// A database, and what is asked of it.
struct Sql<D> {
    driver: D,
    statements: Arc<Statements>,
    clock: Arc<dyn Clock>,
}

/// How many sessions that were prolonged one statement of a sweep puts off.
const PUT_OFF: u32 = 1000;

/// How often the sessions of an identity are ended again that came meanwhile.
const ROUNDS: usize = 8;

/// How statements reach a database.
#[doc(hidden)]
pub trait Driver: Send + Sync + 'static {
    /// The database it talks to.
    type Database: Dialect;

    /// Runs a statement that writes, and says how many rows it did.
    fn write(&self, call: Call<'_>) -> impl Future<Output = Result<u64>> + Send;

    /// Runs a statement that reads. `latest` asks for what was just written, too.
    fn read(&self, call: Call<'_>, latest: bool) -> impl Future<Output = Result<Vec<Row<Self>>>> + Send;

    /// Runs a statement that changes many rows, and gives the keys of those that it changed. Waits for nobody who holds
    /// one of them.
    fn change_many(&self, group: Group<'_>) -> impl Future<Output = Result<Vec<Key>, Failure>> + Send;

    /// Runs a statement that reads many rows, at a moment.
    fn read_many(
        &self,
        group: Group<'_>,
        now: Value<'_>,
    ) -> impl Future<Output = Result<Vec<Row<Self>>, Failure>> + Send;
}

/// A statement for many calls, and the values of each.
#[derive(Clone, Copy)]
pub struct Group<'g> {
    what: &'static str,
    statement: &'g Statement,
    rows: Rows<'g>,
    /// Locks the rows that it is going to change, and gives their keys, for a database that does not tell them.
    #[cfg(feature = "mysql")]
    lock: Option<&'g Statement>,
}

impl Group<'_> {
    /// How many bytes all its values take.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    fn length(&self) -> usize {
        // Each has a type and a length before it.
        self.rows.iter().flatten().map(|value| value.len() + 16).sum()
    }
}

/// Why a group has no answers.
pub enum Failure {
    /// It did nothing. Each of its calls may be made alone.
    Undone,
    /// It is not known what it did, or alone it would be no better.
    Unclear(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Unclear(error)
    }
}

type Row<D> = <<D as Driver>::Database as sqlx::Database>::Row;

/// A statement, its values, and what it does, for errors.
#[derive(Clone, Copy)]
pub struct Call<'c> {
    what: &'static str,
    statement: &'c Statement,
    values: &'c [Value<'c>],
}

impl Call<'_> {
    /// How many bytes its longest value takes.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    fn longest(&self) -> usize {
        self.values.iter().map(Value::len).max().unwrap_or_default()
    }
}

/// Asks again and again while another statement is in the way of this one. What is cut off in between leaves no statement
/// behind that is still to come; a group goes on without those who gave it up.
async fn patiently<A, F>(
    clock: &dyn Clock,
    limit: Duration,
    is_busy: impl Fn(&sqlx::Error) -> bool,
    ask: impl Fn() -> F,
) -> sqlx::Result<A>
where
    F: Future<Output = sqlx::Result<A>>,
{
    let started = Instant::now();
    loop {
        match ask().await {
            Err(error) if is_busy(&error) && started.elapsed() < limit => {
                // Without the system's randomness there are other things to worry about than a fair turn.
                let [random] = random_bytes::<1>().unwrap_or([128]);
                clock.sleep(Duration::from_micros(u64::from(random) * 40)).await;
            }
            done => return done,
        }
    }
}

fn unreadable(error: sqlx::Error) -> Error {
    Error::with_source(ErrorKind::Unavailable, "a row of the session table is not as it should be", error)
}

impl<D: Driver> Sql<D> {
    fn now(&self) -> Value<'static> {
        self.clock.now().into()
    }

    async fn write(&self, what: &'static str, statement: &Statement, values: &[Value<'_>]) -> Result<u64> {
        // Large: whoever goes with a group is to have no room for it.
        Box::pin(self.driver.write(Call { what, statement, values })).await
    }

    async fn read(
        &self,
        what: &'static str,
        statement: &Statement,
        values: &[Value<'_>],
        latest: bool,
    ) -> Result<Vec<Held>> {
        let rows = Box::pin(self.driver.read(Call { what, statement, values }, latest)).await?;
        rows.iter().map(|row| D::Database::read(row).map_err(unreadable)).collect()
    }

    fn group<'g>(&'g self, what: &'static str, grouped: fn(&Statements) -> &Grouped, rows: Rows<'g>) -> Group<'g> {
        let grouped = grouped(&self.statements);
        Group {
            what,
            statement: grouped.together.of::<D::Database>(rows),
            rows,
            #[cfg(feature = "mysql")]
            lock: grouped.lock.as_ref().map(|lock| lock.of::<D::Database>(rows)),
        }
    }

    async fn look(&self, key: &Key, latest: bool) -> Result<Lookup> {
        let held = self.read("load", &self.statements.load.alone, &[key.into(), self.now()], latest).await?;
        Ok(held.into_iter().next().map_or(Lookup::Absent, |held| held.what))
    }
}

impl<D: Driver> SqlStore<D> {
    fn with(driver: D, statements: Arc<Statements>, options: &Options) -> Self {
        let sql = Arc::new(Sql { driver, statements, clock: options.clock.clone() });
        Self {
            loads: Batch::new(Loads(sql.clone())),
            inserts: Batch::new(Changes::new(sql.clone())),
            saves: Batch::new(Changes::new(sql.clone())),
            refreshes: Batch::new(Changes::new(sql.clone())),
            ends: Batch::new(Changes::new(sql.clone())),
            sql,
        }
    }

    /// Whether a change was made, with others or alone.
    async fn change<'v, C: Change>(
        &self,
        batch: &Batch<Changes<D, C>>,
        change: impl FnOnce() -> C,
        values: impl FnOnce(Timestamp) -> Vec<Value<'v>>,
    ) -> Result<bool> {
        let lead = match batch.turn(change).await? {
            Turn::Made(()) => return Ok(true),
            Turn::Alone(lead) => lead,
        };
        let values = values(self.sql.clock.now());
        let done = self.sql.write(C::WHAT, &C::statement(&self.sql.statements).alone, &values).await? == 1;
        drop(lead);
        Ok(done)
    }
}

#[async_trait]
impl<D: Driver> Store for SqlStore<D> {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        match self.loads.turn(|| *key).await? {
            Turn::Made(lookup) => Ok(lookup),
            Turn::Alone(_lead) => self.sql.look(key, false).await,
        }
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        let (key, owned) = (*key, || Insert { key: *key, record: record.clone() });
        let insert = Insert { key, record };
        if self.change(&self.inserts, owned, |_| insert.values()).await? {
            return Ok(Create::Created);
        }
        let now = self.sql.now();
        let values: Vec<_> = written(&key, record).into_iter().chain([now]).collect();
        // Between the two, a sweep may remove what was in the way.
        for statement in [&self.sql.statements.replace_expired, &self.sql.statements.insert.alone] {
            if self.sql.write("create", statement, &values).await? == 1 {
                return Ok(Create::Created);
            }
        }
        Ok(Create::Taken)
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let owned = || Save { key: *key, expected, record: record.clone() };
        let save = Save { key: *key, expected, record };
        if self.change(&self.saves, owned, |now| save.values(now)).await? {
            return Ok(Update::Updated);
        }
        let mut there = self.sql.look(key, true).await?;
        if matches!(&there, Lookup::Found(fresh) if fresh.version == expected) {
            // It is to expire sooner, or is somebody else's now.
            if self.sql.write("save", &self.sql.statements.overwrite, &save.values(self.sql.clock.now())).await? == 1 {
                return Ok(Update::Updated);
            }
            there = self.sql.look(key, true).await?;
        }
        Ok(match there {
            // A group did it, and the answer was lost on the way.
            Lookup::Found(fresh) if fresh.version == record.version => Update::Updated,
            Lookup::Found(fresh) => Update::Conflict(fresh),
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => Update::Moved(to),
            Lookup::Tombstone(_) | Lookup::Absent => Update::Gone,
        })
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let refresh = Refresh { key: *key, expected, expires_at };
        if self.change(&self.refreshes, || refresh, |now| refresh.values(now)).await? {
            return Ok(Touch::Touched);
        }
        Ok(match self.sql.look(key, true).await? {
            Lookup::Found(_) => Touch::Conflict,
            Lookup::Tombstone(_) | Lookup::Absent => Touch::Gone,
        })
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let end = End { key: *key, expected, tombstone };
        if self.change(&self.ends, || end, |now| end.values(now)).await? {
            return Ok(Retire::Retired);
        }
        Ok(match self.sql.look(key, true).await? {
            Lookup::Found(fresh) => Retire::Conflict(fresh),
            Lookup::Tombstone(_) | Lookup::Absent => Retire::Gone,
        })
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.sql.write("delete", &self.sql.statements.delete, &[key.into()]).await.map(|_| ())
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        let (statements, now) = (&self.sql.statements, self.sql.now());
        loop {
            let removed = self.sql.write("sweep", &statements.sweep, &[now, limit.into()]).await?;
            if removed >= u64::from(limit) {
                return Ok(removed);
            }
            // Those that were prolonged hide others that expired. However few are to be removed, all in front are put off.
            let put_off = self.sql.write("sweep", &statements.put_off, &[now, PUT_OFF.max(limit).into()]).await;
            if removed > 0 || put_off? == 0 {
                return Ok(removed);
            }
        }
    }

    fn has_identity_index(&self) -> bool {
        true
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let values = [Value::Scope(scope), Value::Identity(Some(identity)), self.sql.now()];
        let held = self.sql.read("list", &self.sql.statements.list, &values, false).await?;
        let record = |held: Held| match held {
            Held { key: Some(key), what: Lookup::Found(record) } => Some((key, record)),
            _ => None,
        };
        Ok(held.into_iter().filter_map(record).collect())
    }

    async fn retire_all(&self, scope: &str, identity: &str, except: Option<&Key>, until: Timestamp) -> Result<u64> {
        let spared = except.map_or(Value::Bytes(None), Value::from);
        let values = [Value::Scope(scope), self.sql.now(), until.into(), Value::Identity(Some(identity)), spared];
        // A statement does not see what is inserted while it runs: a session may be given a new id meanwhile. As that is
        // there before the old one goes, none was left when one look finds none.
        let mut ended = 0;
        for _ in 0..ROUNDS {
            ended += self.sql.write("end", &self.sql.statements.retire_all, &values).await?;
            let left = self.list(scope, identity).await?;
            if left.iter().all(|(key, _)| Some(key) == except) {
                return Ok(ended);
            }
        }
        Err(Error::new(ErrorKind::Timeout, "a user's sessions were given new ids faster than they could be ended"))
    }

    async fn stats(&self) -> Result<Stats> {
        let call = Call { what: "count", statement: &self.sql.statements.stats, values: &[self.sql.now()] };
        let rows = self.sql.driver.read(call, false).await?;
        rows.first().map_or(Ok(Stats::default()), |row| D::Database::read_stats(row).map_err(unreadable))
    }
}

impl<D: Driver> fmt::Debug for SqlStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("database", &<D::Database as sqlx::Database>::NAME).finish_non_exhaustive()
    }
}
