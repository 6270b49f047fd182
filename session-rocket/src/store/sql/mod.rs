//! Sessions in SQLite, PostgreSQL, MySQL or MariaDB. [`SqlStore`] is the store for all of these databases.

mod calls;
mod client;
mod connections;
mod dialect;
mod driver;
mod file;
mod idle;
mod launch;
#[cfg(feature = "mysql")]
pub mod mysql;
mod pool;
#[cfg(feature = "postgres")]
pub mod postgres;
mod queue;
mod retry;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod statements;
mod store;
mod table;
mod value;

pub use pool::{IntoPool, Pool};
pub use store::SqlStore;
