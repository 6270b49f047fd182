//! The store calls of a commit. If the reply to a write is lost, the store is asked for the outcome.

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

/// How long a write that was given up may still take to arrive.
const LAST_CHANCE: Duration = Duration::from_millis(250);

/// How often a fence that no response waits for is tried: for at least a minute.
const BACKGROUND_FENCES: u32 = 240;

/// The maximum number of tombstones to follow from one key to the next.
const MAX_MOVES: usize = 8;

/// The store calls of one commit, which end before its deadline.
#[derive(Clone, Copy)]
pub(super) struct Calls<'r> {
    pub(super) records: &'r Records,
    pub(super) deadline: Instant,
}

impl<'r> Calls<'r> {
    /// The calls of a commit that starts now.
    pub(super) fn new(records: &'r Records) -> Self {
        Self { records, deadline: Instant::now() + records.timeout }
    }

    /// The same calls with at least `time` left.
    fn with_at_least(self, time: Duration) -> Self {
        Self { deadline: self.deadline.max(Instant::now() + time), ..self }
    }

    pub(super) fn left(&self) -> Duration {
        left(self.deadline)
    }

    /// One call. It takes at most a share of the time left, so that there is time to ask the store for the outcome.
    async fn call<A>(&self, what: &str, call: impl Future<Output = Result<A>>) -> Result<A> {
        self.records.call(|| self.left().mul_f64(0.6), what, call).await
    }

    /// What `key` holds.
    pub(super) async fn look(&self, key: &Key) -> Result<Lookup> {
        self.call("load", self.records.store().load(key)).await
    }

    /// The live session that other requests moved from `key`, if there is one.
    pub(super) async fn find_moved(&self, key: &Key) -> Result<Option<Stored>> {
        let mut key = *key;
        for _ in 0..MAX_MOVES {
            match self.look(&key).await? {
                Lookup::Found(record) => return self.records.reread(key, None, &record).map(Some),
                Lookup::Tombstone(Tombstone { fate: Fate::Moved(next), .. }) => key = next,
                Lookup::Tombstone(_) | Lookup::Absent => return Ok(None),
            }
        }
        let context = format!("gave up after {MAX_MOVES} attempts: other requests keep rotating this session's id");
        Err(Error::new(ErrorKind::Timeout, context))
    }

    /// As [`find_moved`](Self::find_moved), if the user of `base` still owns the session.
    pub(super) async fn follow(&self, key: &Key, base: &Values) -> Result<Option<Stored>> {
        match self.find_moved(key).await? {
            Some(stored) if self.records.rules.same_owner(base, &stored.values)? => Ok(Some(stored)),
            _ => Ok(None),
        }
    }

    /// The session as it is stored now, also under an id that another request gave it. `None` if the session has ended, or
    /// somebody else logged in to it.
    pub(super) async fn reload(&self, live: &Live, base: &Values) -> Result<Option<Committed>> {
        let committed = |stored: Stored| stored.committed(CookieEffect::None);
        match self.look(&live.key).await? {
            Lookup::Found(record) => {
                self.records.open(live.key, live.id.clone(), &record, |live, values| committed(Stored { live, values }))
            }
            Lookup::Tombstone(Tombstone { fate: Fate::Moved(next), .. }) => {
                Ok(self.follow(&next, base).await?.map(committed))
            }
            Lookup::Tombstone(_) | Lookup::Absent => Ok(None),
        }
    }

    /// Inserts a record. Returns false if the key is taken.
    pub(super) async fn create(&self, key: &Key, record: &Record) -> Result<bool> {
        let is_pending = |seen: &Lookup| matches!(seen, Lookup::Absent);
        let write = || self.records.store().create(key, record);
        let reply = self.write(key, "create", write, Create::Created, |seen| is_of(seen, record.version), is_pending);
        Ok(reply.await? == Create::Created)
    }

    /// Replaces the record of version `expected`.
    pub(super) async fn swap(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let is_pending = |seen: &Lookup| is_of(seen, expected);
        let write = || self.records.store().update(key, expected, record);
        self.write(key, "save", write, Update::Updated, |seen| is_of(seen, record.version), is_pending).await
    }

    /// Replaces a record of any version with a tombstone.
    pub(super) async fn retire(&self, key: &Key, tombstone: Tombstone) -> Result<Retire> {
        let is_done = |seen: &Lookup| *seen == Lookup::Tombstone(tombstone);
        let is_pending = |seen: &Lookup| matches!(seen, Lookup::Found(_));
        let write = || self.records.store().retire(key, None, tombstone);
        self.write(key, "end", write, Retire::Retired, is_done, is_pending).await
    }

