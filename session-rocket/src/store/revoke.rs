//! Ends sessions of a user with a store's `list`, `retire` and `load`.

use std::time::Instant;

use futures::stream::{FuturesUnordered, StreamExt};

use super::{Lookup, Retire, Store};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::{Fate, TOMBSTONE_LIFETIME, Tombstone};

/// The maximum number of lists. Each list after the first finds only sessions that began or moved since the last list.
const MAX_ROUNDS: usize = 16;
/// The number of sessions that are ended concurrently.
const CONCURRENT_CALLS: usize = 16;
/// The maximum number of calls that follow one session from key to key.
const MAX_STEPS: usize = 100;

/// Ends the live sessions of `identity` in `scope`, except the session at `kept`. Returns the keys of the ended sessions.
///
/// The sessions leave tombstones that expire at `until`: pass the current time plus [`TOMBSTONE_LIFETIME`]. A session that
/// gets a new id meanwhile ends too, and the result may contain its old and its new key. If the session at `kept` has
/// moved, the function keeps the session at its new key. But the session to keep may end if another request gives it a
/// new id meanwhile: until that request has retired the old key, the new key looks like the key of another session.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use session_rocket::store::{Lookup, Store, TOMBSTONE_LIFETIME, memory::MemoryStore, revoke_all};
/// use session_rocket::{Clock, Key, Record, SystemClock, Version};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> session_rocket::Result<()> {
/// let store = MemoryStore::new(1000, Arc::new(SystemClock));
/// let in_an_hour = SystemClock.now().plus(Duration::from_secs(3600));
/// let record = Record::new(Version::from_bits(1), in_an_hour).with_scope("visitor").with_identity("ada");
/// let (phone, laptop) = (Key::from_bytes([1; 32]), Key::from_bytes([2; 32]));
/// store.create(&phone, &record).await?;
/// store.create(&laptop, &record).await?;
///
/// let until = SystemClock.now().plus(TOMBSTONE_LIFETIME);
/// assert_eq!(revoke_all(&store, "visitor", "ada", Some(laptop), until).await?, [phone]);
/// assert!(matches!(store.load(&laptop).await?, Lookup::Found(_)));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// - [`ErrorKind::Unsupported`] if the store has no index of identities.
/// - [`ErrorKind::Timeout`] if the sessions get new ids faster than they can be ended, or if a list takes so long that it
///   may have missed a session that moved.
/// - Errors of the store. If a session cannot be ended, the function ends the other sessions first.
///
/// After an error, some sessions may have ended. Call the function again to end the rest.
pub async fn revoke_all(
    store: &dyn Store,
    scope: &str,
    identity: &str,
    kept: Option<Key>,
    until: Timestamp,
) -> Result<Vec<Key>> {
    let mut ended = Vec::new();
    revoke_each(store, scope, identity, kept, until, &mut ended).await?;
    Ok(ended)
}

/// Does what [`revoke_all`] does, but adds the keys of the ended sessions to `ended`, even if it returns an error.
pub(crate) async fn revoke_each(
    store: &dyn Store,
    scope: &str,
    identity: &str,
    kept: Option<Key>,
    until: Timestamp,
    ended: &mut Vec<Key>,
) -> Result<()> {
    let mut kept = Vec::from_iter(kept);
    for _ in 0..MAX_ROUNDS {
        let started = Instant::now();
        let listed = store.list(scope, identity).await?;
        let took = started.elapsed();
        let mut keys: Vec<Key> = listed.into_iter().map(|(key, _)| key).filter(|key| !kept.contains(key)).collect();
        if let Some(last) = kept.last().copied()
            && !keys.is_empty()
        {
            follow(store, last, &mut kept).await?;
            keys.retain(|key| !kept.contains(key));
        }
        if keys.is_empty() {
            return if took < TOMBSTONE_LIFETIME { Ok(()) } else { Err(slow_list()) };
        }
        end_each(store, scope, identity, &keys, until, ended).await?;
    }
    Err(too_many_moves())
}

