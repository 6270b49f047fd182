//! The sweeper: removes what expired, a little at a time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};

use super::Store;
use crate::clock::Clock;
use crate::error::{Chain, ErrorKind};
use crate::id::random_bytes;

/// So many rows go in one statement: others' writes wait for no more than that.
const BATCH: u32 = 1000;

/// Sweeps `store` about every `interval` until `shutdown` is done.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    interval: Duration,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    loop {
        let wait = clock.sleep(jittered(interval));
        if let Either::Right(_) = select(wait, shutdown.as_mut()).await {
            return;
        }
        let sweep = pin!(sweep(&*store));
        // A sweep cut off by the shutdown goes on at the next launch.
        if let Either::Right(_) = select(sweep, shutdown.as_mut()).await {
            return;
        }
    }
}

/// Removes all that expired, in batches, letting others run in between.
async fn sweep(store: &dyn Store) {
    let mut removed = 0;
    loop {
        match store.delete_expired(BATCH).await {
            Ok(0) => break,
            Ok(batch) => removed += batch,
            Err(error) if error.kind() == ErrorKind::Unsupported => break,
            Err(error) => {
                log::warn!(target: "session_rocket", "cannot sweep expired sessions: {}", Chain(&error));
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    if removed > 0 {
        log::info!(target: "session_rocket", "swept {removed} expired sessions");
    }
}

/// Between nine tenths and eleven tenths of it, so that many processes do not sweep at once.
fn jittered(interval: Duration) -> Duration {
    let random = random_bytes::<1>().map_or(128, |[byte]| byte);
    interval.mul_f64(0.9 + f64::from(random) / 255.0 * 0.2)
}
