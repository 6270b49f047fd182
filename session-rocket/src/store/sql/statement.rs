//! The statements, and what is bound to them. Each is written once; what databases write differently is a word of theirs.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::error::BoxDynError;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, Decode, Row, SqlSafeStr, SqlStr, Type};

use super::table::{Step, Table};
use crate::base::clock::Timestamp;
use crate::base::id::Key;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Lookup, Stats};

/// What a database does its own way.
pub trait Dialect: Database {
    /// What it writes differently.
    const WORDS: Words;
    /// What makes its table.
    const STEPS: &'static [Step];

    /// Binds one more value.
    fn bind(arguments: &mut Self::Arguments, value: Value<'_>) -> Result<(), BoxDynError>;

    /// Reads a row of all columns.
    fn read(row: &Self::Row) -> sqlx::Result<Held>;

    /// Reads the row of the statement that counts.
    fn read_stats(row: &Self::Row) -> sqlx::Result<Stats>;

    /// How many rows a statement did.
    fn done(result: &Self::QueryResult) -> u64;

    /// The table `v` of some rows, whose columns are `column1`, `column2` and so on.
    fn table_of(rows: Rows<'_>) -> String;

    /// What the column of keys is compared with to be one of those of some rows.
    fn list_of(rows: Rows<'_>) -> String {
        format!("IN ({})", vec!["?"; rows.len()].join(", "))
    }

    /// Binds the values of rows.
    fn bind_rows(arguments: &mut Self::Arguments, rows: Rows<'_>) -> Result<(), BoxDynError> {
        rows.iter().flatten().try_for_each(|value| Self::bind(arguments, *value))
    }
}

/// The words in which databases differ.
pub struct Words {
    /// What a name stands between.
    pub quote: char,
    /// Whether a table's name may have a schema before a dot.
    pub has_schemas: bool,
    /// What stands before the number of a parameter; nothing where parameters have no numbers.
    pub parameter: Option<char>,
    /// The column `key`, which is a word of the language elsewhere.
    pub key: &'static str,
    /// The larger of two numbers.
    pub larger: &'static str,
    /// The smaller of two numbers.
    pub smaller: &'static str,
    /// Whether two values are the same, be it nothing.
    pub same: &'static str,
    /// The type of whole numbers, in a cast.
    pub integer: &'static str,
    /// What an insert says of a key that is there.
    pub or_nothing: &'static str,
    /// Of the first `?2` rows that are to be swept by `?1`, removes those that expired.
    pub sweep: &'static str,
    /// Of the first `?2` rows that are to be swept by `?1`, puts off those that did not expire.
    pub put_off: &'static str,
    /// Loads `{columns}` of the rows whose key is in the `{list}`, and that did not expire.
    pub load_rows: &'static str,
    /// Changes as `{set}` says the rows for which `{when}` holds with one of `{rows}`, whose first column is the key.
    pub change_rows: &'static str,
    /// What makes a statement tell the keys of the rows it did, where anything does.
    pub telling: &'static str,
}

/// A value to bind.
#[derive(Clone, Copy)]
pub enum Value<'v> {
    /// A number, a moment or a version.
    Int(Option<i64>),
    /// A key or a payload.
    Bytes(Option<&'v [u8]>),
    /// A scope.
    Scope(&'v str),
    /// An identity, which may hold any character.
    Identity(Option<&'v str>),
}

#[cfg(feature = "postgres")]
impl<'v> Value<'v> {
    /// The number, if it is one.
    pub(super) fn int(self) -> Option<i64> {
        if let Self::Int(number) = self { number } else { None }
    }

    /// The scope, if it is one.
    pub(super) fn text(self) -> Option<&'v str> {
        if let Self::Scope(scope) = self { Some(scope) } else { None }
    }

    /// The bytes, if it is some, or the identity.
    pub(super) fn bytes(self) -> Option<&'v [u8]> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Identity(identity) => identity.map(str::as_bytes),
            Self::Int(_) | Self::Scope(_) => None,
        }
    }
}

impl Value<'_> {
    /// How many bytes it takes, roughly.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Int(_) => size_of::<i64>(),
            Self::Bytes(bytes) => bytes.map_or(0, <[u8]>::len),
            Self::Scope(text) => text.len(),
            Self::Identity(text) => text.map_or(0, str::len),
        }
    }
}

#[cfg(feature = "mysql")]
impl Value<'_> {
    /// The key, if it is one.
    pub(super) fn key(&self) -> Option<Key> {
        if let Self::Bytes(bytes) = self { bytes.and_then(Key::from_slice) } else { None }
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        i64::from(number).into()
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(moment: Timestamp) -> Self {
        moment.as_millis().into()
    }
}

impl From<Version> for Value<'_> {
    fn from(version: Version) -> Self {
        version.bits().cast_signed().into()
    }
}

impl<'v> From<&'v Key> for Value<'v> {
    fn from(key: &'v Key) -> Self {
        Self::Bytes(Some(key.as_bytes()))
    }
}

