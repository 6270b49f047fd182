//! The statements of a session table. Each is written once for all databases.

use std::sync::OnceLock;

use super::batch::SIZES;
use super::dialect::{Dialect, Group};
use super::statement::Statement;
use super::table::Table;
use super::value::Rows;

/// All statements for one session table.
pub(super) struct Statements {
    pub load: Grouped,
    pub insert: Grouped,
    pub replace_expired: Statement,
    /// Changes no indexed column, and does nothing if one would have to change.
    pub update: Grouped,
    /// Changes indexed columns as well.
    pub overwrite: Statement,
    pub touch: Grouped,
    pub retire: Grouped,
    pub delete: Statement,
    pub sweep: Statement,
    pub postpone: Statement,
    pub list: Statement,
    pub retire_all: Statement,
    pub stats: Statement,
    /// Each needs a right on the table and changes nothing.
    pub probes: [Statement; 4],
}

/// A statement for one call, and for groups of calls.
pub(super) struct Grouped {
    /// The verb for errors.
    pub verb: &'static str,
    pub alone: Statement,
    together: BySize,
    /// Locks the rows that the statement is going to change, unless another transaction has locked one, and returns their
    /// keys.
    lock: Option<BySize>,
}

/// A statement for groups of calls, for each size of a group.
struct BySize {
    table: Table,
    text: String,
    sizes: [OnceLock<Statement>; SIZES.len()],
}

impl BySize {
    fn new(table: &Table, text: String) -> Self {
        Self { table: table.clone(), text, sizes: [const { OnceLock::new() }; SIZES.len()] }
    }

    /// The statement for a group of as many calls as `rows`.
    fn of<DB: Dialect>(&self, rows: Rows<'_>) -> &Statement {
        let size = SIZES.partition_point(|size| *size < rows.len()).min(SIZES.len() - 1);
        self.sizes[size].get_or_init(|| {
            let list = format!("IN ({})", vec!["?"; rows.len()].join(", "));
            Statement::of_rows(&DB::WORDS, &self.table, &self.text, &DB::table_of(rows), &list)
        })
    }
}

impl Grouped {
    fn new<DB: Dialect>(verb: &'static str, table: &Table, alone: &str, together: String) -> Self {
        let alone = Statement::new(&DB::WORDS, table, alone);
        Self { verb, alone, together: BySize::new(table, together), lock: None }
    }

    /// A change of the row for which `when` is true. The parameters are those of one call.
    fn change<DB: Dialect>(verb: &'static str, table: &Table, set: &str, when: &str) -> Self {
        let alone = format!("UPDATE {{table}} SET {set} WHERE {when}");
        let of_rows = |text: &str| text.replace("{set}", set).replace("{when}", when).replace('?', "v.column");
        let lock = "SELECT {key} FROM {rows} STRAIGHT_JOIN {table} WHERE {when} FOR UPDATE NOWAIT";
        Self {
            lock: DB::WORDS.returning.is_empty().then(|| BySize::new(table, of_rows(lock))),
            ..Self::new::<DB>(verb, table, &alone, of_rows(DB::WORDS.change_rows))
        }
    }

    /// The statement for a group of calls whose values are `rows`.
    pub(super) fn group<'g, DB: Dialect>(&'g self, rows: Rows<'g>) -> Group<'g> {
        let lock = self.lock.as_ref().map(|lock| lock.of::<DB>(rows));
        Group { statement: self.together.of::<DB>(rows), rows, lock }
    }
}

const COLUMNS: &str = "{key}, scope, identity, payload, version, created_at, updated_at, expires_at";
const LIVE: &str = "payload IS NOT NULL AND expires_at >";
const ENDED: &str = "payload = NULL, identity = NULL, updated_at = ?2, expires_at = ?3, sweep_at = ?3, version = 0";
/// The columns without an index.
const CONTENT: &str = "payload = ?4, version = ?5, created_at = ?6, updated_at = ?7, expires_at = ?8";

