//! The store contract in SQL.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::batch::{Batch, Turn};
use super::calls::{ChangeKind, Changes, Loads, RowChange, columns};
use super::client::Client;
use super::dialect::Dialect;
use super::statement::Statement;
use super::value::{StoredRow, Value};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Stats, Store, Touch, Update};

/// A store in a SQL database.
///
/// One table holds sessions and tombstones. A call for a session is one statement, or several of which at most one changes
/// anything, so it is atomic without a transaction. Calls that arrive while others of their kind are running go together
/// in one statement (in MySQL, in one transaction).
pub struct SqlStore<DB: Dialect> {
    pub(super) client: Arc<Client<DB>>,
    loads: Batch<Loads<DB>>,
    inserts: Batch<Changes<DB>>,
    saves: Batch<Changes<DB>>,
    refreshes: Batch<Changes<DB>>,
    ends: Batch<Changes<DB>>,
}

/// The number of renewed sessions that one statement of a sweep postpones.
const POSTPONED: u32 = 1000;

/// The number of times that new sessions of an identity are searched for and ended again.
const ROUNDS: usize = 8;

impl<DB: Dialect> SqlStore<DB> {
    pub(super) fn new(client: Client<DB>) -> Self {
        let client = Arc::new(client);
        let changes = || Batch::new(Changes(client.clone()));
        Self {
            loads: Batch::new(Loads(client.clone())),
            inserts: changes(),
            saves: changes(),
            refreshes: changes(),
            ends: changes(),
            client,
        }
    }

    fn now(&self) -> Value<'static> {
        self.client.clock.now().into()
    }

    async fn write(&self, verb: &str, statement: &Statement, values: &[Value<'_>]) -> Result<u64> {
        // Large, and not needed by calls that go with a group.
        Box::pin(self.client.write(verb, statement, values)).await
    }

    /// Whether a change was made, in a group or alone.
    async fn change(&self, batch: &Batch<Changes<DB>>, change: &RowChange<'_>) -> Result<bool> {
        let lead = match batch.turn(|| change.to_owned()).await? {
            Turn::Made(()) => return Ok(true),
            Turn::Alone(lead) => lead,
        };
        let statement = change.statement(&self.client.statements);
        let changed = self.write(statement.verb, &statement.alone, &change.values(self.client.clock.now())).await?;
        drop(lead);
        Ok(changed == 1)
    }

    async fn rows(&self, verb: &str, statement: &Statement, values: &[Value<'_>]) -> Result<Vec<StoredRow>> {
        let rows = Box::pin(self.client.read(verb, statement, values)).await?;
        rows.iter().map(|row| DB::stored_row(row).map_err(malformed)).collect()
    }

    async fn look(&self, key: &Key) -> Result<Lookup> {
        let rows = self.rows("load", &self.client.statements.load.alone, &[key.into(), self.now()]).await?;
        Ok(rows.into_iter().next().map_or(Lookup::Absent, |row| row.lookup))
    }
}

fn malformed(error: sqlx::Error) -> Error {
    Error::with_source(ErrorKind::Unavailable, "malformed row in the session table", error)
}

#[async_trait]
impl<DB: Dialect> Store for SqlStore<DB> {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        match self.loads.turn(|| *key).await? {
            Turn::Made(lookup) => Ok(lookup),
            Turn::Alone(_lead) => self.look(key).await,
        }
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        let insert = RowChange { key: *key, kind: ChangeKind::Insert(Cow::Borrowed(record)) };
        if self.change(&self.inserts, &insert).await? {
            return Ok(Create::Created);
        }
        let statements = &self.client.statements;
        let values: Vec<_> = columns(key, record).into_iter().chain([self.now()]).collect();
        // A sweep may remove the expired row between the two statements.
        for statement in [&statements.replace_expired, &statements.insert.alone] {
            if self.write("create", statement, &values).await? == 1 {
                return Ok(Create::Created);
            }
        }
        Ok(Create::Taken)
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let save = RowChange { key: *key, kind: ChangeKind::Save(expected, Cow::Borrowed(record)) };
        if self.change(&self.saves, &save).await? {
            return Ok(Update::Updated);
        }
        let mut lookup = self.look(key).await?;
        if matches!(&lookup, Lookup::Found(fresh) if fresh.version == expected) {
            // The save changes an indexed column: the session expires sooner, or belongs to another user.
            let values = save.values(self.client.clock.now());
            if self.write("save", &self.client.statements.overwrite, &values).await? == 1 {
                return Ok(Update::Updated);
            }
            lookup = self.look(key).await?;
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
        let refresh = RowChange { key: *key, kind: ChangeKind::Refresh(expected, expires_at) };
        if self.change(&self.refreshes, &refresh).await? {
            return Ok(Touch::Touched);
        }
        Ok(match self.look(key).await? {
            Lookup::Found(_) => Touch::Conflict,
            Lookup::Tombstone(_) | Lookup::Absent => Touch::Gone,
        })
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let end = RowChange { key: *key, kind: ChangeKind::End(expected, tombstone) };
        if self.change(&self.ends, &end).await? {
            return Ok(Retire::Retired);
        }
        Ok(match self.look(key).await? {
            Lookup::Found(fresh) => Retire::Conflict(fresh),
            Lookup::Tombstone(_) | Lookup::Absent => Retire::Gone,
        })
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.write("delete", &self.client.statements.delete, &[key.into()]).await.map(|_| ())
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        let (statements, now) = (&self.client.statements, self.now());
        loop {
            let removed = self.write("sweep", &statements.sweep, &[now, limit.into()]).await?;
            if removed >= u64::from(limit) {
                return Ok(removed);
            }
            // Renewed sessions hide expired ones behind them, so they are postponed even if `limit` is small.
            let postponed = self.write("sweep", &statements.postpone, &[now, POSTPONED.max(limit).into()]).await;
            if removed > 0 || postponed? == 0 {
                return Ok(removed);
            }
        }
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let values = [Value::Scope(scope), Value::Identity(Some(identity)), self.now()];
        let rows = self.rows("list", &self.client.statements.list, &values).await?;
        let record = |row: StoredRow| match row {
            StoredRow { key: Some(key), lookup: Lookup::Found(record) } => Some((key, record)),
            _ => None,
        };
        Ok(rows.into_iter().filter_map(record).collect())
    }

    async fn retire_all(&self, scope: &str, identity: &str, except: Option<&Key>, until: Timestamp) -> Result<u64> {
        let except_key = except.map_or(Value::Bytes(None), Value::from);
        let values = [Value::Scope(scope), self.now(), until.into(), Value::Identity(Some(identity)), except_key];
        // A statement does not see rows that are inserted while it runs, and a session may get a new id meanwhile. The new
        // row exists before the old row ends, so if a list finds no session, none is left.
        let mut ended = 0;
        for _ in 0..ROUNDS {
            ended += self.write("end", &self.client.statements.retire_all, &values).await?;
            let left = self.list(scope, identity).await?;
            if left.iter().all(|(key, _)| Some(key) == except) {
                return Ok(ended);
            }
        }
        Err(Error::new(ErrorKind::Timeout, "a user's sessions got new ids faster than they could be ended"))
    }

    fn has_identity_index(&self) -> bool {
        true
    }

    async fn stats(&self) -> Result<Stats> {
        let rows = self.client.read("count", &self.client.statements.stats, &[self.now()]).await?;
        rows.first().map_or(Ok(Stats::default()), |row| DB::stats(row).map_err(malformed))
    }
}

impl<DB: Dialect> fmt::Debug for SqlStore<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("database", &DB::NAME).finish_non_exhaustive()
    }
}
