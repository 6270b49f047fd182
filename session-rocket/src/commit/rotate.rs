//! Commits that change the id: new sessions, rotations, logins and logouts. They are not grouped (see `group`).
//!
//! A _rotation_ gives a session a new id. To _retire_ a record is to replace it with a _tombstone_, which says that the
//! session ended or moved to another key.

use super::limit;
use super::outcome::{absent, dropped, overtaken_transact};
use super::records::Stored;
use super::report::RotationReason;
use super::rules::Rules;
use super::uncertain::Calls;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::event::EndReason;
use crate::base::id::{Key, SessionId};
use crate::data::values::Values;
use crate::state::{Committed, CookieEffect, Live, PendingCommit, SessionStatus};
use crate::store::Retire;
use crate::store::record::{Fate, Version};

/// The maximum number of ids to draw for a new session, in case ids are already taken.
const MAX_DRAWS: usize = 8;

pub(super) enum Rotation {
    Done(Committed),
    /// Another request gave the session a new id first, and the same user still owns it. The changes have to be saved
    /// under that id.
    Moved(Stored, Box<PendingCommit>),
}

/// Stores a session under a new id.
///
/// `created_at` is when the lifetime of the session began. `None` begins a new lifetime and enforces `max_sessions`, which
/// does not count the session at `replaced`.
async fn create_record(
    calls: &Calls<'_>,
    mut values: Values,
    created_at: Option<Timestamp>,
    replaced: Option<&Key>,
) -> Result<Stored> {
    let records = calls.records;
    records.rules.encode(&mut values)?;
    let begins_at = match created_at {
        None => limit::begins_at(calls, &values).await?,
        known => known,
    };
    for _ in 0..MAX_DRAWS {
        let id = SessionId::random()?;
        let key = records.keys.key(&id);
        let (record, live) = records.record(key, Some(id), &values, begins_at)?;
        let created = calls.create(&key, &record).await;
        if created.is_err() && record.identity.is_some() {
            // The failed call may have stored the record, which would stay in the user's list.
            calls.discard_in_background(key);
        }
        if created? {
            let new = Stored { live, values };
            if created_at.is_none()
                && let Err(error) = limit::enforce(calls, &new, replaced).await
            {
                calls.discard(&new.live.key, None).await;
                return Err(error);
            }
            return Ok(new);
        }
    }
    let context = format!("gave up after {MAX_DRAWS} attempts: every random session id was already in use");
    Err(Error::new(ErrorKind::Random, context))
}

async fn create_session(calls: &Calls<'_>, values: Values, is_login: bool) -> Result<Committed> {
    let new = create_record(calls, values, None, None).await?;
    calls.records.report_start(&new, is_login);
    Ok(new.committed(CookieEffect::Set))
}

/// Starts a new session for a login, because another request ended or moved the loaded session.
///
/// The new session contains only values that this request set.
pub(super) async fn create_for_login(calls: &Calls<'_>, pending: &PendingCommit) -> Result<Committed> {
    let mut values = Values::empty(pending.base.schema());
    calls.records.rules.replay(&pending.changes, &mut values)?;
    create_session(calls, values, true).await
}

/// Starts a session for a request that has none, unless there is nothing to store.
///
/// `unusable` is a damaged or expired record under the browser's id. The function removes it if a session starts or `flush`
/// was called.
pub(super) async fn create_or_forget(
    calls: &Calls<'_>,
    pending: Box<PendingCommit>,
    unusable: Option<(Key, Version)>,
) -> Result<Committed> {
    let PendingCommit { values, flushed, login, .. } = *pending;
    let schema = values.schema();
    let created = match (values.is_blank(), flushed) {
        (true, false) => {
            return Ok(Committed::new(SessionStatus::New { replaces: unusable }, values, CookieEffect::None));
        }
        (true, true) => Ok(Committed::new(SessionStatus::New { replaces: None }, values, CookieEffect::Remove)),
        (false, _) => create_session(calls, values, login).await,
    };
    if let Some((key, version)) = unusable
        && (created.is_ok() || flushed)
    {
        calls.discard(&key, Some(version)).await;
    }
    match created {
        // The previous session ended, so the browser has to remove its cookie.
        Err(error) if flushed => Ok(Committed { failure: Some(error), ..absent(schema, CookieEffect::Remove) }),
        created => created,
    }
}

/// Gives a session a new id: creates the new record, then retires the old record with a tombstone that names the new key.
///
/// A crash between the two steps leaves a record whose id nobody knows.
pub(super) async fn cycle(calls: &Calls<'_>, live: Live, pending: Box<PendingCommit>) -> Result<Rotation> {
    let records = calls.records;
    // Authentication starts a new lifetime (NIST SP 800-63B-4, 5.2). `cycle_id` alone does not.
    let created_at = if pending.login { None } else { Some(live.created_at) };
    let mut values = pending.values.clone();
    let mut current = Stored { live, values: pending.base.clone() };
    let mut attempt = 0;
    loop {
        let reason = rotation_reason(&records.rules, &pending, &current.values, &values)?;
        if reason == RotationReason::Reauthentication {
            values.set_began_at(current.values.began_at().unwrap_or(current.live.created_at));
        }
        let new = create_record(calls, values, created_at, Some(&current.live.key)).await?;
        let retired = calls.retire_version(&current, records.tombstone(Fate::Moved(new.live.key))).await;
        if let Ok(Retire::Retired) = retired {
            records.report_rotation(&new, &current.live.key, reason);
            return Ok(Rotation::Done(new.committed(CookieEffect::Set)));
        }
        calls.discard(&new.live.key, None).await;
        match retired? {
            Retire::Conflict(fresh) => {
                current = records.reread(current.live.key, None, &fresh)?;
                values = current.values.clone();
                records.rules.replay(&pending.changes, &mut values)?;
                calls.pause(&mut attempt).await?;
            }
            Retire::Retired | Retire::Gone => return overtaken(calls, &current.live.key, pending).await,
        }
    }
}

