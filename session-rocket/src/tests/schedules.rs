//! Runs concurrent commits, rotations and logouts under many schedules of a model checker. No schedule loses an update or
//! brings an ended session back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use shuttle::future;
use shuttle::scheduler::{PctScheduler, RandomScheduler};

use super::fixture::{COUNT, NAME, USER, Visitor, engine, open};
use crate::base::clock::{Clock, Sleep, Timestamp};
use crate::base::error::{ErrorKind, Result};
use crate::base::id::{Key, SessionId};
use crate::commit::Engine;
use crate::session::Session;
use crate::state::change::View;
use crate::state::{CommitScope, Committed, SessionStatus};
use crate::store::memory::MemoryStore;
use crate::store::record::{Record, Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Store, Touch, Update};

/// A store that yields to other tasks before and after each call.
pub(super) struct Yielding(pub(super) MemoryStore);

async fn yield_around<A>(call: impl Future<Output = A>) -> A {
    future::yield_now().await;
    let reply = call.await;
    future::yield_now().await;
    reply
}

#[async_trait]
impl Store for Yielding {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        yield_around(self.0.load(key)).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        yield_around(self.0.create(key, record)).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        yield_around(self.0.update(key, expected, record)).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        yield_around(self.0.touch(key, expected, expires_at)).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        yield_around(self.0.retire(key, expected, tombstone)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        yield_around(self.0.delete(key)).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        yield_around(self.0.delete_expired(limit)).await
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        yield_around(self.0.list(scope, identity)).await
    }

    fn has_identity_index(&self) -> bool {
        true
    }
}

/// A clock that stands still. Timeouts never elapse, and short pauses only yield to other tasks.
pub(crate) struct FrozenClock;

impl Clock for FrozenClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000_000)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        if duration >= Duration::from_millis(100) {
            Box::pin(std::future::pending())
        } else {
            Box::pin(future::yield_now())
        }
    }
}

/// The engines of two processes with one store.
fn processes() -> [Arc<Engine>; 2] {
    let store = Arc::new(Yielding(MemoryStore::new(1000, Arc::new(FrozenClock))));
    [engine(store.clone(), Arc::new(FrozenClock)), engine(store, Arc::new(FrozenClock))]
}

/// Commits as a request does. Returns whether the changes were saved.
pub(super) async fn commit(session: &Session<Visitor>) -> Result<bool> {
    let Some(pending) = session.state().take(CommitScope::Everything) else { return Ok(true) };
    let mut committed: Committed = session.core().engine.commit(pending).await?;
    let failure = committed.failure.take();
    session.state().finish_commit(committed);
    match failure {
        Some(error) if error.kind() == ErrorKind::Ended => Ok(false),
        Some(error) => Err(error),
        None => Ok(true),
    }
}

async fn create_session(engine: &Arc<Engine>) -> SessionId {
    let session = open(engine, None).await;
    COUNT.set(session.state(), 0);
    commit(&session).await.unwrap();
    session.id().unwrap()
}

async fn count(engine: &Arc<Engine>, id: &SessionId) -> u32 {
    COUNT.read(&mut View::new(open(engine, Some(id)).await.state().snapshot().1))
}

async fn increment(engine: Arc<Engine>, id: SessionId) {
    let session = open(&engine, Some(&id)).await;
    COUNT.update(session.state(), |count| *count += 1);
    commit(&session).await.unwrap();
}

fn is_ended(session: &Session<Visitor>) -> bool {
    matches!(session.state().status(), SessionStatus::Ended)
}

const SCHEDULES: usize = 2000;

/// Runs `test` under many schedules: random schedules, and schedules with a few task switches at critical points.
pub(crate) fn explore(test: impl Fn() + Send + Sync + Copy + 'static) {
    let mut config = shuttle::Config::new();
    // In a debug build, the futures that contain records need more than the default.
    config.stack_size = 512 * 1024;
    shuttle::Runner::new(RandomScheduler::new(SCHEDULES), config.clone()).run(test);
    shuttle::Runner::new(PctScheduler::new(3, SCHEDULES), config).run(test);
}

