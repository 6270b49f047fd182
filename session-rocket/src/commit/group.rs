//! Commits of one session in one process form a group: the commit that has the turn saves for all that wait, in one write.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use hashlink::DefaultHashBuilder;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::{Mutex as Turn, MutexGuard};

use super::outcome::{dropped, too_late};
use super::records::{Deadline, Stored};
use super::rotate::create_for_login;
use super::rules::Rules;
use super::uncertain::Writes;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::data::values::Values;
use crate::state::change::Change;
use crate::state::{Carrier, CookieEffect, Job, Live, Settled};
use crate::store::{Lookup, Touch, Update};

/// The groups of all sessions with commits under way in this process.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<Key, Arc<Group>, DefaultHashBuilder>>);

impl Groups {
    /// Joins the group of a session. The group is removed when its last commit leaves.
    pub(super) fn enter(&self, key: Key) -> Membership<'_> {
        let group = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        Membership { groups: self, key, group }
    }

    /// Commits in the group of the session.
    pub(super) async fn save(&self, writes: &Writes<'_>, live: &Live, job: Box<Job>) -> Result<Saved> {
        let own = Stored { live: live.clone(), values: job.base.clone() };
        let group = self.enter(live.key);
        let (member, mut reply) = Member::new(job, writes.deadline);
        group.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(member);
        let mut turn = group.turn.lock().await;
        match reply.try_recv() {
            Err(TryRecvError::Empty) if writes.deadline.left().is_zero() => {
                Err(Error::new(ErrorKind::Timeout, "other requests' saves took too long"))
            }
            Err(TryRecvError::Empty) => {
                let at = turn.take().unwrap_or(own);
                *turn = save(writes, at, group.take()).await.filter(|at| at.live.key == live.key);
                received(reply.try_recv())
            }
            replied => received(replied),
        }
    }
}

/// Being in a group; dropped, however a commit ends.
pub(super) struct Membership<'g> {
    groups: &'g Groups,
    key: Key,
    group: Arc<Group>,
}

impl Deref for Membership<'_> {
    type Target = Group;

    fn deref(&self) -> &Group {
        &self.group
    }
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        let mut groups = self.groups.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's and ours: whoever joins or leaves does so under this lock, and counts ours out before.
        self.group = Arc::default();
        if groups.get(&self.key).is_some_and(|group| Arc::strong_count(group) == 1) {
            groups.remove(&self.key);
        }
    }
}

/// The commits of one session that are under way in this process.
#[derive(Default)]
pub(super) struct Group {
    waiting: Mutex<Vec<Member>>,
    /// Held by the commit that writes to the store. It contains what the last one stored.
    turn: Turn<Option<Stored>>,
}

impl Group {
    /// Waits until no commit of this session is under way; none starts before the guard is dropped.
    pub(super) async fn alone(&self) -> MutexGuard<'_, Option<Stored>> {
        let mut turn = self.turn.lock().await;
        // Whoever holds the turn alone changes what the next one would start from.
        *turn = None;
        turn
    }

    /// All that wait, in the order they came. A member that gave up does not wait.
    fn take(&self) -> Vec<Member> {
        let mut waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.retain(|member| !member.reply.is_closed());
        waiting
    }
}

/// What became of a commit in a group.
pub(super) enum Saved {
    Settled(Settled),
    /// The replay changed whose session it is, so the commit has to change the id as well.
    Identifies(Box<Job>),
}

type Reply = Result<Saved>;

/// A commit in a group.
struct Member {
    job: Box<Job>,
    deadline: Deadline,
    reply: oneshot::Sender<Reply>,
}

impl Member {
    fn new(job: Box<Job>, deadline: Deadline) -> (Self, oneshot::Receiver<Reply>) {
        let (reply, receiver) = oneshot::channel();
        (Self { job, deadline, reply }, receiver)
    }

