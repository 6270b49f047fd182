//! SQL in the words of a database.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::table::Table;

/// The words in which databases differ.
pub struct Words {
    /// The quotes around a name.
    pub quote: char,
    /// Whether a table's name may have a schema before a dot.
    pub has_schemas: bool,
    /// The character before the number of a parameter, if parameters have numbers.
    pub parameter: Option<char>,
    /// The function for the larger of two numbers.
    pub larger: &'static str,
    /// The function for the smaller of two numbers.
    pub smaller: &'static str,
    /// The operator that compares two values which may be `NULL`.
    pub same: &'static str,
    /// The type of integers, in a cast.
    pub integer: &'static str,
    /// The end of an insert that ignores a key that exists.
    pub or_nothing: &'static str,
    /// Removes the expired rows among the first `?2` rows that are due at `?1`.
    pub sweep: &'static str,
    /// Postpones the renewed rows among the first `?2` rows that are due at `?1`.
    pub postpone: &'static str,
    /// Loads `{columns}` of the rows whose key is in the `{list}` and that have not expired.
    pub load_rows: &'static str,
    /// Applies `{set}` to the rows that match one of `{rows}` by `{when}`. The first column of `{rows}` is the key.
    pub change_rows: &'static str,
    /// The end of a statement that returns the keys of the changed rows, if the database can.
    pub returning: &'static str,
}

/// A statement for one session table.
#[derive(Clone)]
pub struct Statement {
    pub(super) sql: SqlStr,
    /// The index of each parameter's value.
    pub(super) order: Vec<usize>,
}

impl Statement {
    /// Parses SQL whose parameters are `?1`, `?2` and so on, and whose words in braces are `words`.
    pub(super) fn new(words: &Words, table: &Table, text: &str) -> Self {
        let text = words.fill(text);
        let mut order = Vec::new();
        let mut parts = text.split('?');
        let mut sql = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = part.split_at(digits);
            let parameter: usize = number.parse().unwrap_or_default();
            match words.parameter {
                None => {
                    sql.push('?');
                    order.push(parameter.saturating_sub(1));
                }
                Some(mark) => {
                    sql.push(mark);
                    sql.push_str(number);
                    order.extend(order.len()..parameter);
                }
            }
            sql.push_str(rest);
        }
        Self { sql: safe(table, &sql), order }
    }

    /// Parses SQL for a group of calls: `{rows}` is the table of their values, `{list}` the list of their keys.
    pub(super) fn of_rows(words: &Words, table: &Table, text: &str, rows: &str, list: &str) -> Self {
        let text = words.fill(text).replace("{rows}", rows).replace("{list}", list);
        Self { sql: safe(table, &text), order: Vec::new() }
    }
}

impl Words {
    fn fill(&self, text: &str) -> String {
        // `key` is a reserved word in MySQL.
        text.replace("{key}", &format!("{0}key{0}", self.quote))
            .replace("{larger}", self.larger)
            .replace("{smaller}", self.smaller)
            .replace("{same}", self.same)
            .replace("{integer}", self.integer)
            .replace("{or_nothing}", self.or_nothing)
            .replace("{returning}", self.returning)
    }
}

/// Safe because the table's name is quoted, and everything else in these statements is written in this crate.
fn safe(table: &Table, text: &str) -> SqlStr {
    AssertSqlSafe(Arc::<str>::from(table.fill(text))).into_sql_str()
}
