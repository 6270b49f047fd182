//! Limits on the sessions of a user, and revocations: against a small model, and under many schedules of a model
//! checker.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use shuttle::future;

use super::fixture::{COUNT, USER, Visitor, clock, open, policy, rules};
use super::schedules::{FrozenClock, Yielding, commit, explore};
use crate::WhenFull;
use crate::base::clock::{Clock, ManualClock};
use crate::base::error::{ErrorKind, Result};
use crate::base::id::{Key, SessionId};
use crate::base::limit::SessionLimit;
use crate::commit::{Engine, Events, Rules, StoreEngine};
use crate::session::{Session, Sessions};
use crate::store::memory::MemoryStore;
use crate::store::{Lookup, Store};

fn engine(store: Arc<dyn Store>, clock: Arc<dyn Clock>, max: usize, when_full: WhenFull) -> Arc<Engine> {
    let rules = Rules { limit: Some(SessionLimit { max, when_full }), ..rules(clock, policy(), 1000) };
    Arc::new(Engine::Store(StoreEngine::new(rules, store, Events::default(), Duration::from_secs(5))))
}

const BROWSERS: usize = 5;
const MAX: usize = 2;

#[derive(Debug, Clone, Copy)]
enum Step {
    Login {
        browser: usize,
        user: u32,
    },
    Visit {
        browser: usize,
    },
    Rotate {
        browser: usize,
    },
    Logout {
        browser: usize,
    },
    /// The user of `browser` ends the session of the browser `other`, if it is another session of the same user.
    Revoke {
        browser: usize,
        other: usize,
    },
    RevokeOthers {
        browser: usize,
    },
    RevokeAll {
        user: u32,
    },
    Update {
        user: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (browser, user) = (0..BROWSERS, 1..3_u32);
    prop_oneof![
        5 => (browser.clone(), user.clone()).prop_map(|(browser, user)| Step::Login { browser, user }),
        2 => browser.clone().prop_map(|browser| Step::Visit { browser }),
        2 => browser.clone().prop_map(|browser| Step::Rotate { browser }),
        1 => browser.clone().prop_map(|browser| Step::Logout { browser }),
        1 => (browser.clone(), browser.clone()).prop_map(|(browser, other)| Step::Revoke { browser, other }),
        1 => browser.prop_map(|browser| Step::RevokeOthers { browser }),
        1 => user.clone().prop_map(|user| Step::RevokeAll { user }),
        1 => user.prop_map(|user| Step::Update { user }),
    ]
}

/// The session of a browser in the model. Its login is the number of the step.
#[derive(Debug, Clone, Copy, PartialEq)]
struct LoggedIn {
    user: u32,
    login: usize,
    count: u32,
}

/// The sessions of all browsers, as the documentation describes them.
#[derive(Default)]
struct Model([Option<LoggedIn>; BROWSERS]);

impl Model {
    fn of(&self, user: u32) -> Vec<usize> {
        let mut browsers: Vec<_> =
            (0..BROWSERS).filter(|n| self.0[*n].is_some_and(|session| session.user == user)).collect();
        browsers.sort_by_key(|n| self.0[*n].map(|session| session.login));
        browsers
    }

    /// Returns whether the login succeeds.
    fn log_in(&mut self, browser: usize, user: u32, login: usize, when_full: WhenFull) -> bool {
        let mut others = self.of(user);
        others.retain(|other| *other != browser);
        if others.len() >= MAX {
            match when_full {
                WhenFull::RefuseLogin => return false,
                WhenFull::EndOldest => self.0[others[0]] = None,
            }
        }
        let before = self.0[browser].filter(|before| before.user == user);
        self.0[browser] = Some(LoggedIn { user, login, count: before.map_or(0, |before| before.count) });
        true
    }
}

impl Model {
    /// Ends the sessions of these browsers, after the library has ended `ended` sessions.
    fn end(&mut self, browsers: Vec<usize>, ended: u64) {
        assert_eq!(usize::try_from(ended).unwrap(), browsers.len());
        browsers.into_iter().for_each(|browser| self.0[browser] = None);
    }
}

/// The browsers with their cookies, on a store.
struct Site {
    engine: Arc<Engine>,
    clock: Arc<ManualClock>,
    ids: [Option<SessionId>; BROWSERS],
}

impl Site {
    async fn open(&self, browser: usize) -> Session<Visitor> {
        open(&self.engine, self.ids[browser].as_ref()).await
    }

