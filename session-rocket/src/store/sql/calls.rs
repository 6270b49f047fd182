//! The calls that can be made in groups: loads, and each kind of change.

use std::collections::HashMap;
use std::sync::Arc;

use super::batch::CallKind;
use super::client::{Client, failed, group_can_run_again};
use super::dialect::{Dialect, Fault};
use super::statements::{Grouped, Statements};
use super::value::{Call, Value};
use crate::base::error::Result;
use crate::store::Lookup;

/// Loads, whose values are a key and the time.
pub(super) struct Loads<DB: Dialect>(pub Arc<Client<DB>>);

impl<DB: Dialect> CallKind for Loads<DB> {
    type Answer = Lookup;

    const MAY_REPEAT: bool = true;

    async fn run_alone(&self, call: &Call) -> Result<Lookup> {
        let entries = self.0.read(&self.0.statements.load.alone, &call.values, DB::entry).await?;
        Ok(entries.into_iter().next().map_or(Lookup::Absent, |(_, lookup)| lookup))
    }

    async fn run_group(&self, calls: &[&Call]) -> Result<Vec<Option<Lookup>>> {
        let (client, Grouped { alone, group, .. }) = (&self.0, &self.0.statements.load);
        let (sql, now) = (group.of::<DB>(calls), Value::Now(client.clock.clone()));
        let keys: Vec<_> = calls.iter().map(|call| &call.values[..1]).collect();
        let load = || client.fetch(|| DB::bound_rows(sql, &keys, std::slice::from_ref(&now)));
        let rows = match client.run(alone.verb, group_can_run_again::<DB>, load).await? {
            Ok(rows) => rows,
            // No time is left to load again.
            Err(error) if DB::fault(&error) == Fault::Late => return Err(failed::<DB>(alone.verb, error)),
            Err(_) => return Ok(Vec::new()),
        };
        let (mut found, mut is_complete) = (HashMap::with_capacity(rows.len()), true);
        for row in &rows {
            match DB::entry(row) {
                Ok((key, lookup)) => drop(found.insert(key, lookup)),
                // The call whose row is malformed learns so when it is made alone.
                Err(_) => is_complete = false,
            }
        }
        let absent = is_complete.then_some(Lookup::Absent);
        Ok(calls.iter().map(|call| found.get(&call.key).or(absent.as_ref()).cloned()).collect())
    }
}

/// Changes of one kind. The answer to a call is whether it changed its row.
pub(super) struct Changes<DB: Dialect> {
    pub client: Arc<Client<DB>>,
    pub statement: fn(&Statements) -> &Grouped,
}

impl<DB: Dialect> CallKind for Changes<DB> {
    type Answer = bool;

    const MAY_REPEAT: bool = false;

    async fn run_alone(&self, call: &Call) -> Result<bool> {
        let statement = (self.statement)(&self.client.statements);
        Ok(self.client.write(&statement.alone, &call.values).await? == 1)
    }

    /// The group waits for nobody who has locked one of the rows. A change that the group did not make is made alone.
    async fn run_group(&self, calls: &[&Call]) -> Result<Vec<Option<bool>>> {
        let (client, Grouped { alone, group, lock }) = (&self.client, (self.statement)(&self.client.statements));
        if calls.iter().map(|call| call.weight()).sum::<usize>() > client.max_value_len {
            return Ok(Vec::new());
        }
        let (sql, lock) = (group.of::<DB>(calls), lock.as_ref().map(|lock| lock.of::<DB>(calls)));
        let change = || async {
            let mut connection = client.writer.borrow().await?;
            let changed = DB::change_many(connection.get(), sql, lock, calls).await;
            connection.ended(changed)
        };
        match client.run(alone.verb, group_can_run_again::<DB>, change).await? {
            Ok(mut changed) => {
                changed.sort_unstable();
                Ok(calls.iter().map(|call| changed.binary_search(&call.key).is_ok().then_some(true)).collect())
            }
            // The database did nothing. A server that is starting says so before it takes the statement.
            Err(error) if DB::is_refusal(&error) || DB::IS_SERVER && DB::fault(&error) == Fault::Busy => Ok(Vec::new()),
            Err(error) => Err(failed::<DB>(alone.verb, error)),
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests;