#[test]
fn no_schedule_loses_an_increment() {
    explore(|| {
        future::block_on(async {
            let engines = processes();
            let id = create_session(&engines[0]).await;
            let tasks: Vec<_> = (0..4).map(|n| future::spawn(increment(engines[n % 2].clone(), id.clone()))).collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(count(&engines[0], &id).await, 4);
        });
    });
}

#[test]
fn no_schedule_lets_a_write_undo_a_login_or_lose_an_acknowledged_increment() {
    explore(|| {
        future::block_on(async {
            let engines = processes();
            let old = create_session(&engines[0]).await;
            let acknowledged = Arc::new(AtomicU32::new(0));
            let writers: Vec<_> = (0..3)
                .map(|n| {
                    let (engine, id, acknowledged) = (engines[n % 2].clone(), old.clone(), acknowledged.clone());
                    future::spawn(async move {
                        let session = open(&engine, Some(&id)).await;
                        for _ in 0..2 {
                            COUNT.update(session.state(), |count| *count += 1);
                            // If the login comes first, the commit reports that the changes were dropped.
                            let saved = commit(&session).await.unwrap();
                            assert_eq!(NAME.get(session.state()), None, "the write saw the session of the user");
                            acknowledged.fetch_add(u32::from(saved), Ordering::SeqCst);
                        }
                    })
                })
                .collect();
            let login = open(&engines[1], Some(&old)).await;
            USER.set(login.state(), 1);
            NAME.set(login.state(), "in".into());
            commit(&login).await.unwrap();
            for writer in writers {
                writer.await.unwrap();
            }
            let new = login.id().unwrap();
            assert!(is_ended(&open(&engines[0], Some(&old)).await));
            assert_eq!(count(&engines[0], &new).await, acknowledged.load(Ordering::SeqCst));
        });
    });
}

#[test]
fn no_schedule_brings_back_a_session_that_a_logout_ended() {
    explore(|| {
        future::block_on(async {
            let engines = processes();
            let id = create_session(&engines[0]).await;
            let writers: Vec<_> = (0..2).map(|n| future::spawn(increment(engines[n].clone(), id.clone()))).collect();
            let rotation = {
                let (engine, id) = (engines[0].clone(), id.clone());
                future::spawn(async move {
                    let session = open(&engine, Some(&id)).await;
                    session.cycle_id();
                    commit(&session).await.unwrap();
                    session.id()
                })
            };
            let logout = open(&engines[1], Some(&id)).await;
            let is_before_rotation = !is_ended(&logout);
            logout.flush();
            commit(&logout).await.unwrap();
            for writer in writers {
                writer.await.unwrap();
            }
            let cycled = rotation.await.unwrap();
            assert!(is_ended(&open(&engines[0], Some(&id)).await));
            if let Some(cycled) = cycled.filter(|_| is_before_rotation) {
                assert!(is_ended(&open(&engines[0], Some(&cycled)).await), "a rotation undid the logout");
            }
        });
    });
}

#[test]
fn two_concurrent_logins_succeed_in_every_schedule() {
    explore(|| {
        future::block_on(async {
            let engines = processes();
            let id = create_session(&engines[0]).await;
            let logins: Vec<_> = (0..2)
                .map(|n| {
                    let (engine, id) = (engines[n].clone(), id.clone());
                    future::spawn(async move {
                        let session = open(&engine, Some(&id)).await;
                        USER.set(session.state(), 1);
                        commit(&session).await.unwrap();
                        session.id().expect("a login gets an id")
                    })
                })
                .collect();
            for login in logins {
                let own = login.await.unwrap();
                let session = open(&engines[0], Some(&own)).await;
                assert_eq!(USER.get(session.state()), Some(1));
            }
            assert!(is_ended(&open(&engines[0], Some(&id)).await));
        });
    });
}