    /// Nobody receives the reply if the commit's task was stopped.
    fn reply(self, result: Result<Settled>) {
        let _ = self.reply.send(result.map(Saved::Settled));
    }

    fn live(&self) -> Option<&Live> {
        if let Carrier::Live(live) = &self.job.carrier { Some(live) } else { None }
    }

    fn is_current(&self, at: &Stored) -> bool {
        self.live().is_some_and(|live| live.version == at.live.version)
    }

    /// Replies what is stored now. If another request moved the session, its new id is not for this one to send.
    fn reply_stored(self, at: &Stored, cookie: CookieEffect) {
        let unmoved = self.live().filter(|live| live.key == at.live.key);
        let cookie = if unmoved.is_some() { cookie } else { CookieEffect::None };
        let id = unmoved.and_then(|live| live.id.clone());
        let live = Live { id, ..at.live.clone() };
        self.reply(Ok(Stored { live, values: at.values.clone() }.settled(cookie)));
    }
}

fn received(reply: Result<Reply, TryRecvError>) -> Reply {
    reply.unwrap_or_else(|_| Err(Error::new(ErrorKind::Uncertain, "the task that saved a session was stopped")))
}

/// Prepares a job whose replay changed whose session it is for a commit that changes the id.
///
/// # Errors
/// If the response head is sent, or the changes cannot be replayed.
pub(super) fn prepare_rotation(rules: &Rules, mut job: Box<Job>) -> Result<Box<Job>> {
    if job.is_late {
        return Err(too_late());
    }
    // The last replay was on other members' values, whose write may have failed.
    let mut values = job.base.clone();
    rules.replay(&job.changes, &mut values)?;
    job.values = values;
    job.forget_csrf();
    Ok(job)
}

/// Commits on a session that was moved meanwhile.
pub(super) async fn save_moved(writes: &Writes<'_>, at: Stored, job: Box<Job>) -> Result<Settled> {
    let (member, mut reply) = Member::new(job, writes.deadline);
    let mut members = vec![member];
    drop_strangers(&writes.records.rules, &mut members, &at.values);
    save(writes, at, members).await;
    match received(reply.try_recv())? {
        Saved::Settled(settled) => Ok(settled),
        Saved::Identifies(job) => create_for_login(writes, &job).await,
    }
}

/// Saves for all members in one write. Returns what is stored then, if that is known.
async fn save(writes: &Writes<'_>, mut at: Stored, mut members: Vec<Member>) -> Option<Stored> {
    let deadline = members.iter().map(|member| member.deadline).max()?;
    match save_all(&Writes { deadline, ..*writes }, &mut at, &mut members).await {
        Ok(is_stored) => is_stored.then_some(at),
        Err(error) => {
            members.into_iter().for_each(|member| member.reply(Err(error.clone())));
            None
        }
    }
}

/// Saves on whatever is stored by now, until the store confirms or nobody is left to save for. Returns false if the session
/// has ended.
async fn save_all(writes: &Writes<'_>, at: &mut Stored, members: &mut Vec<Member>) -> Result<bool> {
    let records = writes.records;
    let mut attempt = 0;
    loop {
        let values = merge(&records.rules, at, members);
        if members.is_empty() {
            return Ok(true);
        }
        let (update, live) = store_values(writes, at, &values).await?;
        match update {
            Update::Updated => {
                let cookie = records.rules.cookie_after(&at.live, &at.values, &live, &values);
                *at = Stored { live, values };
                members.drain(..).for_each(|member| member.reply_stored(at, cookie));
                return Ok(true);
            }
            Update::Conflict(fresh) => *at = records.reread(live.key, live.id, &fresh)?,
            Update::Moved(_) | Update::Gone => {
                let Some(moved) = Box::pin(records.find_moved(&live.key, writes.deadline)).await? else {
                    members.drain(..).for_each(reply_dropped);
                    return Ok(false);
                };
                drop_strangers(&records.rules, members, &moved.values);
                *at = moved;
            }
        }
        writes.pause(&mut attempt).await?;
    }
}

