//! Typed sessions for Rocket.

pub mod clock;
mod codec;
mod commit;
mod data;
pub mod error;
pub mod expiry;
mod faithful;
mod field;
pub mod id;
pub mod record;
mod session;
mod state;
pub mod store;
mod values;

pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use data::SessionData;
pub use error::{Error, ErrorKind, Result};
pub use expiry::{Expiry, Refresh};
pub use id::{Key, SessionId};
pub use record::{Fate, Record, Tombstone, Version};

#[cfg(test)]
mod tests;
