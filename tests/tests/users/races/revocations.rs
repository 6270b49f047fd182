//! Requests race revocations.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rocket::tokio::task::{JoinSet, yield_now};
use session_rocket::Transport;
use session_rocket_tests::backends::Backend;

use super::{Process, scale, start};

/// The number of sessions of the user.
const SESSIONS: usize = 3;
/// The number of concurrent clients.
const CLIENTS: usize = 6;
/// The number of requests that each client starts after the revocation was acknowledged.
const LATE_REQUESTS: usize = 4;

/// Which sessions a revocation ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Session 0.
    One,
    /// All except session 0.
    Others,
    All,
}

/// One user, whose sessions race one revocation.
struct Round {
    sites: Vec<Arc<Process>>,
    user: String,
    kind: Kind,
    /// All cookies that a browser received for each session.
    cookies: Mutex<[Vec<String>; SESSIONS]>,
    /// When each session's revocation was acknowledged.
    ended: Mutex<[Option<Instant>; SESSIONS]>,
    is_over: AtomicBool,
    requests: AtomicUsize,
    late: AtomicUsize,
}

impl Round {
    fn site(&self, number: usize) -> &Process {
        &self.sites[number % self.sites.len()]
    }

    fn newest_cookie(&self, session: usize) -> String {
        let cookies = self.cookies.lock().expect("the lock is not poisoned");
        cookies[session].last().expect("the session has a cookie").clone()
    }

    /// Returns one of the cookies of a session, mostly the newest one.
    fn some_cookie(&self, session: usize, number: usize) -> String {
        let cookies = self.cookies.lock().expect("the lock is not poisoned");
        let of_session = &cookies[session];
        let back = if number.is_multiple_of(5) { number / 5 % of_session.len() } else { 0 };
        of_session[of_session.len() - 1 - back].clone()
    }

    /// Sends one request, and asserts that it is not served if it started after the acknowledged end of its session.
    async fn send(&self, number: usize) {
        let session = number % SESSIONS;
        // If the session that stays got a new id meanwhile, it could be taken for another session.
        let rotates = number % 7 == 3 && !(self.kind == Kind::Others && session == 0);
        let path = if rotates { "/rotate" } else { ["/whoami", "/whoami", "/touch"][number / SESSIONS % 3] };
        let cookie = self.some_cookie(session, number);
        let ended = self.ended.lock().expect("the lock is not poisoned")[session];
        let response = self.site(number / 2).get(path, &cookie).await;
        assert_eq!(response.status, 200, "{path}: {response:?}");
        self.requests.fetch_add(1, Ordering::SeqCst);
        let is_served = response.text == self.user;
        assert!(is_served || response.text == "nobody", "{response:?}");
        if ended.is_some() {
            self.late.fetch_add(1, Ordering::SeqCst);
            assert!(!is_served, "{path} was served after session {session} had ended by {:?}", self.kind);
        }
        if let (true, true, Some(new)) = (rotates, is_served, response.cookie) {
            self.cookies.lock().expect("the lock is not poisoned")[session].push(new);
        }
    }

    async fn client(self: Arc<Self>, client: usize) {
        let mut number = client;
        let mut late = 0;
        while late < LATE_REQUESTS {
            if self.is_over.load(Ordering::SeqCst) {
                late += 1;
            }
            self.send(number).await;
            number += CLIENTS + 1;
        }
    }

    /// Ends sessions after `requests` requests, and records which.
    async fn revoke(&self, requests: usize) {
        while self.requests.load(Ordering::SeqCst) < requests {
            yield_now().await;
        }
        let site = self.site(requests);
        let ends = match self.kind {
            Kind::One => {
                self.revoke_first(site).await;
                0..1
            }
            Kind::Others => {
                site.text("/end-others", &self.newest_cookie(0)).await;
                1..SESSIONS
            }
            Kind::All => {
                site.text(&format!("/sessions/{}/end-all", self.user), "").await;
                0..SESSIONS
            }
        };
        let now = Instant::now();
        self.ended.lock().expect("the lock is not poisoned")[ends].fill(Some(now));
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Ends session 0. Tries again if the session gets a new id before the store lists it.
    async fn revoke_first(&self, site: &Process) {
        loop {
            let handle = site.text("/handle", &self.newest_cookie(0)).await;
            if !handle.is_empty() && site.text(&format!("/sessions/{}/end/{handle}", self.user), "").await == "1" {
                return;
            }
        }
    }
}

/// Runs one round. Returns the number of its requests, and how many of them started after the end of their session.
async fn run_round(sites: &[Arc<Process>], number: usize) -> (usize, usize) {
    let user = format!("revoked-{number}");
    let kind = [Kind::One, Kind::Others, Kind::All][number % 3];
    let mut cookies = [const { Vec::new() }; SESSIONS];
    for (session, cookies) in cookies.iter_mut().enumerate() {
        cookies.push(sites[session % sites.len()].login(&user).await);
    }
    let round = Arc::new(Round {
        sites: sites.to_vec(),
        user,
        kind,
        cookies: Mutex::new(cookies),
        ended: Mutex::default(),
        is_over: AtomicBool::new(false),
        requests: AtomicUsize::new(0),
        late: AtomicUsize::new(0),
    });
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(round.clone().client(client));
    }
    round.revoke(number * 5 % 40).await;
    clients.join_all().await;
    let live = sites[0].text(&format!("/sessions/{}", round.user), "").await;
    assert_eq!(live, ["2", "1", "0"][number % 3], "{kind:?}");
    if kind == Kind::Others {
        assert_eq!(sites[0].text("/whoami", &round.newest_cookie(0)).await, round.user);
    }
    (round.requests.load(Ordering::SeqCst), round.late.load(Ordering::SeqCst))
}

pub(super) async fn no_request_that_started_after_a_revocation_is_served(
    name: &str,
    backend: &Backend,
    transport: Transport,
) {
    let sites = start(backend, transport, "");
    let started = Instant::now();
    let (mut rounds, mut requests, mut late) = (0, 0, 0);
    while requests < 500 * scale() {
        let (sent, started_late) = run_round(&sites, rounds).await;
        (rounds, requests, late) = (rounds + 1, requests + sent, late + started_late);
    }
    assert!(late > 0, "no request started after a revocation, so the test shows nothing");
    println!(
        "{name}: {requests} requests raced {rounds} revocations in {:.1?}: {late} started after the end of their \
         session, and none of them was served",
        started.elapsed()
    );
}
