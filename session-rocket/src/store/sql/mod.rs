//! Sessions in a SQL database: one store, and what each database does its own way.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use self::statement::{Dialect, Held, Statement, Statements, Value};
use super::{Create, Lookup, Options, Retire, Stats, Store, Touch, Update};
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Key, random_bytes};
use crate::record::{Fate, Record, Tombstone, Version};

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
mod table;

pub use pool::Pool;

/// A store in a SQL database.
///
/// One table holds sessions and tombstones. Every call is one statement, or one and a look at why it changed nothing;
/// each is atomic by itself, so no call needs a transaction.
pub struct SqlStore<D: Driver> {
    driver: D,
    statements: Arc<Statements>,
    clock: Arc<dyn Clock>,
}

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
/// behind that is still to come.
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

impl<D: Driver> SqlStore<D> {
    fn with(driver: D, statements: Arc<Statements>, options: &Options) -> Self {
        Self { driver, statements, clock: options.clock.clone() }
    }

    fn now(&self) -> Value<'static> {
        self.clock.now().into()
    }

    async fn write(&self, what: &'static str, statement: &Statement, values: &[Value<'_>]) -> Result<u64> {
        self.driver.write(Call { what, statement, values }).await
    }

    async fn read(
        &self,
        what: &'static str,
        statement: &Statement,
        values: &[Value<'_>],
        latest: bool,
    ) -> Result<Vec<Held>> {
        let rows = self.driver.read(Call { what, statement, values }, latest).await?;
        rows.iter().map(|row| D::Database::read(row).map_err(unreadable)).collect()
    }

    async fn look(&self, key: &Key, latest: bool) -> Result<Lookup> {
        let held = self.read("load", &self.statements.load, &[key.into(), self.now()], latest).await?;
        Ok(held.into_iter().next().map_or(Lookup::Absent, |held| held.what))
    }
}

/// The values of a record and its key, in the order of the statements that write one, and two more.
fn values<'v>(key: &'v Key, record: &'v Record, more: [Value<'v>; 2]) -> [Value<'v>; 10] {
    let [ninth, tenth] = more;
    [
        key.into(),
        Value::Scope(&record.scope),
        Value::Identity(record.identity.as_deref()),
        Value::Bytes(Some(&record.payload)),
        record.version.into(),
        record.created_at.into(),
        record.updated_at.into(),
        record.expires_at.into(),
        ninth,
        tenth,
    ]
}

#[async_trait]
impl<D: Driver> Store for SqlStore<D> {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        self.look(key, false).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        let values = values(key, record, [self.now(), self.now()]);
        // Between the first two, a sweep may remove what was in the way.
        for statement in [&self.statements.insert, &self.statements.replace_expired, &self.statements.insert] {
            if self.write("create", statement, &values).await? == 1 {
                return Ok(Create::Created);
            }
        }
        Ok(Create::Taken)
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let values = values(key, record, [expected.into(), self.now()]);
        if self.write("save", &self.statements.update, &values).await? == 1 {
            return Ok(Update::Updated);
        }
        Ok(match self.look(key, true).await? {
            Lookup::Found(fresh) => Update::Conflict(fresh),
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => Update::Moved(to),
            Lookup::Tombstone(_) | Lookup::Absent => Update::Gone,
        })
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let values = [key.into(), expires_at.into(), expected.into(), self.now()];
        if self.write("refresh", &self.statements.touch, &values).await? == 1 {
            return Ok(Touch::Touched);
        }
        Ok(match self.look(key, true).await? {
            Lookup::Found(_) => Touch::Conflict,
            Lookup::Tombstone(_) | Lookup::Absent => Touch::Gone,
        })
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let moved_to = match &tombstone.fate {
            Fate::Moved(to) => Value::from(to),
            Fate::Ended => Value::Bytes(None),
        };
        let expected = expected.map_or(Value::Int(None), Value::from);
        let values = [self.now(), tombstone.expires_at.into(), moved_to, key.into(), expected];
        if self.write("end", &self.statements.retire, &values).await? == 1 {
            return Ok(Retire::Retired);
        }
        Ok(match self.look(key, true).await? {
            Lookup::Found(fresh) => Retire::Conflict(fresh),
            Lookup::Tombstone(_) | Lookup::Absent => Retire::Gone,
        })
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.write("delete", &self.statements.delete, &[key.into()]).await.map(|_| ())
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        self.write("sweep", &self.statements.sweep, &[self.now(), i64::from(limit).into()]).await
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let values = [Value::Scope(scope), Value::Identity(Some(identity)), self.now()];
        let held = self.read("list", &self.statements.list, &values, false).await?;
        let record = |held: Held| match held {
            Held { key: Some(key), what: Lookup::Found(record) } => Some((key, record)),
            _ => None,
        };
        Ok(held.into_iter().filter_map(record).collect())
    }

    async fn retire_all(&self, scope: &str, identity: &str, except: Option<&Key>, until: Timestamp) -> Result<u64> {
        let spared = except.map_or(Value::Bytes(None), Value::from);
        let values = [self.now(), until.into(), Value::Scope(scope), Value::Identity(Some(identity)), spared];
        // A statement does not see what is inserted while it runs: a session may be given a new id meanwhile. As that is
        // there before the old one goes, none was left when one look finds none.
        let mut ended = 0;
        for _ in 0..ROUNDS {
            ended += self.write("end", &self.statements.retire_all, &values).await?;
            let left = self.list(scope, identity).await?;
            if left.iter().all(|(key, _)| Some(key) == except) {
                return Ok(ended);
            }
        }
        Err(Error::new(ErrorKind::Timeout, "a user's sessions were given new ids faster than they could be ended"))
    }

    async fn stats(&self) -> Result<Stats> {
        let call = Call { what: "count", statement: &self.statements.stats, values: &[self.now()] };
        let rows = self.driver.read(call, false).await?;
        rows.first().map_or(Ok(Stats::default()), |row| D::Database::read_stats(row).map_err(unreadable))
    }
}

impl<D: Driver> fmt::Debug for SqlStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("database", &<D::Database as sqlx::Database>::NAME).finish_non_exhaustive()
    }
}
