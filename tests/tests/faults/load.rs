//! Many concurrent requests on one session.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Backend, Site};

/// Sends `requests` requests to both sites in turn, 32 at a time. Asserts that each has the status 200.
async fn send_many(sites: &[Arc<Site>; 2], cookie: &str, requests: usize, path: impl Fn(usize) -> String) {
    let limit = Arc::new(Semaphore::new(32));
    let mut tasks = JoinSet::new();
    for n in 0..requests {
        let (site, path, cookie, limit) = (sites[n % 2].clone(), path(n), cookie.to_owned(), limit.clone());
        tasks.spawn(async move {
            let _permit = limit.acquire().await.expect("the semaphore stays open");
            site.text(&path, &cookie).await
        });
    }
    tasks.join_all().await;
}

pub(super) async fn increments_and_fields_of_concurrent_requests_are_all_saved(backend: Backend) {
    let sites = [Arc::new(backend.site()), Arc::new(backend.site())];
    let cookie = sites[0].visit("/count").await;
    let started = Instant::now();
    send_many(&sites, &cookie, 2000, |_| "/count".to_owned()).await;
    let rate = 2000.0 / started.elapsed().as_secs_f64();
    assert_eq!(sites[1].text("/get", &cookie).await, "2001");
    let mut conflicts = 0;
    for site in &sites {
        conflicts += site.text("/conflicts", &cookie).await.parse::<u64>().expect("the value is a number");
    }
    println!("2,000 increments on one session, 32 at once, two processes: {rate:.0} per second, {conflicts} conflicts");
    assert!(conflicts > 0, "there was no conflict, so the test shows nothing");
    send_many(&sites, &cookie, 32, |n| format!("/field/f{n}")).await;
    assert_eq!(sites[0].text("/fields", &cookie).await, "32");
}