    fn sessions(&self) -> Sessions<Visitor> {
        Sessions::new(self.engine.clone())
    }

    async fn run(&mut self, step: Step, number: usize, model: &mut Model, when_full: WhenFull) {
        self.clock.advance(Duration::from_millis(1));
        match step {
            Step::Login { browser, user } => {
                let saved = self.log_in(browser, user).await;
                if model.log_in(browser, user, number, when_full) {
                    saved.unwrap();
                } else {
                    assert_eq!(saved.unwrap_err().kind(), ErrorKind::TooManySessions);
                }
            }
            Step::Visit { browser } | Step::Rotate { browser } => {
                let Some(expected) = &mut model.0[browser] else { return };
                self.visit(browser, matches!(step, Step::Rotate { .. })).await;
                expected.count += 1;
            }
            Step::Logout { browser } => {
                let session = self.open(browser).await;
                session.flush();
                session.save().await.unwrap();
                model.0[browser] = None;
            }
            Step::Revoke { browser, other } => self.revoke(browser, other, model).await,
            Step::RevokeOthers { browser } => {
                let Some(own) = model.0[browser] else { return };
                let session = self.open(browser).await;
                let others = model.of(own.user).into_iter().filter(|other| *other != browser).collect();
                model.end(others, self.sessions().revoke_others(&session).await.unwrap());
            }
            Step::RevokeAll { user } => {
                model.end(model.of(user), self.sessions().revoke_all(&user).await.unwrap());
            }
            Step::Update { user } => {
                let changed = self.sessions().update(&user, |visitor| visitor.count += 1).await.unwrap();
                let theirs = model.of(user);
                assert_eq!(usize::try_from(changed).unwrap(), theirs.len());
                theirs.into_iter().for_each(|browser| model.0[browser].as_mut().unwrap().count += 1);
            }
        }
    }

    async fn log_in(&mut self, browser: usize, user: u32) -> Result<()> {
        let session = self.open(browser).await;
        USER.set(session.state(), user);
        session.save().await?;
        self.ids[browser] = session.id();
        Ok(())
    }

    async fn visit(&mut self, browser: usize, rotates: bool) {
        let session = self.open(browser).await;
        COUNT.update(session.state(), |count| *count += 1);
        if rotates {
            session.cycle_id();
        }
        session.save().await.unwrap();
        self.ids[browser] = session.id();
    }

    async fn revoke(&self, browser: usize, other: usize, model: &mut Model) {
        let (Some(own), Some(handle)) = (model.0[browser], self.open(other).await.handle()) else { return };
        let is_own = model.0[other].is_some_and(|session| session.user == own.user);
        let ended = self.sessions().revoke(&own.user, &handle).await.unwrap();
        model.end(if is_own { vec![other] } else { Vec::new() }, ended);
    }

