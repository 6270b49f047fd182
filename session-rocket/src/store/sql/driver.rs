//! The parts of sqlx that are the same for each database.

use bytes::Bytes;
use futures::future::BoxFuture;
use sqlx::{AssertSqlSafe, ColumnIndex, Database, Decode, Executor, IntoArguments, Row, SqlStr, Type};

use crate::base::clock::Timestamp;
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Lookup, Stats};

/// SQL and the values of its parameters.
pub(super) type Bound<DB> = (SqlStr, <DB as Database>::Arguments);

/// A database whose statements take and return numbers, bytes and strings.
///
/// The only implementation states the trait bounds of all methods, so that no other code has to repeat them.
pub trait Driver: Database {
    fn execute(connection: &mut Self::Connection, bound: Bound<Self>)
    -> BoxFuture<'_, sqlx::Result<Self::QueryResult>>;

    fn fetch(connection: &mut Self::Connection, bound: Bound<Self>) -> BoxFuture<'_, sqlx::Result<Vec<Self::Row>>>;

    /// Runs one or more statements without parameters, and returns the number of rows that the statements return.
    fn run_script(connection: &mut Self::Connection, sql: String) -> BoxFuture<'_, sqlx::Result<usize>>;

    fn key(row: &Self::Row) -> sqlx::Result<Key>;

    /// Reads a row of the statements that load or list entries.
    fn entry(row: &Self::Row) -> sqlx::Result<(Key, Lookup)>;

    /// Reads the row of the statement that counts entries.
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

    fn run_script(connection: &mut DB::Connection, sql: String) -> BoxFuture<'_, sqlx::Result<usize>> {
        Box::pin(async { connection.fetch_all(AssertSqlSafe(sql)).await.map(|rows| rows.len()) })
    }

    fn key(row: &DB::Row) -> sqlx::Result<Key> {
        let key: Vec<u8> = row.try_get(0)?;
        Key::from_slice(&key).ok_or_else(|| sqlx::Error::Decode("the length of a key is wrong".into()))
    }

    fn entry(row: &DB::Row) -> sqlx::Result<(Key, Lookup)> {
        let millis = |column: usize| row.try_get::<i64, _>(column).map(Timestamp::from_millis);
        let key = Self::key(row)?;
        let expires_at = millis(7)?;
        let Some(payload) = row.try_get::<Option<Vec<u8>>, _>(3)? else {
            let moved_to = row.try_get::<Option<Vec<u8>>, _>(8)?.and_then(|key| Key::from_slice(&key));
            let fate = moved_to.map_or(Fate::Ended, Fate::Moved);
            return Ok((key, Lookup::Tombstone(Tombstone { fate, expires_at })));
        };
        let version = Version::from_bits(row.try_get::<i64, _>(4)?.cast_unsigned());
        // The column's type is not checked, because some databases store scope and identity as bytes.
        let scope: String = row.try_get_unchecked(1)?;
        let mut record = Record::new(version, expires_at)
            .with_scope(scope)
            .with_payload(Bytes::from(payload))
            .with_times(millis(5)?, millis(6)?);
        record.identity = row.try_get_unchecked(2)?;
        Ok((key, Lookup::Found(record)))
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
