//! The index of identities: for each identity, a sorted set of the keys of its sessions.
//!
//! In a cluster, the index may be on another node than a session, and no script can change both. So a key is added to the
//! index before its record is written, and readers of the index check each record. Readers remove stale entries, whose
//! keys hold no session, after a grace period. Each addition removes the entries whose time to be kept is over.

use std::time::Duration;

use redis::FromRedisValue;
use sha2::{Digest, Sha256};

use super::fault::unexpected_reply;
use super::node::command;
use super::server::{CLOCK_SKEW, MAX_RETENTION, Server};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::id::Key;

/// The time for which an entry is kept in addition to two lifetimes of its session.
const EXTRA_RETENTION: Duration = Duration::from_hours(24);
/// The factor of the hour in a score. A score is the hour until which the entry is kept, multiplied by this factor, plus
/// the second in which the entry was added. A double can represent every score.
const HOUR_FACTOR: u64 = 1 << 32;
const MAX_HOUR: u64 = (1 << 21) - 1;
const MAX_SECOND: u64 = HOUR_FACTOR - 1;

/// Returns the name of an identity's index, without the prefix. The name contains a hash, which hides the identity.
fn name(scope: &str, identity: &str) -> String {
    let length = u64::try_from(scope.len()).unwrap_or(u64::MAX).to_be_bytes();
    let digest = Sha256::new().chain_update(length).chain_update(scope).chain_update(identity).finalize();
    format!("index:{}", Key::from_bytes(digest.into()).to_hex())
}

/// Returns how long to keep the entry of a session with the remaining `lifetime`: two lifetimes and a day. So if a process
/// ends after it renewed a session and before it updated the index, the session stays listed.
fn retention(lifetime: Duration) -> Duration {
    lifetime.saturating_mul(2).saturating_add(EXTRA_RETENTION).min(MAX_RETENTION)
}

/// Returns the two times of a score: the current second, and the hour until which an entry is kept.
fn score_times(now: Timestamp, retention: Duration) -> (u64, u64) {
    let now = u64::try_from(now.as_millis()).unwrap_or(0) / 1000;
    let hour = now.saturating_add(retention.as_secs()) / 3600 + 1;
    (now.min(MAX_SECOND), hour.min(MAX_HOUR))
}

/// A session in an index.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexEntry {
    pub key: Key,
    score: u64,
}

impl IndexEntry {
    /// Whether the entry was added within `grace` before `now`. The record of a recent entry may not be written yet.
    fn is_recent(&self, now: Timestamp, grace: Duration) -> bool {
        let (now, _) = score_times(now, Duration::ZERO);
        now.saturating_sub(self.score % HOUR_FACTOR) <= grace.as_secs()
    }
}

impl Server {
    /// Returns the name of an identity's index.
    pub(super) fn index(&self, scope: &str, identity: &str) -> String {
        format!("{}{}", self.prefix, name(scope, identity))
    }

    /// Adds a session that expires at `expires_at` to the index of its identity.
    pub(super) async fn add_to_index(
        &self,
        scope: &str,
        identity: &str,
        key: &Key,
        expires_at: Timestamp,
    ) -> Result<()> {
        let now = self.now();
        let retention = retention(now.until(expires_at));
        let (second, hour) = score_times(now, retention);
        let arguments = (second, hour, retention.as_millis(), key.as_bytes());
        self.run(&self.scripts.add_to_index, &self.index(scope, identity), &arguments).await?;
        Ok(())
    }

    pub(super) async fn index_entries(&self, index: &str) -> Result<Vec<IndexEntry>> {
        let reply = self.call(index, command(("ZRANGE", index, 0, -1, "WITHSCORES"))).await?;
        let entries = Vec::<(Vec<u8>, f64)>::from_redis_value(reply).map_err(|_| unexpected_reply())?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "scores are whole numbers")]
        let entry =
            |(key, score): (Vec<u8>, f64)| Some(IndexEntry { key: Key::from_slice(&key)?, score: score as u64 });
        Ok(entries.into_iter().filter_map(entry).collect())
    }

    /// Removes stale entries, except recent ones.
    pub(super) async fn remove_stale_entries(&self, index: &str, entries: &[IndexEntry]) -> Result<()> {
        // A record is written at most two time limits after its entry, by a machine whose clock may differ.
        let (now, grace) = (self.now(), self.timeout.saturating_mul(2).saturating_add(CLOCK_SKEW));
        let stale = entries.iter().filter(|entry| !entry.is_recent(now, grace));
        let stale: Vec<(&[u8], u64)> = stale.map(|entry| (&entry.key.as_bytes()[..], entry.score)).collect();
        if !stale.is_empty() {
            self.run(&self.scripts.remove_from_index, index, &stale).await?;
        }
        Ok(())
    }

    /// Removes the entry of a session that has ended. If this fails, a reader of the index removes the entry.
    pub(super) async fn remove_from_index(&self, scope: &str, identity: &str, key: &Key) -> Result<()> {
        let index = self.index(scope, identity);
        self.call(&index, command(("ZREM", &index, key.as_bytes()))).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