    async fn check(&self, model: &Model) {
        for browser in 0..BROWSERS {
            let visitor = self.open(browser).await.get();
            let found = visitor.user.map(|user| (user, visitor.count));
            assert_eq!(found, model.0[browser].map(|session| (session.user, session.count)), "browser {browser}");
        }
        for user in 1..3 {
            let listed = self.sessions().list(&user).await.unwrap();
            let counts: Vec<_> = listed.iter().rev().map(|listing| listing.data.count).collect();
            let expected: Vec<_> = model.of(user).into_iter().map(|n| model.0[n].unwrap().count).collect();
            assert_eq!(counts, expected, "sessions of user {user}");
            assert!(listed.len() <= MAX);
        }
    }
}

fn compare(steps: &[Step], when_full: WhenFull) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let clock = clock();
        let store = Arc::new(MemoryStore::new(1000, clock.clone()));
        let engine = engine(store, clock.clone(), MAX, when_full);
        let (mut site, mut model) = (Site { engine, clock, ids: Default::default() }, Model::default());
        for (number, step) in steps.iter().enumerate() {
            site.run(*step, number, &mut model, when_full).await;
            site.check(&model).await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn sessions_of_users_are_those_of_the_model(
        steps in prop::collection::vec(step(), 1..40),
        refuses in any::<bool>(),
    ) {
        compare(&steps, if refuses { WhenFull::RefuseLogin } else { WhenFull::EndOldest });
    }
}

/// Two processes with one store, in which a user has at most `max` sessions.
struct Processes {
    max: usize,
    store: Arc<Yielding>,
    engines: [Arc<Engine>; 2],
    /// The keys of the sessions whose login was confirmed.
    confirmed: Mutex<Vec<Key>>,
}

impl Processes {
    fn new(when_full: WhenFull, max: usize) -> Arc<Self> {
        let store = Arc::new(Yielding(MemoryStore::new(1000, Arc::new(FrozenClock))));
        let engines = [(); 2].map(|()| engine(store.clone(), Arc::new(FrozenClock), max, when_full));
        Arc::new(Self { max, store, engines, confirmed: Mutex::default() })
    }

    /// Logs the user in. Returns whether the login was confirmed.
    async fn log_in(&self, process: usize) -> bool {
        self.change(process, None, |session| USER.set(session.state(), 7)).await
    }

    /// Runs a request that changes the session. Returns whether the change was confirmed.
    async fn change(&self, process: usize, id: Option<&SessionId>, change: impl Fn(&Session<Visitor>)) -> bool {
        let session = open(&self.engines[process], id).await;
        change(&session);
        let is_saved = match commit(&session).await {
            Ok(is_saved) => is_saved,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TooManySessions);
                false
            }
        };
        if is_saved {
            self.confirmed.lock().unwrap().extend(session.id().map(|id| id.key("session")));
        }
        self.check().await;
        is_saved
    }

    /// Checks the number of confirmed logins that are live. No other task runs meanwhile.
    async fn check(&self) {
        let confirmed = self.confirmed.lock().unwrap().clone();
        let mut live = 0;
        for key in confirmed {
            live += usize::from(matches!(self.store.0.load(&key).await.unwrap(), Lookup::Found(_)));
        }
        assert!(live <= self.max, "{live} sessions are live");
    }
}

#[test]
fn no_schedule_of_concurrent_logins_leaves_two_sessions() {
    for when_full in [WhenFull::EndOldest, WhenFull::RefuseLogin] {
        explore(move || {
            future::block_on(async {
                let processes = Processes::new(when_full, 1);
                let logins: Vec<_> = (0..3)
                    .map(|n| {
                        let processes = processes.clone();
                        future::spawn(async move { processes.log_in(n % 2).await })
                    })
                    .collect();
                let mut confirmed = 0;
                for login in logins {
                    confirmed += u32::from(login.await.unwrap());
                }
                processes.check().await;
                let left = Sessions::<Visitor>::new(processes.engines[0].clone()).list(&7).await.unwrap().len();
                match when_full {
                    WhenFull::EndOldest => assert_eq!(confirmed, 3),
                    // Concurrent logins do not all refuse each other.
                    WhenFull::RefuseLogin => assert_eq!((confirmed, left), (1, 1)),
                }
            });
        });
    }
}

