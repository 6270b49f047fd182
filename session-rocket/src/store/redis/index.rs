//! The index of identities: a sorted set for each, of the keys of its sessions.
//!
//! In a cluster it lies elsewhere than the sessions, and no script reaches both. So a key is put there before its
//! record is written, and whoever reads the index looks at each record. What is no longer right is dropped by readers,
//! after a while, and by itself when it is long over.

use std::time::Duration;

use redis::{FromRedisValue, cmd};
use sha2::{Digest, Sha256};

use super::script::senseless;
use super::{LONGEST, MINUTE, RedisStore};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::id::Key;

/// What comes on top of two lifetimes.
const SLACK: Duration = Duration::from_hours(24);
/// The place of the hours of keeping in a score, above the seconds of adding. Both fit into a double.
const SECONDS: u64 = 1 << 32;
const MOST_HOURS: u64 = (1 << 21) - 1;
const MOST_SECONDS: u64 = SECONDS - 1;

/// The name of an identity's index in Redis, without the prefix: neither scope nor identity can be read from it.
fn name(scope: &str, identity: &str) -> String {
    let length = u64::try_from(scope.len()).unwrap_or(u64::MAX).to_be_bytes();
    let digest = Sha256::new().chain_update(length).chain_update(scope).chain_update(identity).finalize();
    format!("index:{}", Key::from_bytes(digest.into()).to_hex())
}

/// How long the index has to know a session, to live from now on for `lifetime`: for one lifetime more and a day, so
/// that nothing is lost when a process ends between moving a record's expiry and coming here.
fn keeping(lifetime: Duration) -> Duration {
    lifetime.saturating_mul(2).saturating_add(SLACK)
}

/// This second, and the hour until which a session is to be kept.
fn moments(now: Timestamp, keeping: Duration) -> (u64, u64) {
    let now = u64::try_from(now.as_millis()).unwrap_or(0) / 1000;
    let hours = now.saturating_add(keeping.as_secs()) / 3600 + 1;
    (now.min(MOST_SECONDS), hours.min(MOST_HOURS))
}

/// A session in an index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub key: Key,
    score: u64,
}

impl Member {
    /// Was it put there within `grace` before `now`? Then its record may be about to be written.
    fn is_young(&self, now: Timestamp, grace: Duration) -> bool {
        let (now, _) = moments(now, Duration::ZERO);
        now.saturating_sub(self.score % SECONDS) <= grace.as_secs()
    }
}

impl RedisStore {
    pub(super) fn index(&self, scope: &str, identity: &str) -> String {
        format!("{}{}", self.prefix, name(scope, identity))
    }

    /// Puts a session, to live until `expires_at`, into its identity's index.
    pub(super) async fn enlist(&self, scope: &str, identity: &str, key: &Key, expires_at: Timestamp) -> Result<()> {
        let now = self.clock.now();
        let keeping = keeping(now.until(expires_at)).min(LONGEST);
        let (second, hour) = moments(now, keeping);
        let numbers = [second.to_string(), hour.to_string(), keeping.as_millis().to_string()];
        let [second, hour, keeping] = numbers.each_ref().map(String::as_bytes);
        let arguments = [second, hour, keeping, key.as_bytes().as_slice()];
        self.run(&self.scripts.enlist, &self.index(scope, identity), &arguments).await.map(|_| ())
    }

    pub(super) async fn members(&self, index: &str) -> Result<Vec<Member>> {
        let answer = self.call(index, cmd("ZRANGE").arg(index).arg(0).arg(-1).arg("WITHSCORES")).await?;
        let members = Vec::<(Vec<u8>, f64)>::from_redis_value(answer).map_err(|_| senseless())?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "scores are whole numbers")]
        let member = |(key, score): (Vec<u8>, f64)| Some(Member { key: Key::from_slice(&key)?, score: score as u64 });
        Ok(members.into_iter().filter_map(member).collect())
    }

    /// Takes members out of an index, but for those whose record may just be on its way.
    pub(super) async fn forget(&self, index: &str, members: &[Member]) -> Result<()> {
        // Twice what a call may take, and a minute in which clocks may differ.
        let (now, grace) = (self.clock.now(), self.timeout.saturating_mul(2).saturating_add(MINUTE));
        let stale = members.iter().filter(|member| !member.is_young(now, grace));
        let texts: Vec<(Key, String)> = stale.map(|member| (member.key, member.score.to_string())).collect();
        if texts.is_empty() {
            return Ok(());
        }
        let arguments: Vec<&[u8]> =
            texts.iter().flat_map(|(key, score)| [key.as_bytes().as_slice(), score.as_bytes()]).collect();
        self.run(&self.scripts.forget, index, &arguments).await.map(|_| ())
    }

    /// Takes a session that has ended out of its identity's index. If that fails, whoever reads the index does it.
    pub(super) async fn delist(&self, scope: &str, identity: &str, key: &Key) -> Result<()> {
        let index = self.index(scope, identity);
        self.call(&index, cmd("ZREM").arg(&index).arg(key.as_bytes())).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_and_identities_do_not_run_into_each_other() {
        assert_ne!(name("ab", "c"), name("a", "bc"));
        assert_eq!(name("a", "b"), name("a", "b"));
    }

    #[test]
    fn a_score_fits_into_a_double_whatever_the_moment() {
        for now in [i64::MIN, 0, 1_700_000_000_000, i64::MAX] {
            for lifetime in [Duration::ZERO, Duration::MAX] {
                let (second, hour) = moments(Timestamp::from_millis(now), keeping(lifetime));
                assert!(hour * SECONDS + second < 1 << 53);
            }
        }
    }

    #[test]
    fn a_member_is_young_for_the_grace() {
        let added = Timestamp::from_millis(1_700_000_000_000);
        let (second, hour) = moments(added, keeping(Duration::from_hours(1)));
        let member = Member { key: Key::from_bytes([0; 32]), score: hour * SECONDS + second };
        let grace = Duration::from_secs(60);
        assert!(member.is_young(added, grace) && member.is_young(added.plus(grace), grace));
        assert!(!member.is_young(added.plus(grace * 2), grace));
    }
}
