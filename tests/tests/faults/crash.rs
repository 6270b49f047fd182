//! The site process is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;

use super::{Backend, TIME_LIMIT};

pub(super) async fn acknowledged_increments_survive_a_kill_of_the_site(backend: Backend) {
    const CLIENTS: usize = 16;
    let site = backend.site();
    let mut acknowledged = Vec::new();
    let mut tasks = JoinSet::new();
    for _ in 0..CLIENTS {
        let cookie = site.visit("/count").await;
        let count = Arc::new(AtomicU64::new(1));
        acknowledged.push((cookie.clone(), count.clone()));
        let (client, url) = (site.client.clone(), site.server.url("/count"));
        tasks.spawn(async move {
            // Runs until the site is killed. Each response with status 200 acknowledges an increment.
            while let Ok(response) = client.get(&url).header(reqwest::header::COOKIE, &cookie).send().await {
                if response.status() != 200 || response.bytes().await.is_err() {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let total_acknowledged = || acknowledged.iter().map(|(_, count)| count.load(Ordering::SeqCst)).sum::<u64>();
    let started = Instant::now();
    while total_acknowledged() < 400 {
        assert!(started.elapsed() < TIME_LIMIT, "the site is too slow for this test");
        tokio::task::yield_now().await;
    }
    site.server.kill();
    tasks.join_all().await;

    let site = backend.site();
    for (cookie, count) in &acknowledged {
        let stored: u64 = site.text("/get", cookie).await.parse().expect("the value is a number");
        let count = count.load(Ordering::SeqCst);
        assert!(stored >= count, "{count} increments were acknowledged, but {stored} are stored");
        assert!(stored <= count + 1, "{stored} increments are stored, but at most {} were sent", count + 1);
    }
}
