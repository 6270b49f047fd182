//! Counting the sessions of a server, in batches, so that the server serves other calls in between.

use bytes::Bytes;
use futures::future::try_join_all;
use redis::{Value, cmd, from_redis_value};

use super::fault::unexpected_reply;
use super::node::Node;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::store::{Stats, envelope};

/// The number of keys in a batch.
const BATCH: u32 = 500;
/// A moment at which nothing has expired.
const BEGINNING: Timestamp = Timestamp::from_millis(i64::MIN);
/// The number of hexadecimal digits of a session's key.
const DIGITS: usize = 64;

/// Adds the sessions of a server under `prefix` to `stats`.
pub(super) async fn count(node: &Node, prefix: &str, now: Timestamp, stats: &mut Stats) -> Result<()> {
    let pattern = format!("{}*", literally(prefix));
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(BATCH);
        let found: (String, Vec<String>) = from_redis_value(node.call(&scan).await?).map_err(|_| unexpected_reply())?;
        let names: Vec<String> = found.1.into_iter().filter(|name| is_session(name, prefix)).collect();
        let reading = names.iter().map(|name| async move { node.call(cmd("GET").arg(name)).await });
        for held in try_join_all(reading).await? {
            // A key that expired in between has no value.
            if let Value::BulkString(held) = held {
                stats.add(&envelope::open(Bytes::from(held), BEGINNING)?, now);
            }
        }
        cursor = found.0;
        if cursor == "0" {
            return Ok(());
        }
    }
}

/// Whether it is the key of a session, and not an index, or a key of another site whose prefix begins with `prefix`.
fn is_session(name: &str, prefix: &str) -> bool {
    let key = name.strip_prefix(prefix).unwrap_or_default();
    key.len() == DIGITS && key.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// The pattern that matches only `text`.
fn literally(text: &str) -> String {
    let special = |letter: char| matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^');
    text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

#[cfg(test)]
mod tests;
