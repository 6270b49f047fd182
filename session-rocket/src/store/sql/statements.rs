//! The statements of a session table, each written once.

use std::sync::OnceLock;

use super::batch::SIZES;
use super::statement::{Dialect, Rows, Statement};
use super::table::Table;

/// All statements, with the table's name in them.
pub(super) struct Statements {
    pub load: Grouped,
    pub insert: Grouped,
    pub replace_expired: Statement,
    pub update: Grouped,
    pub touch: Grouped,
    pub retire: Grouped,
    /// Locks the rows of a group, unless somebody else holds one.
    #[cfg(feature = "mysql")]
    pub lock: Grouped,
    pub delete: Statement,
    pub sweep: Statement,
    pub list: Statement,
    pub retire_all: Statement,
    pub stats: Statement,
    /// Each needs a right on the table and changes nothing.
    pub probes: [Statement; 4],
}

/// A statement for one call, and for groups of calls.
pub(super) struct Grouped {
    pub alone: Statement,
    /// Whether it changes rows that are there.
    #[cfg(feature = "mysql")]
    pub changes: bool,
    table: Table,
    text: String,
    sizes: [OnceLock<Statement>; SIZES.len()],
}

impl Grouped {
    fn new<DB: Dialect>(table: &Table, alone: &str, text: String) -> Self {
        let alone = Statement::new::<DB>(table, alone);
        Self {
            #[cfg(feature = "mysql")]
            changes: false,
            alone,
            table: table.clone(),
            text,
            sizes: [const { OnceLock::new() }; SIZES.len()],
        }
    }

    /// A change of the row where `when` holds, whose parameters are those of one call.
    fn change<DB: Dialect>(table: &Table, set: &str, when: &str) -> Self {
        let alone = format!("UPDATE {{table}} SET {set} WHERE {when}");
        let text = DB::WORDS.change_rows.replace("{set}", set).replace("{when}", when).replace('?', "v.column");
        Self {
            #[cfg(feature = "mysql")]
            changes: true,
            ..Self::new::<DB>(table, &alone, text)
        }
    }

    /// The statement for a group as large as `rows`.
    pub(super) fn of<DB: Dialect>(&self, rows: Rows<'_>) -> &Statement {
        let size = SIZES.partition_point(|size| *size < rows.len()).min(SIZES.len() - 1);
        self.sizes[size].get_or_init(|| Statement::of_rows::<DB>(&self.table, &self.text, rows))
    }
}

const COLUMNS: &str = "{key}, scope, identity, payload, version, created_at, updated_at, expires_at";
const LIVE: &str = "payload IS NOT NULL AND expires_at >";
const ENDED: &str = "payload = NULL, identity = NULL, updated_at = ?2, expires_at = ?3, version = 0";
const RECORD: &str = "scope = ?2, identity = ?3, payload = ?4, version = ?5, created_at = ?6, updated_at = ?7, \
                      expires_at = ?8";

impl Statements {
    pub(super) fn new<DB: Dialect>(table: &Table) -> Self {
        let statement = |text: &str| Statement::new::<DB>(table, text);
        let change = |set: &str, when: &str| Grouped::change::<DB>(table, set, when);
        Self {
            load: load::<DB>(table),
            insert: insert::<DB>(table),
            replace_expired: statement(&format!(
                "UPDATE {{table}} SET {RECORD}, moved_to = NULL WHERE {{key}} = ?1 AND expires_at <= ?9"
            )),
            update: change(RECORD, &format!("{{key}} = ?1 AND version = ?9 AND {LIVE} ?10")),
            touch: change(
                "expires_at = {larger}(expires_at, ?2)",
                &format!("{{key}} = ?1 AND version = ?3 AND {LIVE} ?4"),
            ),
            retire: change(
                &format!("{ENDED}, moved_to = ?4"),
                &format!("{{key}} = ?1 AND {LIVE} ?2 AND (?5 IS NULL OR version = ?5)"),
            ),
            #[cfg(feature = "mysql")]
            lock: Grouped::new::<DB>(
                table,
                "SELECT {key} FROM {table} WHERE {key} = ?1 FOR UPDATE",
                "SELECT {key} FROM {table} WHERE {key} {list} FOR UPDATE NOWAIT".to_owned(),
            ),
            delete: statement("DELETE FROM {table} WHERE {key} = ?1"),
            sweep: statement(DB::WORDS.sweep),
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

fn load<DB: Dialect>(table: &Table) -> Grouped {
    let load = format!("SELECT {COLUMNS}, moved_to FROM {{table}} WHERE {{key}}");
    let alone = format!("{load} = ?1 AND expires_at > ?2");
    Grouped::new::<DB>(table, &alone, format!("{load} {{list}} AND expires_at > {{after}}"))
}

fn insert<DB: Dialect>(table: &Table) -> Grouped {
    let insert = format!("INSERT INTO {{table}} ({COLUMNS})");
    let alone = format!("{insert} VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8){{or_nothing}}");
    let values = "v.column1, v.column2, v.column3, v.column4, v.column5, v.column6, v.column7, v.column8";
    let together = format!("{insert} SELECT {values} FROM {{rows}} WHERE 1 = 1{{or_nothing}}{{telling}}");
    Grouped::new::<DB>(table, &alone, together)
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
