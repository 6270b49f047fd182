//! Sessions in a SQL database: what the back-ends have in common.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use crate::error::{Error, ErrorKind, Result};

#[cfg(feature = "sqlite")]
mod fault;
#[cfg(feature = "sqlite")]
mod place;
#[cfg(feature = "sqlite")]
mod recipe;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "sqlite")]
mod watch;

/// The longest table name: with what is added to name indices, every database still takes it.
const LONGEST_NAME: usize = 48;

/// A table's name, as it stands in statements.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    name: String,
}

impl Table {
    /// # Errors
    /// [`ErrorKind::Config`] for a name that no database takes.
    fn new(name: &str) -> Result<Self> {
        let problem = if name.is_empty() {
            "is empty"
        } else if name.len() > LONGEST_NAME {
            "is longer than 48 bytes"
        } else if name.contains('\0') {
            "contains a NUL"
        } else {
            return Ok(Self { name: name.to_owned() });
        };
        Err(Error::new(ErrorKind::Config, format!("`table` {problem}: give a name like \"rocket_session\"")))
    }

    fn quoted(&self) -> String {
        quote(&self.name)
    }

    /// The name of something that belongs to the table, such as an index.
    fn quoted_with(&self, suffix: &str) -> String {
        quote(&format!("{}_{suffix}", self.name))
    }

    /// Puts the name into SQL in which `{table}` stands for it and `{table:x}` for what belongs to it.
    fn fill(&self, sql: &str) -> String {
        let mut filled = String::with_capacity(sql.len() * 2);
        let mut rest = sql;
        while let Some((before, marked)) = rest.split_once("{table") {
            filled.push_str(before);
            let (suffix, after) = marked.split_once('}').unwrap_or((marked, ""));
            match suffix.strip_prefix(':') {
                Some(suffix) => filled.push_str(&self.quoted_with(suffix)),
                None => filled.push_str(&self.quoted()),
            }
            rest = after;
        }
        filled.push_str(rest);
        filled
    }

    /// The migrations in `files`, recorded in a table of their own, so that the application's are not disturbed.
    fn migrator(&self, files: &[(i64, &'static str, &'static str)]) -> Migrator {
        let migrations = files.iter().map(|(version, name, sql)| {
            let sql = AssertSqlSafe(self.fill(sql)).into_sql_str();
            Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
        });
        let mut migrator = Migrator::with_migrations(migrations.collect());
        migrator.dangerous_set_table_name(self.quoted_with("migrations"));
        // A newer release may have been here: its tables serve this one as well, or its migrations would not be ours.
        migrator.set_ignore_missing(true);
        migrator
    }
}

/// As SQL's standard has it; a quote within is doubled, so no name ends the identifier.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_quotes() {
        let table = Table::new("a\"b; drop table x; {table:}").unwrap();
        assert_eq!(table.fill("FROM {table}"), "FROM \"a\"\"b; drop table x; {table:}\"");
        assert_eq!(Table::new("t").unwrap().fill("{table:x} ON {table}"), "\"t_x\" ON \"t\"");
        for bad in ["", "a\0b", &"x".repeat(49)] {
            assert_eq!(Table::new(bad).unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
