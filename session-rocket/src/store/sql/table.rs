//! The session table's name, and its migrations.
//!
//! The migrations are our own because sqlx's feature `migrate` refers to every driver: it would put SQLite's into the lock
//! file of a site that only uses PostgreSQL or MySQL, and only one crate of a lock file may link SQLite.

use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::base::error::{Error, ErrorKind, Result};

/// The longest table name: with what is added to name indices, every database still takes it.
const LONGEST_NAME: usize = 48;

/// A migration: its number, its name without quotes, and its SQL, in which `{table}` is the table.
pub(super) type Step = (i64, &'static str, &'static str);

/// A table's name, as it stands in statements.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(unreachable_pub, reason = "the trait that names it is not in every build")]
pub struct Table {
    schema: Option<String>,
    name: String,
    quote: char,
}

impl Table {
    /// A name in the quotes of a database. Where it takes schemas, what stands before the first dot is one.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a name that no database takes.
    pub(super) fn new(name: &str, quote: char, has_schemas: bool) -> Result<Self> {
        let (schema, name) = match name.split_once('.') {
            Some((schema, name)) if has_schemas => (Some(schema), name),
            _ => (None, name),
        };
        for part in schema.into_iter().chain([name]) {
            check(part)?;
        }
        Ok(Self { schema: schema.map(ToOwned::to_owned), name: name.to_owned(), quote })
    }

    /// The name as it was given.
    pub(super) fn name(&self) -> String {
        self.schema.as_ref().map_or_else(|| self.name.clone(), |schema| format!("{schema}.{}", self.name))
    }

    /// A quote within is doubled, so no name ends the identifier.
    fn quoted(&self, name: &str) -> String {
        let quote = self.quote;
        format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
    }

    /// In its schema, if it has one.
    fn placed(&self, name: &str) -> String {
        let schema = self.schema.as_ref().map(|schema| format!("{}.", self.quoted(schema)));
        schema.unwrap_or_default() + &self.quoted(name)
    }

    /// The table in which the migrations are recorded: one of its own, so that the application's are not disturbed.
    fn records(&self) -> String {
        self.placed(&format!("{}_migrations", self.name))
    }

    /// Puts the name into SQL in which `{table}` stands for it and `{table:x}` for an index of it.
    pub(super) fn fill(&self, sql: &str) -> String {
        let mut filled = String::with_capacity(sql.len() * 2);
        let mut rest = sql;
        while let Some((before, marked)) = rest.split_once("{table") {
            filled.push_str(before);
            let (suffix, after) = marked.split_once('}').unwrap_or((marked, ""));
            match suffix.strip_prefix(':') {
                Some(suffix) => filled.push_str(&self.quoted(&format!("{}_{suffix}", self.name))),
                None => filled.push_str(&self.placed(&self.name)),
            }
            rest = after;
        }
        filled.push_str(rest);
        filled
    }

    /// Runs the `steps` that were not run. The caller holds a lock against other launches. A step that is interrupted
    /// before its record is written runs again, so a step must have the same effect when it runs twice.
    pub(super) async fn migrate<C: Connection>(&self, steps: &[Step], connection: &mut C) -> sqlx::Result<()>
    where
        for<'c> &'c mut C: Executor<'c, Database = C::Database>,
    {
        let records = self.records();
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {records} (version BIGINT NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL)"
        );
        connection.execute(AssertSqlSafe(create)).await?;
        for step @ (version, name, sql) in steps {
            if self.was_run(step, connection).await? {
                continue;
            }
            connection.execute(AssertSqlSafe(self.fill(sql))).await?;
            let record = format!("INSERT INTO {records} (version, name) VALUES ({version}, '{name}')");
            connection.execute(AssertSqlSafe(record)).await?;
        }
        Ok(())
    }

    /// The first of `steps` that was not run.
    pub(super) async fn missing<'s, C: Connection>(
        &self,
        steps: &'s [Step],
        connection: &mut C,
    ) -> sqlx::Result<Option<&'s Step>>
    where
        for<'c> &'c mut C: Executor<'c, Database = C::Database>,
    {
        for step in steps {
            if !self.was_run(step, connection).await? {
                return Ok(Some(step));
            }
        }
        Ok(None)
    }

    async fn was_run<C: Connection>(&self, (version, ..): &Step, connection: &mut C) -> sqlx::Result<bool>
    where
        for<'c> &'c mut C: Executor<'c, Database = C::Database>,
    {
        let record = format!("SELECT version FROM {} WHERE version = {version}", self.records());
        Ok(connection.fetch_optional(AssertSqlSafe(record)).await?.is_some())
    }
}

/// What a launch with [`Migrate::Check`](crate::store::Migrate::Check) says of a step that was not run.
pub(super) fn not_run((version, name, _): &Step) -> Error {
    let context = format!(
        "migration {version} (`{name}`) of the session table was not run: run it with `session-rocket migrate`, or by a \
         launch with `migrate = \"auto\"`"
    );
    Error::new(ErrorKind::Config, context)
}

fn check(name: &str) -> Result<()> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.len() > LONGEST_NAME {
        "is longer than 48 bytes"
    } else if name.contains('\0') {
        "contains a NUL"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Config, format!("`table` {problem}: give a name like \"rocket_session\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_quotes() {
        let table = Table::new("a\"b; drop table x; {table:}", '"', false).unwrap();
        assert_eq!(table.fill("FROM {table}"), "FROM \"a\"\"b; drop table x; {table:}\"");
        assert_eq!(Table::new("t", '"', false).unwrap().fill("{table:x} ON {table}"), "\"t_x\" ON \"t\"");
        assert_eq!(Table::new("a`b", '`', false).unwrap().fill("{table}"), "`a``b`");
        for bad in ["", "a\0b", &"x".repeat(49)] {
            assert_eq!(Table::new(bad, '"', false).unwrap_err().kind(), ErrorKind::Config);
        }
    }

    #[test]
    fn a_schema_is_one_where_there_are_schemas() {
        let table = Table::new("app.a.b", '"', true).unwrap();
        assert_eq!(table.fill("{table:x} ON {table}"), "\"a.b_x\" ON \"app\".\"a.b\"");
        assert_eq!((table.records(), table.name()), ("\"app\".\"a.b_migrations\"".into(), "app.a.b".into()));
        assert_eq!(Table::new("app.a", '"', false).unwrap().fill("{table}"), "\"app.a\"");
        for bad in [".a", "a.", "."] {
            assert_eq!(Table::new(bad, '"', true).unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
