//! One request's session: what was loaded, what was changed, and what is to become of it.
//!
//! A pure state machine, without I/O and without a clock.

mod access;
pub(crate) mod change;
mod inner;
mod job;
mod lifecycle;

pub(crate) use self::change::replay;
pub use self::inner::State;
pub(crate) use self::job::{Carrier, CookieEffect, Job, Lifecycle, Live, Scope, Sealed, Settled};
