//! Limits of times and sizes.

use std::time::Duration;

/// The assumed maximum difference between the clocks of two machines.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// The maximum time for which Redis keeps a key: longer than any session, and short enough for any server to count.
pub(super) const MAX_KEPT: Duration = Duration::from_hours(24 * 365 * 100);
/// The maximum size of a Redis string, in bytes.
pub(super) const MAX_STRING: usize = 512 * 1024 * 1024;
