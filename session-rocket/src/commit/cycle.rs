//! Commits that change the id: cycling and ending a session. They go singly.

use super::store::{Deadline, StoreEngine, Stored, TRIES};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Key;
use crate::record::{Fate, Tombstone};
use crate::state::{Carrier, CookieEffect, Job, Live, Settled};
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
        let mut expected = live.version;
        for attempt in 0.. {
            let Settled { carrier: Carrier::Live(new), values: stored, cookie, .. } =
                self.found(values, created_at, deadline).await?
            else {
                return Err(Error::new(ErrorKind::Random, "a new session has no id"));
            };
            let tombstone = self.tombstone(Fate::Moved(new.key));
            match self.retire(&live.key, Some(expected), tombstone, deadline).await {
                Ok(Retire::Retired) => return Ok(Settled::new(Carrier::Live(new), stored, cookie)),
                Ok(Retire::Conflict(fresh)) => {
                    self.discard(&new.key, None, deadline).await;
                    let fresh = self.reread(live.key, None, &fresh)?;
                    (values, expected) = (fresh.values, fresh.live.version);
                    self.rules.replay(&job.changes, &mut values)?;
                    self.pause(attempt, deadline).await?;
                }
                Ok(Retire::Gone) => {
                    self.discard(&new.key, None, deadline).await;
                    return self.overtaken(&live.key, job, deadline).await;
                }
                Err(error) => {
                    self.discard(&new.key, None, deadline).await;
                    return Err(error);
                }
            }
        }
        unreachable!("the range above has no end")
    }

    /// Another request cycled or ended the session first: a login gets a session of its own, other changes follow.
    pub(super) async fn overtaken(&self, key: &Key, job: Box<Job>, deadline: Deadline) -> Result<Settled> {
        if job.login {
            return self.found_apart(&job, deadline).await;
        }
        match self.moved(key, deadline).await? {
            Some(stored) => self.save_moved(stored, job, deadline).await,
            None => Ok(self.ended()),
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
        Err(Error::new(ErrorKind::Timeout, "the session was moved on at every try"))
    }

    /// Ends a session. What was set afterwards makes a new one.
    pub(super) async fn end(&self, live: Live, mut job: Box<Job>, deadline: Deadline) -> Result<Settled> {
        if !job.flushed {
            // One user's session does not end for another's that cannot be saved.
            self.rules.encode(&mut job.values)?;
        }
        let tombstone = self.tombstone(Fate::Ended);
        let mut key = live.key;
        let mut followed = false;
        for _ in 0..TRIES {
            match self.retire(&key, None, tombstone, deadline).await? {
                Retire::Retired => return self.after_end(job, followed, deadline).await,
                Retire::Conflict(_) => {}
                // The user logs out: that another request cycled the id meanwhile must not undo it.
                Retire::Gone => match self.moved(&key, deadline).await? {
                    // One that somebody logged in to meanwhile is not this request's to end.
                    Some(stored) if self.rules.same_owner(&job.base, &stored.values)? => {
                        (key, followed) = (stored.live.key, true);
                    }
                    _ if job.login => return self.found_apart(&job, deadline).await,
                    _ => return Ok(self.ended()),
                },
            }
        }
        Err(Error::new(ErrorKind::Timeout, "the session was moved on at every try"))
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
