//! The index of identities: for each identity a sorted set of the keys of its sessions.
//!
//! In a cluster the index is at another node than the sessions, and no script reaches both. So a key is added before its
//! record is written, and readers check each record. Stale entries are removed by readers after a grace period, and expire by
//! themselves.

use std::time::Duration;

use redis::{FromRedisValue, cmd};
use sha2::{Digest, Sha256};

use super::fault::unexpected_reply;
use super::server::{CLOCK_SKEW, MAX_KEPT, Server};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::id::Key;

/// How long an entry is kept in addition to two lifetimes of its session.
const SLACK: Duration = Duration::from_hours(24);
/// A score holds the hour until which the entry is kept, times this number, plus the second in which it was added. Both fit
/// into a double.
const SECONDS: u64 = 1 << 32;
const MAX_HOURS: u64 = (1 << 21) - 1;
const MAX_SECONDS: u64 = SECONDS - 1;

/// The name of an identity's index, without the prefix. It reveals neither scope nor identity.
fn name(scope: &str, identity: &str) -> String {
    let length = u64::try_from(scope.len()).unwrap_or(u64::MAX).to_be_bytes();
    let digest = Sha256::new().chain_update(length).chain_update(scope).chain_update(identity).finalize();
    format!("index:{}", Key::from_bytes(digest.into()).to_hex())
}

/// How long the entry of a session with the remaining `lifetime` is kept: two lifetimes and a day, so that a session
/// stays listed if a process ends after it has moved the record's expiry and before it has updated the index.
fn retention(lifetime: Duration) -> Duration {
    lifetime.saturating_mul(2).saturating_add(SLACK).min(MAX_KEPT)
}

/// The current second, and the hour until which an entry is kept.
fn moments(now: Timestamp, retention: Duration) -> (u64, u64) {
    let now = u64::try_from(now.as_millis()).unwrap_or(0) / 1000;
    let hours = now.saturating_add(retention.as_secs()) / 3600 + 1;
    (now.min(MAX_SECONDS), hours.min(MAX_HOURS))
}

/// A session in an index.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexEntry {
    pub key: Key,
    score: u64,
}

impl IndexEntry {
    /// Whether the entry was added within `grace` before `now`, so that its record may not be written yet.
    fn is_young(&self, now: Timestamp, grace: Duration) -> bool {
        let (now, _) = moments(now, Duration::ZERO);
        now.saturating_sub(self.score % SECONDS) <= grace.as_secs()
    }
}

impl Server {
    /// The key of an identity's index.
    pub(super) fn index(&self, scope: &str, identity: &str) -> String {
        format!("{}{}", self.prefix, name(scope, identity))
    }

    /// Adds a session that expires at `expires_at` to the index of its identity.
    pub(super) async fn enlist(&self, scope: &str, identity: &str, key: &Key, expires_at: Timestamp) -> Result<()> {
        let now = self.now();
        let retention = retention(now.until(expires_at));
        let (second, hour) = moments(now, retention);
        let arguments = (second, hour, retention.as_millis().to_string(), key.as_bytes());
        self.run(&self.scripts.enlist, &self.index(scope, identity), &arguments).await?;
        Ok(())
    }

    pub(super) async fn index_entries(&self, index: &str) -> Result<Vec<IndexEntry>> {
        let reply = self.call(index, cmd("ZRANGE").arg(index).arg(0).arg(-1).arg("WITHSCORES")).await?;
        let entries = Vec::<(Vec<u8>, f64)>::from_redis_value(reply).map_err(|_| unexpected_reply())?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "scores are whole numbers")]
        let entry =
            |(key, score): (Vec<u8>, f64)| Some(IndexEntry { key: Key::from_slice(&key)?, score: score as u64 });
        Ok(entries.into_iter().filter_map(entry).collect())
    }

    /// Removes entries without a session, except those whose record may not be written yet.
    pub(super) async fn forget_entries(&self, index: &str, entries: &[IndexEntry]) -> Result<()> {
        // A record is written within two time limits, by a machine whose clock may differ.
        let (now, grace) = (self.now(), self.timeout.saturating_mul(2).saturating_add(CLOCK_SKEW));
        let stale = entries.iter().filter(|entry| !entry.is_young(now, grace));
        let stale: Vec<(&[u8], u64)> = stale.map(|entry| (&entry.key.as_bytes()[..], entry.score)).collect();
        if !stale.is_empty() {
            self.run(&self.scripts.forget, index, &stale).await?;
        }
        Ok(())
    }

    /// Removes the entry of a session that has ended. If this fails, a reader of the index removes the entry.
    pub(super) async fn delist(&self, scope: &str, identity: &str, key: &Key) -> Result<()> {
        let index = self.index(scope, identity);
        self.call(&index, cmd("ZREM").arg(&index).arg(key.as_bytes())).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
