//! The time limit of a call.

use std::time::Duration;

use humantime::format_duration;

use crate::base::clock::{Clock, within};
use crate::base::error::{Error, ErrorKind, Result};

/// Waits for `call`. After `limit`, returns [`ErrorKind::Timeout`] with a message that names `server`.
pub(crate) async fn bounded<A>(
    clock: &dyn Clock,
    limit: Duration,
    server: &str,
    call: impl Future<Output = Result<A>> + Unpin,
) -> Result<A> {
    within(clock, || limit, call).await.unwrap_or_else(|| {
        let context = format!("{server} did not reply within {}", format_duration(limit));
        Err(Error::new(ErrorKind::Timeout, context))
    })
}