fn reply_dropped(member: Member) {
    let dropped = dropped(&member.job);
    member.reply(Ok(dropped));
}

/// Replaces the version that the values were computed from. If the values are equal, touches the record instead: a touch
/// renews the session and also proves that nobody changed it. Returns where the values are then.
async fn store_values(writes: &Writes<'_>, at: &Stored, values: &Values) -> Result<(Update, Live)> {
    let (records, live) = (writes.records, at.live.clone());
    if !values.same_as(&at.values) || live.is_cut {
        let (record, new) = records.record(live.key, live.id, values, Some(live.created_at))?;
        return Ok((writes.swap(&live.key, live.version, &record).await?, new));
    }
    let renewed = records.rules.expires_at(values, live.created_at, records.rules.now());
    let update = match writes.touch(&live.key, live.version, renewed).await? {
        Touch::Touched => Update::Updated,
        Touch::Conflict | Touch::Gone => match writes.look(&live.key).await? {
            Lookup::Found(fresh) => Update::Conflict(fresh),
            Lookup::Tombstone(_) | Lookup::Absent => Update::Gone,
        },
    };
    Ok((update, Live { expires_at: renewed.max(live.expires_at), ..live }))
}

/// Prepares members for a session that was moved meanwhile. Changes of anybody but its user are dropped.
fn drop_strangers(rules: &Rules, members: &mut Vec<Member>, to: &Values) {
    for mut member in std::mem::take(members) {
        member.job.forget_csrf();
        match rules.same_owner(&member.job.base, to) {
            Ok(true) => members.push(member),
            Ok(false) => reply_dropped(member),
            Err(error) => member.reply(Err(error)),
        }
    }
}

/// The values to store: the changes of all members, in order, on top of the stored ones. A member that fails drops out.
fn merge(rules: &Rules, at: &Stored, members: &mut Vec<Member>) -> Values {
    let sole = members.len() == 1;
    let mut merged = at.values.clone();
    for mut member in std::mem::take(members) {
        let made = if sole && member.is_current(at) {
            // Nobody came between: the values that the request computed are the values to store.
            Ok(Some(member.job.values.clone()))
        } else {
            warn_of_overwrites(&member.job, &at.values);
            replay_on(rules, &member.job, &merged)
        };
        match made.and_then(|made| encoded(rules, made)) {
            Ok(Some(values)) => {
                merged = values;
                members.push(member);
            }
            Ok(None) => {
                member.job.login = true;
                let _ = member.reply.send(Ok(Saved::Identifies(member.job)));
            }
            Err(error) => member.reply(Err(error)),
        }
    }
    merged
}

/// Replays a job's changes. `None` if they change whose session it is, which needs a new id.
fn replay_on(rules: &Rules, job: &Job, on: &Values) -> Result<Option<Values>> {
    let mut values = on.clone();
    rules.replay(&job.changes, &mut values)?;
    Ok(rules.same_owner(&values, on)?.then_some(values))
}

fn encoded(rules: &Rules, made: Option<Values>) -> Result<Option<Values>> {
    let Some(mut values) = made else { return Ok(None) };
    rules.encode(&mut values)?;
    Ok(Some(values))
}

/// Warns, once per field, of a value that was read, set, and meanwhile changed by another request.
fn warn_of_overwrites(job: &Job, fresh: &Values) {
    for change in &job.changes {
        if let Change::Set { field, after_read: true, .. } = change
            && !job.base.same_field(fresh, *field)
            && field.spec().first_overwritten()
        {
            let (name, field) = (fresh.schema().type_name(), field.spec().name);
            log::warn!(
                target: "session_rocket",
                "`{name}.{field}` was read, then set, and meanwhile changed by another request, whose value is \
                 overwritten: `update_{field}` changes it without loss",
            );
        }
    }
}
