//! The session of one request: the loaded data, the changes, and what the next commit does.
//!
//! This layer is a pure state machine without I/O and without a clock.

mod access;
mod carrier;
pub(crate) mod change;
mod csrf;
mod inner;
mod pending;

pub(crate) use self::carrier::{Carrier, CommitScope, Committed, CookieEffect, Lifecycle, Live, PendingCommit, Sealed};
pub(crate) use self::change::while_replaying;
pub(crate) use self::csrf::CsrfCheck;
pub use self::inner::State;