/// The values of a group of calls, a row for each, all of one kind in each column.
#[allow(unreachable_pub, reason = "the trait that names it is not in every build")]
pub type Rows<'r> = &'r [Vec<Value<'r>>];

/// What a row holds, and the key it is found at.
pub struct Held {
    pub key: Option<Key>,
    pub what: Lookup,
}

/// A statement with the table's name in it.
#[derive(Clone)]
pub(super) struct Statement {
    sql: SqlStr,
    /// Which value goes where.
    order: Vec<usize>,
}

impl Statement {
    /// Reads SQL for a group of calls: `{rows}` is the table of their values, `{list}` the list of their keys.
    pub(super) fn of_rows<DB: Dialect>(table: &Table, text: &str, rows: Rows<'_>) -> Self {
        let text = words::<DB>(text).replace("{rows}", &DB::table_of(rows)).replace("{list}", &DB::list_of(rows));
        Self { sql: sql(table, &text), order: Vec::new() }
    }

    /// Reads SQL whose parameters are `?1`, `?2` and so on, and words in braces those of the database.
    pub(super) fn new<DB: Dialect>(table: &Table, text: &str) -> Self {
        let text = words::<DB>(text);
        let mut order = Vec::new();
        let mut parts = text.split('?');
        let mut sql = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = part.split_at(digits);
            let place: usize = number.parse().unwrap_or_default();
            match DB::WORDS.parameter {
                None => {
                    sql.push('?');
                    order.push(place.saturating_sub(1));
                }
                Some(mark) => {
                    sql.push(mark);
                    sql.push_str(number);
                    let bound = order.len();
                    order.extend(bound..place);
                }
            }
            sql.push_str(rest);
        }
        Self { sql: self::sql(table, &sql), order }
    }

    /// The statement with its values, numbered from one.
    pub(super) fn query<'q, DB: Dialect>(
        &self,
        values: &[Value<'_>],
    ) -> Result<Query<'q, DB, DB::Arguments>, sqlx::Error>
    where
        DB::Arguments: sqlx::IntoArguments<DB>,
    {
        let mut arguments = DB::Arguments::default();
        for place in &self.order {
            DB::bind(&mut arguments, values[*place]).map_err(sqlx::Error::Encode)?;
        }
        Ok(sqlx::query_with(self.sql.clone(), arguments))
    }

    /// The statement with the values of a group of rows, and more behind them.
    pub(super) fn query_rows<'q, DB: Dialect>(
        &self,
        rows: Rows<'_>,
        more: &[Value<'_>],
    ) -> Result<Query<'q, DB, DB::Arguments>, sqlx::Error>
    where
        DB::Arguments: sqlx::IntoArguments<DB>,
    {
        let mut arguments = DB::Arguments::default();
        DB::bind_rows(&mut arguments, rows).map_err(sqlx::Error::Encode)?;
        for value in more {
            DB::bind(&mut arguments, *value).map_err(sqlx::Error::Encode)?;
        }
        Ok(sqlx::query_with(self.sql.clone(), arguments))
    }
}

/// Puts the words of a database in.
fn words<DB: Dialect>(text: &str) -> String {
    let words = DB::WORDS;
    text.replace("{key}", words.key)
        .replace("{larger}", words.larger)
        .replace("{smaller}", words.smaller)
        .replace("{same}", words.same)
        .replace("{integer}", words.integer)
        .replace("{or_nothing}", words.or_nothing)
        .replace("{telling}", words.telling)
}

/// The table's name is quoted; everything else in these statements is written here.
fn sql(table: &Table, text: &str) -> SqlStr {
    AssertSqlSafe(Arc::<str>::from(table.fill(text))).into_sql_str()
}

/// The key in the only column of a row.
pub(super) fn key<'r, R: Row>(row: &'r R) -> Option<Key>
where
    usize: sqlx::ColumnIndex<R>,
    &'r [u8]: Decode<'r, R::Database> + Type<R::Database>,
{
    row.try_get::<&[u8], _>(0).ok().and_then(Key::from_slice)
}

/// Reads a row of all columns, whatever the database calls their types.
pub(super) fn read<'r, R: Row>(row: &'r R) -> sqlx::Result<Held>
where
    usize: sqlx::ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let millis = |column: usize| row.try_get::<i64, _>(column).map(Timestamp::from_millis);
    let key = Key::from_slice(&row.try_get::<Vec<u8>, _>(0)?);
    let expires_at = millis(7)?;
    let Some(payload) = row.try_get::<Option<Vec<u8>>, _>(3)? else {
        let moved_to = row.try_get::<Option<Vec<u8>>, _>(8)?.and_then(|key| Key::from_slice(&key));
        let fate = moved_to.map_or(Fate::Ended, Fate::Moved);
        return Ok(Held { key, what: Lookup::Tombstone(Tombstone { fate, expires_at }) });
    };
    let version = Version::from_bits(row.try_get::<i64, _>(4)?.cast_unsigned());
    // Some databases keep these two as bytes.
    let scope: String = row.try_get_unchecked(1)?;
    let mut record = Record::new(version, expires_at)
        .with_scope(scope)
        .with_payload(Bytes::from(payload))
        .with_times(millis(5)?, millis(6)?);
    record.identity = row.try_get_unchecked(2)?;
    Ok(Held { key, what: Lookup::Found(record) })
}

/// Reads the row of the statement that counts.
pub(super) fn read_stats<'r, R: Row>(row: &'r R) -> sqlx::Result<Stats>
where
    usize: sqlx::ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
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
