//! A sweep removes expired sessions and tombstones in batches.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select;

use super::Store;
use super::bounded::bounded;
use crate::base::clock::Clock;
use crate::base::error::{Chain, ErrorKind, Result};
use crate::base::id::random_bytes;

/// The maximum number of entries that one call removes. Other writes may wait until the call ends.
const BATCH: u32 = 1000;
/// The time limit of a batch. Without a limit, a store that never replies would prevent all later sweeps.
const BATCH_TIMEOUT: Duration = Duration::from_secs(60);

/// Sweeps `store` about every `interval` until `shutdown` is done.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    interval: Duration,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()>,
) {
    let sweeps = async {
        loop {
            clock.sleep(jittered(interval)).await;
            sweep(&*store, &*clock).await;
        }
    };
    // If the shutdown interrupts a sweep, a sweep after the next launch removes the rest.
    select(pin!(sweeps), pin!(shutdown)).await;
}

async fn sweep(store: &dyn Store, clock: &dyn Clock) {
    let delete = |limit| bounded(clock, BATCH_TIMEOUT, "the store", store.delete_expired(limit));
    let (removed, ended) = in_batches(u64::MAX, delete).await;
    match ended {
        Err(error) if error.kind() != ErrorKind::Unsupported => {
            log::warn!(target: "session_rocket", "cannot sweep expired sessions: {}", Chain(&error));
        }
        Ok(()) | Err(_) => {}
    }
    if removed > 0 {
        log::info!(target: "session_rocket", "swept {removed} expired sessions");
    }
}

/// Calls `delete` with the size of a batch, until nothing is left or `limit` entries are removed. Yields after each batch.
/// Returns the number of removed entries even if a call fails.
pub(crate) async fn in_batches<F>(limit: u64, mut delete: impl FnMut(u32) -> F) -> (u64, Result<()>)
where
    F: Future<Output = Result<u64>>,
{
    let mut removed = 0;
    while removed < limit {
        let left = u32::try_from(limit - removed).unwrap_or(u32::MAX);
        match delete(BATCH.min(left)).await {
            Ok(0) => break,
            Ok(batch) => removed += batch,
            Err(error) => return (removed, Err(error)),
        }
        tokio::task::yield_now().await;
    }
    (removed, Ok(()))
}

/// Returns 90 to 110 percent of `interval`, so that the processes of a site do not all sweep at the same time.
fn jittered(interval: Duration) -> Duration {
    let random = random_bytes::<1>().map_or(128, |[byte]| byte);
    interval.mul_f64(0.9 + f64::from(random) / 255.0 * 0.2)
}

#[cfg(test)]
mod tests;
