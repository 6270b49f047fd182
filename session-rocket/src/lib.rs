//! Typed sessions for Rocket.

pub mod clock;
pub mod error;
pub mod expiry;
pub mod id;
pub mod record;
pub mod store;

pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use error::{Error, ErrorKind, Result};
pub use expiry::{Expiry, Refresh};
pub use id::{Key, SessionId};
pub use record::{Fate, Record, Tombstone, Version};
