//! Saves concurrent commits of one session together.
//!
//! All running commits of a session in this process form a group. The commit that holds the lock of the group saves
//! the changes of all waiting commits in one write.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hashlink::DefaultHashBuilder;
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::outcome::{dropped, overtaken_transact, too_late};
use super::records::Stored;
use super::rotate::{self, Rotation, create_for_login};
use super::rules::Rules;
use super::uncertain::Calls;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::data::values::Values;
use crate::state::change::Change;
use crate::state::{Committed, CookieEffect, Live, PendingCommit, SessionStatus};
use crate::store::{Lookup, Touch, Update};

/// The groups of this process by session key, with the number of commits in each group.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<Key, (usize, Arc<Group>), DefaultHashBuilder>>);

impl Groups {
    /// Joins the group of a session.
    fn enter(&self, key: Key) -> Membership<'_> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (commits, group) = groups.entry(key).or_default();
        *commits += 1;
        Membership { groups: self, key, group: group.clone() }
    }

    /// Saves the changes of a session that keeps its id.
    pub(super) async fn save(&self, calls: &Calls<'_>, live: Live, pending: Box<PendingCommit>) -> Result<Committed> {
        match self.save_in_group(calls, &live, pending).await? {
            Saved::Committed(committed) => Ok(committed),
            Saved::ChangesUser(pending) if pending.after_head => Err(too_late()),
            Saved::ChangesUser(mut pending) => {
                // A `transact` returns the result of the last run of its closure. The last run saw changes of other
                // members, whose save can still fail, so the closure runs again on the loaded values.
                let mut values = pending.base.clone();
                calls.records.rules.replay(&pending.changes, &mut values)?;
                pending.values = values;
                pending.forget_csrf();
                Box::pin(self.cycle(calls, live, pending)).await
            }
        }
    }

    async fn save_in_group(&self, calls: &Calls<'_>, live: &Live, pending: Box<PendingCommit>) -> Reply {
        let own = Stored { live: live.clone(), values: pending.base.clone() };
        let Membership { group, .. } = &self.enter(live.key);
        let (member, mut reply) = Member::new(pending, calls.deadline);
        group.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(member);
        let mut latest = group.latest.lock().await;
        match reply.try_recv() {
            Err(TryRecvError::Empty) if calls.left().is_zero() => {
                // Closes the channel while this commit holds the lock. Otherwise the next commit could save changes for
                // which this commit reports an error.
                reply.close();
                Err(Error::new(
                    ErrorKind::Timeout,
                    "cannot save the session within `timeout`: other requests were saving it",
                ))
            }
            Err(TryRecvError::Empty) => {
                let current = latest.take().unwrap_or(own);
                *latest = save(calls, current, group.take()).await.filter(|current| current.live.key == live.key);
                received(reply.try_recv())
            }
            replied => received(replied),
        }
    }

    /// Gives a session a new id while no other commit of the session runs in this process.
    pub(super) async fn cycle(&self, calls: &Calls<'_>, live: Live, pending: Box<PendingCommit>) -> Result<Committed> {
        let Membership { group, .. } = &self.enter(live.key);
        let mut latest = group.latest.lock().await;
        // The next commit must not start from the values that this commit replaces.
        *latest = None;
        match rotate::cycle(calls, live, pending).await? {
            Rotation::Done(committed) => Ok(committed),
            Rotation::Moved(stored, pending) => save_moved(calls, stored, pending).await,
        }
    }
}

/// The membership of one commit in a group. Dropping it removes the commit from the group. The last drop removes the group.
struct Membership<'g> {
    groups: &'g Groups,
    key: Key,
    group: Arc<Group>,
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        let mut groups = self.groups.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = groups.entry(self.key) {
            entry.get_mut().0 -= 1;
            if entry.get().0 == 0 {
                entry.remove();
            }
        }
    }
}

#[derive(Default)]
struct Group {
    waiting: Mutex<Vec<Member>>,
    /// The lock of the group. The commit that writes to the store holds it.
    ///
    /// Contains the session as the last commit stored it, or `None` if this is unknown or the session got a new id.
    latest: AsyncMutex<Option<Stored>>,
}

