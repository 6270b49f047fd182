//! The parts of sqlx that are the same for each database.

use bytes::Bytes;
use futures::future::BoxFuture;
use sqlx::{AssertSqlSafe, ColumnIndex, Database, Decode, Executor, IntoArguments, Row, SqlStr, Type};

use super::value::StoredRow;
use crate::base::clock::Timestamp;
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Lookup, Stats};

/// SQL and the values of its parameters.
pub(super) type Bound<DB> = (SqlStr, <DB as Database>::Arguments);

/// A database whose statements take and return numbers, bytes and strings.
///
/// One implementation has the bounds of all methods, so that no other code has to repeat them.
pub trait Driver: Database {
    /// Runs a statement.
    fn execute(connection: &mut Self::Connection, bound: Bound<Self>)
    -> BoxFuture<'_, sqlx::Result<Self::QueryResult>>;

    /// Runs a statement and returns its rows.
    fn fetch(connection: &mut Self::Connection, bound: Bound<Self>) -> BoxFuture<'_, sqlx::Result<Vec<Self::Row>>>;

    /// Runs SQL without parameters, which may be several statements.
    fn run(connection: &mut Self::Connection, sql: String) -> BoxFuture<'_, sqlx::Result<()>>;

    /// Whether SQL without parameters returns a row.
    fn has_row(connection: &mut Self::Connection, sql: String) -> BoxFuture<'_, sqlx::Result<bool>>;

    /// The key in the first column of a row.
    fn key(row: &Self::Row) -> Option<Key>;

    /// Reads a row of all columns.
    fn stored_row(row: &Self::Row) -> sqlx::Result<StoredRow>;

    /// Reads the row of the statement that counts.
    fn stats(row: &Self::Row) -> sqlx::Result<Stats>;
}

impl<DB: Database> Driver for DB
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    usize: ColumnIndex<DB::Row>,
    i64: for<'r> Decode<'r, DB> + Type<DB>,
    Vec<u8>: for<'r> Decode<'r, DB> + Type<DB>,
    String: for<'r> Decode<'r, DB> + Type<DB>,
{
    fn execute(
        connection: &mut DB::Connection,
        (sql, values): Bound<DB>,
    ) -> BoxFuture<'_, sqlx::Result<DB::QueryResult>> {
        connection.execute(sqlx::query_with::<DB, _>(sql, values))
    }

    fn fetch(connection: &mut DB::Connection, (sql, values): Bound<DB>) -> BoxFuture<'_, sqlx::Result<Vec<DB::Row>>> {
        connection.fetch_all(sqlx::query_with::<DB, _>(sql, values))
    }

    fn run(connection: &mut DB::Connection, sql: String) -> BoxFuture<'_, sqlx::Result<()>> {
        Box::pin(async { connection.execute(AssertSqlSafe(sql)).await.map(|_| ()) })
    }

    fn has_row(connection: &mut DB::Connection, sql: String) -> BoxFuture<'_, sqlx::Result<bool>> {
        Box::pin(async { connection.fetch_optional(AssertSqlSafe(sql)).await.map(|row| row.is_some()) })
    }

    fn key(row: &DB::Row) -> Option<Key> {
        row.try_get::<Vec<u8>, _>(0).ok().and_then(|key| Key::from_slice(&key))
    }

    fn stored_row(row: &DB::Row) -> sqlx::Result<StoredRow> {
        let millis = |column: usize| row.try_get::<i64, _>(column).map(Timestamp::from_millis);
        let key = Key::from_slice(&row.try_get::<Vec<u8>, _>(0)?);
        let expires_at = millis(7)?;
        let Some(payload) = row.try_get::<Option<Vec<u8>>, _>(3)? else {
            let moved_to = row.try_get::<Option<Vec<u8>>, _>(8)?.and_then(|key| Key::from_slice(&key));
            let fate = moved_to.map_or(Fate::Ended, Fate::Moved);
            return Ok(StoredRow { key, lookup: Lookup::Tombstone(Tombstone { fate, expires_at }) });
        };
        let version = Version::from_bits(row.try_get::<i64, _>(4)?.cast_unsigned());
        // Some databases keep these two as bytes.
        let scope: String = row.try_get_unchecked(1)?;
        let mut record = Record::new(version, expires_at)
            .with_scope(scope)
            .with_payload(Bytes::from(payload))
            .with_times(millis(5)?, millis(6)?);
        record.identity = row.try_get_unchecked(2)?;
        Ok(StoredRow { key, lookup: Lookup::Found(record) })
    }

    fn stats(row: &DB::Row) -> sqlx::Result<Stats> {
        let number = |column: usize| row.try_get::<i64, _>(column).map(|number| u64::try_from(number).unwrap_or(0));
        let oldest: Option<i64> = row.try_get(4)?;
        Ok(Stats {
            live: number(0)?,
            tombstones: number(1)?,
            expired: number(2)?,
            bytes: number(3)?,
            oldest: oldest.map(Timestamp::from_millis),
        })
    }
}
