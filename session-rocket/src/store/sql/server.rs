//! Stores in a database server: from a URL or an application's pool to connections.

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

/// The parameters that sqlx accepts after the `?` of each server's URL.
const PARAMETERS: &str = "sslmode, ssl-mode, ssl-ca, sslcert, ssl-cert, sslkey, ssl-key, statement-cache-capacity, ";

/// A database that is reached over the network.
pub trait Server: Dialect {
    /// The form of its URL.
    const FORM: &'static str;
    /// The further parameters that sqlx accepts after the `?`.
    const PARAMETERS: &'static str;

    /// Makes the server give up the statements of a connection after the given time, if connect options can say so.
    fn with_limit(connect: ConnectOptions<Self>, _: Duration) -> ConnectOptions<Self> {
        connect
    }
}

impl<DB: Server> SqlStore<DB> {
    /// Opens a store in the database of an application's pool, on connections of its own, which use the pool's connect
    /// options. `options.url` is not used.
    ///
    /// # Errors
    /// When the database cannot be reached, migrated or written to, or the table's name is invalid.
    pub async fn from_pool(pool: Pool<DB>, options: &Options) -> Result<Self> {
        // The application may set new options, for instance when it rotates its password.
        Self::own(move || (*pool.connect_options()).clone(), options).await
    }

    /// Opens a store on connections of its own, each opened with the options that `connect` returns at that time.
    pub(super) async fn own(
        connect: impl Fn() -> ConnectOptions<DB> + Send + Sync + 'static,
        options: &Options,
    ) -> Result<Self> {
        let (limit, size) = (options.timeout, options.max_connections.unwrap_or(CONNECTIONS));
        let connections = Connections::own(move || DB::with_limit(connect(), limit), size, limit);
        Self::on(connections.clone(), connections, None, options).await
    }
}

/// Parses a URL.
///
/// # Errors
/// [`ErrorKind::Config`], which shows no value.
pub(super) fn parse<DB: Server>(url: &str) -> Result<ConnectOptions<DB>> {
    check(url, DB::FORM, DB::PARAMETERS)?;
    // The driver's error may show the password.
    let invalid = |_| Error::new(ErrorKind::Config, format!("invalid {} URL: write `{}`", DB::NAME, DB::FORM));
    ConnectOptions::<DB>::from_str(url).map_err(invalid)
}

/// Checks a URL before the driver does. The driver would take a password with an unescaped character for a host, and would
/// log unknown parameters.
fn check(url: &str, form: &str, parameters: &str) -> Result<()> {
    let invalid = |problem: &str| Err(Error::new(ErrorKind::Config, format!("the URL {problem}: write `{form}`")));
    let Some((_, rest)) = url.split_once("://") else { return invalid("has no `//`") };
    let more = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
    if more.contains('@') {
        return invalid(
            "has an `@` in its path or query: in a user name or a password, `@`, `/`, `?`, `#` and `:` are written `%40`, \
             `%2F`, `%3F`, `%23` and `%3A`",
        );
    }
    let query = more.split_once('?').map_or("", |(_, query)| query);
    let known = PARAMETERS.to_owned() + parameters;
    let mut names = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    let is_known =
        |name: &str| name.is_empty() || known.split(", ").any(|known| known == name) || name.starts_with("options[");
    if !names.all(is_known) {
        return invalid(&format!("has an unknown parameter (known are {known})"));
    }
    Ok(())
}

#[cfg(all(test, feature = "postgres"))]
mod tests;
