//! Stores that fail while a user logs in, or while sessions of a user end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::fixture::{DAY, NAME, USER, Visitor, clock, engine, open, policy, rules};
use crate::WhenFull;
use crate::base::clock::{Clock, ManualClock, Timestamp};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::event::{EndReason, Event};
use crate::base::id::{Key, SessionId};
use crate::base::limit::SessionLimit;
use crate::commit::{Engine, Events, Rules, StoreEngine};
use crate::session::Sessions;
use crate::store::memory::MemoryStore;
use crate::store::record::{Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Store, Touch, Update};

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Pass,
    /// The call is executed, but its reply is an error.
    LoseReply,
    /// The call is not executed, and its reply is an error.
    Refuse,
    /// The call is not executed, and there is no reply.
    Hang,
}

/// A store whose next calls have the given faults.
struct Broken {
    store: MemoryStore,
    loads: Mutex<VecDeque<Fault>>,
    creates: Mutex<VecDeque<Fault>>,
    retires: Mutex<VecDeque<Fault>>,
    deletes: Mutex<VecDeque<Fault>>,
    /// The sessions of another process that the next lists contain.
    others: Mutex<VecDeque<Option<(Key, Record)>>>,
}

async fn call<A>(faults: &Mutex<VecDeque<Fault>>, call: impl Future<Output = Result<A>>) -> Result<A> {
    let fault = faults.lock().unwrap().pop_front().unwrap_or(Fault::Pass);
    let lost = || Err(Error::new(ErrorKind::Unavailable, "the connection broke"));
    match fault {
        Fault::Pass => call.await,
        Fault::LoseReply => call.await.and(lost()),
        Fault::Refuse => lost(),
        Fault::Hang => std::future::pending().await,
    }
}

#[async_trait]
impl Store for Broken {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        call(&self.loads, self.store.load(key)).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        call(&self.creates, self.store.create(key, record)).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        self.store.update(key, expected, record).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        self.store.touch(key, expected, expires_at).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        call(&self.retires, self.store.retire(key, expected, tombstone)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        call(&self.deletes, self.store.delete(key)).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        self.store.delete_expired(limit).await
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let mut listed = self.store.list(scope, identity).await?;
        listed.extend(self.others.lock().unwrap().pop_front().flatten());
        Ok(listed)
    }

    fn has_identity_index(&self) -> bool {
        true
    }
}

