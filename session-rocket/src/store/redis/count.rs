//! How much a server keeps: all its keys are looked at, some at a time, so that others are served in between.

use bytes::Bytes;
use futures::future::try_join_all;
use redis::{Value, cmd, from_redis_value};

use super::node::Node;
use super::script::senseless;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::store::{Stats, envelope};

/// So many keys are looked at in one go.
const BATCH: u32 = 500;
/// Before all that expires.
const EVER: Timestamp = Timestamp::from_millis(i64::MIN);
/// The digits of a session's key.
const DIGITS: usize = 64;

/// Adds what a server keeps under `prefix` to `stats`.
pub(super) async fn count(node: &Node, prefix: &str, now: Timestamp, stats: &mut Stats) -> Result<()> {
    let pattern = format!("{}*", literally(prefix));
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(BATCH);
        let found: (String, Vec<String>) = from_redis_value(node.call(&scan).await?).map_err(|_| senseless())?;
        let names: Vec<String> = found.1.into_iter().filter(|name| is_session(name, prefix)).collect();
        let reading = names.iter().map(|name| async move { node.call(cmd("GET").arg(name)).await });
        for held in try_join_all(reading).await? {
            // What expired since is gone.
            if let Value::BulkString(held) = held {
                stats.add(&envelope::open(Bytes::from(held), EVER)?, now);
            }
        }
        cursor = found.0;
        if cursor == "0" {
            return Ok(());
        }
    }
}

/// A session's key, not an index, nor one of another site whose prefix begins with this one.
fn is_session(name: &str, prefix: &str) -> bool {
    let key = name.strip_prefix(prefix).unwrap_or_default();
    key.len() == DIGITS && key.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// A text as a pattern that only it matches.
fn literally(text: &str) -> String {
    let special = |letter: char| matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^');
    text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_itself_alone() {
        assert_eq!(literally("a*b[c]?\\"), "a\\*b\\[c\\]\\?\\\\");
        let key = "0f".repeat(32);
        assert!(is_session(&format!("x:{key}"), "x:"));
        for other in [format!("x:index:{key}"), format!("x:{key}0"), "x:".into(), format!("y:{key}")] {
            assert!(!is_session(&other, "x:"), "{other}");
        }
    }
}
