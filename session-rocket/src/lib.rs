//! Typed sessions for Rocket.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod change;
mod clock;
mod codec;
mod commit;
mod data;
mod error;
mod expiry;
mod faithful;
mod field;
mod id;
#[doc(hidden)]
pub mod private;
mod record;
mod session;
mod state;
pub mod store;
mod values;
mod web;

pub use clock::{Clock, ManualClock, Sleep, SystemClock, Timestamp};
pub use data::SessionData;
pub use error::{Error, ErrorKind, Result};
pub use expiry::{Expiry, Refresh};
pub use id::{Key, SessionId};
pub use record::{Fate, Record, Tombstone, Version};
pub use session::Session;
pub use session_derive::Session;
#[cfg(feature = "sqlite")]
pub use sqlx;
pub use time;
pub use web::config::Config;
pub use web::fairing::SessionFairing;

#[cfg(test)]
mod tests;

/// Compiles the program in the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