impl Group {
    /// Removes the waiting members, and returns those that did not give up, in the order of their arrival.
    fn take(&self) -> Vec<Member> {
        let mut waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.retain(|member| !member.reply.is_closed());
        waiting
    }
}

enum Saved {
    Committed(Committed),
    /// The replay changed the user of the session, so the commit must also change the id.
    ChangesUser(Box<PendingCommit>),
}

type Reply = Result<Saved>;

struct Member {
    pending: Box<PendingCommit>,
    deadline: Instant,
    reply: oneshot::Sender<Reply>,
}

impl Member {
    fn new(pending: Box<PendingCommit>, deadline: Instant) -> (Self, oneshot::Receiver<Reply>) {
        let (reply, receiver) = oneshot::channel();
        (Self { pending, deadline, reply }, receiver)
    }

    /// Sends the result to the commit, unless the task of the commit was stopped.
    fn reply(self, result: Result<Committed>) {
        let _ = self.reply.send(result.map(Saved::Committed));
    }

    fn is_current(&self, current: &Stored) -> bool {
        matches!(&self.pending.status, SessionStatus::Live(live) if live.version == current.live.version)
    }

    /// Replies with the stored session. If another request gave the session a new id, only the response of that request may
    /// send the new id.
    fn reply_stored(self, current: &Stored, cookie: CookieEffect) {
        let (id, cookie) = match &self.pending.status {
            SessionStatus::Live(live) if live.key == current.live.key => (live.id.clone(), cookie),
            _ => (None, CookieEffect::None),
        };
        let live = Live { id, ..current.live.clone() };
        self.reply(Ok(Stored { live, values: current.values.clone() }.committed(cookie)));
    }
}

fn received(reply: Result<Reply, TryRecvError>) -> Reply {
    reply.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Uncertain, "the task that was saving the session stopped before it finished"))
    })
}

/// Commits to a session that another request moved to a new id meanwhile.
async fn save_moved(calls: &Calls<'_>, current: Stored, pending: Box<PendingCommit>) -> Result<Committed> {
    let (member, mut reply) = Member::new(pending, calls.deadline);
    let mut members = vec![member];
    drop_other_users(&calls.records.rules, &mut members, &current.values);
    save(calls, current, members).await;
    match received(reply.try_recv())? {
        Saved::Committed(committed) => Ok(committed),
        Saved::ChangesUser(pending) if pending.transacts => Err(overtaken_transact()),
        Saved::ChangesUser(pending) => create_for_login(calls, &pending).await,
    }
}

/// Saves the changes of all members in one write. Returns the stored session, if it is known.
async fn save(calls: &Calls<'_>, mut current: Stored, mut members: Vec<Member>) -> Option<Stored> {
    let deadline = members.iter().map(|member| member.deadline).max()?;
    match save_all(&Calls { deadline, ..*calls }, &mut current, &mut members).await {
        Ok(is_stored) => is_stored.then_some(current),
        Err(error) => {
            members.into_iter().for_each(|member| member.reply(Err(error.clone())));
            None
        }
    }
}

/// Saves the changes of all members. Retries on the newest stored session until the store confirms the save or no member is
/// left. Returns false if the session has ended.
async fn save_all(calls: &Calls<'_>, current: &mut Stored, members: &mut Vec<Member>) -> Result<bool> {
    let records = calls.records;
    let mut attempt = 0;
    loop {
        let values = merge(&records.rules, current, members);
        if members.is_empty() {
            return Ok(true);
        }
        let (update, live) = store_values(calls, current, &values).await?;
        match update {
            Update::Updated => {
                let cookie = records.rules.cookie_after(&current.live, &current.values, &live, &values);
                *current = Stored { live, values };
                members.drain(..).for_each(|member| member.reply_stored(current, cookie));
                return Ok(true);
            }
            Update::Conflict(fresh) => *current = records.reread(live.key, live.id, &fresh)?,
            Update::Moved(_) | Update::Gone => {
                let Some(moved) = Box::pin(calls.find_moved(&live.key)).await? else {
                    members.drain(..).for_each(reply_dropped);
                    return Ok(false);
                };
                drop_other_users(&records.rules, members, &moved.values);
                *current = moved;
            }
        }
        calls.pause(&mut attempt).await?;
    }
}

