//! The calls that can be sent together: loads, and each kind of change.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::batch::Together;
use super::client::{Client, Failure};
use super::dialect::Dialect;
use super::statements::{Grouped, Statements};
use super::value::Value;
use crate::base::clock::Timestamp;
use crate::base::error::{ErrorKind, Result};
use crate::base::id::Key;
use crate::store::Lookup;
use crate::store::record::{Fate, Record, Tombstone, Version};

/// Loads.
pub(super) struct Loads<DB: Dialect>(pub Arc<Client<DB>>);

impl<DB: Dialect> Together for Loads<DB> {
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
        let client = &self.0;
        let values: Vec<_> = keys.iter().map(|key| vec![Value::from(*key)]).collect();
        let now = client.clock.now().into();
        let rows = match client.read_many(&client.statements.load, &values, now).await {
            Ok(rows) => rows,
            Err(Failure::Unclear(error)) if error.kind() == ErrorKind::Timeout => return Err(error),
            // A connection broke, or the statement was refused: reading again does no harm.
            Err(_) => return Ok(keys.iter().map(|_| None).collect()),
        };
        let (mut found, mut is_complete) = (HashMap::with_capacity(rows.len()), true);
        for row in &rows {
            match DB::stored_row(row) {
                Ok(row) => drop(row.key.map(|key| found.insert(key, row.lookup))),
                // The call whose row is malformed learns so when it is made alone.
                Err(_) => is_complete = false,
            }
        }
        let mut keys = keys.iter().peekable();
        let mut answers = Vec::with_capacity(keys.len());
        while let Some(key) = keys.next() {
            let found = if keys.peek() == Some(&key) { found.get(*key).cloned() } else { found.remove(*key) };
            answers.push(found.or(is_complete.then_some(Lookup::Absent)));
        }
        Ok(answers)
    }
}

/// A change of the row of one key.
pub(super) struct RowChange<'r> {
    pub key: Key,
    pub kind: ChangeKind<'r>,
}

/// The kinds of changes. A call that is made alone borrows its record.
pub(super) enum ChangeKind<'r> {
    /// A new record.
    Insert(Cow<'r, Record>),
    /// A record that replaces the expected version.
    Save(Version, Cow<'r, Record>),
    /// A later expiry of the expected version.
    Refresh(Version, Timestamp),
    /// A tombstone that replaces the expected version, or any version.
    End(Option<Version>, Tombstone),
}

impl RowChange<'_> {
    pub(super) fn statement<'s>(&self, statements: &'s Statements) -> &'s Grouped {
        match self.kind {
            ChangeKind::Insert(_) => &statements.insert,
            ChangeKind::Save(..) => &statements.update,
            ChangeKind::Refresh(..) => &statements.touch,
            ChangeKind::End(..) => &statements.retire,
        }
    }

    /// The same change with a record of its own.
    pub(super) fn to_owned(&self) -> RowChange<'static> {
        let record = |record: &Cow<'_, Record>| Cow::Owned(record.as_ref().clone());
        let kind = match &self.kind {
            ChangeKind::Insert(new) => ChangeKind::Insert(record(new)),
            ChangeKind::Save(expected, new) => ChangeKind::Save(*expected, record(new)),
            ChangeKind::Refresh(expected, expires_at) => ChangeKind::Refresh(*expected, *expires_at),
            ChangeKind::End(expected, tombstone) => ChangeKind::End(*expected, *tombstone),
        };
        RowChange { key: self.key, kind }
    }

    /// The values of its statement.
    pub(super) fn values(&self, now: Timestamp) -> Vec<Value<'_>> {
        let key = &self.key;
        match &self.kind {
            ChangeKind::Insert(record) => columns(key, record).to_vec(),
            ChangeKind::Save(expected, record) => {
                columns(key, record).into_iter().chain([(*expected).into(), now.into()]).collect()
            }
            ChangeKind::Refresh(expected, expires_at) => {
                vec![key.into(), (*expires_at).into(), (*expected).into(), now.into()]
            }
            ChangeKind::End(expected, Tombstone { fate, expires_at }) => {
                let moved_to = match fate {
                    Fate::Moved(to) => Value::from(to),
                    Fate::Ended => Value::Bytes(None),
                };
                let expected = expected.map_or(Value::Int(None), Value::from);
                vec![key.into(), now.into(), (*expires_at).into(), moved_to, expected]
            }
        }
    }
}

/// Changes of one kind.
pub(super) struct Changes<DB: Dialect>(pub Arc<Client<DB>>);

impl<DB: Dialect> Together for Changes<DB> {
    type Call = RowChange<'static>;
    type Answer = ();

    const MAY_REPEAT: bool = false;

    fn key(call: &Self::Call) -> &Key {
        &call.key
    }

    fn weight(call: &Self::Call) -> usize {
        let payload = match &call.kind {
            ChangeKind::Insert(record) | ChangeKind::Save(_, record) => record.payload.len(),
            ChangeKind::Refresh(..) | ChangeKind::End(..) => 0,
        };
        size_of::<Record>() + payload
    }

    /// A change that the group did not make is made alone.
    async fn together(&self, changes: &[&Self::Call]) -> Result<Vec<Option<()>>> {
        let (client, Some(first)) = (&self.0, changes.first()) else { return Ok(Vec::new()) };
        let now = client.clock.now();
        let rows: Vec<_> = changes.iter().map(|change| change.values(now)).collect();
        match client.change_many(first.statement(&client.statements), &rows).await {
            Ok(mut changed) => {
                changed.sort_unstable();
                Ok(changes.iter().map(|change| changed.binary_search(&change.key).ok().map(drop)).collect())
            }
            Err(Failure::Refused(_)) => Ok(changes.iter().map(|_| None).collect()),
            Err(Failure::Unclear(error)) => Err(error),
        }
    }
}

/// The values of a key and its record, in the order of the statements that write a record.
pub(super) fn columns<'v>(key: &'v Key, record: &'v Record) -> [Value<'v>; 8] {
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
