//! Types that every other layer uses: errors, injected time, ids and keys, lifetimes.

pub(crate) mod clock;
pub(crate) mod error;
pub(crate) mod expiry;
pub(crate) mod hex;
pub(crate) mod hint;
pub(crate) mod id;
