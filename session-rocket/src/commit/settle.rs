//! Writes whose outcome is known: where an answer got lost, the store is asked what became of them.

use std::future::Future;
use std::time::Duration;

use super::store::{Deadline, StoreEngine};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Key;
use crate::record::{Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Update};

/// How long a write that was given up may take to arrive all the same.
const LAST_CHANCE: Duration = Duration::from_millis(250);

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

    /// Puts a tombstone in the place of a record.
    pub(super) async fn retire(
        &self,
        key: &Key,
        expected: Option<Version>,
        tombstone: Tombstone,
        deadline: Deadline,
    ) -> Result<Retire> {
        let own = |seen: &Lookup| matches!(seen, Lookup::Tombstone(found) if *found == tombstone);
        let untouched = |seen: &Lookup| match seen {
            Lookup::Found(found) => expected.is_none_or(|version| found.version == version),
            _ => false,
        };
        let write = || self.store().retire(key, expected, tombstone);
        self.certain(key, "end", deadline, write, Retire::Retired, own, untouched).await
    }

    /// Removes a record that nobody can reach any more; that it stays until it expires does no harm.
    pub(super) async fn discard(&self, key: &Key, expected: Option<Version>, deadline: Deadline) {
        let removed = match expected {
            None => self.call(|| deadline.share(), "remove", self.store().delete(key)).await,
            Some(_) => {
                let tombstone = self.tombstone(crate::record::Fate::Ended);
                self.call(|| deadline.share(), "remove", self.store().retire(key, expected, tombstone))
                    .await
                    .map(|_| ())
            }
        };
        if let Err(error) = removed {
            log::warn!(
                target: "session_rocket",
                "a superseded record stays until it expires: {}", crate::error::Chain(&error),
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
