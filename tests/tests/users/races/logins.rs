//! Concurrent logins of users whose number of sessions is limited.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use rocket::tokio::sync::Semaphore;
use rocket::tokio::task::JoinSet;
use session_rocket::Transport;
use session_rocket_tests::backends::Backend;

use super::{Process, scale, start};

/// `max_sessions`.
const LIMIT: usize = 3;
/// The number of browsers with which each user logs in concurrently.
const BROWSERS: usize = 4;
/// The number of users who log in concurrently.
const USERS_AT_ONCE: usize = 8;

/// A session whose login was acknowledged.
#[derive(Clone)]
struct Known {
    cookie: String,
    /// When the browser received the cookie.
    acknowledged: Instant,
    /// When the last request that was served started. The session was live until then.
    last_served: Option<Instant>,
    has_ended: bool,
}

struct User {
    sites: Vec<Arc<Process>>,
    name: String,
    sessions: Mutex<Vec<Known>>,
    refused: Mutex<usize>,
}

impl User {
    fn site(&self, number: usize) -> &Process {
        &self.sites[number % self.sites.len()]
    }

    fn with_sessions<R>(&self, op: impl FnOnce(&mut Vec<Known>) -> R) -> R {
        op(&mut self.sessions.lock().expect("the lock is not poisoned"))
    }

    /// Logs in with a new browser. Returns whether the login was acknowledged.
    async fn log_in(&self, number: usize, refuses: bool) -> bool {
        let response = self.site(number).get(&format!("/login/{}", self.name), "").await;
        let acknowledged = Instant::now();
        match (response.status, response.cookie) {
            (200, Some(cookie)) => {
                let known = Known { cookie, acknowledged, last_served: None, has_ended: false };
                self.with_sessions(|sessions| sessions.push(known));
                true
            }
            (409, None) if refuses => {
                *self.refused.lock().expect("the lock is not poisoned") += 1;
                false
            }
            (status, cookie) => panic!("a login returned {status}, {cookie:?}"),
        }
    }

    /// Sends a request with the cookie of each session that may be live.
    async fn look(&self, number: usize) {
        let candidates: Vec<(usize, String)> = self.with_sessions(|sessions| {
            let live = sessions.iter().enumerate().filter(|(_, known)| !known.has_ended);
            live.map(|(index, known)| (index, known.cookie.clone())).collect()
        });
        for (index, cookie) in candidates {
            let start = Instant::now();
            let is_served = self.site(number).text("/whoami", &cookie).await == self.name;
            self.with_sessions(|sessions| {
                let known = &mut sessions[index];
                if is_served {
                    known.last_served = known.last_served.max(Some(start));
                } else {
                    known.has_ended = true;
                }
            });
        }
    }

    /// Logs out with one browser, if one is logged in.
    async fn log_out(&self, number: usize) {
        let candidate = self
            .with_sessions(|sessions| sessions.iter().find(|known| !known.has_ended).map(|known| known.cookie.clone()));
        if let Some(cookie) = candidate {
            self.site(number).text("/logout", &cookie).await;
        }
    }

    /// Logs in `logins` times, with [`BROWSERS`] browsers at a time.
    async fn run(self: Arc<Self>, logins: usize, refuses: bool) {
        let mut browsers = JoinSet::new();
        for browser in 0..BROWSERS {
            let user = self.clone();
            browsers.spawn(async move {
                for number in (browser..logins).step_by(BROWSERS) {
                    user.log_in(number, refuses).await;
                    user.look(number + 1).await;
                    if refuses && number % 2 == 0 {
                        user.log_out(number).await;
                    }
                }
            });
        }
        browsers.join_all().await;
        self.check_rest(refuses).await;
    }

    /// Asserts that exactly the last sessions are live, and that no login of the past counts.
    async fn check_rest(&self, refuses: bool) {
        let path = format!("/sessions/{}", self.name);
        let live: usize = self.site(0).text(&path, "").await.parse().expect("the site shows a number");
        if refuses {
            for number in live..LIMIT {
                assert!(
                    self.log_in(number, true).await,
                    "a login was refused, although the user had {number} sessions"
                );
            }
            assert!(!self.log_in(0, true).await, "a login over the limit was not refused");
        } else {
            assert_eq!(live, LIMIT);
        }
        self.look(1).await;
    }

    /// Returns the largest number of sessions that were live at one time and whose login was acknowledged.
    ///
    /// A session is live from its login to its end, without interruption. So it was live from the acknowledgement to the
    /// start of the last request that was served.
    fn most_live(&self) -> usize {
        let lives: Vec<(Instant, Instant)> = self.with_sessions(|sessions| {
            sessions.iter().filter_map(|known| Some((known.acknowledged, known.last_served?))).collect()
        });
        let live_at = |time: Instant| lives.iter().filter(|(from, to)| (*from..=*to).contains(&time)).count();
        lives.iter().map(|(from, _)| live_at(*from)).max().unwrap_or_default()
    }
}

pub(super) async fn there_are_never_more_sessions_than_the_limit(
    name: &str,
    backend: &Backend,
    transport: Transport,
    when_full: &str,
) {
    let sites = start(backend, transport, &format!("max_sessions={LIMIT},when_full=\"{when_full}\","));
    let refuses = when_full == "refuse login";
    let logins = 50 * scale();
    let users = (logins / 10).min(50);
    let started = Instant::now();
    let (limit, mut tasks) = (Arc::new(Semaphore::new(USERS_AT_ONCE)), JoinSet::new());
    for number in 0..users {
        let name = format!("{}-{number}", when_full.replace(' ', "-"));
        let user = User { sites: sites.clone(), name, sessions: Mutex::default(), refused: Mutex::default() };
        let (user, limit) = (Arc::new(user), limit.clone());
        tasks.spawn(async move {
            let _permit = limit.acquire().await.expect("the semaphore stays open");
            user.clone().run(logins / users, refuses).await;
            user
        });
    }
    let users = tasks.join_all().await;
    let most = users.iter().map(|user| user.most_live()).max().unwrap_or_default();
    let acknowledged: usize = users.iter().map(|user| user.with_sessions(|sessions| sessions.len())).sum();
    let refused: usize = users.iter().map(|user| *user.refused.lock().expect("the lock is not poisoned")).sum();
    println!(
        "{name}, {when_full}: {acknowledged} logins of {} users acknowledged, {refused} refused, in {:.1?}: at most \
         {most} live sessions of one user",
        users.len(),
        started.elapsed()
    );
    assert_eq!(most, LIMIT);
}