/// Two requests authenticate a session again and a third rotates it, while another browser logs in.
fn log_in_and_rotate(when_full: WhenFull, max: usize) {
    future::block_on(async move {
        let processes = Processes::new(when_full, max);
        let session = open(&processes.engines[0], None).await;
        USER.set(session.state(), 7);
        commit(&session).await.unwrap();
        let id = session.id().unwrap();
        processes.confirmed.lock().unwrap().push(id.key("session"));
        let requests: Vec<_> = (0..4)
            .map(|n| {
                let (processes, id) = (processes.clone(), (n != 3).then(|| id.clone()));
                future::spawn(async move {
                    let change = |session: &Session<Visitor>| match n {
                        2 => session.cycle_id(),
                        _ => USER.set(session.state(), 7),
                    };
                    processes.change(n % 2, id.as_ref(), change).await
                })
            })
            .collect();
        for request in requests {
            request.await.unwrap();
        }
        let listed = processes.store.0.list("session", "7").await.unwrap();
        assert!(listed.len() <= max, "{} sessions are left", listed.len());
        let confirmed = processes.confirmed.lock().unwrap();
        assert!(listed.iter().all(|(key, _)| confirmed.contains(key)), "a record without a confirmed login is left");
    });
}

#[test]
fn no_schedule_of_logins_and_rotations_exceeds_the_limit_or_leaves_a_record() {
    explore(|| log_in_and_rotate(WhenFull::EndOldest, 1));
    explore(|| log_in_and_rotate(WhenFull::RefuseLogin, 2));
}

#[test]
fn no_schedule_ends_a_session_that_authenticates_again_and_the_login_that_replaces_it() {
    explore(|| {
        future::block_on(async {
            let processes = Processes::new(WhenFull::EndOldest, 1);
            let session = open(&processes.engines[0], None).await;
            USER.set(session.state(), 7);
            commit(&session).await.unwrap();
            let id = session.id().unwrap();
            let again = {
                let engine = processes.engines[1].clone();
                future::spawn(async move {
                    let session = open(&engine, Some(&id)).await;
                    USER.set(session.state(), 7);
                    commit(&session).await.unwrap();
                })
            };
            processes.log_in(0).await;
            again.await.unwrap();
            let left = Sessions::<Visitor>::new(processes.engines[0].clone()).list(&7).await.unwrap().len();
            assert_eq!(left, 1);
        });
    });
}

#[test]
fn no_schedule_lets_a_session_survive_its_revocation() {
    explore(|| survives_its_revocation(true));
    explore(|| survives_its_revocation(false));
}

/// Ends all sessions of a user, or the only session by its handle, while other requests rotate it and save to it.
fn survives_its_revocation(all: bool) {
    future::block_on(async {
        let processes = Processes::new(WhenFull::EndOldest, 1);
        let session = open(&processes.engines[0], None).await;
        USER.set(session.state(), 7);
        commit(&session).await.unwrap();
        let id = session.id().unwrap();
        let requests: Vec<_> = (0..3)
            .map(|n| {
                let (engine, id) = (processes.engines[n % 2].clone(), id.clone());
                future::spawn(async move {
                    let session = open(&engine, Some(&id)).await;
                    COUNT.update(session.state(), |count| *count += 1);
                    if n < 2 {
                        session.cycle_id();
                    }
                    commit(&session).await.unwrap();
                    session.id()
                })
            })
            .collect();
        let sessions = Sessions::<Visitor>::new(processes.engines[1].clone());
        if all {
            sessions.revoke_all(&7).await.unwrap();
        } else if sessions.revoke(&7, &id.key("session").handle()).await.unwrap() == 0 {
            // After a rotation, the session has another handle.
            return;
        }
        assert_eq!(open(&processes.engines[0], Some(&id)).await.get().user, None);
        for request in requests {
            if let Some(id) = request.await.unwrap() {
                assert_eq!(open(&processes.engines[0], Some(&id)).await.get().user, None);
            }
        }
    });
}