fn rotation_reason(rules: &Rules, pending: &PendingCommit, old: &Values, new: &Values) -> Result<RotationReason> {
    Ok(match pending.login {
        true if rules.same_owner(old, new)? => RotationReason::Reauthentication,
        true => RotationReason::Login,
        false => RotationReason::Cycle,
    })
}

/// Handles a rotation that was overtaken: another request rotated or ended the session first.
///
/// A login, unless in `transact`, gets a new session. Other changes are saved under the new id if the same user still owns
/// the session, and are dropped otherwise.
async fn overtaken(calls: &Calls<'_>, key: &Key, pending: Box<PendingCommit>) -> Result<Rotation> {
    if pending.login && !pending.transacts {
        return create_for_login(calls, &pending).await.map(Rotation::Done);
    }
    Ok(match calls.follow(key, &pending.base).await? {
        Some(stored) => Rotation::Moved(stored, pending),
        None => Rotation::Done(dropped(&pending)),
    })
}

/// Ends a session. Values that were set after `flush` go into a new session.
pub(super) async fn end(calls: &Calls<'_>, live: Live, pending: Box<PendingCommit>) -> Result<Committed> {
    if !pending.flushed {
        return replace(calls, live, pending).await;
    }
    match retire_session(calls, live, &pending).await? {
        Some((ended, moved)) => {
            calls.records.report_end(&ended, pending.reason);
            let mut committed = create_or_forget(calls, pending, None).await?;
            // The browser may already have a newer cookie, which must not be removed.
            if moved && committed.cookie == CookieEffect::Remove {
                committed.cookie = CookieEffect::None;
            }
            committed.logged_out = true;
            Ok(committed)
        }
        None if pending.login && !pending.transacts => create_for_login(calls, &pending).await,
        None => Ok(dropped(&pending)),
    }
}

/// Ends a session whose user logged out or was replaced by another user, and starts a new session.
///
/// Creates the new session first, so that the old session does not end if the new session cannot be saved.
async fn replace(calls: &Calls<'_>, live: Live, pending: Box<PendingCommit>) -> Result<Committed> {
    let new = create_record(calls, pending.values.clone(), None, Some(&live.key)).await?;
    let retired = retire_session(calls, live, &pending).await;
    match retired {
        Ok(Some((ended, _))) => calls.records.report_end(&ended, pending.reason),
        Ok(None) if pending.login && !pending.transacts => {}
        Ok(None) | Err(_) => {
            calls.discard(&new.live.key, None).await;
            return retired.map(|_| dropped(&pending));
        }
    }
    calls.records.report_start(&new, pending.login);
    Ok(Committed { logged_out: !pending.login, ..new.committed(CookieEffect::Set) })
}

/// Retires a session, even if other requests change it or give it a new id meanwhile.
///
/// Returns the session, and whether another request had given it a new id. Returns `None` if the session had already ended,
/// or if it now belongs to a newer login, which must not end.
async fn retire_session(calls: &Calls<'_>, live: Live, pending: &PendingCommit) -> Result<Option<(Stored, bool)>> {
    let records = calls.records;
    let tombstone = records.tombstone(Fate::Ended);
    let mut current = Stored { live, values: pending.base.clone() };
    let (mut moved, mut attempt) = (false, 0);
    loop {
        let retired = if pending.flushed {
            // The user asked for a logout, so any version of the session ends.
            calls.retire(&current.live.key, tombstone).await?
        } else {
            calls.retire_version(&current, tombstone).await?
        };
        match retired {
            Retire::Retired => return Ok(Some((current, moved))),
            // The `transact` closure ran on values that are no longer stored, and it cannot run again.
            Retire::Conflict(_) if pending.transacts => return Err(overtaken_transact()),
            Retire::Conflict(fresh) => current = records.reread(current.live.key, None, &fresh)?,
            Retire::Gone => match calls.follow(&current.live.key, &pending.base).await? {
                Some(stored) if !has_new_auth(pending, &stored.values) => (current, moved) = (stored, true),
                _ => return Ok(None),
            },
        }
        calls.pause(&mut attempt).await?;
    }
}

/// Whether the commit ends the session because its auth hash changed, but a newer login has stored another hash meanwhile.
fn has_new_auth(pending: &PendingCommit, values: &Values) -> bool {
    pending.reason == EndReason::AuthHashChanged && values.auth() != pending.base.auth()
}

/// Ends the sessions of the other ids that the browser sent with a logout. If that fails, the browser keeps its cookies, so
/// that the next request sends the ids again.
pub(super) async fn end_others(calls: &Calls<'_>, committed: &mut Committed, others: Vec<Key>, reason: EndReason) {
    for key in others {
        match calls.retire(&key, calls.records.tombstone(Fate::Ended)).await {
            // The session was not loaded, so its user is unknown.
            Ok(Retire::Retired) => calls.records.report_end_of(&key, None, reason),
            Ok(Retire::Conflict(_) | Retire::Gone) => {}
            Err(error) => {
                committed.failure = Some(error);
                committed.cookie = CookieEffect::None;
                committed.logged_out = false;
            }
        }
    }
}
