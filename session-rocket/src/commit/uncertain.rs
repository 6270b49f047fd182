//! The store calls of a commit. If the reply to a write is lost, the commit asks the store for the outcome. The commit
//! fails with [`ErrorKind::Uncertain`] if the outcome stays unknown.
//!
//! To _retire_ a record is to replace it with a _tombstone_, which says that the session ended or moved to another key.

use std::future::Future;
use std::time::{Duration, Instant};

use super::records::{Records, Stored, left};
use crate::base::clock::Timestamp;
use crate::base::error::{Chain, Error, ErrorKind, Result};
use crate::base::id::{Key, random_bytes};
use crate::data::values::Values;
use crate::state::{Committed, CookieEffect, Live};
use crate::store::record::{Fate, Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Touch, Update};

/// How long to wait for a write that may still reach the store after a lost reply.
const LATE_WRITE_WAIT: Duration = Duration::from_millis(250);

/// The pause between two attempts in the background.
const BACKGROUND_PAUSE: Duration = Duration::from_millis(250);

/// The number of attempts in the background, which take at least a minute.
const BACKGROUND_ATTEMPTS: u32 = 240;

/// The maximum number of keys to visit while following tombstones to a moved session.
const MAX_MOVES: usize = 8;

/// The store calls of one commit, with a common deadline.
#[derive(Clone, Copy)]
pub(super) struct Calls<'r> {
    pub(super) records: &'r Records,
    pub(super) deadline: Instant,
}

impl<'r> Calls<'r> {
    pub(super) fn new(records: &'r Records) -> Self {
        Self { records, deadline: Instant::now() + records.timeout }
    }

    /// Extends the deadline so that at least `time` is left.
    fn with_at_least(self, time: Duration) -> Self {
        Self { deadline: self.deadline.max(Instant::now() + time), ..self }
    }

    pub(super) fn left(&self) -> Duration {
        left(self.deadline)
    }

    /// Runs one call with a share of the time left, so that time is left to ask the store for the outcome.
    pub(super) async fn call<A>(&self, what: &str, call: impl Future<Output = Result<A>>) -> Result<A> {
        self.records.call(|| self.left().mul_f64(0.6), what, call).await
    }

    pub(super) async fn load(&self, key: &Key) -> Result<Lookup> {
        self.call("load", self.records.store().load(key)).await
    }

    /// Returns the live session at `key`, or at the key to which its tombstone leads. Returns `None` if the session has
    /// ended.
    pub(super) async fn find_moved(&self, key: &Key) -> Result<Option<Stored>> {
        let mut key = *key;
        for _ in 0..MAX_MOVES {
            match self.load(&key).await? {
                Lookup::Found(record) => return self.records.reread(key, None, &record).map(Some),
                Lookup::Tombstone(Tombstone { fate: Fate::Moved(next), .. }) => key = next,
                Lookup::Tombstone(_) | Lookup::Absent => return Ok(None),
            }
        }
        let context = format!("gave up after {MAX_MOVES} attempts: other requests keep rotating this session's id");
        Err(Error::new(ErrorKind::Timeout, context))
    }

    /// Returns the session that [`find_moved`](Self::find_moved) finds, if the user of `base` still owns it.
    pub(super) async fn follow(&self, key: &Key, base: &Values) -> Result<Option<Stored>> {
        match self.find_moved(key).await? {
            Some(stored) if self.records.rules.same_owner(base, &stored.values)? => Ok(Some(stored)),
            _ => Ok(None),
        }
    }

