//! What SQLite's errors mean to a store.

use crate::base::error::ErrorKind;

// https://www.sqlite.org/rescode.html
const ERROR: i32 = 1;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READ_ONLY: i32 = 8;
const IO_ERROR: i32 = 10;
const CORRUPT: i32 = 11;
const CANNOT_OPEN: i32 = 14;
const NOT_A_DATABASE: i32 = 26;

fn code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    // The low byte is the code, the others tell more of it.
    Some(code & 0xff)
}

/// The database itself is at fault, or what it lies on: opening it again may help.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    // A connection that was opened while the file was read-only stays so.
    matches!(code(error), Some(READ_ONLY | IO_ERROR | CORRUPT | CANNOT_OPEN | NOT_A_DATABASE))
        || matches!(error, sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed)
}

/// Another connection holds the lock: the statement did nothing.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(BUSY | LOCKED))
}

/// Nobody may write to the file, or this user may not.
pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    code(error) == Some(READ_ONLY)
}

/// What to answer to a call.
pub(super) fn kind(error: &sqlx::Error) -> ErrorKind {
    let late = is_busy(error) || matches!(error, sqlx::Error::PoolTimedOut);
    if late { ErrorKind::Timeout } else { ErrorKind::Unavailable }
}

/// What to answer to a launch: it is told apart whether waiting helps or another configuration.
pub(super) fn launch_kind(error: &sqlx::Error) -> ErrorKind {
    if code(error) == Some(ERROR) { ErrorKind::Config } else { kind(error) }
}
