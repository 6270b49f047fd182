//! Commits that change the id: cycling and ending a session. They go singly.

use super::store::{Deadline, StoreEngine, Stored, TRIES};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::state::{Carrier, CookieEffect, Job, Live, Settled};
use crate::store::record::{Fate, Tombstone};
use crate::store::{Lookup, Retire};

impl StoreEngine {
    /// Gives a session a new id: the new record first, then the tombstone that points to it. Whoever crashes between
    /// the two leaves a record that nobody knows the id of.
    pub(super) async fn cycle(&self, live: Live, job: Box<Job>, deadline: Deadline) -> Result<Settled> {
        let group = self.groups.enter(live.key);
        let _alone = group.alone().await;
        self.cycle_alone(live, job, deadline).await
    }

    async fn cycle_alone(&self, live: Live, job: Box<Job>, deadline: Deadline) -> Result<Settled> {
        // Authentication starts a new lifetime (NIST SP 800-63B-4, 5.2); a cycle for any other reason does not.
        let created_at = if job.login { None } else { Some(live.created_at) };
        let mut values = job.values.clone();
        let mut at = Stored { live, values: job.base.clone() };
        for attempt in 0.. {
            let Settled { carrier: Carrier::Live(new), values: stored, cookie, .. } =
                self.found(values, created_at, deadline).await?
            else {
                return Err(Error::new(ErrorKind::Random, "a new session has no id"));
            };
            let retired = self.retire_version(&at, self.tombstone(Fate::Moved(new.key)), deadline).await;
            if let Ok(Retire::Retired) = retired {
                return Ok(Settled::new(Carrier::Live(new), stored, cookie));
            }
            self.discard(&new.key, None, deadline).await;
            match retired? {
                Retire::Conflict(fresh) => {
                    at = self.reread(at.live.key, None, &fresh)?;
                    values = at.values.clone();
                    self.rules.replay(&job.changes, &mut values)?;
                    self.pause(attempt, deadline).await?;
                }
                Retire::Retired | Retire::Gone => return self.overtaken(&at.live.key, job, deadline).await,
            }
        }
        unreachable!("the range above has no end")
    }

    /// Another request cycled or ended the session first: a login gets a session of its own, changes of the same user
    /// follow, and those of anybody else are dropped.
    async fn overtaken(&self, key: &Key, job: Box<Job>, deadline: Deadline) -> Result<Settled> {
        if job.login && !job.transacts {
            return self.found_apart(&job, deadline).await;
        }
        match self.moved(key, deadline).await? {
            Some(stored) if self.rules.same_owner(&job.base, &stored.values)? => {
                self.save_moved(stored, job, deadline).await
            }
            _ => Ok(self.ended(&job)),
        }
    }

    /// The live session that another request moved from `key`, if it lives on.
    pub(super) async fn moved(&self, key: &Key, deadline: Deadline) -> Result<Option<Stored>> {
        let mut key = *key;
        for _ in 0..TRIES {
            match self.look(&key, deadline).await? {
                Lookup::Found(record) => return self.reread(key, None, &record).map(Some),
                Lookup::Tombstone(Tombstone { fate: Fate::Moved(next), .. }) => key = next,
                Lookup::Tombstone(_) | Lookup::Absent => return Ok(None),
            }
        }
        let context = format!("gave up after {TRIES} attempts: other requests keep rotating this session's id");
        Err(Error::new(ErrorKind::Timeout, context))
    }

    /// Ends the other sessions whose ids a logout presented. If that fails, the browser keeps its cookies, so that it presents
    /// them again.
    pub(super) async fn end_others(&self, settled: &mut Settled, others: Vec<Key>, deadline: Deadline) {
        for key in others {
            if let Err(error) = self.retire(&key, self.tombstone(Fate::Ended), deadline).await {
                settled.failure = Some(error);
                settled.cookie = CookieEffect::None;
            }
        }
    }

    /// Ends a session. What was set afterwards makes a new one.
    pub(super) async fn end(&self, live: Live, mut job: Box<Job>, deadline: Deadline) -> Result<Settled> {
        if !job.flushed {
            // One user's session does not end for another's that cannot be saved.
            self.rules.encode(&mut job.values)?;
        }
        self.end_one(live, job, deadline).await
    }

    async fn end_one(&self, live: Live, job: Box<Job>, deadline: Deadline) -> Result<Settled> {
        let tombstone = self.tombstone(Fate::Ended);
        let mut at = Stored { live, values: job.base.clone() };
        let mut followed = false;
        for attempt in 0.. {
            let retired = if job.flushed {
                // A logout ends the session whatever its version, because the user asked for it.
                self.retire(&at.live.key, tombstone, deadline).await?
            } else {
                self.retire_version(&at, tombstone, deadline).await?
            };
            match retired {
                Retire::Retired => return self.after_end(job, followed, deadline).await,
                // The closure ran on values that are not stored any more, and is not kept to run again.
                Retire::Conflict(_) if job.transacts => {
                    let context = "another request changed the session while `transact` changed its user";
                    return Err(Error::new(ErrorKind::Timeout, context));
                }
                Retire::Conflict(fresh) => at = self.reread(at.live.key, None, &fresh)?,
                // The user logs out: that another request cycled the id meanwhile must not undo it.
                Retire::Gone => match self.moved(&at.live.key, deadline).await? {
                    // A session that another user has logged in to meanwhile must not end.
                    Some(stored) if self.rules.same_owner(&job.base, &stored.values)? => {
                        (at, followed) = (stored, true);
                    }
                    _ if job.login && !job.transacts => return self.found_apart(&job, deadline).await,
                    _ => return Ok(self.ended(&job)),
                },
            }
            self.pause(attempt, deadline).await?;
        }
        unreachable!("the range above has no end")
    }

    async fn after_end(&self, job: Box<Job>, followed: bool, deadline: Deadline) -> Result<Settled> {
        if job.values.is_blank() && !job.flushed {
            // Nobody is logged in any more, but the visit goes on: with an id that is not the old one.
            return self.found(job.values, None, deadline).await;
        }
        let mut settled = self.found_or_forget(job, None, deadline).await?;
        // The browser may hold the id that the session moved to: it is dead, and removing it could hit a newer one.
        if followed && settled.cookie == CookieEffect::Remove {
            settled.cookie = CookieEffect::None;
        }
        Ok(settled)
    }
}
