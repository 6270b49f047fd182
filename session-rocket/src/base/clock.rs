//! Time, injected: tests move it, they do not wait for it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
use std::time::Duration;

use time::OffsetDateTime;

/// A moment, in milliseconds since the Unix epoch: the form stores keep it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment plus `duration`, at most the last moment that can be told.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long until `later`; zero when `later` is not later.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// As a date, cut to the years a date can hold.
    pub fn to_date(self) -> OffsetDateTime {
        const LAST: OffsetDateTime = time::macros::datetime!(9999-12-31 23:59:59 UTC);
        const FIRST: OffsetDateTime = time::macros::datetime!(0000-01-01 0:00 UTC);
        let end = if self.0 < 0 { FIRST } else { LAST };
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).unwrap_or(end)
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(date: OffsetDateTime) -> Self {
        let millis = date.unix_timestamp_nanos() / 1_000_000;
        Self(i64::try_from(millis).unwrap_or(if millis < 0 { i64::MIN } else { i64::MAX }))
    }
}

/// A future that ends when a [`Clock`] says so.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the time comes from.
///
/// Sites need none of this: [`SystemClock`] is the default. Tests hand a [`ManualClock`] to the fairing and move it.
pub trait Clock: Send + Sync + 'static {
    /// What time it is.
    fn now(&self) -> Timestamp;

    /// A future that is done after `duration`: used for timeouts and for the pause between two tries.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// What `call` gives, unless it takes longer than `limit`: then it is dropped.
pub(crate) async fn within<A>(
    clock: &dyn Clock,
    limit: impl FnOnce() -> Duration,
    call: impl Future<Output = A>,
) -> Option<A> {
    let mut call = pin!(call);
    let mut limit = Some(limit);
    let mut sleep = None;
    std::future::poll_fn(|context| {
        if let Poll::Ready(answer) = call.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        // Most calls to memory are done at once: only those that wait need a timer.
        if let Some(limit) = limit.take() {
            sleep = Some(clock.sleep(limit()));
        }
        let Some(sleep) = &mut sleep else { return Poll::Pending };
        sleep.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// A clock that somebody else also holds, for instance a test that moves it.
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        (**self).sleep(duration)
    }
}

/// The machine's clock and tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock that is set before the epoch stands at it.
        Timestamp(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands still until it is moved. Its [`sleep`](Clock::sleep) is real, so timeouts still end.
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
    /// A clock that shows `now`.
    pub const fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.store(self.now().plus(by).0, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// A clock that starts at the machine's time.
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
