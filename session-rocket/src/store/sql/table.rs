//! The name of the session table, and its migrations.
//!
//! The migrations are the crate's own because sqlx's feature `migrate` refers to every driver: the feature would put SQLite
//! into the lock file of a site that only uses PostgreSQL or MySQL, and only one crate of a lock file may link SQLite.

use super::driver::Driver;
use crate::base::error::{Error, ErrorKind, Result};

/// The longest table name: every database accepts the name with the suffix of an index.
const LONGEST_NAME: usize = 48;

/// A migration: its number, its name without quotes, and its SQL, in which `{table}` is the table.
pub(super) type Step = (i64, &'static str, &'static str);

/// The name of a session table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    schema: Option<String>,
    name: String,
    quote: char,
}

impl Table {
    /// A name that statements put between `quote`s. With `has_schemas`, the part before the first dot is a schema.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a name that no database accepts.
    pub(super) fn new(name: &str, quote: char, has_schemas: bool) -> Result<Self> {
        let (schema, name) = match name.split_once('.') {
            Some((schema, name)) if has_schemas => (Some(schema), name),
            _ => (None, name),
        };
        let is_valid = |name: &str| (1..=LONGEST_NAME).contains(&name.len()) && !name.contains('\0');
        if !schema.is_none_or(is_valid) || !is_valid(name) {
            let context = "invalid value for `table`: expected a name of 1 to 48 bytes without a NUL, such as \
                           \"rocket_session\"";
            return Err(Error::new(ErrorKind::Config, context));
        }
        Ok(Self { schema: schema.map(ToOwned::to_owned), name: name.to_owned(), quote })
    }

    /// The configured name.
    pub(super) fn name(&self) -> String {
        self.schema.as_ref().map_or_else(|| self.name.clone(), |schema| format!("{schema}.{}", self.name))
    }

    /// Doubles each quote within the name, so that no name ends the identifier.
    fn quoted(&self, name: &str) -> String {
        let quote = self.quote;
        format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
    }

    /// The quoted name behind its schema, if there is one.
    fn qualified(&self, name: &str) -> String {
        let schema = self.schema.as_ref().map(|schema| format!("{}.", self.quoted(schema)));
        schema.unwrap_or_default() + &self.quoted(name)
    }

    /// The table that records the migrations. It is separate from the application's, so that neither disturbs the other.
    fn records(&self) -> String {
        self.qualified(&format!("{}_migrations", self.name))
    }

    /// Replaces `{table}` in `sql` with the table's name, and `{table:x}` with the name of its index `x`.
    pub(super) fn fill(&self, sql: &str) -> String {
        let mut parts = sql.split("{table");
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (suffix, rest) = part.split_once('}').unwrap_or((part, ""));
            let name = match suffix.strip_prefix(':') {
                Some(suffix) => self.quoted(&format!("{}_{suffix}", self.name)),
                None => self.qualified(&self.name),
            };
            filled.extend([&name, rest]);
        }
        filled
    }

    /// Runs the `steps` that are not recorded. The caller holds a lock against other launches. A step that is interrupted
    /// before its record is written runs again, so a step must have the same effect when it runs twice.
    pub(super) async fn migrate<DB: Driver>(
        &self,
        steps: &[Step],
        connection: &mut DB::Connection,
    ) -> sqlx::Result<()> {
        let records = self.records();
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {records} (version BIGINT NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL)"
        );
        DB::run(connection, create).await?;
        while let Some((version, name, sql)) = self.missing::<DB>(steps, connection).await? {
            DB::run(connection, self.fill(sql)).await?;
            let record = format!("INSERT INTO {records} (version, name) VALUES ({version}, '{name}')");
            DB::run(connection, record).await?;
        }
        Ok(())
    }

    /// The first of `steps` that is not recorded.
    pub(super) async fn missing<'s, DB: Driver>(
        &self,
        steps: &'s [Step],
        connection: &mut DB::Connection,
    ) -> sqlx::Result<Option<&'s Step>> {
        for step @ (version, ..) in steps {
            let record = format!("SELECT version FROM {} WHERE version = {version}", self.records());
            if DB::run(connection, record).await? == 0 {
                return Ok(Some(step));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
