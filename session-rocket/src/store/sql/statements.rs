//! The statements of a session table. Each is written once for all databases, with placeholders for their differences.

use std::sync::{Arc, OnceLock};

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::dialect::Dialect;
use super::driver::Bound;
use super::queue::SIZES;
use super::table::Table;
use super::value::{Call, Value};

pub(super) struct Statements {
    pub load: GroupableStatement,
    pub insert: GroupableStatement,
    /// Saves a record, unless an indexed column would change. In this case, `update` changes no row, and `overwrite` saves
    /// the record.
    pub update: GroupableStatement,
    /// Saves a record, including its indexed columns.
    pub overwrite: Statement,
    pub touch: GroupableStatement,
    pub retire: GroupableStatement,
    pub delete: Statement,
    pub delete_expired: Statement,
    pub sweep: Statement,
    pub postpone: Statement,
    pub list: Statement,
    /// Counts live sessions, tombstones, expired rows and the bytes of payloads, and finds the oldest live session.
    pub stats: Statement,
    /// Statements that change nothing. Each fails if the user lacks a certain right on the table.
    pub probes: [Statement; 4],
}

/// A statement for one call.
pub(super) struct Statement {
    /// The verb for error messages, as in "cannot load a session".
    pub verb: &'static str,
    sql: SqlStr,
    /// The index of the value of each parameter, in the order of the parameters in `sql`.
    order: Vec<usize>,
    /// Whether the statement inserts a row.
    pub is_insert: bool,
}

/// A statement in two forms: for one call, and for a group of calls.
pub(super) struct GroupableStatement {
    pub alone: Statement,
    pub group: GroupStatement,
    /// Locks the rows that `group` changes, and returns their keys. Fails if another transaction has locked one of them.
    pub lock: Option<GroupStatement>,
}

/// A statement for groups of calls. The SQL depends on the size of the group, unless the parameters are arrays.
pub(super) struct GroupStatement {
    table: Table,
    /// The SQL before the size is known. `{rows}` stands for the table of the calls' values, and `{listed}` for the condition
    /// that a row is live and has the key of a call.
    template: String,
    sizes: [OnceLock<SqlStr>; SIZES.len()],
}

impl Statement {
    /// Creates a statement from a template whose parameters are `?1`, `?2` and so on.
    fn new<DB: Dialect>(verb: &'static str, table: &Table, template: &str) -> Self {
        let template = expand_placeholders::<DB>(template);
        let mut order = Vec::new();
        let mut parts = template.split('?');
        let mut sql = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = part.split_at(digits);
            let number: usize = number.parse().expect("the SQL of this file numbers each parameter");
            order.push(number - 1);
            let parameter =
                if DB::SYNTAX.has_numbered_parameters { format!("${}", order.len()) } else { "?".to_owned() };
            sql.extend([&parameter, rest]);
        }
        Self { verb, sql: fill_in_table(table, &sql), order, is_insert: template.starts_with("INSERT") }
    }

    pub(super) fn bound<DB: Dialect>(&self, values: &[Value]) -> sqlx::Result<Bound<DB>> {
        let mut arguments = DB::Arguments::default();
        for index in &self.order {
            DB::bind(&mut arguments, &values[*index]).map_err(sqlx::Error::Encode)?;
        }
        Ok((self.sql.clone(), arguments))
    }
}

impl GroupStatement {
    /// Creates a statement from a template. The parameters `?1`, `?2` and so on of the template become columns of the table
    /// of the calls' values.
    fn new<DB: Dialect>(table: &Table, template: &str) -> Self {
        let template = expand_placeholders::<DB>(template).replace('?', "v.column");
        Self { table: table.clone(), template, sizes: [const { OnceLock::new() }; SIZES.len()] }
    }

    pub(super) fn sql<DB: Dialect>(&self, calls: &[&Call]) -> &SqlStr {
        let index = if DB::SYNTAX.has_arrays {
            0
        } else {
            SIZES.binary_search(&calls.len()).expect("the queue only makes groups of a size in `SIZES`")
        };
        self.sizes[index].get_or_init(|| {
            let rows = DB::values_table(calls.first().map_or(&[], |call| &call.values), calls.len());
            let listed = format!("{{key}} IN ({}) AND expires_at > ?", vec!["?"; calls.len()].join(", "));
            let listed = expand_placeholders::<DB>(&listed);
            fill_in_table(&self.table, &self.template.replace("{rows}", &rows).replace("{listed}", &listed))
        })
    }
}

impl GroupableStatement {
    fn new<DB: Dialect>(verb: &'static str, table: &Table, alone: &str, group: &str) -> Self {
        let alone = Statement::new::<DB>(verb, table, alone);
        Self { alone, group: GroupStatement::new::<DB>(table, group), lock: None }
    }

    /// Creates the two forms of a statement that changes the row for which `when` is true.
    fn change<DB: Dialect>(verb: &'static str, table: &Table, set: &str, when: &str) -> Self {
        let fill = |text: &str| text.replace("{set}", set).replace("{when}", when);
        let alone = fill("UPDATE {table} SET {set} WHERE {when}");
        let mut change = Self::new::<DB>(verb, table, &alone, &fill(DB::SYNTAX.change_rows));
        if !DB::SYNTAX.has_on_conflict_and_returning {
            let lock = fill("SELECT {key} FROM {rows} STRAIGHT_JOIN {table} WHERE {when} FOR UPDATE NOWAIT");
            change.lock = Some(GroupStatement::new::<DB>(table, &lock));
        }
        change
    }
}