struct Site {
    store: Arc<Broken>,
    engine: Arc<Engine>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Site {
    /// A site that refuses a login if the user already has `max` sessions.
    fn new(max: usize) -> Self {
        let store = Arc::new(Broken {
            store: MemoryStore::new(1000, clock()),
            loads: Mutex::default(),
            creates: Mutex::default(),
            retires: Mutex::default(),
            deletes: Mutex::default(),
            others: Mutex::default(),
        });
        let limit = Some(SessionLimit { max, when_full: WhenFull::RefuseLogin });
        let rules = Rules { limit, ..rules(clock(), policy(), 1000) };
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let seen = events.clone();
        let receivers = Events::new(Some(Arc::new(move |event: &Event| seen.lock().unwrap().push(event.clone()))));
        let engine = StoreEngine::new(rules, store.clone(), receivers, Duration::from_secs(2));
        Self { store, engine: Arc::new(Engine::Store(engine)), events }
    }

    async fn log_in(&self) -> Result<SessionId> {
        let session = open(&self.engine, None).await;
        USER.set(session.state(), 7);
        session.save().await?;
        Ok(session.id().unwrap())
    }

    fn sessions(&self) -> Sessions<Visitor> {
        Sessions::new(self.engine.clone())
    }

    /// Returns the number of events since the last call of this method.
    fn take_events(&self) -> usize {
        std::mem::take(&mut *self.events.lock().unwrap()).len()
    }

    /// Waits until the user has `expected` sessions.
    async fn has_sessions(&self, expected: usize) {
        let reached = async {
            while self.sessions().list(&7).await.unwrap().len() != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reached).await.expect("the other records are removed");
    }
}

fn set(faults: &Mutex<VecDeque<Fault>>, next: &[Fault]) {
    *faults.lock().unwrap() = next.iter().copied().collect();
}

#[tokio::test]
async fn a_login_that_may_have_been_stored_does_not_count_for_the_limit() {
    let site = Site::new(1);
    set(&site.store.creates, &[Fault::LoseReply]);
    set(&site.store.loads, &[Fault::Refuse]);
    assert_eq!(site.log_in().await.unwrap_err().kind(), ErrorKind::Uncertain);
    site.has_sessions(0).await;
    site.log_in().await.unwrap();
}

#[tokio::test]
async fn a_damaged_session_does_not_count_for_the_limit() {
    let site = Site::new(1);
    site.log_in().await.unwrap();
    let (key, mut record) = site.store.store.list("session", "7").await.unwrap().remove(0);
    let version = record.version;
    record.payload = "j[1,2".into();
    assert_eq!(site.store.store.update(&key, version, &record).await.unwrap(), Update::Updated);
    site.log_in().await.unwrap();
}

#[tokio::test]
async fn a_logout_and_login_on_a_session_that_another_request_ended_starts_a_new_session() {
    let site = Site::new(1);
    let id = site.log_in().await.unwrap();
    let session = open(&site.engine, Some(&id)).await;
    assert_eq!(site.sessions().revoke_all(&7).await.unwrap(), 1);
    session.flush();
    USER.set(session.state(), 7);
    session.save().await.unwrap();
    assert!(session.id().is_some_and(|new| new != id));
    site.has_sessions(1).await;
}

#[tokio::test]
async fn a_login_waits_until_a_later_login_withdraws() {
    let site = Site::new(1);
    site.log_in().await.unwrap();
    let (key, mut later) = site.store.store.list("session", "7").await.unwrap().remove(0);
    site.store.delete(&key).await.unwrap();
    later.created_at = later.created_at.plus(Duration::from_secs(1));
    // The login lists the sessions once before it is stored, and twice afterwards.
    *site.store.others.lock().unwrap() = [None, Some((key, later)), None].into();
    site.log_in().await.unwrap();
    assert!(site.store.others.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_listing_shows_when_the_user_first_logged_in_on_the_session_and_when_last() {
    let (clock, second) = (clock(), Duration::from_secs(1));
    let engine = engine(Arc::new(MemoryStore::new(10, clock.clone())), clock.clone());
    let session = open(&engine, None).await;
    NAME.set(session.state(), "a visitor".into());
    session.save().await.unwrap();
    let visited = clock.now();
    for _ in 0..2 {
        clock.advance(second);
        USER.set(session.state(), 7);
        session.save().await.unwrap();
    }
    let listed = Sessions::<Visitor>::new(engine).list(&7).await.unwrap().remove(0);
    assert_eq!((listed.created_at, listed.authenticated_at), (visited.plus(second), visited.plus(second * 2)));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_end_of_a_session_completes_after_a_logout_by_the_same_request() {
    let site = Site::new(1);
    let id = site.log_in().await.unwrap();
    let session = open(&site.engine, Some(&id)).await;
    session.flush();
    session.save().await.unwrap();
    tokio::time::timeout(DAY, session.ended()).await.expect("the session has ended");
}

#[tokio::test]
async fn a_refused_login_is_removed_although_the_first_attempt_fails() {
    let site = Site::new(1);
    site.log_in().await.unwrap();
    set(&site.store.deletes, &[Fault::Refuse, Fault::Refuse]);
    assert_eq!(site.log_in().await.unwrap_err().kind(), ErrorKind::TooManySessions);
    site.has_sessions(1).await;
    assert_eq!(site.sessions().revoke_all(&7).await.unwrap(), 1);
    site.log_in().await.unwrap();
}

#[tokio::test]
async fn each_session_that_a_failed_revocation_ended_has_an_event() {
    for (fault, kind) in [(Fault::Refuse, ErrorKind::Unavailable), (Fault::Hang, ErrorKind::Timeout)] {
        let site = Site::new(5);
        for _ in 0..5 {
            site.log_in().await.unwrap();
        }
        site.take_events();
        set(&site.store.retires, &[Fault::Pass, Fault::Pass, fault]);
        assert_eq!(site.sessions().revoke_all(&7).await.unwrap_err().kind(), kind);
        assert_eq!((site.sessions().list(&7).await.unwrap().len(), site.take_events()), (1, 4));
        assert_eq!((site.sessions().revoke_all(&7).await.unwrap(), site.take_events()), (1, 1));
    }
}

#[tokio::test]
async fn a_revocation_whose_reply_is_lost_has_an_event_and_counts() {
    let site = Site::new(5);
    for all in [true, false] {
        let handle = site.log_in().await.unwrap().key("session").handle();
        site.take_events();
        set(&site.store.retires, &[Fault::LoseReply]);
        let sessions = site.sessions();
        let ended = if all { sessions.revoke_all(&7).await } else { sessions.revoke(&7, &handle).await };
        assert_eq!((ended.unwrap(), site.take_events()), (1, 1));
    }
}

/// The user changes the password in another tab after a page has loaded its session.
#[tokio::test]
async fn an_outdated_auth_hash_does_not_end_the_session_of_a_newer_log_in() {
    let site = Site::new(5);
    let session = open(&site.engine, None).await;
    session.log_in(7, Some("old"));
    session.save().await.unwrap();
    let id = session.id();
    let [page, rotation] = [open(&site.engine, id.as_ref()).await, open(&site.engine, id.as_ref()).await];
    rotation.log_in(7, Some("new"));
    rotation.save().await.unwrap();
    assert!(!page.has_auth_hash("new"));
    page.end(EndReason::AuthHashChanged);
    page.save().await.unwrap();
    assert!(open(&site.engine, rotation.id().as_ref()).await.has_auth_hash("new"));
}

#[tokio::test]
async fn an_outdated_auth_hash_ends_a_session_that_only_got_a_new_id() {
    let site = Site::new(5);
    let session = open(&site.engine, None).await;
    session.log_in(7, Some("old"));
    session.save().await.unwrap();
    let id = session.id();
    let [page, rotation] = [open(&site.engine, id.as_ref()).await, open(&site.engine, id.as_ref()).await];
    rotation.cycle_id();
    rotation.save().await.unwrap();
    page.end(EndReason::AuthHashChanged);
    page.save().await.unwrap();
    assert!(open(&site.engine, rotation.id().as_ref()).await.is_empty());
}

#[tokio::test]
async fn a_login_by_a_wrong_clock_does_not_keep_later_logins_recent() {
    let store = Arc::new(MemoryStore::new(1000, clock()));
    let engine = |time: &Arc<ManualClock>| {
        let limit = Some(SessionLimit { max: 2, when_full: WhenFull::EndOldest });
        let rules = Rules { limit, ..rules(time.clone(), policy(), 1000) };
        let engine = StoreEngine::new(rules, store.clone(), Events::default(), Duration::from_secs(2));
        Arc::new(Engine::Store(engine))
    };
    let (right, wrong) = (clock(), clock());
    wrong.advance(DAY);
    let mut ids = Vec::new();
    for time in [&wrong, &right, &right] {
        let session = open(&engine(time), None).await;
        USER.set(session.state(), 7);
        session.save().await.unwrap();
        ids.push(session.id().unwrap());
    }
    right.advance(DAY / 2);
    for (id, is_live) in ids.iter().zip([false, true, true]) {
        let session = open(&engine(&right), Some(id)).await;
        assert_eq!(session.is_new(), !is_live);
        assert!(!is_live || session.authenticated_at().until(session.now()) > DAY / 3);
    }
}
