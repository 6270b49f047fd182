//! The pools that applications hand over.

use std::sync::Arc;

#[cfg(feature = "mysql")]
use super::mysql::MySqlStore;
#[cfg(feature = "postgres")]
use super::postgres::PostgresStore;
#[cfg(feature = "sqlite")]
use super::sqlite::SqliteStore;
use crate::error::Result;
use crate::store::{Options, Store};

/// An application's own connections to its database.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum Pool {
    /// To SQLite.
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    /// To PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    /// To MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    MySql(sqlx::MySqlPool),
}

impl Pool {
    /// A store in the database of the pool.
    ///
    /// # Errors
    /// When the database cannot be reached, migrated or written to, or the table's name is wrong.
    pub async fn into_store(self, options: &Options) -> Result<Arc<dyn Store>> {
        Ok(match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Arc::new(SqliteStore::from_pool(pool, options).await?),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Arc::new(PostgresStore::from_pool(pool, options).await?),
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => Arc::new(MySqlStore::from_pool(pool, options).await?),
        })
    }
}

#[cfg(feature = "sqlite")]
impl From<sqlx::SqlitePool> for Pool {
    fn from(pool: sqlx::SqlitePool) -> Self {
        Self::Sqlite(pool)
    }
}

#[cfg(feature = "postgres")]
impl From<sqlx::PgPool> for Pool {
    fn from(pool: sqlx::PgPool) -> Self {
        Self::Postgres(pool)
    }
}

#[cfg(feature = "mysql")]
impl From<sqlx::MySqlPool> for Pool {
    fn from(pool: sqlx::MySqlPool) -> Self {
        Self::MySql(pool)
    }
}