impl Statements {
    pub(super) fn new<DB: Dialect>(table: &Table) -> Self {
        let statement = |text: &str| Statement::new(&DB::WORDS, table, text);
        let change = |verb, set: &str, when: &str| Grouped::change::<DB>(verb, table, set, when);
        Self {
            load: load::<DB>(table),
            insert: insert::<DB>(table),
            replace_expired: statement(&format!(
                "UPDATE {{table}} SET scope = ?2, identity = ?3, {CONTENT}, sweep_at = ?8, moved_to = NULL \
                 WHERE {{key}} = ?1 AND expires_at <= ?9"
            )),
            update: update::<DB>(table),
            overwrite: statement(&format!(
                "UPDATE {{table}} SET scope = ?2, identity = ?3, {CONTENT}, sweep_at = {{smaller}}(sweep_at, ?8) \
                 WHERE {{key}} = ?1 AND version = ?9 AND {LIVE} ?10"
            )),
            touch: change(
                "refresh",
                "expires_at = {larger}(expires_at, ?2)",
                &format!("{{key}} = ?1 AND version = ?3 AND {LIVE} ?4"),
            ),
            retire: change(
                "end",
                &format!("{ENDED}, moved_to = ?4"),
                &format!("{{key}} = ?1 AND {LIVE} ?2 AND (?5 IS NULL OR version = ?5)"),
            ),
            delete: statement("DELETE FROM {table} WHERE {key} = ?1"),
            sweep: statement(DB::WORDS.sweep),
            postpone: statement(DB::WORDS.postpone),
            list: statement(&format!(
                "SELECT {COLUMNS}, moved_to FROM {{table}} WHERE scope = ?1 AND identity = ?2 AND {LIVE} ?3"
            )),
            retire_all: statement(&format!(
                "UPDATE {{table}} SET {ENDED}, moved_to = NULL \
                 WHERE scope = ?1 AND identity = ?4 AND {LIVE} ?2 AND (?5 IS NULL OR {{key}} <> ?5)"
            )),
            stats: statement(&counts()),
            probes: probes().map(|text| statement(&text)),
        }
    }
}

fn update<DB: Dialect>(table: &Table) -> Grouped {
    let is_same = format!("{{key}} = ?1 AND version = ?9 AND {LIVE} ?10");
    let keeps = "scope = ?2 AND identity {same} ?3 AND sweep_at <= ?8";
    Grouped::change::<DB>("save", table, CONTENT, &format!("{is_same} AND {keeps}"))
}

fn load<DB: Dialect>(table: &Table) -> Grouped {
    let columns = format!("{COLUMNS}, moved_to");
    let alone = format!("SELECT {columns} FROM {{table}} WHERE {{key}} = ?1 AND expires_at > ?2");
    Grouped::new::<DB>("load", table, &alone, DB::WORDS.load_rows.replace("{columns}", &columns))
}

fn insert<DB: Dialect>(table: &Table) -> Grouped {
    let insert = format!("INSERT INTO {{table}} ({COLUMNS}, sweep_at)");
    let values = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8";
    let alone = format!("{insert} VALUES ({values}){{or_nothing}}");
    let values = values.replace('?', "v.column");
    let together = format!("{insert} SELECT {values} FROM {{rows}} WHERE 1 = 1{{or_nothing}}{{returning}}");
    Grouped::new::<DB>("create", table, &alone, together)
}

/// Counts live sessions, tombstones, expired rows and the bytes of payloads, and finds the oldest live session.
fn counts() -> String {
    format!(
        "SELECT CAST(COUNT(CASE WHEN {LIVE} ?1 THEN 1 END) AS {{integer}}), \
         CAST(COUNT(CASE WHEN payload IS NULL AND expires_at > ?1 THEN 1 END) AS {{integer}}), \
         CAST(COUNT(CASE WHEN expires_at <= ?1 THEN 1 END) AS {{integer}}), \
         CAST(COALESCE(SUM(LENGTH(payload)), 0) AS {{integer}}), \
         MIN(CASE WHEN {LIVE} ?1 THEN created_at END) FROM {{table}}"
    )
}

fn probes() -> [String; 4] {
    [
        format!("SELECT {COLUMNS}, moved_to FROM {{table}} WHERE 1 = 0"),
        format!("INSERT INTO {{table}} ({COLUMNS}, sweep_at) SELECT {COLUMNS}, sweep_at FROM {{table}} WHERE 1 = 0"),
        "UPDATE {table} SET version = 0 WHERE 1 = 0".to_owned(),
        "DELETE FROM {table} WHERE 1 = 0".to_owned(),
    ]
}
