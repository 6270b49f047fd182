//! Commits of one session in one process form a group: whoever has the turn saves for all that wait, in one write.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, MutexGuard};

use super::{Deadline, Engine, Stored};
use crate::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::state::{Carrier, CookieEffect, Job, Live, Settled};
use crate::store::Update;
use crate::values::Values;

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

    fn join(&self, job: Job) -> Arc<Ticket> {
        let ticket = Arc::new(Ticket(Mutex::new(Stage::Waiting(Box::new(job)))));
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
struct Ticket(Mutex<Stage>);

enum Stage {
    Waiting(Box<Job>),
    /// Being saved, or its result was taken.
    Taken,
    Done(Result<Settled>),
}

impl Ticket {
    fn replace(&self, stage: Stage) -> Stage {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), stage)
    }

    fn is_waiting(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), Stage::Waiting(_))
    }

    fn result(&self) -> Result<Settled> {
        match self.replace(Stage::Taken) {
            Stage::Done(result) => result,
            // The task that had the turn was aborted: the runtime shuts down.
            Stage::Waiting(_) | Stage::Taken => {
                Err(Error::new(ErrorKind::Uncertain, "the task that saved a session was aborted"))
            }
        }
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
            Stage::Taken | Stage::Done(_) => None,
        }
    }

    fn finish(self, result: Result<Settled>) {
        self.ticket.replace(Stage::Done(result));
    }

    fn live(&self) -> Option<&Live> {
        match &self.job.carrier {
            Carrier::Live(live) => Some(live),
            Carrier::New { .. } | Carrier::Ended => None,
        }
    }
}

/// What a group is being saved on.
struct Target {
    at: Stored,
    /// The session was moved meanwhile: its new id is not ours to tell.
    followed: bool,
}

impl Target {
    fn settled(&self, member: &Member, cookie: CookieEffect) -> Settled {
        let id: Option<SessionId> = member.live().filter(|_| !self.followed).and_then(|live| live.id.clone());
        let cookie = if self.followed { CookieEffect::None } else { cookie };
        Settled { carrier: Carrier::Live(Live { id, ..self.at.live.clone() }), values: self.at.values.clone(), cookie }
    }
}

impl Engine {
    /// Commits in the group of the session.
    pub(super) async fn grouped(&self, live: Live, job: Job, deadline: Deadline) -> Result<Settled> {
        let group = self.group(live.key);
        let own = Stored { live: live.clone(), values: job.base.clone() };
        let ticket = group.join(job);
        let mut turn = group.turn.lock().await;
        if ticket.is_waiting() {
            if deadline.left().is_zero() {
                ticket.replace(Stage::Done(Err(Error::new(ErrorKind::Timeout, "other requests' saves took too long"))));
            } else {
                let at = turn.take().unwrap_or(own);
                *turn = self.save(Target { at, followed: false }, group.take(), deadline).await;
            }
        }
        drop(turn);
        self.leave(&live.key, group);
        ticket.result()
    }

    /// Commits on a session that was moved meanwhile.
    pub(super) async fn save_moved(&self, at: Stored, job: Job, deadline: Deadline) -> Result<Settled> {
        let ticket = Arc::new(Ticket(Mutex::new(Stage::Taken)));
        let member = Member { ticket: ticket.clone(), job: Box::new(job) };
        self.save(Target { at, followed: true }, vec![member], deadline).await;
        ticket.result()
    }

    /// Saves for all members in one write; gives what is stored then, where it is known and still in its place.
    async fn save(&self, mut target: Target, mut members: Vec<Member>, deadline: Deadline) -> Option<Stored> {
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
        let mut values = self.merge(&target.at, members);
        if members.is_empty() || values.same_as(&target.at.values) {
            finish_all(target, members, CookieEffect::None);
            return Ok(true);
        }
        let Live { id, key, version, created_at, .. } = target.at.live.clone();
        let (record, live) = self.record(key, id, &mut values, Some(created_at))?;
        match self.swap(&key, version, &record, deadline).await? {
            Update::Updated => {
                target.at = Stored { live, values };
                finish_all(target, members, CookieEffect::Set);
                return Ok(true);
            }
            Update::Conflict(fresh) => {
                target.at = self.reread(key, target.at.live.id.clone(), &fresh)?;
                self.pause(attempt, deadline).await?;
            }
            Update::Moved(_) | Update::Gone => {
                let Some(stored) = self.moved(&key, deadline).await? else {
                    members.drain(..).for_each(|member| member.finish(Ok(self.ended())));
                    target.followed = true;
                    return Ok(true);
                };
                *target = Target { at: stored, followed: true };
                self.pause(attempt, deadline).await?;
            }
        }
        Ok(false)
    }

    /// What is to be stored: the changes of all members, in order, on top of what is. A member that fails drops out.
    fn merge(&self, at: &Stored, members: &mut Vec<Member>) -> Values {
        let sole = members.len() == 1;
        let mut merged = at.values.clone();
        for member in std::mem::take(members) {
            let current = member.live().is_some_and(|live| live.version == at.live.version);
            let made = if sole && current {
                // Nobody came between: what the request computed is what is to be stored.
                Ok(member.job.values.clone())
            } else {
                self.warn_of_overwrites(&member.job, &at.values);
                let mut values = merged.clone();
                self.replay(&member.job.changes, &mut values).map(|()| values)
            };
            match made.and_then(|mut values| self.encode(&mut values).map(|()| values)) {
                Ok(values) => {
                    merged = values;
                    members.push(member);
                }
                Err(error) => member.finish(Err(error)),
            }
        }
        merged
    }

    /// Tells, once per field, of a value that was read, set, and meanwhile changed by another request.
    fn warn_of_overwrites(&self, job: &Job, fresh: &Values) {
        for change in &job.changes {
            if let Change::Set { field, after_read: true, .. } = change
                && !job.base.same_field(fresh, *field)
                && field.spec().first_overwritten()
            {
                let (name, field) = (self.schema.type_name(), field.spec().name);
                log::warn!(
                    target: "session_rocket",
                    "`{name}.{field}` was read, then set, and meanwhile changed by another request, whose value is \
                     overwritten: `update_{field}` changes it without loss",
                );
            }
        }
    }
}

fn finish_all(target: &Target, members: &mut Vec<Member>, cookie: CookieEffect) {
    for member in members.drain(..) {
        let settled = target.settled(&member, cookie);
        member.finish(Ok(settled));
    }
}
