//! What must hold of every back-end that is reached over a network, through Rocket, with two server processes.
#![cfg(unix)]

mod cache;
mod cluster;
mod crash;
mod cut;
mod load;
mod logins;
mod outage;
mod rotation;
mod storm;

use std::ops::DerefMut;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{COOKIE, SET_COOKIE};
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::server::Server;
use session_rocket_tests::servers::{Memcached, MySql, Postgres, Private, Redis};
use tempfile::TempDir;

/// How long the sites wait for their store, where it is out of order; elsewhere the machine's load is no fault.
const TIMEOUT: Duration = Duration::from_secs(2);
const AMPLE: Duration = Duration::from_secs(60);
/// What goes on after that has not recovered.
const PATIENCE: Duration = Duration::from_secs(120);

/// A back-end with a server of its own.
struct Backend {
    url: String,
    /// In front of the store, if there is one.
    cache: String,
    server: Box<dyn DerefMut<Target = Private> + Send + Sync>,
    /// What was acknowledged is there after the server was killed.
    keeps: bool,
    /// The server of the cache.
    _beside: Option<Redis>,
    /// The sites' own directory.
    directory: TempDir,
}

impl Backend {
    fn new(url: String, server: impl DerefMut<Target = Private> + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the sites");
        Self { url, cache: String::new(), server: Box::new(server), keeps: true, _beside: None, directory }
    }

    fn postgres() -> Self {
        let server = Postgres::start();
        Self::new(server.url(), server)
    }

    fn mysql() -> Self {
        let server = MySql::start();
        Self::new(server.url(), server)
    }

    fn redis() -> Self {
        let server = Redis::durable();
        Self::new(server.url(), server)
    }

    /// A cache in front of a database: the faults are the database's.
    fn cached() -> Self {
        let cache = Redis::start();
        Self { cache: cache.url(), _beside: Some(cache), ..Self::postgres() }
    }

    fn memcached() -> Self {
        let server = Memcached::start();
        let backend = Self::new(server.url(), server);
        Self { keeps: false, ..backend }
    }

    fn site(&self) -> Site {
        self.site_at(&self.url, AMPLE)
    }

    /// A site whose store is reached by this way, and waited for so long.
    fn site_at(&self, url: &str, timeout: Duration) -> Site {
        let timeout = timeout.as_millis().to_string();
        let variables = [("SITE_STORE", url), ("SITE_CACHE", &self.cache), ("SITE_TIMEOUT", &timeout)];
        let server = Server::start_with(Command::new(env!("CARGO_BIN_EXE_site")), self.directory.path(), &variables);
        Site { server, client: reqwest::Client::new() }
    }
}

/// A server process of the site, and a client of it.
struct Site {
    server: Server,
    client: reqwest::Client,
}

/// What a site answered.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    cookie: Option<String>,
    text: String,
}

impl Answer {
    /// What the site says of a store that it cannot use: nothing is saved, and no cookie says otherwise.
    #[track_caller]
    fn assert_unavailable(&self) {
        assert_eq!((self.status, &self.cookie), (StatusCode::SERVICE_UNAVAILABLE, &None), "{self:?}");
    }
}

impl Site {
    /// Nothing if no answer came: the site is gone.
    async fn try_get(&self, path: &str, cookie: &str) -> Option<Answer> {
        let request = self.client.get(self.server.url(path)).header(COOKIE, cookie);
        let response = request.send().await.ok()?;
        let status = response.status();
        let pair = |value: &reqwest::header::HeaderValue| Some(value.to_str().ok()?.split(';').next()?.to_owned());
        let cookie = response.headers().get(SET_COOKIE).and_then(pair);
        let text = response.text().await.ok()?;
        Some(Answer { status, cookie, text })
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.try_get(path, cookie).await.expect("the site answers")
    }

    /// The text of an answer of 200.
    async fn text(&self, path: &str, cookie: &str) -> String {
        let answer = self.get(path, cookie).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        answer.text
    }

    /// The cookie of a new session. A busy machine can make a site with a short timeout answer 503 before.
    async fn visit(&self, path: &str) -> String {
        let (answer, _) = self.recovered(path, "").await;
        answer.cookie.expect("a new session has a cookie")
    }

    /// Waits until the site answers with 200 again, and says how long that took.
    async fn recovered(&self, path: &str, cookie: &str) -> (Answer, Duration) {
        let started = Instant::now();
        loop {
            let answer = self.get(path, cookie).await;
            if answer.status == StatusCode::OK {
                return (answer, started.elapsed());
            }
            answer.assert_unavailable();
            assert!(started.elapsed() < PATIENCE, "the site does not recover");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What became of the increments of one session, asked for one after the other.
#[derive(Default)]
struct Tally {
    /// How many were acknowledged, and how many more asked for.
    promised: u64,
    unclear: u64,
    /// The count that was known last.
    count: u64,
}

impl Tally {
    /// One more was acknowledged, with this count.
    #[track_caller]
    fn acknowledged(&mut self, count: &str) {
        self.promised += 1;
        self.check(count, self.count + 1);
    }

    /// This is the count that is stored.
    #[track_caller]
    fn stored(&mut self, count: &str) {
        self.check(count, self.count);
    }

    /// What was acknowledged is there, and nothing twice.
    #[track_caller]
    fn check(&mut self, count: &str, least: u64) {
        let most = self.promised + self.unclear;
        self.count = count.parse().expect("a number");
        assert!((least..=most).contains(&self.count), "{count}, and not {least} to {most} increments");
    }
}

macro_rules! backends {
    ($($name:ident)*) => {
        $(mod $name {
            use super::*;

            backends! { @tests $name
                load::increments_and_fields_of_many_requests_are_all_there
                logins::a_held_writer_undoes_neither_a_logout_nor_a_login
                outage::a_server_that_is_stopped_or_killed_is_503_until_it_is_back
                cut::a_reply_that_is_cut_gives_nobody_the_data_of_another_session
                crash::what_was_acknowledged_survives_a_kill_of_the_site
                storm::what_was_acknowledged_survives_kills_of_the_server
            }
        })*
    };
    (@tests $name:ident $($group:ident::$test:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            if is_wanted(stringify!($name)) {
                super::$group::$test(Backend::$name()).await;
            }
        })*
    };
}

backends! { postgres mysql redis memcached cached }
