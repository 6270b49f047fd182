//! Stores that lose replies, fail, hang or contain damaged records, and callers that drop their calls.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use async_trait::async_trait;

use super::fixture::{
    COUNT, DAY, NAME, TAGS, USER, Visitor, clock, engine_with, is_unknown, load, open, policy, respond,
};
use crate::base::clock::{ManualClock, Timestamp};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::expiry::{Policy, Refresh};
use crate::base::id::{Key, SessionId};
use crate::commit::Engine;
use crate::session::{CookieUpdate, Session};
use crate::state::{CommitScope, SessionStatus};
use crate::store::memory::MemoryStore;
use crate::store::record::{Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Store, Touch, Update};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Pass,
    /// The call is executed, but its reply is an error.
    LoseReply,
    /// The call is not executed, and its reply is an error.
    Refuse,
    /// The call is not executed, and there is no reply.
    Hang,
    /// The reply is an error, and the call is executed later: a create after the next delete, an update after the next
    /// update, a retire when the test calls `run_late_write`.
    RunLater,
}

/// A store whose next calls have the given faults.
struct Faulty {
    store: Arc<MemoryStore>,
    writes: Mutex<VecDeque<Fault>>,
    loads: Mutex<VecDeque<Fault>>,
    late: Mutex<Option<LateWrite>>,
    calls: AtomicUsize,
}

/// A write that is executed after its caller received an error.
enum LateWrite {
    Create(Key, Record),
    Update(Key, Version, Record),
    Retire(Key, Option<Version>, Tombstone),
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "the connection broke")
}

impl Faulty {
    fn next(&self, faults: &Mutex<VecDeque<Fault>>) -> Fault {
        self.calls.fetch_add(1, Ordering::SeqCst);
        faults.lock().unwrap().pop_front().unwrap_or(Fault::Pass)
    }

    async fn call<A>(&self, faults: &Mutex<VecDeque<Fault>>, call: impl Future<Output = Result<A>>) -> Result<A> {
        match self.next(faults) {
            Fault::Pass => call.await,
            Fault::LoseReply => call.await.and(Err(lost())),
            Fault::Refuse | Fault::RunLater => Err(lost()),
            Fault::Hang => std::future::pending().await,
        }
    }

    async fn run_late_write(&self) {
        let late = self.late.lock().unwrap().take();
        match late {
            Some(LateWrite::Create(key, record)) => _ = self.store.create(&key, &record).await.unwrap(),
            Some(LateWrite::Update(key, expected, record)) => {
                self.store.update(&key, expected, &record).await.unwrap();
            }
            Some(LateWrite::Retire(key, expected, tombstone)) => {
                self.store.retire(&key, expected, tombstone).await.unwrap();
            }
            None => {}
        }
    }
}

#[async_trait]
impl Store for Faulty {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        self.call(&self.loads, self.store.load(key)).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        let is_late = self.writes.lock().unwrap().front() == Some(&Fault::RunLater);
        let reply = self.call(&self.writes, self.store.create(key, record)).await;
        if is_late {
            *self.late.lock().unwrap() = Some(LateWrite::Create(*key, record.clone()));
        }
        reply
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        let is_late = self.writes.lock().unwrap().front() == Some(&Fault::RunLater);
        let reply = self.call(&self.writes, self.store.update(key, expected, record)).await;
        if matches!(&*self.late.lock().unwrap(), Some(LateWrite::Update(..))) {
            self.run_late_write().await;
        }
        if is_late {
            *self.late.lock().unwrap() = Some(LateWrite::Update(*key, expected, record.clone()));
        }
        reply
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        self.call(&self.writes, self.store.touch(key, expected, expires_at)).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        let is_late = self.writes.lock().unwrap().front() == Some(&Fault::RunLater);
        let reply = self.call(&self.writes, self.store.retire(key, expected, tombstone)).await;
        if is_late {
            *self.late.lock().unwrap() = Some(LateWrite::Retire(*key, expected, tombstone));
        }
        reply
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let reply = self.call(&self.writes, self.store.delete(key)).await;
        if matches!(&*self.late.lock().unwrap(), Some(LateWrite::Create(..))) {
            self.run_late_write().await;
        }
        reply
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        self.store.delete_expired(limit).await
    }
}

struct Site {
    faulty: Arc<Faulty>,
    clock: Arc<ManualClock>,
    engine: Arc<Engine>,
}

impl Site {
    fn new() -> Self {
        Self::with(policy(), 256 * 1024)
    }

