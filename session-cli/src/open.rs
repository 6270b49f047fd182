//! Opens the store, and limits the time of its calls.

use std::sync::Arc;
use std::time::Duration;

use humantime::format_duration;
use session_rocket::store::{self, Migrate, Options, Store};
use session_rocket::{Config, Error, ErrorKind, Result};

/// Opens the store without its cache. Creates a missing directory or file only if `create_if_missing` is set, because
/// the path may be mistyped.
pub(super) async fn open(config: &Config, migrate: Migrate, create_if_missing: bool) -> Result<Arc<dyn Store>> {
    let mut options = Options::from(config).migrate(migrate);
    options.cache = None;
    options.create_if_missing = create_if_missing;
    store::open(&options).await
}

/// Opens the store and its cache. Creates no missing directory or file.
pub(super) async fn open_with_cache(config: &Config, migrate: Migrate) -> Result<Arc<dyn Store>> {
    let mut options = Options::from(config).migrate(migrate);
    options.create_if_missing = false;
    store::open(&options).await
}

pub(super) async fn with_time_limit<A>(limit: Duration, call: impl Future<Output = Result<A>>) -> Result<A> {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
        let limit = format_duration(limit);
        let context = format!("the store did not reply within {limit}: try a longer `--timeout`");
        Err(Error::new(ErrorKind::Timeout, context))
    })
}