/// Replaces the placeholders in braces that do not depend on the table or the size of a group.
fn expand_placeholders<DB: Dialect>(template: &str) -> String {
    let syntax = DB::SYNTAX;
    let [or_nothing, returning] = if syntax.has_on_conflict_and_returning {
        [" ON CONFLICT (key) DO NOTHING", " RETURNING key"]
    } else {
        ["", ""]
    };
    template
        .replace("{due}", syntax.due_rows)
        .replace("{columns}", "{key}, scope, identity, payload, version, created_at, updated_at, expires_at")
        // The columns that no index contains.
        .replace("{content}", "payload = ?4, version = ?5, created_at = ?6, updated_at = ?7, expires_at = ?8")
        .replace("{expected}", "{key} = ?1 AND version = ?9 AND {live} ?10")
        .replace("{live}", "payload IS NOT NULL AND expires_at >")
        // `key` is a reserved word in MySQL.
        .replace("{key}", &format!("{0}key{0}", syntax.quote))
        .replace("{integer}", syntax.integer)
        .replace("{or_nothing}", or_nothing)
        .replace("{returning}", returning)
}

/// Inserts the table's name. The result is safe SQL, because the name is quoted, and the rest is part of this crate.
fn fill_in_table(table: &Table, template: &str) -> SqlStr {
    AssertSqlSafe(Arc::<str>::from(table.fill(template))).into_sql_str()
}

impl Statements {
    pub(super) fn new<DB: Dialect>(table: &Table) -> Self {
        let statement = |verb, text| Statement::new::<DB>(verb, table, text);
        let grouped = |verb, alone, group| GroupableStatement::new::<DB>(verb, table, alone, group);
        let change = |verb, set, when| GroupableStatement::change::<DB>(verb, table, set, when);
        Self {
            load: grouped("load", LOAD, DB::SYNTAX.load_rows),
            insert: grouped("create", INSERT, INSERT_ROWS),
            update: change("save", "{content}", IS_EXPECTED_AND_KEEPS_INDICES),
            overwrite: statement("save", OVERWRITE),
            touch: change(
                "refresh",
                "expires_at = CASE WHEN expires_at < ?2 THEN ?2 ELSE expires_at END",
                "{key} = ?1 AND version = ?3 AND {live} ?4",
            ),
            retire: change(
                "end",
                "payload = NULL, identity = NULL, version = 0, updated_at = ?2, expires_at = ?3, sweep_at = ?3, moved_to = ?4",
                "{key} = ?1 AND {live} ?2 AND (?5 IS NULL OR version = ?5)",
            ),
            delete: statement("delete", "DELETE FROM {table} WHERE {key} = ?1"),
            delete_expired: statement("create", "DELETE FROM {table} WHERE {key} = ?1 AND expires_at <= ?2"),
            sweep: statement("sweep", DB::SYNTAX.sweep),
            postpone: statement("sweep", DB::SYNTAX.postpone),
            list: statement("list", LIST),
            stats: statement("count", STATS),
            probes: PROBES.map(|text| statement("load", text)),
        }
    }
}

const LOAD: &str = "SELECT {columns}, moved_to FROM {table} WHERE {key} = ?1 AND expires_at > ?2";

const INSERT: &str =
    "INSERT INTO {table} ({columns}, sweep_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8){or_nothing}";

const INSERT_ROWS: &str = "INSERT INTO {table} ({columns}, sweep_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8 FROM {rows} \
                           WHERE 1 = 1{or_nothing}{returning}";

const IS_EXPECTED_AND_KEEPS_INDICES: &str =
    "{expected} AND scope = ?2 AND (identity = ?3 OR identity IS NULL AND ?3 IS NULL) AND sweep_at <= ?8";

const OVERWRITE: &str = "UPDATE {table} SET scope = ?2, identity = ?3, {content}, \
                         sweep_at = CASE WHEN sweep_at < ?8 THEN sweep_at ELSE ?8 END WHERE {expected}";

const LIST: &str = "SELECT {columns}, moved_to FROM {table} WHERE scope = ?1 AND identity = ?2 AND {live} ?3";

const STATS: &str = "SELECT CAST(COUNT(CASE WHEN {live} ?1 THEN 1 END) AS {integer}), \
                     CAST(COUNT(CASE WHEN payload IS NULL AND expires_at > ?1 THEN 1 END) AS {integer}), \
                     CAST(COUNT(CASE WHEN expires_at <= ?1 THEN 1 END) AS {integer}), \
                     CAST(COALESCE(SUM(LENGTH(payload)), 0) AS {integer}), \
                     MIN(CASE WHEN {live} ?1 THEN created_at END) FROM {table}";

const PROBES: [&str; 4] = [
    "SELECT {columns}, moved_to FROM {table} WHERE 1 = 0",
    "INSERT INTO {table} ({columns}, sweep_at) SELECT {columns}, sweep_at FROM {table} WHERE 1 = 0",
    "UPDATE {table} SET version = 0 WHERE 1 = 0",
    "DELETE FROM {table} WHERE 1 = 0",
];

#[cfg(all(test, feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod tests;
