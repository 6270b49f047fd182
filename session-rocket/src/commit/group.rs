//! Commits of one session in one process form a group: whoever has the turn saves for all that wait, in one write.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use hashlink::DefaultHashBuilder;
use tokio::sync::{Mutex as Turn, MutexGuard};

use super::store::{Deadline, StoreEngine, Stored};
use super::too_late;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{Key, SessionId};
use crate::data::values::Values;
use crate::state::change::Change;
use crate::state::{Carrier, CookieEffect, Job, Live, Settled};
use crate::store::record::Record;
use crate::store::{Lookup, Touch, Update};

/// The groups of all sessions with commits under way in this process.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<Key, Arc<Group>, DefaultHashBuilder>>);

impl Groups {
    /// Joins the group of a session; it is gone when the last one has left.
    pub(super) fn enter(&self, key: Key) -> Membership<'_> {
        let group = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        Membership { groups: self, key, group }
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
    waiting: Mutex<Vec<Arc<Ticket>>>,
    /// Held by whoever talks to the store; in it, what the last of them stored.
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

    fn join(&self, job: Box<Job>, deadline: Deadline) -> Arc<Ticket> {
        let ticket = Arc::new(Ticket { stage: Mutex::new(Stage::Waiting(job)), deadline });
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(ticket.clone());
        ticket
    }

    /// All that wait, in the order they came.
    fn take(&self) -> Vec<Member> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().filter_map(Member::take).collect()
    }
}

/// A commit's place in the queue, where it finds its result.
struct Ticket {
    stage: Mutex<Stage>,
    deadline: Deadline,
}

enum Stage {
    Waiting(Box<Job>),
    /// Being saved, or its result was taken.
    Taken,
    Done(Box<Result<Settled>>),
    /// Its replay changed whose session it is: it has to change the id as well.
    Identifies(Box<Job>),
}

impl Ticket {
    fn replace(&self, stage: Stage) -> Stage {
        std::mem::replace(&mut *self.stage.lock().unwrap_or_else(PoisonError::into_inner), stage)
    }

    fn is_waiting(&self) -> bool {
        matches!(*self.stage.lock().unwrap_or_else(PoisonError::into_inner), Stage::Waiting(_))
    }
}

/// A commit that is being saved.
struct Member {
    ticket: Arc<Ticket>,
    job: Box<Job>,
}

impl Member {
    fn take(ticket: Arc<Ticket>) -> Option<Self> {
        match ticket.replace(Stage::Taken) {
            Stage::Waiting(job) => Some(Self { ticket, job }),
            Stage::Taken | Stage::Done(_) | Stage::Identifies(_) => None,
        }
    }

    fn finish(self, result: Result<Settled>) {
        self.ticket.replace(Stage::Done(Box::new(result)));
    }

    fn is_current(&self, at: &Stored) -> bool {
        self.live().is_some_and(|live| live.version == at.live.version)
    }

    fn live(&self) -> Option<&Live> {
        match &self.job.carrier {
            Carrier::Live(live) => Some(live),
            Carrier::New { .. } | Carrier::Sealed(_) | Carrier::Ended | Carrier::Withheld => None,
        }
    }
}

/// What a group is being saved on.
struct Target {
    at: Stored,
    /// The session was moved meanwhile: its new id is not ours to tell.
    followed: bool,
}

/// The outcome of one attempt to store a group's values.
enum Attempt {
    Stored(Live),
    /// The store has another version, which this is.
    Stale(Record),
    /// The session was moved or ended.
    Gone,
}

impl Target {
    fn settled(&self, member: &Member, cookie: CookieEffect) -> Settled {
        let id: Option<SessionId> = member.live().filter(|_| !self.followed).and_then(|live| live.id.clone());
        let cookie = if self.followed { CookieEffect::None } else { cookie };
        Settled::new(Carrier::Live(Live { id, ..self.at.live.clone() }), self.at.values.clone(), cookie)
    }
}

