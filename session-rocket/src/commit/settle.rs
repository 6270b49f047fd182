//! Writes whose outcome is known: where an answer got lost, the store is asked what became of them.

use std::future::Future;
use std::time::Duration;

use super::store::{Deadline, StoreEngine, Stored};
use crate::base::clock::{Timestamp, within};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::Key;
use crate::state::Live;
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Touch, Update};

/// How long a write that was given up may take to arrive all the same.
const LAST_CHANCE: Duration = Duration::from_millis(250);

/// How often a fence that no response waits for is tried: for at least a minute.
const BACKGROUND_FENCES: u32 = 240;

impl Deadline {
    /// The share of the time left that one call may take, so that there is some for asking what became of it.
    fn share(self) -> Duration {
        self.left().mul_f64(0.6)
    }
}

impl StoreEngine {
    /// Replaces the record of version `expected`.
    pub(super) async fn swap(
        &self,
        key: &Key,
        expected: Version,
        record: &Record,
        deadline: Deadline,
    ) -> Result<Update> {
        let own = |seen: &Lookup| matches!(seen, Lookup::Found(found) if found.version == record.version);
        let untouched = |seen: &Lookup| matches!(seen, Lookup::Found(found) if found.version == expected);
        let write = || self.store().update(key, expected, record);
        self.certain(key, "save", deadline, write, Update::Updated, own, untouched).await
    }

    /// Inserts a record; false when the key is taken.
    pub(super) async fn insert(&self, key: &Key, record: &Record, deadline: Deadline) -> Result<bool> {
        let own = |seen: &Lookup| matches!(seen, Lookup::Found(found) if found.version == record.version);
        let untouched = |seen: &Lookup| matches!(seen, Lookup::Absent);
        let write = || self.store().create(key, record);
        let answer = self.certain(key, "create", deadline, write, Create::Created, own, untouched).await?;
        Ok(answer == Create::Created)
    }

    /// Replaces a record of any version with a tombstone.
    pub(super) async fn retire(&self, key: &Key, tombstone: Tombstone, deadline: Deadline) -> Result<Retire> {
        let own = |seen: &Lookup| matches!(seen, Lookup::Tombstone(found) if *found == tombstone);
        let untouched = |seen: &Lookup| matches!(seen, Lookup::Found(_));
        let write = || self.store().retire(key, None, tombstone);
        self.certain(key, "end", deadline, write, Retire::Retired, own, untouched).await
    }

    /// Replaces the record with a tombstone if it has the expected version.
    ///
    /// If the retire gets no reply, this gives the record a new version and returns that as the conflict, so that the lost
    /// retire cannot end the session later.
    pub(super) async fn retire_version(&self, at: &Stored, tombstone: Tombstone, deadline: Deadline) -> Result<Retire> {
        if deadline.left() < self.timeout / 4 {
            // A retire without a reply would leave no time for the fence.
            return Err(Error::new(ErrorKind::Timeout, "other requests' saves took too long"));
        }
        let retire = self.store().retire(&at.live.key, Some(at.live.version), tombstone);
        match self.call(|| deadline.share(), "end", retire).await {
            Ok(answer) => Ok(answer),
            Err(lost) => {
                let fence_deadline = deadline.max(Deadline::after(self.timeout / 2));
                Box::pin(self.fence(at, tombstone, fence_deadline)).await?.ok_or_else(|| uncertain("end", lost))
            }
        }
    }

    /// Gives a record a new version, so that a retire that is still under way fails with a conflict. `None` if the store
    /// did not confirm in time. Retries, because the first replies may be queued behind the lost one.
    async fn fence(&self, at: &Stored, tombstone: Tombstone, deadline: Deadline) -> Result<Option<Retire>> {
        let Live { key, version, created_at, .. } = at.live;
        let (record, _) = self.record(key, None, &at.values, Some(created_at))?;
        for attempt in 0.. {
            match self.call(|| deadline.share(), "save", self.store().update(&key, version, &record)).await {
                Ok(Update::Updated) => return Ok(Some(Retire::Conflict(record))),
                Ok(Update::Conflict(fresh)) => return Ok(Some(Retire::Conflict(fresh))),
                Ok(Update::Moved(to)) if tombstone.fate == Fate::Moved(to) => return Ok(Some(Retire::Retired)),
                Ok(Update::Moved(_) | Update::Gone) => match self.look(&key, deadline).await {
                    Ok(Lookup::Tombstone(found)) if found == tombstone => return Ok(Some(Retire::Retired)),
                    Ok(_) => return Ok(Some(Retire::Gone)),
                    Err(_) => {}
                },
                Err(_) => {}
            }
            if self.pause(attempt, deadline).await.is_err() {
                break;
            }
        }
        self.fence_in_background(key, version, record);
        Ok(None)
    }

