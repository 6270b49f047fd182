//! Implements the [store contract](crate::store) in SQL.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Pool;

use super::calls::{ChangeCalls, LoadCalls};
use super::client::Client;
use super::connections::Connections;
use super::dialect::Dialect;
use super::driver::Driver;
use super::queue::CallQueue;
use super::statements::{GroupableStatement, Statements};
use super::value::{Call, Value, record_values};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Create, Lookup, Options, Retire, Stats, Store, Touch, Update, warn_of_skipped};

/// A store in a SQL database.
///
/// One table contains the entries of the [contract](crate::store): sessions and tombstones. A call runs one or more
/// statements. At most one of them changes what other calls see, so the call is atomic without a transaction. Calls that
/// arrive while a call of the same kind is running wait for it, and then run together in one statement. In MySQL, an
/// update, a touch or a retirement of several sessions needs a transaction.
pub struct SqlStore<DB: Dialect> {
    pub(super) client: Arc<Client<DB>>,
    loads: Arc<CallQueue<LoadCalls<DB>>>,
    inserts: Arc<CallQueue<ChangeCalls<DB>>>,
    updates: Arc<CallQueue<ChangeCalls<DB>>>,
    touches: Arc<CallQueue<ChangeCalls<DB>>>,
    retires: Arc<CallQueue<ChangeCalls<DB>>>,
}

/// The maximum number of rows that the statement `postpone` examines, unless the limit of the sweep is higher.
const MAX_POSTPONED: u32 = 1000;

impl<DB: Dialect> SqlStore<DB> {
    /// Opens a store that borrows the connections of an application's pool. Does not use `options.url` and
    /// `options.max_connections`, and does not change the settings of the pool.
    ///
    /// # Errors
    /// Returns an error if the database cannot be reached, migrated or written to, or if the table's name is invalid.
    pub async fn from_shared_pool(pool: Pool<DB>, options: &Options) -> Result<Self> {
        let connections = Connections::of_application(pool, options.timeout);
        Self::on_connections(connections.clone(), connections, None, options).await
    }

    /// Opens a store on connections. If `path` is the path of a SQLite file, every call checks that the file was not replaced.
    pub(super) async fn on_connections(
        writer: Arc<Connections<DB>>,
        readers: Arc<Connections<DB>>,
        path: Option<PathBuf>,
        options: &Options,
    ) -> Result<Self> {
        let client = Arc::new(Client::open(writer, readers, path, options).await?);
        let changes =
            |statement: fn(&Statements) -> &GroupableStatement| ChangeCalls { client: client.clone(), statement };
        Ok(Self {
            loads: CallQueue::new(LoadCalls(client.clone())),
            inserts: CallQueue::new(changes(|statements| &statements.insert)),
            updates: CallQueue::new(changes(|statements| &statements.update)),
            touches: CallQueue::new(changes(|statements| &statements.touch)),
            retires: CallQueue::new(changes(|statements| &statements.retire)),
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
        // The key may have an expired row that the sweep has not removed yet. Large futures that few calls need are boxed,
        // here and in `update`.
        let statements = &self.client.statements;
        Box::pin(self.client.write(&statements.delete_expired, &[Value::Key(Some(*key)), self.now()])).await?;
        let inserted = Box::pin(self.client.write(&statements.insert.alone, &insert.values)).await?;
        Ok(if inserted == 1 { Create::Created } else { Create::Taken })
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let save = Call::new(key, record_values(record).into_iter().chain([expected.into(), self.now()]));
        if self.updates.call(&save).await? {
            return Ok(Update::Updated);
        }
        let mut lookup = self.load(key).await?;
        if matches!(&lookup, Lookup::Found(fresh) if fresh.version == expected) {
            // The version is right, so the save changes an indexed column: the session expires before its `sweep_at`,
            // or belongs to another user.
            if Box::pin(self.client.write(&self.client.statements.overwrite, &save.values)).await? == 1 {
                return Ok(Update::Updated);
            }
            lookup = self.load(key).await?;
        }
        Ok(match lookup {
            // An earlier attempt of this call saved the record in a group, but the reply of the group was lost.
            Lookup::Found(fresh) if fresh.version == record.version => Update::Updated,
            Lookup::Found(fresh) => Update::Conflict(fresh),
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => Update::Moved(to),
            Lookup::Tombstone(_) | Lookup::Absent => Update::Gone,
        })
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        if self.touches.call(&Call::new(key, [expires_at.into(), expected.into(), self.now()])).await? {
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
        if self.retires.call(&Call::new(key, values)).await? {
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
            // A sweep examines the first `limit` rows in the order of `sweep_at`. If these are renewed sessions, they
            // hide the expired sessions after them. So `postpone` gives renewed sessions a later `sweep_at`, for many
            // rows even if `limit` is small.
            let due = [self.now(), Value::Int(Some(MAX_POSTPONED.max(limit).into()))];
            let postponed = self.client.write(&statements.postpone, &due).await;
            if removed > 0 || postponed? == 0 {
                return Ok(removed);
            }
        }
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let values = [Value::Scope(scope.to_owned().into()), Value::Identity(Some(identity.to_owned())), self.now()];
        let rows = self.client.read(&self.client.statements.list, &values, |row| Ok(DB::entry(row).ok())).await?;
        warn_of_skipped(rows.iter().filter(|row| row.is_none()).count());
        let record = |(key, lookup)| if let Lookup::Found(record) = lookup { Some((key, record)) } else { None };
        Ok(rows.into_iter().flatten().filter_map(record).collect())
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