impl StoreEngine {
    /// Commits in the group of the session.
    pub(super) async fn grouped(&self, live: Live, job: Box<Job>, deadline: Deadline) -> Result<Settled> {
        let own = Stored { live: live.clone(), values: job.base.clone() };
        let stage = {
            let group = self.groups.enter(live.key);
            let ticket = group.join(job, deadline);
            let mut turn = group.turn.lock().await;
            if ticket.is_waiting() {
                if deadline.left().is_zero() {
                    let late = Error::new(ErrorKind::Timeout, "other requests' saves took too long");
                    ticket.replace(Stage::Done(Box::new(Err(late))));
                } else {
                    let at = turn.take().unwrap_or(own);
                    *turn = self.save(Target { at, followed: false }, group.take()).await;
                }
            }
            ticket.replace(Stage::Taken)
        };
        match stage {
            Stage::Identifies(job) if job.is_late => Err(too_late()),
            Stage::Identifies(mut job) => {
                // Its changes were made last on other members' values, whose write may have failed.
                let mut values = job.base.clone();
                self.rules.replay(&job.changes, &mut values)?;
                job.values = values;
                job.forget_csrf();
                Box::pin(self.cycle(live, job, deadline)).await
            }
            stage => finished(stage),
        }
    }

    /// Commits on a session that was moved meanwhile.
    pub(super) async fn save_moved(&self, at: Stored, job: Box<Job>, deadline: Deadline) -> Result<Settled> {
        let ticket = Arc::new(Ticket { stage: Mutex::new(Stage::Taken), deadline });
        let mut members = vec![Member { ticket: ticket.clone(), job }];
        self.follow(&mut members, &at.values);
        self.save(Target { at, followed: true }, members).await;
        match ticket.replace(Stage::Taken) {
            Stage::Identifies(job) => self.found_apart(&job, deadline).await,
            stage => finished(stage),
        }
    }

