//! Types that every other layer uses: errors, events, clocks, ids and keys, lifetimes, limits.

pub(crate) mod clock;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod expiry;
pub(crate) mod hex;
pub(crate) mod hint;
pub(crate) mod id;
pub(crate) mod limit;
