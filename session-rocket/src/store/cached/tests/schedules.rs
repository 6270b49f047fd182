//! Runs calls under many schedules of a model checker. No load returns an older state than an earlier reply.

use std::sync::Arc;
use std::time::Duration;

use shuttle::future;

use super::faulty_store::{Fault, pause};
use super::{KEY, Position, Process, START, World, record, tombstone};
use crate::base::clock::Timestamp;
use crate::base::id::Key;
use crate::store::cached::cache::cache_key;
use crate::store::record::{Tombstone, Version};
use crate::store::{Create, Lookup, Retire, Store, Touch, Update, revoke_all};
use crate::tests::schedules::explore;

/// A caller in a process.
struct Actor {
    world: Arc<World>,
    process: Arc<Process>,
}

impl Actor {
    /// Loads, and checks that the result is not older than the newest state that any caller has seen.
    async fn load(&self) -> Lookup {
        let before = self.world.newest_seen();
        let found = self.process.load().await;
        let seen = Position::from(&found);
        assert!(seen >= before, "loaded {seen:?} after another call had returned {before:?}");
        found
    }

    async fn load_repeatedly(&self) {
        for _ in 0..3 {
            self.load().await;
        }
    }

    async fn update_repeatedly(&self) {
        for _ in 0..2 {
            let Lookup::Found(found) = self.load().await else { return };
            let next = record(found.version.bits() + 1);
            match self.process.store.update(&KEY, found.version, &next).await.unwrap() {
                Update::Updated => self.world.record_seen((&next).into()),
                Update::Conflict(fresh) => self.world.record_seen((&fresh).into()),
                Update::Moved(_) | Update::Gone => {
                    self.world.record_seen(Position::Version(found.version.bits(), Timestamp::from_millis(i64::MAX)));
                }
            }
        }
    }

    async fn touch(&self) {
        let Lookup::Found(mut found) = self.load().await else { return };
        found.expires_at = found.expires_at.plus(Duration::from_millis(1));
        if self.process.store.touch(&KEY, found.version, found.expires_at).await.unwrap() == Touch::Touched {
            self.world.record_seen((&found).into());
        }
        self.load().await;
    }

    async fn retire(&self) {
        assert_eq!(self.process.store.retire(&KEY, None, tombstone()).await.unwrap(), Retire::Retired);
        self.world.record_seen(Position::Gone);
        self.load().await;
    }

    /// Lists the sessions of the user, as a login does.
    async fn list(&self) {
        let listed = self.process.store.list("s", "ada").await.unwrap();
        if listed.is_empty() {
            self.world.record_seen(Position::Gone);
        }
        self.load().await;
    }

    /// Deletes the record, and creates a new one with a later version.
    async fn replace(&self) {
        const AHEAD: u64 = 100;
        self.process.store.delete(&KEY).await.unwrap();
        self.world.record_seen(Position::Version(AHEAD - 1, START));
        assert_eq!(self.process.store.create(&KEY, &record(AHEAD)).await.unwrap(), Create::Created);
        self.world.record_seen((&record(AHEAD)).into());
        self.load().await;
    }

    /// Deletes the entry, as an eviction does.
    async fn evict(&self) {
        for _ in 0..2 {
            self.process.cache.delete(&cache_key(&KEY)).await.unwrap();
        }
    }

    /// Makes an update that fails, and then loads three times to see whether the update happened.
    async fn update_late(&self) {
        let Lookup::Found(found) = self.load().await else { return };
        self.process.database.fail_writes(Fault::RunLater);
        let next = record(found.version.bits() + 1);
        assert!(self.process.store.update(&KEY, found.version, &next).await.is_err());
        self.process.database.fail_writes(Fault::Pass);
        for _ in 0..3 {
            if let Lookup::Found(found) = self.load().await
                && found.version == next.version
            {
                self.world.record_seen((&found).into());
            }
        }
    }

    async fn run_late_calls(&self) {
        for _ in 0..10 {
            pause().await;
            self.process.database.run_late_calls().await;
        }
    }
}

/// Runs callers concurrently, each in the process with the given number.
macro_rules! run_actors {
    ($($process:literal $method:ident),*) => {
        explore(|| future::block_on(async {
            let world = World::with_frozen_clock();
            world.create_first_record().await;
            let processes = [world.process(), world.process(), world.process()].map(Arc::new);
            let actor = |process: usize| Actor { world: world.clone(), process: processes[process].clone() };
            let actors = [$({
                let actor = actor($process);
                future::spawn(async move { actor.$method().await })
            }),*];
            for actor in actors {
                actor.await.unwrap();
            }
            actor(0).load().await;
            actor(1).load().await;
            for process in processes {
                assert!(process.store.0.cache.is_trusted(), "a process stopped using the cache");
            }
        }))
    };
}

#[test]
fn no_load_returns_a_record_that_an_update_replaced() {
    run_actors!(0 update_repeatedly, 1 update_repeatedly, 2 load_repeatedly, 1 load_repeatedly);
}

#[test]
fn no_load_returns_the_expiry_before_a_touch() {
    run_actors!(0 touch, 1 update_repeatedly, 2 load_repeatedly, 0 evict);
}

#[test]
fn no_load_returns_a_session_that_has_ended() {
    run_actors!(0 retire, 1 update_repeatedly, 2 load_repeatedly, 1 touch, 2 evict);
}

/// Otherwise a login would not count a session that other processes still serve from the cache.
#[test]
fn no_load_returns_a_session_that_is_missing_in_an_earlier_list() {
    run_actors!(0 retire, 1 list, 2 load_repeatedly, 1 load_repeatedly);
}

#[test]
fn no_load_returns_a_deleted_record() {
    run_actors!(0 replace, 1 update_repeatedly, 2 load_repeatedly, 1 load_repeatedly);
}

#[test]
fn a_caller_that_has_seen_a_late_write_always_sees_it() {
    run_actors!(0 update_late, 0 run_late_calls, 1 load_repeatedly, 2 touch);
}

/// One caller ends all sessions of a user while another caller gives a session a new id.
#[test]
fn revoke_all_also_ends_a_session_that_gets_a_new_id() {
    explore(|| {
        future::block_on(async {
            const NEW: Key = Key::from_bytes([8; 32]);
            let world = World::with_frozen_clock();
            world.create_first_record().await;
            let (rotator, process) = (world.process(), world.process());
            let rotation = future::spawn(async move {
                rotator.load().await;
                assert_eq!(rotator.store.create(&NEW, &record(2)).await.unwrap(), Create::Created);
                let moved = Tombstone::moved(NEW, tombstone().expires_at);
                let retired = rotator.store.retire(&KEY, Some(Version::from_bits(1)), moved).await.unwrap();
                if retired != Retire::Retired {
                    rotator.store.delete(&NEW).await.unwrap();
                }
            });
            let until = tombstone().expires_at;
            let ended = revoke_all(&process.store, "s", "ada", None, until).await.unwrap();
            assert!(!ended.is_empty(), "revoke_all ended no session");
            rotation.await.unwrap();
            for key in [KEY, NEW] {
                assert!(
                    !matches!(process.store.load(&key).await.unwrap(), Lookup::Found(_)),
                    "a session is still live"
                );
            }
        });
    });
}
