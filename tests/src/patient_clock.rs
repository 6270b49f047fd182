//! A clock for sites whose cache works.

use std::time::Duration;

use session_rocket::{Clock, Sleep, SystemClock, Timestamp};

/// How long the clock waits before a call times out. Only a call that hangs takes so long.
pub const PATIENT: Duration = Duration::from_secs(60);

/// A clock with which no call times out in less than [`PATIENT`].
///
/// A call to a cache counts as failed after at most a second, and then another process can read an outdated record for a
/// while. Tests whose cache works use this clock, because a busy machine can delay a call for that long.
pub struct PatientClock;

impl Clock for PatientClock {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        // Shorter durations are pauses between retries.
        let is_timeout = duration >= Duration::from_millis(100);
        SystemClock.sleep(if is_timeout { duration.max(PATIENT) } else { duration })
    }
}
