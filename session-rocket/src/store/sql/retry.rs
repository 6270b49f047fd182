//! Retries of calls that another call was in the way of.

use std::time::{Duration, Instant};

use crate::base::clock::Clock;
use crate::base::id::random_bytes;

/// Repeats `call` until its error is not retryable, or `limit` has passed. A call that is dropped between two attempts
/// leaves no statement behind that is still to run.
pub(super) async fn retry<A, E, F>(
    clock: &dyn Clock,
    limit: Duration,
    is_retryable: impl Fn(&E) -> bool,
    call: impl Fn() -> F,
) -> Result<A, E>
where
    F: Future<Output = Result<A, E>>,
{
    let started = Instant::now();
    loop {
        match call().await {
            Err(error) if is_retryable(&error) && started.elapsed() < limit => {
                // A fixed pause is less fair, and does no harm if the system has no randomness.
                let [random] = random_bytes::<1>().unwrap_or([128]);
                clock.sleep(Duration::from_micros(u64::from(random) * 40)).await;
            }
            done => return done,
        }
    }
}
