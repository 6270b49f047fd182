//! Two server processes on one SQLite file: nothing is lost, and what was acknowledged survives `kill -9`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{COOKIE, SET_COOKIE};
use session_rocket_tests::server::Server;
use tokio::task::JoinSet;

fn start(directory: &Path) -> Server {
    let store = format!("sqlite://{}/sessions.db", directory.display());
    Server::start(env!("CARGO_BIN_EXE_site"), directory, &store)
}

/// Answers of 200 only; anything else is a failure of the test.
async fn get(client: &reqwest::Client, url: String, cookie: &str) -> String {
    let response = client.get(&url).header(COOKIE, cookie).send().await.expect("the site answers");
    assert_eq!(response.status(), 200, "{url}");
    response.text().await.expect("a text")
}

/// A new session's cookie.
async fn cookie(client: &reqwest::Client, server: &Server) -> String {
    let response = client.get(server.url("/count")).send().await.expect("the site answers");
    let cookie = response.headers().get(SET_COOKIE).expect("a new session").to_str().expect("a cookie is ASCII");
    cookie.split(';').next().expect("a pair").to_owned()
}

/// Runs `requests` requests, 32 at once, in turn on both servers.
async fn hammer(servers: &[Server; 2], cookie: &str, requests: usize, path: impl Fn(usize) -> String) -> Vec<String> {
    let client = reqwest::Client::new();
    let limit = Arc::new(tokio::sync::Semaphore::new(32));
    let mut tasks = JoinSet::new();
    for n in 0..requests {
        let (client, cookie, limit) = (client.clone(), cookie.to_owned(), limit.clone());
        let url = servers[n % 2].url(&path(n));
        tasks.spawn(async move {
            let _permit = limit.acquire().await.expect("the semaphore stays open");
            get(&client, url, &cookie).await
        });
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_increments_through_two_processes_are_two_thousand() {
    let directory = tempfile::tempdir().unwrap();
    let servers = [start(directory.path()), start(directory.path())];
    let client = reqwest::Client::new();
    let cookie = cookie(&client, &servers[0]).await;
    let started = Instant::now();
    hammer(&servers, &cookie, 2000, |_| "/count".to_owned()).await;
    let rate = 2000.0 / started.elapsed().as_secs_f64();
    assert_eq!(get(&client, servers[1].url("/get"), &cookie).await, "2001");
    let mut conflicts = 0;
    for server in &servers {
        conflicts += get(&client, server.url("/conflicts"), &cookie).await.parse::<u64>().unwrap();
    }
    println!("2,000 increments on one session, 32 at once, two processes: {rate:.0} a second, {conflicts} conflicts");
    assert!(conflicts > 0, "the processes never met: the test shows nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_fields_set_at_once_are_all_there() {
    let directory = tempfile::tempdir().unwrap();
    let servers = [start(directory.path()), start(directory.path())];
    let client = reqwest::Client::new();
    let cookie = cookie(&client, &servers[0]).await;
    hammer(&servers, &cookie, 32, |n| format!("/field/f{n}")).await;
    assert_eq!(get(&client, servers[0].url("/fields"), &cookie).await, "32");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_setdefaults_agree_on_the_first_that_was_committed() {
    let directory = tempfile::tempdir().unwrap();
    let servers = [start(directory.path()), start(directory.path())];
    let client = reqwest::Client::new();
    let cookie = cookie(&client, &servers[0]).await;
    let answers = hammer(&servers, &cookie, 200, |n| format!("/first/v{n}")).await;
    assert_eq!(answers.len(), 200);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path());
    let client = reqwest::Client::new();
    let mut acknowledged: HashMap<String, Arc<AtomicU64>> = HashMap::new();
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let cookie = cookie(&client, &server).await;
        let count = Arc::new(AtomicU64::new(1));
        acknowledged.insert(cookie.clone(), count.clone());
        let (client, url) = (client.clone(), server.url("/count"));
        tasks.spawn(async move {
            // Until the server is gone: each answer is a promise.
            while let Ok(response) = client.get(&url).header(COOKIE, &cookie).send().await {
                if response.status() != 200 || response.bytes().await.is_err() {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let total = || acknowledged.values().map(|count| count.load(Ordering::SeqCst)).sum::<u64>();
    let started = Instant::now();
    while total() < 400 {
        assert!(started.elapsed() < Duration::from_secs(60), "the site is too slow to show anything");
        tokio::task::yield_now().await;
    }
    server.kill();
    tasks.join_all().await;

    let server = start(directory.path());
    for (cookie, promised) in &acknowledged {
        let stored: u64 = get(&client, server.url("/get"), cookie).await.parse().unwrap();
        let promised = promised.load(Ordering::SeqCst);
        assert!(stored >= promised, "{promised} increments were acknowledged, {stored} are there");
        assert!(stored <= promised + 1, "one request of each client was under way at most");
    }
}