    /// Writes. Without a clear reply, looks whether the write is done, or may still be queued: then the write is sent once more.
    /// Anything else is an error, because the write may have been done and undone, or may still arrive.
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
        // Boxed, because every write would reserve the room of the rare one that has to ask.
        let resolve = Box::pin(async {
            match self.look(key).await {
                Ok(seen) if is_done(&seen) => return true,
                Ok(seen) if is_pending(&seen) => {}
                _ => return false,
            }
            if self.call(what, write()).await.is_ok_and(|reply| reply == done) {
                return true;
            }
            // The first write may still be under way, so it is given a little time to arrive.
            self.records.rules.clock.sleep(LAST_CHANCE.min(self.left() / 2)).await;
            self.look(key).await.is_ok_and(|seen| is_done(&seen))
        });
        if resolve.await { Ok(done) } else { Err(uncertain(what, lost)) }
    }

    /// Replaces the record with a tombstone if it has the expected version.
    ///
    /// If the retire gets no reply, this gives the record a new version and returns that as the conflict, so that the lost
    /// retire cannot end the session later.
    pub(super) async fn retire_version(&self, at: &Stored, tombstone: Tombstone) -> Result<Retire> {
        let timeout = self.records.timeout;
        if self.left() < timeout / 4 {
            // A retire without a reply would leave no time for the fence.
            return Err(Error::new(ErrorKind::Timeout, "other requests' saves took too long"));
        }
        let retire = self.records.store().retire(&at.live.key, Some(at.live.version), tombstone);
        match self.call("end", retire).await {
            Ok(reply) => Ok(reply),
            Err(lost) => {
                let calls = self.with_at_least(timeout / 2);
                Box::pin(calls.fence(at, tombstone)).await?.ok_or_else(|| uncertain("end", lost))
            }
        }
    }

    /// Gives a record a new version, so that a retire that is still under way fails with a conflict. `None` if the store
    /// did not confirm in time. Retries, because the first replies may be queued behind the lost one.
    async fn fence(&self, at: &Stored, tombstone: Tombstone) -> Result<Option<Retire>> {
        let Live { key, version, created_at, .. } = at.live;
        let (record, _) = self.records.record(key, None, &at.values, Some(created_at))?;
        let mut attempt = 0;
        loop {
            match self.call("save", self.records.store().update(&key, version, &record)).await {
                Ok(Update::Updated) => return Ok(Some(Retire::Conflict(record))),
                Ok(Update::Conflict(fresh)) => return Ok(Some(Retire::Conflict(fresh))),
                Ok(Update::Moved(to)) if tombstone.fate == Fate::Moved(to) => return Ok(Some(Retire::Retired)),
                Ok(Update::Moved(_) | Update::Gone) => match self.look(&key).await {
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

    /// Continues a fence in a task of its own, for as long as a lost retire may still arrive. No response waits for it.
    fn fence_in_background(&self, key: Key, version: Version, record: Record) {
        let records = self.records.clone();
        tokio::spawn(async move {
            for _ in 0..BACKGROUND_FENCES {
                let fence = records.store().update(&key, version, &record);
                if records.call(|| records.timeout, "save", fence).await.is_ok() {
                    return;
                }
                records.rules.clock.sleep(LAST_CHANCE).await;
            }
        });
    }

    /// Renews the record of version `expected`, which proves that nobody changed it. Retries once, because a second touch
    /// does no harm.
    pub(super) async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        let touch = || self.call("save", self.records.store().touch(key, expected, expires_at));
        match touch().await {
            Ok(reply) => Ok(reply),
            Err(_) => Box::pin(touch()).await,
        }
    }

    /// Removes a record that nobody can reach any more. If that fails, the record stays until it expires, which does no
    /// harm.
    pub(super) async fn discard(&self, key: &Key, expected: Option<Version>) {
        // After a failure there may be no time left. Without this call, a record that nobody can reach would stay listed.
        let calls = self.with_at_least(self.records.timeout / 4);
        let store = self.records.store();
        let removed = match expected {
            None => calls.call("remove", store.delete(key)).await,
            Some(_) => {
                let tombstone = self.records.tombstone(Fate::Ended);
                calls.call("remove", store.retire(key, expected, tombstone)).await.map(|_| ())
            }
        };
        if let Err(error) = removed {
            let error = Chain(&error);
            log::warn!(target: "session_rocket", "a superseded record stays until it expires: {error}");
        }
    }

    /// Waits briefly before the next attempt. Fails if the commit has no time left for it.
    pub(super) async fn pause(&self, attempt: &mut u32) -> Result<()> {
        if self.left().is_zero() {
            return Err(Error::new(ErrorKind::Timeout, "other requests changed the session at every try"));
        }
        let [random] = random_bytes::<1>()?;
        let longest = 500 << (*attempt).min(6);
        *attempt += 1;
        self.records.rules.clock.sleep(Duration::from_micros(longest * u64::from(random) / 255)).await;
        Ok(())
    }
}

/// Whether a key holds the record of this version.
fn is_of(seen: &Lookup, version: Version) -> bool {
    matches!(seen, Lookup::Found(record) if record.version == version)
}

fn uncertain(what: &str, lost: Error) -> Error {
    Error::with_source(ErrorKind::Uncertain, format!("cannot tell whether the store did {what} a session"), lost)
}
