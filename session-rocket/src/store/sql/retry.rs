//! Retries calls whose error is retryable.

use std::time::{Duration, Instant};

use crate::base::clock::Clock;
use crate::base::id::random_bytes;

/// Repeats `call` until it succeeds, its error is not retryable, or `limit` has passed.
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
                // If the system returns no random byte, a fixed pause is sufficient.
                let [random] = random_bytes::<1>().unwrap_or([128]);
                clock.sleep(Duration::from_micros(u64::from(random) * 40)).await;
            }
            done => return done,
        }
    }
}
