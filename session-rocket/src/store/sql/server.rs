//! Opens stores in PostgreSQL and MySQL, from a URL or an application's pool.

use std::str::FromStr;
use std::time::Duration;

use sqlx::Pool;

use super::connections::Connections;
use super::dialect::{ConnectOptions, Dialect};
use super::store::SqlStore;
use crate::base::error::{Error, ErrorKind, Result};
use crate::store::Options;

/// The default number of connections.
const CONNECTIONS: u32 = 10;

/// The parameters that sqlx accepts in the URLs of all servers.
const COMMON_PARAMETERS: &[&str] =
    &["sslmode", "ssl-mode", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key", "statement-cache-capacity"];

/// A database that is reached over the network.
pub trait Server: Dialect {
    /// An example of a URL of this database, for error messages.
    const URL_EXAMPLE: &'static str;
    /// The parameters that sqlx accepts in a URL of this database, besides [`COMMON_PARAMETERS`].
    const PARAMETERS: &'static [&'static str];

    /// Lets the server cancel the statements of a connection after the given time, if the database has a connect option for
    /// such a limit.
    fn with_statement_timeout(connect: ConnectOptions<Self>, _: Duration) -> ConnectOptions<Self> {
        connect
    }
}

impl<DB: Server> SqlStore<DB> {
    /// Opens a store in the database of an application's pool, on connections of the store's own. The connections use
    /// the pool's connect options. `options.url` is not used.
    ///
    /// # Errors
    /// Returns an error if the database cannot be reached, migrated or written to, or if the table's name is invalid.
    pub async fn from_pool(pool: Pool<DB>, options: &Options) -> Result<Self> {
        // The options are read for each new connection, because the application may set new options, for example to rotate
        // its password.
        Self::on_own_connections(move || (*pool.connect_options()).clone(), options).await
    }

    /// Opens a store on connections of the store's own. Calls `connect` for the options of each new connection.
    pub(super) async fn on_own_connections(
        connect: impl Fn() -> ConnectOptions<DB> + Send + Sync + 'static,
        options: &Options,
    ) -> Result<Self> {
        let (limit, size) = (options.timeout, options.max_connections.unwrap_or(CONNECTIONS));
        let connections = Connections::own(move || DB::with_statement_timeout(connect(), limit), size, limit);
        Self::on_connections(connections.clone(), connections, None, options).await
    }
}

/// Parses a URL. The error shows no part of the URL.
pub(super) fn parse<DB: Server>(url: &str) -> Result<ConnectOptions<DB>> {
    check(url, DB::URL_EXAMPLE, DB::PARAMETERS)?;
    let invalid = |_| Error::new(ErrorKind::Config, format!("invalid {} URL: write `{}`", DB::NAME, DB::URL_EXAMPLE));
    ConnectOptions::<DB>::from_str(url).map_err(invalid)
}

/// Checks a URL before the driver parses it. If a password contains an unescaped character such as `/`, the driver would
/// use a part of the password as the host. The driver would also log unknown parameters.
fn check(url: &str, example: &str, parameters: &[&str]) -> Result<()> {
    let invalid = |problem: &str| Err(Error::new(ErrorKind::Config, format!("the URL {problem}: write `{example}`")));
    let Some((_, rest)) = url.split_once("://") else { return invalid("has no `//`") };
    let more = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
    if more.contains('@') {
        return invalid(
            "has an `@` in its path or query: if it is part of a user name or password, write `%40` for `@`, `%2F` for \
             `/`, `%3F` for `?`, `%23` for `#` and `%3A` for `:`",
        );
    }
    let query = more.split_once('?').map_or("", |(_, query)| query);
    let known = [COMMON_PARAMETERS, parameters].concat();
    let mut names = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    if !names.all(|name| name.is_empty() || known.contains(&name) || name.starts_with("options[")) {
        // The message omits the parameter, which may be a part of a password.
        return invalid(&format!("has an unknown parameter; the parameters are {}", known.join(", ")));
    }
    Ok(())
}

#[cfg(all(test, feature = "postgres"))]
mod tests;
