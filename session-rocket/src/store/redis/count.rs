//! Counts the sessions of a server in batches, so that the server can run other commands between two batches.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use redis::{Value, from_redis_value};

use super::fault::unexpected_reply;
use super::node::{Node, command};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::id::Key;
use crate::store::{Stats, envelope};

const BATCH: u32 = 500;

/// Adds the sessions of the batch at `cursor` to `stats`. Returns the next cursor, or "0" after the last batch.
pub(super) async fn count_batch(
    node: &Arc<Node>,
    prefix: &str,
    now: Timestamp,
    cursor: String,
    stats: &mut Stats,
) -> Result<String> {
    let scan = command(("SCAN", cursor, "MATCH", format!("{}*", escape_pattern(prefix)), "COUNT", BATCH));
    let (next, names): (String, Vec<String>) =
        from_redis_value(node.call(scan).await?).map_err(|_| unexpected_reply())?;
    let sessions = names.iter().filter(|name| is_session(name, prefix));
    let reading = sessions.map(|name| async move { node.call(command(("GET", name))).await });
    for entry in try_join_all(reading).await? {
        // A key that has expired since the `SCAN` has no value.
        if let Value::BulkString(entry) = entry {
            stats.add(&envelope::decode(Bytes::from(entry))?, now);
        }
    }
    Ok(next)
}

/// Whether `name` is the key of a session. Other names are indexes, or belong to a site whose prefix begins with
/// `prefix`.
fn is_session(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).and_then(Key::from_hex).is_some()
}

/// Returns a pattern that matches only `text`.
fn escape_pattern(text: &str) -> String {
    let special = |letter: char| matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^');
    text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

#[cfg(test)]
mod tests;
