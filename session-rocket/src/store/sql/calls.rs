//! The calls that can be made together: loads, and each kind of change.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use super::batch::Together;
use super::statement::{Dialect, Value};
use super::statements::{Grouped, Statements};
use super::{Driver, Failure, Sql};
use crate::base::clock::Timestamp;
use crate::base::error::{ErrorKind, Result};
use crate::base::id::Key;
use crate::store::Lookup;
use crate::store::record::{Fate, Record, Tombstone, Version};

/// Loads.
pub(super) struct Loads<D: Driver>(pub Arc<Sql<D>>);

impl<D: Driver> Together for Loads<D> {
    type Call = Key;
    type Answer = Lookup;

    const MAY_REPEAT: bool = true;

    fn key(call: &Key) -> &Key {
        call
    }

    fn weight(_: &Key) -> usize {
        size_of::<Key>()
    }

    async fn together(&self, keys: &[&Key]) -> Result<Vec<Option<Lookup>>> {
        let sql = &self.0;
        let rows: Vec<_> = keys.iter().map(|key| vec![Value::from(*key)]).collect();
        let group = sql.group("load", |statements| &statements.load, &rows);
        let rows = match sql.driver.read_many(group, sql.now()).await {
            Ok(rows) => rows,
            Err(Failure::Unclear(error)) if error.kind() == ErrorKind::Timeout => return Err(error),
            // A connection broke: reading again does no harm.
            Err(_) => return Ok(keys.iter().map(|_| None).collect()),
        };
        let (mut found, mut is_whole) = (HashMap::with_capacity(rows.len()), true);
        for row in &rows {
            match D::Database::read(row) {
                Ok(held) => drop(held.key.map(|key| found.insert(key, held.what))),
                // Whose row it is will be found out alone.
                Err(_) => is_whole = false,
            }
        }
        let mut keys = keys.iter().peekable();
        let mut answers = Vec::with_capacity(keys.len());
        while let Some(key) = keys.next() {
            let found = if keys.peek() == Some(&key) { found.get(*key).cloned() } else { found.remove(*key) };
            answers.push(found.or(is_whole.then_some(Lookup::Absent)));
        }
        Ok(answers)
    }
}

/// A change of what one key holds.
pub(super) trait Change: Send + Sync + 'static {
    /// What it does, for errors.
    const WHAT: &'static str;

    /// Its statement.
    fn statement(statements: &Statements) -> &Grouped;

    /// The key.
    fn key(&self) -> &Key;

    /// How many bytes it takes, roughly.
    fn weight(&self) -> usize {
        size_of::<Record>()
    }

    /// What its statement is given.
    fn values(&self, now: Timestamp) -> Vec<Value<'_>>;
}

/// Changes of one kind.
pub(super) struct Changes<D: Driver, C>(Arc<Sql<D>>, PhantomData<fn() -> C>);

impl<D: Driver, C> Changes<D, C> {
    pub(super) fn new(sql: Arc<Sql<D>>) -> Self {
        Self(sql, PhantomData)
    }
}

impl<D: Driver, C: Change> Together for Changes<D, C> {
    type Call = C;
    type Answer = ();

    const MAY_REPEAT: bool = false;

    fn key(call: &C) -> &Key {
        call.key()
    }

    fn weight(call: &C) -> usize {
        call.weight()
    }

    /// What was not changed is looked at alone.
    async fn together(&self, changes: &[&C]) -> Result<Vec<Option<()>>> {
        let sql = &self.0;
        let now = sql.clock.now();
        let rows: Vec<_> = changes.iter().map(|change| change.values(now)).collect();
        match sql.driver.change_many(sql.group(C::WHAT, C::statement, &rows)).await {
            Ok(mut changed) => {
                changed.sort_unstable();
                Ok(changes.iter().map(|change| changed.binary_search(change.key()).ok().map(drop)).collect())
            }
            Err(Failure::Undone) => Ok(changes.iter().map(|_| None).collect()),
            Err(Failure::Unclear(error)) => Err(error),
        }
    }
}

/// A new record, which a call made alone borrows.
pub(super) struct Insert<R> {
    pub key: Key,
    pub record: R,
}

impl<R: Borrow<Record>> Insert<R> {
    pub(super) fn values(&self) -> Vec<Value<'_>> {
        written(&self.key, self.record.borrow()).to_vec()
    }
}

impl Change for Insert<Record> {
    const WHAT: &'static str = "create";

    fn statement(statements: &Statements) -> &Grouped {
        &statements.insert
    }

    fn key(&self) -> &Key {
        &self.key
    }

    fn weight(&self) -> usize {
        weight(&self.record)
    }

    fn values(&self, _: Timestamp) -> Vec<Value<'_>> {
        self.values()
    }
}

/// A record in the place of the version that is expected. A call made alone borrows it.
pub(super) struct Save<R> {
    pub key: Key,
    pub expected: Version,
    pub record: R,
}

impl<R: Borrow<Record>> Save<R> {
    pub(super) fn values(&self, now: Timestamp) -> Vec<Value<'_>> {
        let written = written(&self.key, self.record.borrow());
        written.into_iter().chain([self.expected.into(), now.into()]).collect()
    }
}

impl Change for Save<Record> {
    const WHAT: &'static str = "save";

    fn statement(statements: &Statements) -> &Grouped {
        &statements.update
    }

    fn key(&self) -> &Key {
        &self.key
    }

    fn weight(&self) -> usize {
        weight(&self.record)
    }

    fn values(&self, now: Timestamp) -> Vec<Value<'_>> {
        self.values(now)
    }
}

/// A later expiry of the version that is expected.
#[derive(Clone, Copy)]
pub(super) struct Refresh {
    pub key: Key,
    pub expected: Version,
    pub expires_at: Timestamp,
}

impl Change for Refresh {
    const WHAT: &'static str = "refresh";

    fn statement(statements: &Statements) -> &Grouped {
        &statements.touch
    }

    fn key(&self) -> &Key {
        &self.key
    }

    fn values(&self, now: Timestamp) -> Vec<Value<'_>> {
        vec![(&self.key).into(), self.expires_at.into(), self.expected.into(), now.into()]
    }
}

/// A tombstone in the place of the version that is expected, or of any.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub key: Key,
    pub expected: Option<Version>,
    pub tombstone: Tombstone,
}

impl Change for End {
    const WHAT: &'static str = "end";

    fn statement(statements: &Statements) -> &Grouped {
        &statements.retire
    }

    fn key(&self) -> &Key {
        &self.key
    }

    fn values(&self, now: Timestamp) -> Vec<Value<'_>> {
        let moved_to = match &self.tombstone.fate {
            Fate::Moved(to) => Value::from(to),
            Fate::Ended => Value::Bytes(None),
        };
        let expected = self.expected.map_or(Value::Int(None), Value::from);
        vec![(&self.key).into(), now.into(), self.tombstone.expires_at.into(), moved_to, expected]
    }
}

fn weight(record: &Record) -> usize {
    size_of::<Record>() + record.payload.len()
}

/// The values of a record and its key, in the order of the statements that write one.
pub(super) fn written<'v>(key: &'v Key, record: &'v Record) -> [Value<'v>; 8] {
    [
        key.into(),
        Value::Scope(&record.scope),
        Value::Identity(record.identity.as_deref()),
        Value::Bytes(Some(&record.payload)),
        record.version.into(),
        record.created_at.into(),
        record.updated_at.into(),
        record.expires_at.into(),
    ]
}
