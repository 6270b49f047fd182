//! Ending the sessions of a user. TEMPORARY
use super::{Lookup, Retire, Store};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::{Fate, Tombstone};
use futures::future::join_all;

#[allow(clippy::missing_errors_doc)]
/// Ends the live sessions of `identity` in `scope` except `kept`. Returns the keys of the sessions it ended.
pub async fn revoke_all(
    store: &dyn Store,
    scope: &str,
    identity: &str,
    kept: Option<Key>,
    until: Timestamp,
) -> Result<Vec<Key>> {
    let mut ended = Vec::new();
    for _ in 0..8 {
        let mut listed = store.list(scope, identity).await?;
        listed.retain(|(key, _)| Some(*key) != kept);
        if listed.is_empty() {
            return Ok(ended);
        }
        for key in join_all(listed.into_iter().map(|(key, _)| revoke(store, scope, identity, key, until))).await {
            ended.extend(key?);
        }
    }
    Err(Error::new(ErrorKind::Timeout, "x"))
}

#[allow(clippy::missing_errors_doc)]
/// Ends the session of `identity` at `key`, or at the key it moved to. Returns its key, or `None` if it had ended.
pub async fn revoke(
    store: &dyn Store,
    scope: &str,
    identity: &str,
    mut key: Key,
    until: Timestamp,
) -> Result<Option<Key>> {
    loop {
        if store.retire(&key, None, Tombstone::ended(until)).await? == Retire::Retired {
            return Ok(Some(key));
        }
        match store.load(&key).await? {
            Lookup::Found(record) if record.belongs_to(scope, identity) => {}
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => key = to,
            _ => return Ok(None),
        }
    }
}
