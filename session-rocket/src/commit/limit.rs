//! Keeps the number of sessions of one user within `max_sessions`.

use std::time::Duration;

use futures::future::join_all;

use super::records::Stored;
use super::uncertain::Calls;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::event::EndReason;
use crate::base::expiry::CLOCK_SKEW;
use crate::base::id::Key;
use crate::base::limit::WhenFull;
use crate::data::values::Values;
use crate::store::Retire;
use crate::store::record::Fate;

/// The maximum number of pauses of a login with [`WhenFull::RefuseLogin`], in which refused logins can remove their
/// records.
const MAX_PAUSES: u32 = 12;

/// The number of sessions that are ended concurrently.
const CONCURRENT_CALLS: usize = 16;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Returns when the session of a login begins, or `None` if it begins now.
///
/// With `max_sessions`, the session begins later than all other sessions of the user. Otherwise, the new session could
/// count as the oldest if a server with a faster clock had started the others.
///
/// Ignores sessions that begin at least [`CLOCK_SKEW`] in the future because of a wrong clock. Otherwise the new session
/// would begin even later, and [`RecentLogin`](crate::RecentLogin) would accept its login for too long.
pub(super) async fn begins_at(calls: &Calls<'_>, values: &Values) -> Result<Option<Timestamp>> {
    let rules = &calls.records.rules;
    let Some(identity) = rules.limit.map(|_| rules.identity(values)).transpose()?.flatten() else { return Ok(None) };
    let listed = calls.list(&identity).await?;
    let now = rules.now();
    // `<`, because the new session begins a millisecond later and must stay within [`CLOCK_SKEW`].
    let begins = listed.iter().map(|(_, record)| record.created_at).filter(|begins| *begins < now.plus(CLOCK_SKEW));
    Ok(Some(begins.map(|begins| begins.plus(MILLISECOND)).fold(now, Timestamp::max)))
}

/// Returns the time by which sessions are sorted, the oldest first.
///
/// Returns `None`, which sorts first, if the session begins more than [`CLOCK_SKEW`] in the future.
fn sort_time(begins: Timestamp, now: Timestamp) -> Option<Timestamp> {
    (begins <= now.plus(CLOCK_SKEW)).then_some(begins)
}

/// Ends the user's oldest sessions, or refuses the new one, if the user has more sessions than `max_sessions`.
///
/// The caller has stored the record of the new session, and confirms the login only after `enforce` returns. So the login
/// that lists the sessions last sees those of all concurrent logins, and leaves at most `max_sessions`. The session at
/// `replaced` does not count, because the new session replaces it.
///
/// # Errors
/// [`ErrorKind::TooManySessions`] if the login is refused, or the error of the store. The caller then removes the new
/// record.
pub(super) async fn enforce(calls: &Calls<'_>, new: &Stored, replaced: Option<&Key>) -> Result<()> {
    let rules = &calls.records.rules;
    let Some(limit) = rules.limit else { return Ok(()) };
    let Some(identity) = rules.identity(&new.values)? else { return Ok(()) };
    let mut pauses = 0;
    loop {
        let mut listed = calls.list(&identity).await?;
        listed.retain(|(key, record)| Some(key) != replaced && calls.records.is_usable(record));
        if listed.len() <= limit.max {
            return Ok(());
        }
        // All logins use the same order, so that concurrent logins do not end each other's sessions, and are not all
        // refused.
        let now = rules.now();
        listed.sort_by_key(|(key, record)| (sort_time(record.created_at, now), *key));
        match limit.when_full {
            WhenFull::EndOldest => {
                let surplus = listed.len() - limit.max;
                let keys: Vec<Key> = listed.into_iter().take(surplus).map(|(key, _)| key).collect();
                if end_all(calls, &keys, &identity).await? {
                    return Ok(());
                }
            }
            WhenFull::RefuseLogin => {
                let is_surplus = listed[limit.max..].iter().any(|(key, _)| *key == new.live.key);
                if is_surplus || pauses == MAX_PAUSES {
                    let context =
                        format!("the user already has {} sessions, and `when_full` is \"refuse login\"", limit.max);
                    return Err(Error::new(ErrorKind::TooManySessions, context));
                }
            }
        }
        calls.pause(&mut pauses).await?;
    }
}

/// Replaces the sessions at these keys with tombstones, which mark ended sessions.
///
/// Returns false if a session has already ended or moved to another key. A moved session may belong to a newer login, so
/// the caller must list the sessions again.
async fn end_all(calls: &Calls<'_>, keys: &[Key], identity: &str) -> Result<bool> {
    let mut all_ended = true;
    for keys in keys.chunks(CONCURRENT_CALLS) {
        let tombstone = calls.records.tombstone(Fate::Ended);
        let replies = join_all(keys.iter().map(|key| calls.retire(key, tombstone))).await;
        for (key, reply) in keys.iter().zip(replies) {
            match reply? {
                Retire::Retired => calls.records.report_end_of(key, Some(identity), EndReason::Replaced),
                Retire::Conflict(_) | Retire::Gone => all_ended = false,
            }
        }
    }
    Ok(all_ended)
}