    /// Loads the session again, even if another request gave it a new id.
    ///
    /// Returns `None` if the session has ended, or if somebody else has logged in on it.
    pub(super) async fn reload(&self, live: &Live, base: &Values) -> Result<Option<Committed>> {
        let committed = |stored: Stored| stored.committed(CookieEffect::None);
        match self.load(&live.key).await? {
            Lookup::Found(record) => {
                self.records.open(live.key, live.id.clone(), &record, |live, values| committed(Stored { live, values }))
            }
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(next), .. }) => {
                Ok(self.follow(&next, base).await?.map(committed))
            }
            Lookup::Tombstone(_) | Lookup::Absent => Ok(None),
        }
    }

    /// Inserts a record. Returns false if the key is already taken.
    pub(super) async fn create(&self, key: &Key, record: &Record) -> Result<bool> {
        let is_pending = |seen: &Lookup| matches!(seen, Lookup::Absent);
        let write = || self.records.store().create(key, record);
        let reply =
            self.write(key, "create", write, Create::Created, |seen| has_version(seen, record.version), is_pending);
        Ok(reply.await? == Create::Created)
    }

    /// Replaces the record if it has version `expected`.
    pub(super) async fn swap(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let is_pending = |seen: &Lookup| has_version(seen, expected);
        let write = || self.records.store().update(key, expected, record);
        self.write(key, "save", write, Update::Updated, |seen| has_version(seen, record.version), is_pending).await
    }

    /// Replaces a record of any version with a tombstone.
    pub(super) async fn retire(&self, key: &Key, tombstone: Tombstone) -> Result<Retire> {
        let is_done = |seen: &Lookup| *seen == Lookup::Tombstone(tombstone);
        let is_pending = |seen: &Lookup| matches!(seen, Lookup::Found(_));
        let write = || self.records.store().retire(key, None, tombstone);
        self.write(key, "end", write, Retire::Retired, is_done, is_pending).await
    }

    /// Sends a write. If the reply is lost, loads the key to find out whether the write is done (`is_done`).
    ///
    /// If the key is still in the state before the write (`is_pending`), sends the write once more. In any other state, the
    /// outcome is unknown, which is an error.
    async fn write<A: PartialEq, F: Future<Output = Result<A>>>(
        &self,
        key: &Key,
        what: &str,
        write: impl Fn() -> F,
        done: A,
        is_done: impl Fn(&Lookup) -> bool,
        is_pending: impl Fn(&Lookup) -> bool,
    ) -> Result<A> {
        let lost = match self.call(what, write()).await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        // Boxed, because this rare case would make the future of every write larger.
        let resolve = Box::pin(async {
            match self.load(key).await {
                Ok(seen) if is_done(&seen) => return true,
                Ok(seen) if is_pending(&seen) => {}
                _ => return false,
            }
            if self.call(what, write()).await.is_ok_and(|reply| reply == done) {
                return true;
            }
            // The first write may still arrive.
            self.records.rules.clock.sleep(LATE_WRITE_WAIT.min(self.left() / 2)).await;
            self.load(key).await.is_ok_and(|seen| is_done(&seen))
        });
        if resolve.await { Ok(done) } else { Err(uncertain(what, lost)) }
    }

    /// Replaces the record with a tombstone if it has the expected version.
    ///
    /// If the reply is lost, the retire may still arrive and end the session later. To prevent that, [`fence`](Self::fence)
    /// gives the record a new version, and this function returns a conflict.
    pub(super) async fn retire_version(&self, current: &Stored, tombstone: Tombstone) -> Result<Retire> {
        let timeout = self.records.timeout;
        if self.left() < timeout / 4 {
            // A call with so little time may fail, and would then need the fence.
            return Err(Error::new(
                ErrorKind::Timeout,
                "cannot end the session or give it a new id: too little of `timeout` is left; raise `timeout`",
            ));
        }
        let retire = self.records.store().retire(&current.live.key, Some(current.live.version), tombstone);
        match self.call("end", retire).await {
            Ok(reply) => Ok(reply),
            Err(lost) => {
                let calls = self.with_at_least(timeout / 2);
                Box::pin(calls.fence(current, tombstone)).await?.ok_or_else(|| uncertain("end", lost))
            }
        }
    }

    /// Gives a record a new version, so that a retire that may still arrive fails with a conflict.
    ///
    /// Retries, because the first attempts may be queued behind the lost retire. Returns the outcome of the retire, or
    /// `None` if the store does not confirm in time.
    async fn fence(&self, current: &Stored, tombstone: Tombstone) -> Result<Option<Retire>> {
        let Live { key, version, created_at, .. } = current.live;
        let (record, _) = self.records.record(key, None, &current.values, Some(created_at))?;
        let mut attempt = 0;
        loop {
            match self.call("save", self.records.store().update(&key, version, &record)).await {
                Ok(Update::Updated) => return Ok(Some(Retire::Conflict(record))),
                Ok(Update::Conflict(fresh)) => return Ok(Some(Retire::Conflict(fresh))),
                Ok(Update::Moved(to)) if tombstone.fate == Fate::Moved(to) => return Ok(Some(Retire::Retired)),
                Ok(Update::Moved(_) | Update::Gone) => match self.load(&key).await {
                    Ok(Lookup::Tombstone(found)) if found == tombstone => return Ok(Some(Retire::Retired)),
                    Ok(_) => return Ok(Some(Retire::Gone)),
                    Err(_) => {}
                },
                Err(_) => {}
            }
            if self.pause(&mut attempt).await.is_err() {
                self.fence_in_background(key, version, record);
                return Ok(None);
            }
        }
    }

    /// Continues a fence in a background task, because the lost retire may still arrive.
    fn fence_in_background(&self, key: Key, version: Version, record: Record) {
        let records = self.records.clone();
        tokio::spawn(async move {
            for _ in 0..BACKGROUND_ATTEMPTS {
                let fence = records.store().update(&key, version, &record);
                if records.call(|| records.timeout, "save", fence).await.is_ok() {
                    return;
                }
                records.rules.clock.sleep(BACKGROUND_PAUSE).await;
            }
        });
    }

    /// Postpones the expiry of the record if it has version `expected`.
    ///
    /// Retries once after an error, because a second touch does no harm.
    pub(super) async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let touch = || self.call("save", self.records.store().touch(key, expected, expires_at));
        match touch().await {
            Ok(reply) => Ok(reply),
            Err(_) => Box::pin(touch()).await,
        }
    }

    /// Removes a record that is no longer needed.
    ///
    /// If `expected` is `None`, no browser has the id: the record is deleted, with retries in the background. Otherwise, it
    /// is retired if it has the expected version, without retries.
    pub(super) async fn discard(&self, key: &Key, expected: Option<Version>) {
        // A failed commit may have no time left, and the record would stay in the user's list.
        let calls = self.with_at_least(self.records.timeout / 4);
        let store = self.records.store();
        match expected {
            None => {
                if calls.call("remove", store.delete(key)).await.is_err() {
                    self.discard_in_background(*key);
                }
            }
            Some(_) => {
                let retire = store.retire(key, expected, self.records.tombstone(Fate::Ended));
                if let Err(error) = calls.call("remove", retire).await {
                    warn_of_leftover(&error);
                }
            }
        }
    }

    /// Removes a record whose id no browser has, in a background task.
    ///
    /// Otherwise, the record would stay in the list of its user until it expires, and count for `max_sessions`. The task
    /// deletes the record again after `timeout`, because a failed `create` may still arrive until then.
    pub(super) fn discard_in_background(&self, key: Key) {
        let records = self.records.clone();
        tokio::spawn(async move {
            let mut is_removed = false;
            for attempt in 1.. {
                let delete = records.store().delete(&key);
                match records.call(|| records.timeout, "remove", delete).await {
                    Ok(()) if is_removed => return,
                    Ok(()) => {
                        is_removed = true;
                        records.rules.clock.sleep(records.timeout).await;
                    }
                    Err(error) if attempt >= BACKGROUND_ATTEMPTS => return warn_of_leftover(&error),
                    Err(_) => records.rules.clock.sleep(BACKGROUND_PAUSE).await,
                }
            }
        });
    }

    /// Waits for a short random time before the next attempt. Fails if the commit has no time left.
    pub(super) async fn pause(&self, attempt: &mut u32) -> Result<()> {
        if self.left().is_zero() {
            return Err(Error::new(
                ErrorKind::Timeout,
                "cannot save the session within `timeout`: other requests changed it during every attempt",
            ));
        }
        let [random] = random_bytes::<1>()?;
        let longest = 500 << (*attempt).min(6);
        *attempt += 1;
        self.records.rules.clock.sleep(Duration::from_micros(longest * u64::from(random) / 255)).await;
        Ok(())
    }
}

fn has_version(seen: &Lookup, version: Version) -> bool {
    matches!(seen, Lookup::Found(record) if record.version == version)
}

fn warn_of_leftover(error: &Error) {
    log::warn!(
        target: "session_rocket",
        "cannot remove an unused session, which stays in the store until it expires: {}",
        Chain(error),
    );
}

fn uncertain(what: &str, lost: Error) -> Error {
    Error::with_source(
        ErrorKind::Uncertain,
        format!("the store did not confirm the call to {what} a session, so it is unknown whether the call succeeded"),
        lost,
    )
}
