//! The pools of applications.

use std::sync::Arc;

use super::store::SqlStore;
use crate::base::error::Result;
use crate::store::{Options, Store};

/// An application's pool of connections to any database that this build supports.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum Pool {
    /// A pool of SQLite.
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    /// A pool of PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    /// A pool of MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    MySql(sqlx::MySqlPool),
}

impl Pool {
    /// Opens a store in the pool's database, on connections of the store's own.
    ///
    /// The connections use the pool's connect options. `options.url` is not used. For an in-memory SQLite database, `open`
    /// does the same as [`share`](Self::share), because only the pool's connections can access the data.
    ///
    /// # Errors
    /// Returns an error if the database cannot be reached, migrated or written to, or if the table's name is invalid.
    pub async fn open(self, options: &Options) -> Result<Arc<dyn Store>> {
        Ok(match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Arc::new(SqlStore::<sqlx::Sqlite>::from_pool(pool, options).await?),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Arc::new(SqlStore::<sqlx::Postgres>::from_pool(pool, options).await?),
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => Arc::new(SqlStore::<sqlx::MySql>::from_pool(pool, options).await?),
        })
    }

    /// Opens a store that borrows the pool's connections.
    ///
    /// `options.url` and `options.max_connections` are not used. A task that calls the store while it holds a connection of
    /// the pool can deadlock; see [`SessionFairing::shared_pool`](crate::SessionFairing::shared_pool).
    ///
    /// # Errors
    /// The errors of [`open`](Self::open).
    pub async fn share(self, options: &Options) -> Result<Arc<dyn Store>> {
        Ok(match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => Arc::new(SqlStore::from_shared_pool(pool, options).await?),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Arc::new(SqlStore::from_shared_pool(pool, options).await?),
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => Arc::new(SqlStore::from_shared_pool(pool, options).await?),
        })
    }
}

/// An application's pool: `SqlitePool`, `PgPool` or `MySqlPool` of [`sqlx`](crate::sqlx).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a pool that session-rocket can use",
    label = "expected a `SqlitePool`, `PgPool` or `MySqlPool` of sqlx 0.9",
    note = "the pools of another version of sqlx are other types: `cargo tree -i sqlx` shows which versions are in use, and \
            `session_rocket::sqlx` is the version that session-rocket uses",
    note = "session-rocket takes the pools of the databases whose cargo feature is enabled: `sqlite`, `postgres`, `mysql`"
)]
pub trait IntoPool {
    /// Converts the value into a [`Pool`].
    fn into_pool(self) -> Pool;
}

impl IntoPool for Pool {
    fn into_pool(self) -> Pool {
        self
    }
}

#[cfg(feature = "sqlite")]
impl IntoPool for sqlx::SqlitePool {
    fn into_pool(self) -> Pool {
        Pool::Sqlite(self)
    }
}

#[cfg(feature = "postgres")]
impl IntoPool for sqlx::PgPool {
    fn into_pool(self) -> Pool {
        Pool::Postgres(self)
    }
}

#[cfg(feature = "mysql")]
impl IntoPool for sqlx::MySqlPool {
    fn into_pool(self) -> Pool {
        Pool::MySql(self)
    }
}
