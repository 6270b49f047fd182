//! Sources of time, which a test can replace to move the time instead of waiting.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

/// A point in time, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Creates the timestamp `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns this timestamp plus `duration`, saturating at the latest timestamp.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Returns the duration from this timestamp to `later`, or zero if `later` is before this timestamp.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// Converts the timestamp to a date in UTC, clamped to the years 0 to 9999.
    pub fn to_date(self) -> OffsetDateTime {
        const LAST: OffsetDateTime = time::macros::datetime!(9999-12-31 23:59:59 UTC);
        const FIRST: OffsetDateTime = time::macros::datetime!(0000-01-01 0:00 UTC);
        let end = if self.0 < 0 { FIRST } else { LAST };
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).unwrap_or(end)
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(date: OffsetDateTime) -> Self {
        Self(date.unix_timestamp() * 1000 + i64::from(date.millisecond()))
    }
}

/// Writes the date in UTC in the form of RFC 3339, in whole seconds: `2026-11-30T07:49:21Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.to_date();
        let (year, month, day) = date.to_calendar_date();
        let (hour, minute, second) = date.to_hms();
        write!(f, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
    }
}

/// Serializes the string that `Display` writes.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The future that [`Clock::sleep`] returns.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source of time.
///
/// The default is [`SystemClock`]. A test can pass a [`ManualClock`] to
/// [`SessionFairing::clock`](crate::SessionFairing::clock).
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Timestamp;

    /// Returns a future that completes after `duration`.
    ///
    /// The library uses this function for timeouts and for the pauses between retries.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// Waits for `call`, and returns `None` if it takes longer than `limit`.
///
/// `call` is `Unpin`, so that callers pass a pinned reference. This `async fn` would store an owned future twice.
pub(crate) async fn within<A>(
    clock: &dyn Clock,
    limit: impl FnOnce() -> Duration,
    mut call: impl Future<Output = A> + Unpin,
) -> Option<A> {
    let mut limit = Some(limit);
    let mut sleep = None;
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = Pin::new(&mut call).poll(context) {
            return Poll::Ready(Some(output));
        }
        // Most calls to the memory store finish at the first poll and need no timer.
        if let Some(limit) = limit.take() {
            sleep = Some(clock.sleep(limit()));
        }
        let Some(sleep) = &mut sleep else { return Poll::Pending };
        sleep.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Lets a test and the site share one clock, so that the test can move it.
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        (**self).sleep(duration)
    }
}

/// The default clock, which uses the machine's clock and Tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// Returns the same object at each call, because session types share a store only if they have the same clock.
    pub(crate) fn shared() -> Arc<dyn Clock> {
        static CLOCK: LazyLock<Arc<SystemClock>> = LazyLock::new(|| Arc::new(SystemClock));
        CLOCK.clone()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock that is set before the epoch reads as the epoch.
        Timestamp(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock for tests. Its time stands still until [`advance`](Self::advance) moves it.
///
/// Its [`sleep`](Clock::sleep) uses real time, so that timeouts still expire.
///
/// ```
/// use std::time::Duration;
/// use session_rocket::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::at(Timestamp::from_millis(0));
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), Timestamp::from_millis(60_000));
/// ```
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Creates a clock whose time is `now`.
    pub const fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves the clock forward by `by`.
    pub fn advance(&self, by: Duration) {
        self.0.store(self.now().plus(by).0, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// Creates a clock whose time is the machine's current time.
    fn default() -> Self {
        Self::at(SystemClock.now())
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        SystemClock.sleep(duration)
    }
}

#[cfg(test)]
mod tests;