fn reply_dropped(member: Member) {
    let dropped = dropped(&member.pending);
    member.reply(Ok(dropped));
}

/// Stores `values` if the record still has the version of `current`. Returns the store's reply and the new [`Live`].
///
/// If `values` are equal to the stored values and the expiry was not lowered, calls `touch` instead, which postpones the
/// expiry and succeeds only if nobody changed the record.
async fn store_values(calls: &Calls<'_>, current: &Stored, values: &Values) -> Result<(Update, Live)> {
    let (records, live) = (calls.records, current.live.clone());
    if !values.is_identical_to(&current.values) || live.has_lowered_expiry {
        let (record, new) = records.record(live.key, live.id, values, Some(live.created_at))?;
        return Ok((calls.swap(&live.key, live.version, &record).await?, new));
    }
    let renewed = records.rules.expires_at(values, live.created_at, records.rules.now());
    let update = match calls.touch(&live.key, live.version, renewed).await? {
        Touch::Touched => Update::Updated,
        Touch::Conflict | Touch::Gone => match calls.load(&live.key).await? {
            Lookup::Found(fresh) => Update::Conflict(fresh),
            Lookup::Tombstone(_) | Lookup::Absent => Update::Gone,
        },
    };
    Ok((update, Live { expires_at: renewed.max(live.expires_at), ..live }))
}

/// Drops the members whose user does not own the session after it moved to a new id. Removes the CSRF secret from the
/// changes of the other members.
fn drop_other_users(rules: &Rules, members: &mut Vec<Member>, to: &Values) {
    for mut member in std::mem::take(members) {
        member.pending.forget_csrf();
        match rules.same_owner(&member.pending.base, to) {
            Ok(true) => members.push(member),
            Ok(false) => reply_dropped(member),
            Err(error) => member.reply(Err(error)),
        }
    }
}

/// Applies the changes of all members to the stored values, in order. Replies to members whose changes fail or change the
/// user, and removes these members.
fn merge(rules: &Rules, current: &Stored, members: &mut Vec<Member>) -> Values {
    let is_only_member = members.len() == 1;
    let mut merged = current.values.clone();
    for mut member in std::mem::take(members) {
        match values_of(rules, &member, current, &merged, is_only_member) {
            Ok(Some(values)) => {
                merged = values;
                members.push(member);
            }
            Ok(None) => {
                member.pending.login = true;
                let _ = member.reply.send(Ok(Saved::ChangesUser(member.pending)));
            }
            Err(error) => member.reply(Err(error)),
        }
    }
    merged
}

/// Returns `merged` with the changes of a member, or `None` if they change the user, so that the session needs a new id.
fn values_of(
    rules: &Rules,
    member: &Member,
    current: &Stored,
    merged: &Values,
    is_only_member: bool,
) -> Result<Option<Values>> {
    let pending = &member.pending;
    let mut values = if is_only_member && member.is_current(current) {
        // The record has not changed since the load, so no replay is needed.
        pending.values.clone()
    } else {
        warn_of_overwrites(pending, &current.values);
        let mut values = merged.clone();
        rules.replay(&pending.changes, &mut values)?;
        if !rules.same_owner(&values, merged)? {
            return Ok(None);
        }
        values
    };
    rules.encode(&mut values)?;
    Ok(Some(values))
}

/// Logs a warning if the request read a field and then set it, and another request changed the field in between.
///
/// The warning is logged once per field.
fn warn_of_overwrites(pending: &PendingCommit, fresh: &Values) {
    for change in &pending.changes {
        if let Change::Set { field, after_read: true, .. } = change
            && !pending.base.has_identical_field(fresh, *field)
            && field.spec().first_overwritten()
        {
            let (name, field) = (fresh.schema().type_name(), field.spec().name);
            log::warn!(
                target: "session_rocket",
                "`{name}.{field}` was read and then set, and another request changed it in between: the change of the \
                 other request is lost; use `update_{field}` to keep both changes",
            );
        }
    }
}

#[cfg(test)]
mod tests;
