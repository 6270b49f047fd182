//! Tests of every network back-end through Rocket, with two site processes.
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
use session_rocket_tests::servers::{Memcached, MySql, Postgres, Redis, ServerProcess};
use session_rocket_tests::site_process::SiteProcess;
use tempfile::TempDir;

/// The store timeout of sites whose store fails.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The store timeout of sites whose store works, on a busy machine.
const LONG_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an operation may take on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// A back-end with its own server.
struct Backend {
    url: String,
    /// The URL of the cache. Empty if there is none.
    cache: String,
    server: Box<dyn DerefMut<Target = ServerProcess> + Send + Sync>,
    /// Whether acknowledged changes survive a kill of the server.
    is_durable: bool,
    /// The server of the cache, which must outlive the test.
    _cache_server: Option<Redis>,
    /// The working directory of the sites.
    directory: TempDir,
}

impl Backend {
    fn new(url: String, server: impl DerefMut<Target = ServerProcess> + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be created");
        Self { url, cache: String::new(), server: Box::new(server), is_durable: true, _cache_server: None, directory }
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

    /// A database with a cache. The faults are those of the database.
    fn cached() -> Self {
        let cache = Redis::start();
        Self { cache: cache.url(), _cache_server: Some(cache), ..Self::postgres() }
    }

    fn memcached() -> Self {
        let server = Memcached::start();
        let backend = Self::new(server.url(), server);
        Self { is_durable: false, ..backend }
    }

    fn site(&self) -> Site {
        self.site_at(&self.url, LONG_TIMEOUT)
    }

    /// Starts a site with this store URL and store timeout.
    fn site_at(&self, url: &str, timeout: Duration) -> Site {
        let timeout = timeout.as_millis().to_string();
        let variables = [("SITE_STORE", url), ("SITE_CACHE", &self.cache), ("SITE_TIMEOUT", &timeout)];
        let server =
            SiteProcess::start_with(Command::new(env!("CARGO_BIN_EXE_site")), self.directory.path(), &variables);
        Site { server, client: reqwest::Client::new() }
    }
}

/// A site process and an HTTP client.
struct Site {
    server: SiteProcess,
    client: reqwest::Client,
}

/// The response of a site.
#[derive(Debug)]
struct Response {
    status: StatusCode,
    cookie: Option<String>,
    text: String,
}

impl Response {
    /// Asserts that the response is a 503 without a cookie.
    #[track_caller]
    fn assert_unavailable(&self) {
        assert_eq!((self.status, &self.cookie), (StatusCode::SERVICE_UNAVAILABLE, &None), "{self:?}");
    }
}

impl Site {
    /// Sends a GET request. Returns `None` if the site is down.
    async fn try_get(&self, path: &str, cookie: &str) -> Option<Response> {
        let request = self.client.get(self.server.url(path)).header(COOKIE, cookie);
        let response = request.send().await.ok()?;
        let status = response.status();
        let pair = |value: &reqwest::header::HeaderValue| Some(value.to_str().ok()?.split(';').next()?.to_owned());
        let cookie = response.headers().get(SET_COOKIE).and_then(pair);
        let text = response.text().await.ok()?;
        Some(Response { status, cookie, text })
    }

    async fn get(&self, path: &str, cookie: &str) -> Response {
        self.try_get(path, cookie).await.expect("the site responds")
    }

    /// Sends a GET request, asserts the status 200 and returns the body.
    async fn text(&self, path: &str, cookie: &str) -> String {
        let response = self.get(path, cookie).await;
        assert_eq!(response.status, StatusCode::OK, "{path}: {response:?}");
        response.text
    }

    /// Starts a session and returns its cookie. Repeats the request if it fails with 503, as can happen on a busy
    /// machine.
    async fn visit(&self, path: &str) -> String {
        let (response, _) = self.get_when_recovered(path, "").await;
        response.cookie.expect("a new session sets a cookie")
    }

    /// Repeats a request until its status is 200. Returns the response, and how long that took.
    async fn get_when_recovered(&self, path: &str, cookie: &str) -> (Response, Duration) {
        let started = Instant::now();
        loop {
            let response = self.get(path, cookie).await;
            if response.status == StatusCode::OK {
                return (response, started.elapsed());
            }
            response.assert_unavailable();
            assert!(started.elapsed() < TIME_LIMIT, "the site does not recover");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Counts the increments of one session, which are requested one after the other.
#[derive(Default)]
struct Tally {
    /// How many increments were acknowledged.
    acknowledged: u64,
    /// How many other increments were requested.
    unclear: u64,
    /// The last known count.
    count: u64,
}

impl Tally {
    /// Records an acknowledged increment with its count.
    #[track_caller]
    fn record_acknowledged(&mut self, count: &str) {
        self.acknowledged += 1;
        self.check(count, self.count + 1);
    }

    /// Checks the stored count.
    #[track_caller]
    fn check_stored(&mut self, count: &str) {
        self.check(count, self.count);
    }

    /// Asserts that no acknowledged increment is lost and none is counted twice.
    #[track_caller]
    fn check(&mut self, count: &str, least: u64) {
        let most = self.acknowledged + self.unclear;
        self.count = count.parse().expect("the value is a number");
        assert!((least..=most).contains(&self.count), "the count is {count}, expected {least} to {most}");
    }
}

macro_rules! backends {
    ($($name:ident)*) => {
        $(mod $name {
            use super::*;

            backends! { @tests $name
                load::increments_and_fields_of_concurrent_requests_are_all_saved
                logins::a_slow_write_undoes_neither_a_logout_nor_a_login
                outage::requests_are_503_while_the_server_is_suspended_or_down
                cut::a_cut_reply_never_exposes_the_data_of_another_session
                crash::acknowledged_increments_survive_a_kill_of_the_site
                storm::acknowledged_increments_survive_kills_of_the_server
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
