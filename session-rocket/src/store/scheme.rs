//! The schemes of store URLs, and the back-end that each scheme selects.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::memory::MemoryStore;
use super::{Options, Store};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hint::nearest;

pub(super) type Opener = for<'o> fn(&'o Options) -> BoxFuture<'o, Result<Arc<dyn Store>>>;

/// The function that opens a back-end, or `None` if the build does not contain the back-end.
macro_rules! back_end {
    ($condition:meta, $store:path) => {{
        #[cfg($condition)]
        let opener: Option<Opener> =
            Some(|options| Box::pin(async move { Ok(Arc::new(<$store>::open(options).await?) as Arc<dyn Store>) }));
        #[cfg(not($condition))]
        let opener: Option<Opener> = None;
        opener
    }};
}

/// Defines [`Scheme`] and `TABLE` from one line for each back-end.
macro_rules! schemes {
    ($($scheme:ident, $names:expr, $opener:expr;)*) => {
        /// The back-end that a URL's scheme selects.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Scheme { $($scheme),* }

        const TABLE: &[Row] = &[$(Row { scheme: Scheme::$scheme, names: &$names, opener: $opener }),*];
    };
}

struct Row {
    scheme: Scheme,
    /// The names of the scheme in URLs. If the back-end has a cargo feature, the first name is the name of the feature.
    names: &'static [&'static str],
    opener: Option<Opener>,
}

schemes! {
    Sqlite, ["sqlite"], back_end!(feature = "sqlite", super::sql::sqlite::SqliteStore);
    Postgres, ["postgres", "postgresql"], back_end!(feature = "postgres", super::sql::postgres::PostgresStore);
    MySql, ["mysql", "mariadb"], back_end!(feature = "mysql", super::sql::mysql::MySqlStore);
    Redis, ["redis", "rediss", "redis+cluster", "rediss+cluster"],
        back_end!(feature = "redis", super::redis::RedisStore);
    Memcached, ["memcached"], back_end!(feature = "memcached", super::memcached::MemcachedStore);
    File, ["file"], back_end!(all(feature = "file", unix), super::file::FileStore);
    Memory, ["memory"], Some(open_memory);
    SignedCookie, ["cookie+signed"], None;
    EncryptedCookie, ["cookie+encrypted"], None;
}

fn open_memory(options: &Options) -> BoxFuture<'_, Result<Arc<dyn Store>>> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(options.capacity, options.clock.clone()));
    Box::pin(std::future::ready(Ok(store)))
}

impl Scheme {
    /// Returns the scheme of `url`, case-insensitively.
    pub(crate) fn of(url: &str) -> Option<Self> {
        row_of(url).map(|row| row.scheme)
    }

    /// Whether sessions are in a table, which needs migrations.
    pub(crate) fn has_table(self) -> bool {
        matches!(self, Self::Sqlite | Self::Postgres | Self::MySql)
    }
}

/// Whether the sessions of the store at `url` are lost when the process ends.
pub(crate) fn is_in_memory(url: &str) -> bool {
    let url = url.to_ascii_lowercase();
    match Scheme::of(&url) {
        Some(Scheme::Memory) => true,
        Some(Scheme::Sqlite) => url.contains(":memory:") || url.contains("mode=memory"),
        _ => false,
    }
}

/// Returns the function that opens the back-end of `url`.
///
/// # Errors
/// [`ErrorKind::Config`] if this build does not contain the back-end. The message shows only the scheme of the URL.
pub(super) fn opener(url: &str) -> Result<Opener> {
    let row = row_of(url);
    row.and_then(|row| row.opener).ok_or_else(|| Error::new(ErrorKind::Config, missing_opener_message(url, row)))
}

fn missing_opener_message(url: &str, row: Option<&Row>) -> String {
    let Some((name, _)) = url.split_once(':') else {
        return format!("the URL has no scheme: write one of {}", list());
    };
    let name = name.to_ascii_lowercase();
    match row {
        Some(Row { scheme: Scheme::SignedCookie | Scheme::EncryptedCookie, .. }) => {
            format!(
                "`{name}:` keeps each session in its own cookie, so nothing can be opened: use `{name}:` only as \
                 the value of `store`, or choose another URL"
            )
        }
        Some(Row { scheme: Scheme::File, .. }) if cfg!(not(unix)) => {
            "`file:` works only on Unix: choose another store".to_owned()
        }
        Some(Row { names, .. }) => {
            format!("this build lacks the cargo feature `{}`: enable it for `session-rocket`", names[0])
        }
        None => match nearest(&name, names()) {
            Some(known) => format!("unknown store `{name}:`; did you mean `{known}:`?"),
            None => format!("unknown store `{name}:`; write one of {}", list()),
        },
    }
}

fn row_of(url: &str) -> Option<&'static Row> {
    let (name, _) = url.split_once(':')?;
    TABLE.iter().find(|row| row.names.iter().any(|known| known.eq_ignore_ascii_case(name)))
}

fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|row| row.names).copied()
}

fn list() -> String {
    names().map(|name| format!("`{name}:`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
