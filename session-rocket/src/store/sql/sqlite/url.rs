//! `sqlite:` URLs.

use sqlx::sqlite::SqliteSynchronous;

use crate::base::error::{Error, ErrorKind, Result};

/// The parts of a `sqlite:` URL.
///
/// sqlx does not know the parameter `synchronous`. With `synchronous=normal`, writes do not wait for the disk, so a power
/// cut can lose the last writes.
pub(super) struct Url {
    /// The URL for sqlx, without `synchronous`.
    pub for_sqlx: String,
    pub synchronous: SqliteSynchronous,
    pub is_in_memory: bool,
    pub has_mode: bool,
    pub has_vfs: bool,
}

impl Url {
    pub(super) fn parse(url: &str) -> Result<Self> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let path = base.trim_start_matches("sqlite:").trim_start_matches("//");
        let mut parsed = Self {
            for_sqlx: base.to_owned(),
            synchronous: SqliteSynchronous::Full,
            is_in_memory: path == ":memory:",
            has_mode: false,
            has_vfs: false,
        };
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "synchronous" => parsed.synchronous = synchronous(value)?,
                "mode" | "cache" | "immutable" | "vfs" => rest.push(pair),
                _ => {
                    let context = format!(
                        "unknown parameter `{name}` in the URL: the parameters of SQLite are `synchronous`, `mode`, `cache`, \
                         `immutable` and `vfs`"
                    );
                    return Err(Error::new(ErrorKind::Config, context));
                }
            }
            parsed.is_in_memory |= pair == "mode=memory";
            parsed.has_mode |= name == "mode";
            parsed.has_vfs |= name == "vfs";
        }
        if path.is_empty() && !parsed.is_in_memory {
            let context = "the URL contains no file name: write `sqlite://sessions.db`, or `sqlite::memory:`";
            return Err(Error::new(ErrorKind::Config, context));
        }
        if !rest.is_empty() {
            parsed.for_sqlx = format!("{base}?{}", rest.join("&"));
        }
        Ok(parsed)
    }
}

fn synchronous(value: &str) -> Result<SqliteSynchronous> {
    match value.parse() {
        Ok(SqliteSynchronous::Off) | Err(_) => {
            let context = "invalid value for `synchronous` in the URL: expected `full`, `normal` or `extra`";
            Err(Error::new(ErrorKind::Config, context))
        }
        Ok(synchronous) => Ok(synchronous),
    }
}

#[cfg(test)]
mod tests;
