//! The session of one request: the loaded data, the changes, and what the next commit does.
//!
//! This layer is a pure state machine without I/O and without a clock.

mod access;
pub(crate) mod change;
mod csrf;
mod inner;
mod pending;
mod status;

pub(crate) use self::change::while_replaying;
pub(crate) use self::csrf::CsrfCheck;
pub use self::inner::State;
pub(crate) use self::status::{
    CommitScope, Committed, CookieEffect, Lifecycle, Live, PendingCommit, Sealed, SessionStatus,
};
