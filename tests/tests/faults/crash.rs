//! The site itself is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;

use super::{Backend, PATIENCE};

pub(super) async fn what_was_acknowledged_survives_a_kill_of_the_site(backend: Backend) {
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
            // Until the site is gone: each answer is a promise.
            while let Ok(response) = client.get(&url).header(reqwest::header::COOKIE, &cookie).send().await {
                if response.status() != 200 || response.bytes().await.is_err() {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let total = || acknowledged.iter().map(|(_, count)| count.load(Ordering::SeqCst)).sum::<u64>();
    let started = Instant::now();
    while total() < 400 {
        assert!(started.elapsed() < PATIENCE, "the site is too slow to show anything");
        tokio::task::yield_now().await;
    }
    site.server.kill();
    tasks.join_all().await;

    let site = backend.site();
    for (cookie, promised) in &acknowledged {
        let stored: u64 = site.text("/get", cookie).await.parse().expect("a number");
        let promised = promised.load(Ordering::SeqCst);
        assert!(stored >= promised, "{promised} increments were acknowledged, {stored} are there");
        assert!(stored <= promised + 1, "one request of each client was under way at most");
    }
}