/// Ends the session of `identity` in `scope` at `key`, or at the key to which the session moved. Returns the key of the
/// ended session, or `None` if `key` leads to no live session of that identity and scope.
///
/// The session leaves a tombstone that expires at `until`: pass the current time plus [`TOMBSTONE_LIFETIME`]. The store
/// needs no index of identities.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use session_rocket::store::{Store, TOMBSTONE_LIFETIME, memory::MemoryStore, revoke};
/// use session_rocket::{Clock, Key, Record, SystemClock, Version};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> session_rocket::Result<()> {
/// let store = MemoryStore::new(1000, Arc::new(SystemClock));
/// let in_an_hour = SystemClock.now().plus(Duration::from_secs(3600));
/// let record = Record::new(Version::from_bits(1), in_an_hour).with_scope("visitor").with_identity("ada");
/// let phone = Key::from_bytes([1; 32]);
/// store.create(&phone, &record).await?;
///
/// let until = SystemClock.now().plus(TOMBSTONE_LIFETIME);
/// assert_eq!(revoke(&store, "visitor", "mallory", phone, until).await?, None);
/// assert_eq!(revoke(&store, "visitor", "ada", phone, until).await?, Some(phone));
/// assert_eq!(revoke(&store, "visitor", "ada", phone, until).await?, None);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ErrorKind::Timeout`] if the session gets new ids faster than it can be ended, or an error of the store. After an
/// error, the session may have ended.
pub async fn revoke(
    store: &dyn Store,
    scope: &str,
    identity: &str,
    mut key: Key,
    until: Timestamp,
) -> Result<Option<Key>> {
    for _ in 0..MAX_STEPS {
        match store.load(&key).await? {
            Lookup::Found(record) if record.belongs_to(scope, identity) => {
                // Retires any version. Otherwise, requests that keep changing the version would keep the session alive.
                // This is safe, because the library gives a session a new key whenever its identity changes.
                if retire(store, &key, until).await? == Retire::Retired {
                    return Ok(Some(key));
                }
            }
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) => key = to,
            Lookup::Found(_) | Lookup::Tombstone(_) | Lookup::Absent => return Ok(None),
        }
    }
    Err(too_many_moves())
}

/// Ends the sessions at `keys`, and adds the keys of the ended sessions to `ended`. If a session cannot be ended, ends
/// the other sessions before it returns the error.
async fn end_each(
    store: &dyn Store,
    scope: &str,
    identity: &str,
    keys: &[Key],
    until: Timestamp,
    ended: &mut Vec<Key>,
) -> Result<()> {
    let end = |key: Key| async move {
        // A list has just returned the session, so its identity needs no check.
        if retire(store, &key, until).await? == Retire::Retired {
            return Ok(Some(key));
        }
        revoke(store, scope, identity, key, until).await
    };
    let mut failure = None;
    for keys in keys.chunks(CONCURRENT_CALLS) {
        let mut calls: FuturesUnordered<_> = keys.iter().copied().map(end).collect();
        // Takes each result as soon as its call ends, so that `ended` is complete even if another call hangs.
        while let Some(result) = calls.next().await {
            match result {
                Ok(key) => ended.extend(key),
                Err(error) => failure = Some(error),
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Replaces a session of any version with a tombstone. If the reply is lost, checks whether the session has ended.
async fn retire(store: &dyn Store, key: &Key, until: Timestamp) -> Result<Retire> {
    let tombstone = Tombstone::ended(until);
    let reply = store.retire(key, None, tombstone).await;
    if reply.is_err() && store.load(key).await.is_ok_and(|seen| seen == Lookup::Tombstone(tombstone)) {
        return Ok(Retire::Retired);
    }
    reply
}

/// Appends to `keys` each key to which the session at `key` has moved.
async fn follow(store: &dyn Store, mut key: Key, keys: &mut Vec<Key>) -> Result<()> {
    for _ in 0..MAX_STEPS {
        let Lookup::Tombstone(Tombstone { fate: Fate::Moved(to), .. }) = store.load(&key).await? else { return Ok(()) };
        keys.push(to);
        key = to;
    }
    Err(too_many_moves())
}

fn too_many_moves() -> Error {
    Error::new(ErrorKind::Timeout, "the sessions of a user got new ids faster than they could be ended")
}

/// A list may miss a session if the tombstone at its old key expires during the list.
fn slow_list() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "the store took so long to list the sessions of a user that it may have missed some: try again",
    )
}

#[cfg(test)]
mod tests;
