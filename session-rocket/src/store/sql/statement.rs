//! The statements, and what is bound to them. Each is written once; what databases write differently is a word of theirs.

use bytes::Bytes;
use sqlx::error::BoxDynError;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, Decode, Row, SqlSafeStr, SqlStr, Type};

use super::table::{Step, Table};
use crate::clock::Timestamp;
use crate::id::Key;
use crate::record::{Fate, Record, Tombstone, Version};
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
    /// The type of whole numbers, in a cast.
    pub integer: &'static str,
    /// What an insert says of a key that is there.
    pub or_nothing: &'static str,
    /// Removes up to `?2` rows that expired by `?1`.
    pub sweep: &'static str,
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
    /// Reads SQL whose parameters are `?1`, `?2` and so on, `{key}` the column, `{larger}`, `{integer}` and `{or_nothing}` the words.
    fn new<DB: Dialect>(table: &Table, text: &str) -> Self {
        let words = DB::WORDS;
        let text = text
            .replace("{key}", words.key)
            .replace("{larger}", words.larger)
            .replace("{integer}", words.integer)
            .replace("{or_nothing}", words.or_nothing);
        let mut order = Vec::new();
        let mut parts = text.split('?');
        let mut sql = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = part.split_at(digits);
            let place: usize = number.parse().unwrap_or_default();
            match words.parameter {
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
        // The table's name is quoted; everything else in these statements is written here.
        Self { sql: AssertSqlSafe(table.fill(&sql)).into_sql_str(), order }
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
    let mut record = Record::new(scope, Bytes::from(payload), version, millis(6)?, expires_at);
    record.created_at = millis(5)?;
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

/// All statements, with the table's name in them.
pub(super) struct Statements {
    pub load: Statement,
    pub insert: Statement,
    pub replace_expired: Statement,
    pub update: Statement,
    pub touch: Statement,
    pub retire: Statement,
    pub delete: Statement,
    pub sweep: Statement,
    pub list: Statement,
    pub retire_all: Statement,
    pub stats: Statement,
    /// Each needs a right on the table and changes nothing.
    pub probes: [Statement; 4],
}

const COLUMNS: &str = "{key}, scope, identity, payload, version, created_at, updated_at, expires_at";
const LIVE: &str = "payload IS NOT NULL AND expires_at >";
const ENDED: &str = "payload = NULL, identity = NULL, updated_at = ?1, expires_at = ?2, version = 0";
const RECORD: &str = "scope = ?2, identity = ?3, payload = ?4, version = ?5, created_at = ?6, updated_at = ?7, \
                      expires_at = ?8";

impl Statements {
    pub(super) fn new<DB: Dialect>(table: &Table) -> Self {
        let statement = |text: &str| Statement::new::<DB>(table, text);
        Self {
            load: statement(&format!(
                "SELECT {COLUMNS}, moved_to FROM {{table}} WHERE {{key}} = ?1 AND expires_at > ?2"
            )),
            insert: statement(&format!(
                "INSERT INTO {{table}} ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8){{or_nothing}}"
            )),
            replace_expired: statement(&format!(
                "UPDATE {{table}} SET {RECORD}, moved_to = NULL WHERE {{key}} = ?1 AND expires_at <= ?9"
            )),
            update: statement(&format!(
                "UPDATE {{table}} SET {RECORD} WHERE {{key}} = ?1 AND version = ?9 AND {LIVE} ?10"
            )),
            touch: statement(&format!(
                "UPDATE {{table}} SET expires_at = {{larger}}(expires_at, ?2) \
                 WHERE {{key}} = ?1 AND version = ?3 AND {LIVE} ?4"
            )),
            retire: statement(&format!(
                "UPDATE {{table}} SET {ENDED}, moved_to = ?3 \
                 WHERE {{key}} = ?4 AND {LIVE} ?1 AND (?5 IS NULL OR version = ?5)"
            )),
            delete: statement("DELETE FROM {table} WHERE {key} = ?1"),
            sweep: statement(DB::WORDS.sweep),
            list: statement(&format!(
                "SELECT {COLUMNS}, moved_to FROM {{table}} WHERE scope = ?1 AND identity = ?2 AND {LIVE} ?3"
            )),
            retire_all: statement(&format!(
                "UPDATE {{table}} SET {ENDED}, moved_to = NULL \
                 WHERE scope = ?3 AND identity = ?4 AND {LIVE} ?1 AND (?5 IS NULL OR {{key}} <> ?5)"
            )),
            stats: statement(&counts()),
            probes: probes().map(|text| statement(&text)),
        }
    }
}

/// Live sessions, tombstones, what expired, bytes of payloads, the oldest live session.
fn counts() -> String {
    format!(
        "SELECT CAST(COUNT(CASE WHEN {LIVE} ?1 THEN 1 END) AS {{integer}}), \
         CAST(COUNT(CASE WHEN payload IS NULL AND expires_at > ?1 THEN 1 END) AS {{integer}}), \
         CAST(COUNT(CASE WHEN expires_at <= ?1 THEN 1 END) AS {{integer}}), \
         CAST(COALESCE(SUM(LENGTH(payload)), 0) AS {{integer}}), \
         MIN(CASE WHEN {LIVE} ?1 THEN created_at END) FROM {{table}}"
    )
}

/// Each needs a right on the table and changes nothing.
fn probes() -> [String; 4] {
    [
        format!("SELECT {COLUMNS}, moved_to FROM {{table}} WHERE 1 = 0"),
        format!("INSERT INTO {{table}} ({COLUMNS}) SELECT {COLUMNS} FROM {{table}} WHERE 1 = 0"),
        "UPDATE {table} SET version = 0 WHERE 1 = 0".to_owned(),
        "DELETE FROM {table} WHERE 1 = 0".to_owned(),
    ]
}
