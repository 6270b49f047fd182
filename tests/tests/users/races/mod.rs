//! Races between requests, revocations and logins in two processes, on every store that lists the sessions of a user.
//! Before the races, a logout in one process ends the streams and WebSockets in the other.
//!
//! `SESSION_ROCKET_RACES` multiplies the number of requests and logins, which is small by default. With 200, there are
//! 100,000 requests and 10,000 logins on each store:
//!
//! ```text
//! SESSION_ROCKET_RACES=200 cargo test -p session-rocket-tests --test users races -- --test-threads 1 --nocapture
//! ```

mod logins;
mod revocations;
mod sockets;

use std::env;
use std::process::Command;
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, SET_COOKIE};
use rocket::tokio::time::timeout;
use session_rocket::Transport;
use session_rocket_tests::backends::Backend;
use session_rocket_tests::browser::ID_HEADER;
use session_rocket_tests::site_process::SiteProcess;

use super::site::TIME_LIMIT;

/// How much larger the races are than by default.
fn scale() -> usize {
    env::var("SESSION_ROCKET_RACES").map_or(1, |scale| scale.parse().expect("`SESSION_ROCKET_RACES` is a number"))
}

/// A site process and an HTTP client.
struct Process {
    server: SiteProcess,
    client: reqwest::Client,
    transport: Transport,
}

/// The response of a site.
#[derive(Debug)]
struct Response {
    status: u16,
    /// The new cookie as `name=value`, or the new bearer token.
    cookie: Option<String>,
    text: String,
}

impl Process {
    /// Returns the header that carries a cookie or a bearer token.
    fn credential(&self, cookie: &str) -> (HeaderName, String) {
        match self.transport {
            Transport::Cookie => (COOKIE, cookie.to_owned()),
            _ => (AUTHORIZATION, format!("Bearer {cookie}")),
        }
    }

    async fn get(&self, path: &str, cookie: &str) -> Response {
        let (header, value) = self.credential(cookie);
        let response =
            self.client.get(self.server.url(path)).header(header, value).send().await.expect("the site responds");
        let status = response.status().as_u16();
        let pair = |value: &HeaderValue| Some(value.to_str().ok()?.split(';').next()?.to_owned());
        let headers = response.headers();
        assert!(self.transport == Transport::Cookie || !headers.contains_key(SET_COOKIE), "an app got a cookie");
        let cookie = headers.get(SET_COOKIE).or_else(|| headers.get(ID_HEADER)).and_then(pair);
        let text = response.text().await.expect("the body is text");
        Response { status, cookie, text }
    }

    /// Sends a request, asserts the status 200 and returns the body.
    async fn text(&self, path: &str, cookie: &str) -> String {
        let response = self.get(path, cookie).await;
        assert_eq!(response.status, 200, "{path}: {response:?}");
        response.text
    }

    /// Logs a user in, and returns the cookie.
    async fn login(&self, user: &str) -> String {
        let response = self.get(&format!("/login/{user}"), "").await;
        assert_eq!(response.status, 200, "{response:?}");
        response.cookie.expect("a login sets a cookie")
    }
}

/// Starts the processes of a site: two, or one if the store is the memory of the process. A comma follows each setting.
fn start(backend: &Backend, transport: Transport, settings: &str) -> Vec<Arc<Process>> {
    let settings = match transport {
        Transport::Cookie => format!("{{{settings}}}"),
        _ => format!("{{{settings}transport=\"bearer\",new_id_header=\"{ID_HEADER}\"}}"),
    };
    let variables = [("SITE_STORE", &*backend.url), ("SITE_CACHE", &backend.cache), ("ROCKET_SESSION", &settings)];
    let processes = if backend.url == "memory:" { 1 } else { 2 };
    let start = |_| {
        let program = Command::new(env!("CARGO_BIN_EXE_site"));
        let server = SiteProcess::start_with(program, backend.directory.path(), &variables);
        Arc::new(Process { server, client: reqwest::Client::new(), transport })
    };
    (0..processes).map(start).collect()
}

async fn race(name: &str, transport: Transport) {
    let Some(backend) = Backend::start(name) else { return };
    an_end_in_one_process_ends_the_wait_in_the_other(&backend, transport).await;
    sockets::a_logout_in_one_process_closes_the_websockets_in_the_other(name, &backend, transport).await;
    revocations::no_request_that_started_after_a_revocation_is_served(name, &backend, transport).await;
    logins::there_are_never_more_sessions_than_the_limit(name, &backend, transport, "end oldest").await;
    logins::there_are_never_more_sessions_than_the_limit(name, &backend, transport, "refuse login").await;
}

async fn an_end_in_one_process_ends_the_wait_in_the_other(backend: &Backend, transport: Transport) {
    let sites = start(backend, transport, "poll_interval=\"200 ms\",");
    let (first, last) = (&sites[0], sites.last().expect("there is a process"));
    let cookie = first.login("waiting").await;
    let (ended, ()) = rocket::tokio::join!(timeout(TIME_LIMIT, first.text("/wait-for-end", &cookie)), async {
        assert_eq!(last.text("/sessions/waiting/end-all", "").await, "1");
    });
    assert_eq!(ended.expect("the wait ends"), "ended");
}

macro_rules! races {
    ($($name:literal $transport:ident $test:ident)*) => {
        $(#[rocket::tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            race($name, Transport::$transport).await;
        })*
    };
}

races! {
    "memory" Cookie revocations_and_limits_are_exact_in_memory
    "sqlite" Cookie revocations_and_limits_are_exact_for_two_processes_on_sqlite
    "memory" Bearer revocations_and_limits_of_apps_are_exact_in_memory
    "sqlite" Bearer revocations_and_limits_of_apps_are_exact_for_two_processes_on_sqlite
    "postgres" Cookie revocations_and_limits_are_exact_for_two_processes_on_postgres
    "mysql" Cookie revocations_and_limits_are_exact_for_two_processes_on_mysql
    "redis" Cookie revocations_and_limits_are_exact_for_two_processes_on_redis
    "redis-cluster" Cookie revocations_and_limits_are_exact_for_two_processes_on_a_redis_cluster
    "file" Cookie revocations_and_limits_are_exact_for_two_processes_on_files
    "cached" Cookie revocations_and_limits_are_exact_for_two_processes_behind_a_cache
}