    /// Continues a fence in a task of its own, for as long as a lost retire may still arrive. No response waits for it.
    fn fence_in_background(&self, key: Key, version: Version, record: Record) {
        let (store, clock, limit) = (self.shared_store(), self.rules.clock.clone(), self.timeout);
        tokio::spawn(async move {
            for _ in 0..BACKGROUND_FENCES {
                let fence = store.update(&key, version, &record);
                if let Some(Ok(_)) = within(&*clock, || limit, fence).await {
                    return;
                }
                clock.sleep(LAST_CHANCE).await;
            }
        });
    }

    /// Renews the record of version `expected`, which proves that nobody changed it. Retries once, because a second touch
    /// does no harm.
    pub(super) async fn touch(
        &self,
        key: &Key,
        expected: Version,
        expires_at: Timestamp,
        deadline: Deadline,
    ) -> Result<Touch> {
        let touch = || self.call(|| deadline.share(), "save", self.store().touch(key, expected, expires_at));
        match touch().await {
            Ok(answer) => Ok(answer),
            Err(_) => Box::pin(touch()).await,
        }
    }

    /// Removes a record that nobody can reach any more; that it stays until it expires does no harm.
    pub(super) async fn discard(&self, key: &Key, expected: Option<Version>, deadline: Deadline) {
        // After a failure there may be no time left, and a record of a user that nobody can reach would still be listed.
        let deadline = deadline.max(Deadline::after(self.timeout / 4));
        let removed = match expected {
            None => self.call(|| deadline.share(), "remove", self.store().delete(key)).await,
            Some(_) => {
                let tombstone = self.tombstone(crate::store::record::Fate::Ended);
                self.call(|| deadline.share(), "remove", self.store().retire(key, expected, tombstone))
                    .await
                    .map(|_| ())
            }
        };
        if let Err(error) = removed {
            log::warn!(
                target: "session_rocket",
                "a superseded record stays until it expires: {}", crate::base::error::Chain(&error),
            );
        }
    }

    /// What `key` holds, in the midst of a commit.
    pub(super) async fn look(&self, key: &Key, deadline: Deadline) -> Result<Lookup> {
        self.call(|| deadline.share(), "load", self.store().load(key)).await
    }

    /// Writes; without a clear answer, looks whether it is done (`own`), or still to be done (`untouched`): then once
    /// more. Anything else is an error, for the write may have been done and undone, or may be yet to come.
    #[expect(clippy::too_many_arguments, reason = "three callers, beside each other, that differ in all of them")]
    async fn certain<A: PartialEq, F: Future<Output = Result<A>>>(
        &self,
        key: &Key,
        what: &str,
        deadline: Deadline,
        write: impl Fn() -> F,
        done: A,
        own: impl Fn(&Lookup) -> bool,
        untouched: impl Fn(&Lookup) -> bool,
    ) -> Result<A> {
        let lost = match self.call(|| deadline.share(), what, write()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        // Boxed, or every write would take up the room of the rare one that has to ask.
        let ask = Box::pin(async {
            match self.look(key, deadline).await {
                Ok(seen) if own(&seen) => return true,
                Ok(seen) if untouched(&seen) => {}
                _ => return false,
            }
            if self.call(|| deadline.share(), what, write()).await.is_ok_and(|answer| answer == done) {
                return true;
            }
            // What was cut off may still be on its way: it is given a little time to arrive.
            self.rules.clock.sleep(LAST_CHANCE.min(deadline.left() / 2)).await;
            self.look(key, deadline).await.is_ok_and(|seen| own(&seen))
        });
        if ask.await { Ok(done) } else { Err(uncertain(what, lost)) }
    }
}

fn uncertain(what: &str, lost: Error) -> Error {
    Error::with_source(ErrorKind::Uncertain, format!("cannot tell whether the store did {what} a session"), lost)
}