    /// Saves for all members in one write; gives what is stored then, where it is known and still in its place.
    async fn save(&self, mut target: Target, mut members: Vec<Member>) -> Option<Stored> {
        let deadline = members.iter().map(|member| member.ticket.deadline).max()?;
        for attempt in 0.. {
            match self.try_save(&mut target, &mut members, attempt, deadline).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    members.into_iter().for_each(|member| member.finish(Err(error.clone())));
                    return None;
                }
            }
        }
        (!target.followed).then_some(target.at)
    }

    /// One try; true when nobody is left to save for.
    async fn try_save(
        &self,
        target: &mut Target,
        members: &mut Vec<Member>,
        attempt: u32,
        deadline: Deadline,
    ) -> Result<bool> {
        let values = self.merge(&target.at, members);
        if members.is_empty() {
            return Ok(true);
        }
        let key = target.at.live.key;
        match self.store_values(&target.at, &values, deadline).await? {
            Attempt::Stored(live) => {
                let cookie = self.cookie_after(&target.at.live, &target.at.values, &live, &values);
                target.at = Stored { live, values };
                finish_all(target, members, cookie);
                return Ok(true);
            }
            Attempt::Stale(fresh) => target.at = self.reread(key, target.at.live.id.clone(), &fresh)?,
            Attempt::Gone => {
                let Some(stored) = Box::pin(self.moved(&key, deadline)).await? else {
                    for member in members.drain(..) {
                        let ended = self.ended(&member.job);
                        member.finish(Ok(ended));
                    }
                    target.followed = true;
                    return Ok(true);
                };
                self.follow(members, &stored.values);
                *target = Target { at: stored, followed: true };
            }
        }
        self.pause(attempt, deadline).await?;
        Ok(false)
    }

    /// Replaces the version that the values were computed from. If the values are equal, touches the record instead: a
    /// touch renews the session and also proves that nobody changed it.
    async fn store_values(&self, at: &Stored, values: &Values, deadline: Deadline) -> Result<Attempt> {
        let Live { id, key, version, created_at, expires_at, is_cut } = at.live.clone();
        if values.same_as(&at.values) && !is_cut {
            let renewed = self.rules.expires_at(values, created_at, self.rules.now());
            return Ok(match self.touch(&key, version, renewed, deadline).await? {
                Touch::Touched => {
                    Attempt::Stored(Live { id, key, version, created_at, expires_at: renewed.max(expires_at), is_cut })
                }
                Touch::Conflict | Touch::Gone => match self.look(&key, deadline).await? {
                    Lookup::Found(fresh) => Attempt::Stale(fresh),
                    Lookup::Tombstone(_) | Lookup::Absent => Attempt::Gone,
                },
            });
        }
        let (record, live) = self.record(key, id, values, Some(created_at))?;
        Ok(match self.swap(&key, version, &record, deadline).await? {
            Update::Updated => Attempt::Stored(live),
            Update::Conflict(fresh) => Attempt::Stale(fresh),
            Update::Moved(_) | Update::Gone => Attempt::Gone,
        })
    }

    /// Prepares members for a session that was moved meanwhile. Changes of anybody but its user are dropped.
    fn follow(&self, members: &mut Vec<Member>, to: &Values) {
        for mut member in std::mem::take(members) {
            member.job.forget_csrf();
            match self.rules.same_owner(&member.job.base, to) {
                Ok(true) => members.push(member),
                Ok(false) => {
                    let ended = self.ended(&member.job);
                    member.finish(Ok(ended));
                }
                Err(error) => member.finish(Err(error)),
            }
        }
    }

    /// What is to be stored: the changes of all members, in order, on top of what is. A member that fails drops out.
    fn merge(&self, at: &Stored, members: &mut Vec<Member>) -> Values {
        let sole = members.len() == 1;
        let mut merged = at.values.clone();
        for member in std::mem::take(members) {
            let made = if sole && member.is_current(at) {
                // Nobody came between: what the request computed is what is to be stored.
                Ok(Some(member.job.values.clone()))
            } else {
                self.warn_of_overwrites(&member.job, &at.values);
                self.replay_on(&member.job, &merged)
            };
            match made.and_then(|made| self.encoded(made)) {
                Ok(Some(values)) => {
                    merged = values;
                    members.push(member);
                }
                Ok(None) => {
                    let Member { ticket, mut job, .. } = member;
                    job.login = true;
                    ticket.replace(Stage::Identifies(job));
                }
                Err(error) => member.finish(Err(error)),
            }
        }
        merged
    }

    /// A job's changes made again; nothing if they change whose session it is, which a new id has to go with.
    fn replay_on(&self, job: &Job, on: &Values) -> Result<Option<Values>> {
        let mut values = on.clone();
        self.rules.replay(&job.changes, &mut values)?;
        Ok(self.rules.same_owner(&values, on)?.then_some(values))
    }

    fn encoded(&self, made: Option<Values>) -> Result<Option<Values>> {
        let Some(mut values) = made else { return Ok(None) };
        self.rules.encode(&mut values)?;
        Ok(Some(values))
    }

    /// Tells, once per field, of a value that was read, set, and meanwhile changed by another request.
    fn warn_of_overwrites(&self, job: &Job, fresh: &Values) {
        for change in &job.changes {
            if let Change::Set { field, after_read: true, .. } = change
                && !job.base.same_field(fresh, *field)
                && field.spec().first_overwritten()
            {
                let (name, field) = (self.rules.schema.type_name(), field.spec().name);
                log::warn!(
                    target: "session_rocket",
                    "`{name}.{field}` was read, then set, and meanwhile changed by another request, whose value is \
                     overwritten: `update_{field}` changes it without loss",
                );
            }
        }
    }
}

fn finished(stage: Stage) -> Result<Settled> {
    match stage {
        Stage::Done(result) => *result,
        // The task that had the turn was stopped: the runtime shuts down.
        Stage::Waiting(_) | Stage::Taken | Stage::Identifies(_) => {
            Err(Error::new(ErrorKind::Uncertain, "the task that saved a session was stopped"))
        }
    }
}

fn finish_all(target: &Target, members: &mut Vec<Member>, cookie: CookieEffect) {
    for member in members.drain(..) {
        let settled = target.settled(&member, cookie);
        member.finish(Ok(settled));
    }
}