    fn with(policy: Policy, max_size: usize) -> Self {
        let clock = clock();
        let faulty = Arc::new(Faulty {
            store: Arc::new(MemoryStore::new(1000, clock.clone())),
            writes: Mutex::default(),
            loads: Mutex::default(),
            late: Mutex::default(),
            calls: AtomicUsize::new(0),
        });
        // The timeout is long enough for a busy machine. A call that hangs is dropped after a part of the timeout.
        let engine = engine_with(faulty.clone(), clock.clone(), policy, (Duration::from_secs(2), max_size));
        Self { faulty, clock, engine }
    }

    async fn session(&self) -> SessionId {
        let session = open(&self.engine, None).await;
        COUNT.set(session.state(), 0);
        session.save().await.unwrap();
        session.id().unwrap()
    }

    fn fail(&self, writes: &[Fault], loads: &[Fault]) {
        *self.faulty.writes.lock().unwrap() = writes.iter().copied().collect();
        *self.faulty.loads.lock().unwrap() = loads.iter().copied().collect();
    }

    async fn open(&self, id: &SessionId) -> Session<Visitor> {
        open(&self.engine, Some(id)).await
    }

    async fn count(&self, id: &SessionId) -> u32 {
        self.fail(&[], &[]);
        COUNT.get(self.open(id).await.state())
    }

    fn calls(&self) -> usize {
        self.faulty.calls.swap(0, Ordering::SeqCst)
    }
}

fn increment(session: &Session<Visitor>) {
    COUNT.update(session.state(), |count| *count += 1);
}

#[tokio::test]
async fn an_increment_whose_reply_was_lost_is_counted_once() {
    for faults in [
        &[Fault::LoseReply][..],
        &[Fault::Refuse],
        &[Fault::Hang],
        &[Fault::RunLater],
        &[Fault::Refuse, Fault::LoseReply],
        &[Fault::RunLater, Fault::LoseReply],
    ] {
        let site = Site::new();
        let id = site.session().await;
        let session = site.open(&id).await;
        increment(&session);
        site.fail(faults, &[]);
        session.save().await.unwrap_or_else(|e| panic!("{faults:?}: {e}"));
        site.faulty.run_late_write().await;
        assert_eq!(site.count(&id).await, 1, "{faults:?}");
    }
}

#[tokio::test]
async fn an_uncertain_increment_is_an_error_and_is_never_replayed() {
    for (writes, loads) in [
        (&[Fault::LoseReply][..], &[Fault::Refuse][..]),
        (&[Fault::Refuse], &[Fault::Refuse]),
        (&[Fault::Refuse, Fault::Refuse], &[]),
        (&[Fault::Hang, Fault::Hang], &[]),
        (&[Fault::Hang], &[Fault::Hang]),
    ] {
        let site = Site::new();
        let id = site.session().await;
        let session = site.open(&id).await;
        increment(&session);
        site.fail(writes, loads);
        let error = session.save().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Uncertain);
        assert_eq!(COUNT.get(session.state()), 0, "the session shows what was loaded again");
        site.fail(&[], &[]);
        // The handler has seen the error, so the commit of the response does not repeat the increment.
        NAME.set(session.state(), "after".into());
        assert!(matches!(respond(&session, CommitScope::Everything).await, Ok(CookieUpdate::None)));
        assert!(site.count(&id).await <= 1);
        assert_eq!(NAME.get(site.open(&id).await.state()).as_deref(), Some("after"));
    }
}

