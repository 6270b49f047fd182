//! The kinds of calls that can run in groups: loads, and changes of one row.

use std::collections::HashMap;
use std::sync::Arc;

use super::client::{Client, failed, group_can_run_again};
use super::dialect::{Dialect, Fault};
use super::queue::CallKind;
use super::statements::{GroupableStatement, Statements};
use super::value::{Call, Value};
use crate::base::error::Result;
use crate::store::Lookup;

/// The kind of call that loads a key. The values of a call are the key and the time.
pub(super) struct LoadCalls<DB: Dialect>(pub Arc<Client<DB>>);

impl<DB: Dialect> CallKind for LoadCalls<DB> {
    type Reply = Lookup;

    const ALLOWS_SAME_KEY: bool = true;
    const ALLOWS_ANY_SIZE: bool = DB::SYNTAX.has_arrays;

    async fn run_alone(&self, call: &Call) -> Result<Lookup> {
        let entries = self.0.read(&self.0.statements.load.alone, &call.values, DB::entry).await?;
        Ok(entries.into_iter().next().map_or(Lookup::Absent, |(_, lookup)| lookup))
    }

    async fn run_group(&self, calls: &[&Call]) -> Result<Vec<Option<Lookup>>> {
        let (client, GroupableStatement { alone, group, .. }) = (&self.0, &self.0.statements.load);
        let (sql, now) = (group.sql::<DB>(calls), Value::Now(client.clock.clone()));
        let keys: Vec<_> = calls.iter().map(|call| &call.values[..1]).collect();
        let load = || client.fetch(|| DB::bound_rows(sql, &keys, std::slice::from_ref(&now)));
        let rows = match client.run(alone.verb, group_can_run_again::<DB>, load).await? {
            Ok(rows) => rows,
            // The time limit has passed, so the calls cannot run again.
            Err(error) if DB::fault(&error) == Fault::Timeout => return Err(failed::<DB>(alone.verb, error)),
            Err(_) => return Ok(Vec::new()),
        };
        let (mut entries, mut is_complete) = (HashMap::with_capacity(rows.len()), true);
        for row in &rows {
            match DB::entry(row) {
                Ok((key, lookup)) => drop(entries.insert(key, lookup)),
                // The malformed row may belong to any call without an entry. So all calls without an entry run again, alone.
                Err(_) => is_complete = false,
            }
        }
        let absent = is_complete.then_some(Lookup::Absent);
        Ok(calls.iter().map(|call| entries.get(&call.key).or(absent.as_ref()).cloned()).collect())
    }
}

/// The kind of call that changes a row with `statement`. The reply says whether the row changed.
pub(super) struct ChangeCalls<DB: Dialect> {
    pub client: Arc<Client<DB>>,
    pub statement: fn(&Statements) -> &GroupableStatement,
}

impl<DB: Dialect> CallKind for ChangeCalls<DB> {
    type Reply = bool;

    const ALLOWS_SAME_KEY: bool = false;
    const ALLOWS_ANY_SIZE: bool = DB::SYNTAX.has_arrays;

    async fn run_alone(&self, call: &Call) -> Result<bool> {
        let statement = (self.statement)(&self.client.statements);
        Ok(self.client.write(&statement.alone, &call.values).await? == 1)
    }

    /// The group does not wait for rows that another transaction has locked. Calls whose row did not change run again, alone.
    async fn run_group(&self, calls: &[&Call]) -> Result<Vec<Option<bool>>> {
        let (client, GroupableStatement { alone, group, lock }) =
            (&self.client, (self.statement)(&self.client.statements));
        if calls.iter().map(|call| call.weight()).sum::<usize>() > client.max_value_len {
            return Ok(Vec::new());
        }
        let (sql, lock) = (group.sql::<DB>(calls), lock.as_ref().map(|lock| lock.sql::<DB>(calls)));
        let change = || async {
            let mut connection = client.writer.borrow_to_write().await?;
            let changed = DB::change_many(connection.get(), sql, lock, calls).await;
            connection.record_result(changed)
        };
        match client.run(alone.verb, group_can_run_again::<DB>, change).await? {
            Ok(mut changed) => {
                changed.sort_unstable();
                Ok(calls.iter().map(|call| changed.binary_search(&call.key).is_ok().then_some(true)).collect())
            }
            // The database did not run the statement, so the calls run alone. A server that is starting refuses the connection
            // with `Busy`.
            Err(error) if DB::is_refusal(&error) || DB::IS_SERVER && DB::fault(&error) == Fault::Busy => Ok(Vec::new()),
            Err(error) => Err(failed::<DB>(alone.verb, error)),
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests;
