//! What a launch does to a server: it looks at the URL, at the table, and at what went wrong.

use std::time::Duration;

use sqlx::{Connection, Executor, IntoArguments, Pool};

use super::super::statements::Statements;
use super::super::table::{Table, not_run};
use super::{Fault, Served};
use crate::base::error::{Error, ErrorKind, Result};
use crate::store::{Migrate, Options};

/// What to tell a launch that waited in vain.
const LATE: &str = "it did not answer in time: is it overloaded, or behind a firewall?";

/// Looks at a URL before the driver does, which would take a password with a slip in it for a host, and write parameters
/// that it does not know into the log.
///
/// # Errors
/// [`ErrorKind::Config`], which shows no value.
pub(in super::super) fn check_url(url: &str, form: &str, parameters: &[&str]) -> Result<()> {
    let wrong = |problem: &str| Err(Error::new(ErrorKind::Config, format!("the URL {problem}: write `{form}`")));
    let Some((_, rest)) = url.split_once("://") else { return wrong("has no `//`") };
    let (place, more) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if more.contains('@') {
        return wrong(
            "has an `@` where none can be: in a user name or a password, `@`, `/`, `?`, `#` and `:` are written \
                      `%40`, `%2F`, `%3F`, `%23` and `%3A`",
        );
    }
    let port = place.rsplit_once('@').map_or(place, |(_, host)| host).rsplit_once(':').map(|(_, port)| port);
    if port.is_some_and(|port| !port.ends_with(']') && port.parse::<u16>().is_err()) {
        return wrong("has a port that is no number");
    }
    let query = more.split_once('?').map_or("", |(_, query)| query);
    let names = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    let is_known = |name: &str| name.is_empty() || parameters.contains(&name) || name.starts_with("options[");
    match names.into_iter().find(|name| !is_known(name)) {
        Some(_) => wrong(&format!("has a parameter that is none of {}", parameters.join(", "))),
        None => Ok(()),
    }
}

/// Makes sure that the table is there and can be written to, or makes it; says what the longest value is.
pub(super) async fn prepare<DB: Served>(
    pool: &Pool<DB>,
    table: &Table,
    statements: &Statements,
    options: &Options,
) -> Result<usize>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    let cannot_use = |e| cannot_use::<DB>(table, e);
    let problem = || format!("cannot use the table `{}` in {}", table.name(), DB::NAME);
    let limit = options.timeout;
    // What is locked here is released with the connection, which is the pool's no more.
    let acquired = in_time(limit, problem, async { pool.acquire().await.map_err(cannot_use) });
    let mut connection = acquired.await?.detach();
    if options.migrate != Migrate::Off {
        let looked = in_time(limit, problem, async { Ok(table.missing(DB::STEPS, &mut connection).await) }).await?;
        match (options.migrate, looked) {
            (_, Ok(None)) => {}
            (Migrate::Check, Ok(Some(step))) => return Err(not_run(step)),
            (Migrate::Check, Err(e)) => {
                return Err(cannot_migrate::<DB>("read which migrations were run", table, e));
            }
            // A user that may not look there may serve a table that is there: the probes will tell.
            (_, Err(error)) if DB::fault(&error) == Fault::Forbidden => {}
            // Many may start at once: one migrates, and the others find it done.
            (_, Ok(Some(_)) | Err(_)) => {
                let migrated = DB::migrate(&mut connection, table, limit).await;
                migrated.map_err(|e| cannot_migrate::<DB>("migrate the session table", table, e))?;
            }
        }
    }
    let probe = async {
        for probe in &statements.probes {
            (&mut connection).execute(probe.query::<DB>(&[])?).await?;
        }
        let largest = DB::largest(&mut connection).await?;
        connection.close().await.map(|()| largest)
    };
    in_time(limit, problem, async { probe.await.map_err(cannot_use) }).await
}

/// Does a part of a launch for no longer than `limit`.
pub(super) async fn in_time<A>(
    limit: Duration,
    problem: impl Fn() -> String,
    part: impl Future<Output = Result<A>>,
) -> Result<A> {
    let late = || Err(Error::new(ErrorKind::Timeout, format!("{}: {LATE}", problem())));
    tokio::time::timeout(limit, part).await.unwrap_or_else(|_| late())
}

/// What to tell a launch: whether waiting helps or another configuration, and what to do.
pub(super) fn explained<DB: Served>(problem: String, error: sqlx::Error) -> Error {
    let (kind, advice) = match DB::fault(&error) {
        Fault::Login => (ErrorKind::Config, "the user name or the password is wrong"),
        Fault::NoDatabase => (ErrorKind::Config, "create the database, or connect to another one"),
        Fault::NoTable => {
            (ErrorKind::Config, "run `session-rocket migrate`, set `migrate = \"auto\"`, or another `table`")
        }
        Fault::NoSchema => (ErrorKind::Config, "create the schema, or set another `table`"),
        Fault::Forbidden => (
            ErrorKind::Config,
            "grant its user SELECT, INSERT, UPDATE and DELETE on the table, or connect as a user that may write (to \
             make the table, it must be allowed to create tables as well)",
        ),
        Fault::Busy | Fault::Late => (ErrorKind::Timeout, LATE),
        Fault::TooLarge | Fault::Taken | Fault::Other => {
            (ErrorKind::Unavailable, "is the server running, and is its address right?")
        }
    };
    Error::with_source(kind, format!("{problem}: {advice}"), error)
}

fn cannot_use<DB: Served>(table: &Table, error: sqlx::Error) -> Error {
    explained::<DB>(format!("cannot use the table `{}` in {}", table.name(), DB::NAME), error)
}

fn cannot_migrate<DB: Served>(what: &str, table: &Table, error: sqlx::Error) -> Error {
    let problem = format!("cannot {what} in {}", DB::NAME);
    if DB::fault(&error) != Fault::Forbidden {
        return explained::<DB>(problem, error);
    }
    let table = table.name();
    let context = format!(
        "{problem}: grant its user SELECT, INSERT, UPDATE and DELETE on the table `{table}`, and SELECT on \
         `{table}_migrations`; to make or change them, run `session-rocket migrate` as a user that may"
    );
    Error::with_source(ErrorKind::Config, context, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_a_url_shows_nothing_of_it() {
        let check = |url: &str| check_url(url, "postgres://…", &["sslmode", "user"]);
        for url in [
            "postgres://site:99#geheim@host/db",
            "postgres://site:99?geheim@host/db",
            "postgres://site:99/geheim@host/db",
            "postgres://host/db?user=ada@geheim",
            "postgres://host/db?pass=geheim",
            "postgres://host/db?sslmode=require&geheim",
            "postgres://site:geheim",
            "postgres:site:geheim@host",
        ] {
            let error = check(url).expect_err(url);
            assert!(error.kind() == ErrorKind::Config && !error.to_string().contains("geheim"), "{error}");
        }
        for url in [
            "postgres://host",
            "postgres://u:p%40@host:5432/db?sslmode=require&user=x&options[a]=b",
            "postgres://u:p@q@[::1]:5432/db",
            "postgres://u@[::1]/db",
            "postgres:///db?sslmode=disable",
        ] {
            check(url).expect(url);
        }
    }
}