#[tokio::test]
async fn a_save_that_is_dropped_at_any_await_is_counted_once() {
    for polls in 0..12 {
        let site = Site::new();
        let id = site.session().await;
        let session = site.open(&id).await;
        increment(&session);
        {
            let mut save = pin!(session.save());
            for _ in 0..polls {
                if save.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        respond(&session, CommitScope::Everything).await.unwrap();
        assert_eq!(site.count(&id).await, 1, "dropped after {polls} polls");
    }
}

#[tokio::test]
async fn the_failure_of_a_dropped_save_fails_the_response() {
    let site = Site::new();
    let id = site.session().await;
    let session = site.open(&id).await;
    increment(&session);
    site.fail(&[Fault::Refuse, Fault::Refuse], &[]);
    {
        let mut save = pin!(session.save());
        assert!(save.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(respond(&session, CommitScope::Everything).await.err().unwrap().kind(), ErrorKind::Uncertain);
    assert_eq!(site.count(&id).await, 0);
}

#[tokio::test]
async fn new_sessions_rotations_and_logouts_succeed_although_a_reply_is_lost() {
    for fault in [Fault::LoseReply, Fault::Refuse] {
        let site = Site::new();
        site.fail(&[fault], &[]);
        let old = site.session().await;

        let session = site.open(&old).await;
        session.cycle_id();
        site.fail(&[Fault::Pass, fault], &[]);
        session.save().await.unwrap();
        let new = session.id().unwrap();
        assert!(new != old && matches!(site.open(&old).await.state().status(), SessionStatus::Ended));

        let session = site.open(&new).await;
        session.flush();
        site.fail(&[fault], &[]);
        session.save().await.unwrap();
        assert!(matches!(site.open(&new).await.state().status(), SessionStatus::Ended));
    }
}

#[tokio::test]
async fn a_rotation_that_cannot_retire_the_old_record_does_not_change_it() {
    let site = Site::new();
    let old = site.session().await;
    let session = site.open(&old).await;
    session.cycle_id();
    increment(&session);
    let never = [Fault::Refuse; 200];
    site.fail(&[&[Fault::Pass], &never[..]].concat(), &[]);
    assert!(session.save().await.is_err());
    assert_eq!(site.count(&old).await, 0);
}

#[tokio::test]
async fn a_rotation_whose_reply_was_lost_does_not_revive_a_session_that_a_logout_ended_meanwhile() {
    let site = Site::new();
    let id = site.session().await;
    let session = site.open(&id).await;
    session.cycle_id();
    site.fail(&[Fault::Pass, Fault::Hang], &[]);
    let log_out = async {
        while !site.faulty.writes.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let elsewhere = engine_with(site.faulty.store.clone(), site.clock.clone(), policy(), (DAY, 1000));
        let session = open(&elsewhere, Some(&id)).await;
        session.flush();
        session.save().await.unwrap();
    };
    let (saved, ()) = tokio::join!(session.save(), log_out);
    assert_eq!(saved.unwrap_err().kind(), ErrorKind::Ended);
    assert_eq!(session.id(), None);
}

#[tokio::test]
async fn a_rotation_or_login_that_failed_never_ends_the_session_later() {
    // The new record is created. The retire fails, and is executed after the response with 503.
    for (faults, logs_in, switches) in [
        (&[Fault::Pass, Fault::RunLater][..], false, false),
        (&[Fault::Pass, Fault::RunLater], true, false),
        (&[Fault::Pass, Fault::RunLater], true, true),
        (&[Fault::Pass, Fault::RunLater, Fault::Refuse, Fault::LoseReply], false, false),
    ] {
        let site = Site::new();
        let mut id = site.session().await;
        if switches {
            let session = site.open(&id).await;
            USER.set(session.state(), 1);
            session.save().await.unwrap();
            id = session.id().unwrap();
        }
        let session = site.open(&id).await;
        if logs_in {
            USER.set(session.state(), 2);
        } else {
            session.cycle_id();
        }
        site.fail(faults, &[]);
        let saved = session.save().await;
        site.faulty.run_late_write().await;
        let current = if saved.is_ok() { session.id().unwrap() } else { id };
        let found = site.open(&current).await;
        assert!(!found.is_new(), "{faults:?} {logs_in} {switches}: {saved:?}");
    }
}

#[tokio::test]
async fn after_a_failed_rotation_a_background_task_prevents_that_the_rotation_ends_the_session_later() {
    let site = Site::new();
    let id = site.session().await;
    let session = site.open(&id).await;
    session.cycle_id();
    // The store confirms nothing until the save has failed.
    site.fail(&[&[Fault::Pass, Fault::RunLater][..], &[Fault::Refuse; 1000]].concat(), &[]);
    session.save().await.unwrap_err();
    let stored = async || site.faulty.store.load(&id.key("session")).await.unwrap();
    let before = stored().await;
    site.fail(&[], &[]);
    let fenced_off = async {
        while stored().await == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), fenced_off).await.expect("the task gives the record a new version");
    site.faulty.run_late_write().await;
    assert!(!site.open(&id).await.is_new());
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_login_no_session_remains_even_if_the_store_creates_it_later() {
    let site = Site::new();
    let session = open(&site.engine, None).await;
    USER.set(session.state(), 1);
    // The store creates the record after the background task has removed it once.
    site.fail(&[Fault::RunLater], &[Fault::Refuse]);
    session.save().await.unwrap_err();
    let live_becomes = async |count| {
        while site.faulty.store.stats().await.unwrap().live != count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DAY, live_becomes(1)).await.expect("the store creates the record");
    let created = tokio::time::Instant::now();
    tokio::time::timeout(DAY, live_becomes(0)).await.expect("the task removes the record a second time");
    assert!(
        created.elapsed() > Duration::from_secs(1),
        "a call may run for two seconds, but the record was removed early"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rotation_does_not_wait_long_for_the_removal_of_a_record_that_it_no_longer_needs() {
    let site = Site::new();
    let id = site.session().await;
    let session = site.open(&id).await;
    session.cycle_id();
    let started = tokio::time::Instant::now();
    // The retire fails, and the removal of the new record hangs. The second attempt succeeds.
    site.fail(&[Fault::Pass, Fault::Refuse, Fault::Pass, Fault::Hang], &[]);
    session.save().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_change_of_the_user_that_cannot_be_saved_leaves_the_former_user_logged_in() {
    for logs_out in [false, true] {
        let site = Site::new();
        let session = open(&site.engine, None).await;
        USER.set(session.state(), 1);
        session.save().await.unwrap();
        let id = session.id().unwrap();
        let session = site.open(&id).await;
        if logs_out {
            USER.delete(session.state());
        } else {
            USER.set(session.state(), 2);
        }
        // The store confirms nothing any more.
        site.fail(&[Fault::Refuse; 200], &[]);
        assert!(session.save().await.is_err());
        site.fail(&[], &[]);
        assert_eq!(USER.get(site.open(&id).await.state()), Some(1), "{logs_out}");
    }
}

#[tokio::test]
async fn a_rotation_succeeds_if_the_retire_was_executed_and_its_reply_lost() {
    let site = Site::new();
    let old = site.session().await;
    let session = site.open(&old).await;
    session.cycle_id();
    site.fail(&[Fault::Pass, Fault::LoseReply], &[]);
    session.save().await.unwrap();
    assert!(!site.open(&session.id().unwrap()).await.is_new());
}

#[tokio::test]
async fn a_failed_load_is_an_error_and_never_an_empty_session() {
    let site = Site::new();
    let id = site.session().await;
    for fault in [Fault::Refuse, Fault::Hang] {
        site.fail(&[], &[fault]);
        assert!(load(&site.engine, Some(&id)).await.is_err());
    }
    assert_eq!(site.count(&id).await, 0);
}

#[tokio::test]
async fn a_failing_save_does_not_fail_the_other_saves_of_its_group() {
    let site = Site::new();
    let id = site.session().await;
    let [good, panics, infinite, also_good] =
        [site.open(&id).await, site.open(&id).await, site.open(&id).await, site.open(&id).await];
    increment(&good);
    let runs = Arc::new(AtomicUsize::new(0));
    COUNT.update(panics.state(), move |count| {
        assert_eq!(runs.fetch_add(1, Ordering::SeqCst), 0, "a replay that panics");
        *count += 100;
    });
    let long = "x".repeat(256 * 1024);
    NAME.set(infinite.state(), long);
    increment(&also_good);
    // The first save commits while the others wait in the queue.
    let results = tokio::join!(good.save(), panics.save(), infinite.save(), also_good.save());
    assert!(results.0.is_ok() && results.3.is_ok());
    assert_eq!(results.1.unwrap_err().kind(), ErrorKind::Panicked);
    assert_eq!(results.2.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(site.count(&id).await, 2);
    assert_eq!(COUNT.get(also_good.state()), 2);
}

#[tokio::test]
async fn all_requests_read_the_default_that_was_saved_first() {
    let site = Site::new();
    let id = site.session().await;
    let mut sessions = Vec::new();
    for n in 0..200 {
        let session = site.open(&id).await;
        assert_eq!(NAME.setdefault(session.state(), format!("n{n}")), format!("n{n}"));
        sessions.push(session);
    }
    let saves: Vec<_> =
        sessions.iter().cloned().map(|session| tokio::spawn(async move { session.save().await })).collect();
    for save in saves {
        save.await.unwrap().unwrap();
    }
    let winner = NAME.get(site.open(&id).await.state());
    assert!(sessions.iter().all(|session| NAME.get(session.state()) == winner));
}

#[tokio::test]
async fn the_size_limit_is_exact() {
    // `j{"name":"…"}` has twelve bytes in addition to the name.
    let site = Site::with(policy(), 100);
    for (length, fits) in [(88, true), (89, false)] {
        let session = open(&site.engine, None).await;
        NAME.set(session.state(), "x".repeat(length));
        assert_eq!(session.save().await.map_err(|e| e.kind()), if fits { Ok(()) } else { Err(ErrorKind::TooLarge) });
    }
}

#[tokio::test]
async fn a_damaged_record_is_replaced_under_a_new_id_and_retired() {
    let site = Site::new();
    let id = site.session().await;
    let key = id.key("session");
    let Lookup::Found(mut record) = site.faulty.store.load(&key).await.unwrap() else {
        panic!("the record is missing")
    };
    let version = record.version;
    record.payload = "j[1,2".into();
    site.faulty.store.update(&key, version, &record).await.unwrap();
    let session = site.open(&id).await;
    assert!(session.is_new() && session.is_empty());
    NAME.set(session.state(), "anew".into());
    session.save().await.unwrap();
    assert!(session.id().unwrap() != id);
    assert!(matches!(site.faulty.store.load(&key).await.unwrap(), Lookup::Tombstone(_)));

    // A format of a later release is `Unavailable`, but bytes that no release writes are damage.
    record.payload = "z{}".into();
    let other = site.session().await;
    let Lookup::Found(found) = site.faulty.store.load(&other.key("session")).await.unwrap() else { panic!() };
    site.faulty.store.update(&other.key("session"), found.version, &record).await.unwrap();
    assert_eq!(load(&site.engine, Some(&other)).await.err().unwrap().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_visitor_without_a_session_costs_no_store_call() {
    let site = Site::new();
    for visit in [
        (|_: &Session<Visitor>| {}) as fn(&Session<Visitor>),
        |session| _ = session.get(),
        |session| {
            NAME.set(session.state(), "x".into());
            NAME.delete(session.state());
        },
        |session| session.clear(),
        |session| session.cycle_id(),
        |session| {
            NAME.set(session.state(), "x".into());
            session.flush();
        },
    ] {
        let session = open(&site.engine, None).await;
        visit(&session);
        let update = respond(&session, CommitScope::Everything).await.unwrap();
        assert!(!matches!(update, CookieUpdate::Set { .. }));
        assert_eq!(site.calls(), 0);
    }
    let id = site.session().await;
    site.calls();
    let session = site.open(&id).await;
    COUNT.set(session.state(), 0);
    TAGS.get(session.state());
    assert!(matches!(respond(&session, CommitScope::Everything).await.unwrap(), CookieUpdate::None));
    assert_eq!(site.calls(), 2, "a load, and a touch that proves that nobody changed the session");
    increment(&session);
    session.save().await.unwrap();
    assert_eq!(site.calls(), 1, "an update");
}

#[tokio::test]
async fn a_refresh_renews_record_and_cookie_unless_another_request_changed_the_session() {
    let site = Site::with(Policy { refresh: Refresh::Share(0.1), ..policy() }, 1000);
    let id = site.session().await;
    let read = || async {
        let session = site.open(&id).await;
        respond(&session, CommitScope::Everything).await.unwrap()
    };
    assert!(matches!(read().await, CookieUpdate::None));
    site.clock.advance(DAY * 2);
    assert!(
        matches!(read().await, CookieUpdate::Set { age: Some(age), .. } if age > DAY * 14 && age <= DAY * 168 / 10)
    );
    assert!(matches!(read().await, CookieUpdate::None));

    site.clock.advance(DAY * 2);
    let late = site.open(&id).await;
    let short = site.open(&id).await;
    short.set_expiry(DAY);
    short.save().await.unwrap();
    assert!(matches!(respond(&late, CommitScope::Everything).await.unwrap(), CookieUpdate::None));
    site.clock.advance(DAY);
    assert!(is_unknown(&site.engine, &id).await, "the refresh replaced the expiry that another request set");
}

#[tokio::test]
async fn a_failed_refresh_does_not_fail_the_response() {
    let site = Site::with(Policy { refresh: Refresh::Always, ..policy() }, 1000);
    let id = site.session().await;
    site.clock.advance(DAY);
    let session = site.open(&id).await;
    site.fail(&[Fault::Refuse], &[]);
    assert!(matches!(respond(&session, CommitScope::Everything).await.unwrap(), CookieUpdate::None));
}

#[tokio::test]
async fn changes_that_need_a_cookie_fail_after_the_response_head() {
    let site = Site::new();
    let id = site.session().await;
    let session = site.open(&id).await;
    respond(&session, CommitScope::Everything).await.unwrap();
    increment(&session);
    session.save().await.unwrap();
    assert_eq!(site.count(&id).await, 1);
    session.cycle_id();
    assert_eq!(session.save().await.unwrap_err().kind(), ErrorKind::TooLate);
    session.flush();
    session.save().await.unwrap();
    increment(&session);
    assert_eq!(session.save().await.unwrap_err().kind(), ErrorKind::TooLate);
    assert!(matches!(site.open(&id).await.state().status(), SessionStatus::Ended));
}

#[tokio::test]
async fn a_change_of_the_user_after_the_response_head_fails_and_leaves_the_session() {
    for (logs_out, sets) in [(true, false), (false, true), (true, true)] {
        let site = Site::new();
        let session = open(&site.engine, None).await;
        USER.set(session.state(), 1);
        session.save().await.unwrap();
        let id = session.id().unwrap();
        let session = site.open(&id).await;
        respond(&session, CommitScope::Everything).await.unwrap();
        if logs_out && sets {
            session.flush();
            increment(&session);
        } else if logs_out {
            USER.delete(session.state());
        } else {
            USER.set(session.state(), 2);
        }
        assert_eq!(session.save().await.unwrap_err().kind(), ErrorKind::TooLate, "{logs_out} {sets}");
        assert_eq!(USER.get(site.open(&id).await.state()), Some(1), "{logs_out} {sets}");
    }
    // An unsaved session of a visitor needs a cookie only if there is something to store.
    let site = Site::new();
    let session = open(&site.engine, None).await;
    respond(&session, CommitScope::Everything).await.unwrap();
    NAME.delete(session.state());
    session.save().await.unwrap();
    increment(&session);
    assert_eq!(session.save().await.unwrap_err().kind(), ErrorKind::TooLate);
}

#[tokio::test]
async fn max_lifetime_ends_an_active_session_and_a_rotation_does_not_extend_it() {
    let site = Site::with(Policy { max_lifetime: Some(DAY * 15), ..policy() }, 1000);
    let mut id = site.session().await;
    for _ in 0..14 {
        site.clock.advance(DAY);
        let session = site.open(&id).await;
        assert!(!session.is_new());
        increment(&session);
        session.cycle_id();
        session.save().await.unwrap();
        id = session.id().unwrap();
    }
    site.clock.advance(DAY);
    assert!(is_unknown(&site.engine, &id).await);
}

#[tokio::test]
async fn a_login_starts_a_new_lifetime() {
    let site = Site::with(Policy { max_lifetime: Some(DAY * 15), ..policy() }, 1000);
    let id = site.session().await;
    site.clock.advance(DAY * 10);
    let session = site.open(&id).await;
    USER.set(session.state(), 1);
    session.save().await.unwrap();
    assert_eq!(session.expiry_age(), DAY * 14);
}

#[tokio::test]
async fn an_expiry_in_the_past_ends_the_session_immediately() {
    let site = Site::new();
    let id = site.session().await;
    let session = site.open(&id).await;
    session.set_expiry(Timestamp::from_millis(0).to_date());
    assert!(matches!(respond(&session, CommitScope::Everything).await.unwrap(), CookieUpdate::None));
    assert!(is_unknown(&site.engine, &id).await);
}

#[tokio::test]
async fn expiry_settings_are_stored_with_the_session() {
    let site = Site::new();
    let id = site.session().await;
    let session = site.open(&id).await;
    session.set_expiry(Duration::ZERO);
    assert!(session.expires_at_browser_close());
    assert!(matches!(respond(&session, CommitScope::Everything).await.unwrap(), CookieUpdate::Set { age: None, .. }));
    let session = site.open(&id).await;
    assert!(session.expires_at_browser_close() && session.expiry_age() == DAY * 14);
    session.set_expiry(Duration::from_secs(10));
    session.save().await.unwrap();
    let session = site.open(&id).await;
    assert_eq!((session.expires_at_browser_close(), session.expiry_age()), (false, Duration::from_secs(10)));
    session.set_expiry(None);
    session.save().await.unwrap();
    assert_eq!(site.open(&id).await.expiry_age(), DAY * 14);
}

#[tokio::test]
async fn the_test_cookie_is_received_once() {
    let site = Site::new();
    let session = open(&site.engine, None).await;
    assert!(!session.test_cookie_worked());
    session.set_test_cookie();
    session.save().await.unwrap();
    let session = site.open(&session.id().unwrap()).await;
    assert!(session.test_cookie_worked() && session.is_empty() && session.keys().is_empty());
    session.delete_test_cookie();
    session.save().await.unwrap();
    assert!(!site.open(&session.id().unwrap()).await.test_cookie_worked());
}
