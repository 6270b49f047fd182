//! Two site processes share one SQLite file: no update is lost, and acknowledged changes survive `kill -9`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{COOKIE, SET_COOKIE};
use session_rocket_tests::site_process::SiteProcess;
use tokio::task::JoinSet;

fn start(directory: &Path) -> SiteProcess {
    let store = format!("sqlite://{}/sessions.db", directory.display());
    SiteProcess::start(env!("CARGO_BIN_EXE_site"), directory, &store)
}

/// Sends a GET request, asserts the status 200 and returns the body.
async fn get(client: &reqwest::Client, url: String, cookie: &str) -> String {
    let response = client.get(&url).header(COOKIE, cookie).send().await.expect("the site responds");
    assert_eq!(response.status(), 200, "{url}");
    response.text().await.expect("the body is text")
}

/// Starts a session and returns its cookie.
async fn new_session(client: &reqwest::Client, server: &SiteProcess) -> String {
    let response = client.get(server.url("/count")).send().await.expect("the site responds");
    let cookie =
        response.headers().get(SET_COOKIE).expect("the response starts a session").to_str().expect("a cookie is ASCII");
    cookie.split(';').next().expect("`split` returns at least one part").to_owned()
}

/// Sends `requests` requests to both servers in turn, 32 at a time.
async fn send_many(
    servers: &[SiteProcess; 2],
    cookie: &str,
    requests: usize,
    path: impl Fn(usize) -> String,
) -> Vec<String> {
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
async fn two_thousand_concurrent_increments_through_two_processes_are_all_counted() {
    let directory = tempfile::tempdir().unwrap();
    let servers = [start(directory.path()), start(directory.path())];
    let client = reqwest::Client::new();
    let cookie = new_session(&client, &servers[0]).await;
    let started = Instant::now();
    send_many(&servers, &cookie, 2000, |_| "/count".to_owned()).await;
    let rate = 2000.0 / started.elapsed().as_secs_f64();
    assert_eq!(get(&client, servers[1].url("/get"), &cookie).await, "2001");
    let mut conflicts = 0;
    for server in &servers {
        conflicts += get(&client, server.url("/conflicts"), &cookie).await.parse::<u64>().unwrap();
    }
    println!("2,000 increments on one session, 32 at once, two processes: {rate:.0} per second, {conflicts} conflicts");
    assert!(conflicts > 0, "there was no conflict, so the test shows nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_concurrently_set_fields_are_all_saved() {
    let directory = tempfile::tempdir().unwrap();
    let servers = [start(directory.path()), start(directory.path())];
    let client = reqwest::Client::new();
    let cookie = new_session(&client, &servers[0]).await;
    send_many(&servers, &cookie, 32, |n| format!("/field/f{n}")).await;
    assert_eq!(get(&client, servers[0].url("/fields"), &cookie).await, "32");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_concurrent_setdefaults_return_the_value_that_was_saved_first() {
    let directory = tempfile::tempdir().unwrap();
    let servers = [start(directory.path()), start(directory.path())];
    let client = reqwest::Client::new();
    let cookie = new_session(&client, &servers[0]).await;
    let responses = send_many(&servers, &cookie, 200, |n| format!("/first/v{n}")).await;
    assert_eq!(responses.len(), 200);
    assert!(responses.iter().all(|response| *response == responses[0]), "{responses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_increments_survive_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path());
    let client = reqwest::Client::new();
    let mut acknowledged: HashMap<String, Arc<AtomicU64>> = HashMap::new();
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let cookie = new_session(&client, &server).await;
        let count = Arc::new(AtomicU64::new(1));
        acknowledged.insert(cookie.clone(), count.clone());
        let (client, url) = (client.clone(), server.url("/count"));
        tasks.spawn(async move {
            // Runs until the server is killed. Each response with status 200 acknowledges an increment.
            while let Ok(response) = client.get(&url).header(COOKIE, &cookie).send().await {
                if response.status() != 200 || response.bytes().await.is_err() {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let total_acknowledged = || acknowledged.values().map(|count| count.load(Ordering::SeqCst)).sum::<u64>();
    let started = Instant::now();
    while total_acknowledged() < 400 {
        assert!(started.elapsed() < Duration::from_secs(180), "the site is too slow for this test");
        tokio::task::yield_now().await;
    }
    server.kill();
    tasks.join_all().await;

    let server = start(directory.path());
    for (cookie, count) in &acknowledged {
        let stored: u64 = get(&client, server.url("/get"), cookie).await.parse().unwrap();
        let count = count.load(Ordering::SeqCst);
        assert!(stored >= count, "{count} increments were acknowledged, but {stored} are stored");
        assert!(stored <= count + 1, "{stored} increments are stored, but at most {} were sent", count + 1);
    }
}
