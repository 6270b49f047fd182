//! The sessions of one user: listing and ending them.

use super::uncertain::Calls;
use crate::base::error::Result;
use crate::base::event::EndReason;
use crate::base::id::Key;
use crate::store::record::{Fate, Record};
use crate::store::{revoke, revoke_each};

impl Calls<'_> {
    pub(super) async fn list(&self, identity: &str) -> Result<Vec<(Key, Record)>> {
        let records = self.records;
        self.call("list", records.store().list(records.rules.scope, identity)).await
    }

    /// Ends one session of a user, even if it gets a new id meanwhile. Returns whether this call ended it.
    pub(super) async fn revoke(&self, key: Key, identity: &str, reason: EndReason) -> Result<bool> {
        let (records, until) = (self.records, self.records.tombstone(Fate::Ended).expires_at);
        let revoke = revoke(records.store(), records.rules.scope, identity, key, until);
        let ended = self.call("end", revoke).await?;
        ended.iter().for_each(|key| records.report_end_of(key, Some(identity), reason));
        Ok(ended.is_some())
    }

    /// Ends all sessions of a user except `kept`. Returns how many it ended.
    pub(super) async fn revoke_all(&self, identity: &str, kept: Option<Key>) -> Result<u64> {
        let (records, until) = (self.records, self.records.tombstone(Fate::Ended).expires_at);
        let mut ended = Vec::new();
        let revoke = revoke_each(records.store(), records.rules.scope, identity, kept, until, &mut ended);
        let done = self.call("end", revoke).await;
        // Even a call that failed may have ended some sessions.
        ended.iter().for_each(|key| records.report_end_of(key, Some(identity), EndReason::Revoked));
        done?;
        Ok(u64::try_from(ended.len()).unwrap_or(u64::MAX))
    }
}
