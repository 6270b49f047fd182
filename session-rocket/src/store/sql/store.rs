//! The store contract in SQL.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Pool;

use super::batch::Batch;
use super::calls::{Changes, Loads};
use super::client::Client;
use super::connections::Connections;
use super::dialect::Dialect;
use super::driver::Driver;
use super::statements::{Grouped, Statements};
use super::value::{Call, Value, record_values};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Create, Lookup, Options, Retire, Stats, Store, Touch, Update};

/// A store in a SQL database.
///
/// One table holds sessions and tombstones. A call for a session is one statement, or several of which at most one changes
/// anything, so it is atomic without a transaction. Calls that arrive while others of their kind are running go together
/// in one statement (in MySQL, in one transaction).
pub struct SqlStore<DB: Dialect> {
    pub(super) client: Arc<Client<DB>>,
    loads: Arc<Batch<Loads<DB>>>,
    inserts: Arc<Batch<Changes<DB>>>,
    saves: Arc<Batch<Changes<DB>>>,
    refreshes: Arc<Batch<Changes<DB>>>,
    ends: Arc<Batch<Changes<DB>>>,
}

/// The number of renewed sessions that one statement of a sweep postpones.
const POSTPONED: u32 = 1000;

impl<DB: Dialect> SqlStore<DB> {
    /// Opens a store that borrows the connections of an application's pool. `options.url` and `options.max_connections`
    /// are not used, and the pool's settings stay as they are.
    ///
    /// # Errors
    /// When the database cannot be reached, migrated or written to, or the table's name is invalid.
    pub async fn from_shared_pool(pool: Pool<DB>, options: &Options) -> Result<Self> {
        let connections = Connections::of_application(pool, options.timeout);
        Self::on(connections.clone(), connections, None, options).await
    }

    /// Opens a store on connections. If the store is in a file, the file is watched if its `path` is known.
    pub(super) async fn on(
        writer: Arc<Connections<DB>>,
        readers: Arc<Connections<DB>>,
        path: Option<PathBuf>,
        options: &Options,
    ) -> Result<Self> {
        let client = Arc::new(Client::open(writer, readers, path, options).await?);
        let changes = |statement: fn(&Statements) -> &Grouped| Changes { client: client.clone(), statement };
        Ok(Self {
            loads: Batch::new(Loads(client.clone())),
            inserts: Batch::new(changes(|statements| &statements.insert)),
            saves: Batch::new(changes(|statements| &statements.update)),
            refreshes: Batch::new(changes(|statements| &statements.touch)),
            ends: Batch::new(changes(|statements| &statements.retire)),
            client,
        })
    }

    fn now(&self) -> Value {
        Value::Now(self.client.clock.clone())
    }
}

#[async_trait]
impl<DB: Dialect> Store for SqlStore<DB> {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        self.loads.call(&Call::new(key, [self.now()])).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        let insert = Call::new(key, record_values(record));
        if self.inserts.call(&insert).await? {
            return Ok(Create::Created);
        }
        // The key may hold an expired row, which the sweep has not removed yet.
        let statements = &self.client.statements;
        self.client.write(&statements.delete_expired, &[Value::Key(Some(*key)), self.now()]).await?;
        let inserted = self.client.write(&statements.insert.alone, &insert.values).await?;
        Ok(if inserted == 1 { Create::Created } else { Create::Taken })
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let save = Call::new(key, record_values(record).into_iter().chain([expected.into(), self.now()]));
        if self.saves.call(&save).await? {
            return Ok(Update::Updated);
        }
        let mut lookup = self.load(key).await?;
        if matches!(&lookup, Lookup::Found(fresh) if fresh.version == expected) {
            // The save changes an indexed column: the session expires sooner, or belongs to another user.
            if self.client.write(&self.client.statements.overwrite, &save.values).await? == 1 {
                return Ok(Update::Updated);
            }
            lookup = self.load(key).await?;
        }
        Ok(match lookup {
            // A group made the change, and the reply was lost.
            Lookup::Found(fresh) if fresh.version == record.version => Update::Updated,
            Lookup::Found(fresh) => Update::Conflict(fresh),
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => Update::Moved(to),
            Lookup::Tombstone(_) | Lookup::Absent => Update::Gone,
        })
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        if self.refreshes.call(&Call::new(key, [expires_at.into(), expected.into(), self.now()])).await? {
            return Ok(Touch::Touched);
        }
        Ok(match self.load(key).await? {
            Lookup::Found(_) => Touch::Conflict,
            Lookup::Tombstone(_) | Lookup::Absent => Touch::Gone,
        })
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let moved_to = match tombstone.fate {
            Fate::Moved(to) => Some(to),
            Fate::Ended => None,
        };
        let expected = expected.map_or(Value::Int(None), Value::from);
        let values = [self.now(), tombstone.expires_at.into(), Value::Key(moved_to), expected];
        if self.ends.call(&Call::new(key, values)).await? {
            return Ok(Retire::Retired);
        }
        Ok(match self.load(key).await? {
            Lookup::Found(fresh) => Retire::Conflict(fresh),
            Lookup::Tombstone(_) | Lookup::Absent => Retire::Gone,
        })
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.client.write(&self.client.statements.delete, &[Value::Key(Some(*key))]).await.map(|_| ())
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        let statements = &self.client.statements;
        loop {
            let removed = self.client.write(&statements.sweep, &[self.now(), Value::Int(Some(limit.into()))]).await?;
            if removed >= u64::from(limit) {
                return Ok(removed);
            }
            // Renewed sessions hide expired ones behind them, so they are postponed even if `limit` is small.
            let due = [self.now(), Value::Int(Some(POSTPONED.max(limit).into()))];
            let postponed = self.client.write(&statements.postpone, &due).await;
            if removed > 0 || postponed? == 0 {
                return Ok(removed);
            }
        }
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let values = [Value::Scope(scope.to_owned()), Value::Identity(Some(identity.to_owned())), self.now()];
        let entries = self.client.read(&self.client.statements.list, &values, DB::entry).await?;
        let record = |(key, lookup)| if let Lookup::Found(record) = lookup { Some((key, record)) } else { None };
        Ok(entries.into_iter().filter_map(record).collect())
    }

    fn has_identity_index(&self) -> bool {
        true
    }

    async fn stats(&self) -> Result<Stats> {
        let rows = self.client.read(&self.client.statements.stats, &[self.now()], <DB as Driver>::stats).await?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }
}

impl<DB: Dialect> fmt::Debug for SqlStore<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("database", &DB::NAME).finish_non_exhaustive()
    }
}
