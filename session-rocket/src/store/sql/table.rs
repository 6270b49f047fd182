//! The name of the session table, and its migrations.
//!
//! This module runs migrations itself, because sqlx's feature `migrate` depends on every driver. The feature would put
//! SQLite into the lock file of a site that uses only PostgreSQL or MySQL. Only one crate in a lock file may link SQLite,
//! so the site could not use another crate that does.

use super::driver::Driver;
use crate::base::error::{Error, ErrorKind, Result};

/// The maximum length of a table's name, in bytes. Every database accepts such a name followed by the suffix of an index.
const MAX_NAME_LEN: usize = 48;

/// A migration: its number, its name, and its SQL, in which `{table}` stands for the table's name.
pub(super) type Migration = (i64, &'static str, &'static str);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    schema: Option<String>,
    name: String,
    quote: char,
}

impl Table {
    /// Parses a table's name. If `has_schemas` is `true`, the part before the first dot is a schema. `quote` is the
    /// character that statements put around names.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the name or the schema is empty, is longer than 48 bytes, or contains a NUL.
    pub(super) fn new(name: &str, quote: char, has_schemas: bool) -> Result<Self> {
        let (schema, name) = match name.split_once('.') {
            Some((schema, name)) if has_schemas => (Some(schema), name),
            _ => (None, name),
        };
        let is_valid = |name: &str| (1..=MAX_NAME_LEN).contains(&name.len()) && !name.contains('\0');
        if !schema.is_none_or(is_valid) || !is_valid(name) {
            let context = "invalid value for `table`: expected a name of 1 to 48 bytes without a NUL, such as \
                           \"rocket_session\"";
            return Err(Error::new(ErrorKind::Config, context));
        }
        Ok(Self { schema: schema.map(ToOwned::to_owned), name: name.to_owned(), quote })
    }

    /// Returns the name as it was configured.
    pub(super) fn name(&self) -> String {
        self.schema.as_ref().map_or_else(|| self.name.clone(), |schema| format!("{schema}.{}", self.name))
    }

    /// Quotes a name, and doubles each quote within it, so that the name cannot end the identifier.
    fn quoted(&self, name: &str) -> String {
        let quote = self.quote;
        format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
    }

    /// Quotes a name, and puts the table's schema before it, if the table has one.
    fn qualified(&self, name: &str) -> String {
        let schema = self.schema.as_ref().map(|schema| format!("{}.", self.quoted(schema)));
        schema.unwrap_or_default() + &self.quoted(name)
    }

    /// Returns the name of the table that records migrations. It is not sqlx's table of migrations, which the application
    /// may use.
    fn migrations_table(&self) -> String {
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

    /// Runs the `migrations` that are not recorded. The caller must hold a lock that excludes other launches.
    ///
    /// A migration must be idempotent, because a migration that is interrupted before it is recorded runs again.
    pub(super) async fn migrate<DB: Driver>(
        &self,
        migrations: &[Migration],
        connection: &mut DB::Connection,
    ) -> sqlx::Result<()> {
        let migrations_table = self.migrations_table();
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {migrations_table} (version BIGINT NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL)"
        );
        DB::run_script(connection, create).await?;
        while let Some((version, name, sql)) = self.first_missing::<DB>(migrations, connection).await? {
            DB::run_script(connection, self.fill(sql)).await?;
            let query = format!("INSERT INTO {migrations_table} (version, name) VALUES ({version}, '{name}')");
            DB::run_script(connection, query).await?;
        }
        Ok(())
    }

    pub(super) async fn first_missing<'s, DB: Driver>(
        &self,
        migrations: &'s [Migration],
        connection: &mut DB::Connection,
    ) -> sqlx::Result<Option<&'s Migration>> {
        for migration @ (version, ..) in migrations {
            let query = format!("SELECT version FROM {} WHERE version = {version}", self.migrations_table());
            if DB::run_script(connection, query).await? == 0 {
                return Ok(Some(migration));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
