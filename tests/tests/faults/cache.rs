//! The cache in front of a database is out of order: that costs speed, nothing else.

use std::time::Duration;

use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::{Postgres, Redis};

use super::{Backend, Site};

/// Two sites take turns: each sees at once what the other has saved, or ended.
async fn assert_never_stale(sites: &[Site; 2], cookie: &str, when: &str) {
    for turn in 0..10 {
        let (one, other) = (&sites[turn % 2], &sites[(turn + 1) % 2]);
        let count = one.text("/count", cookie).await;
        for site in [other, one, other] {
            assert_eq!(site.text("/get", cookie).await, count, "{when}: an older record");
        }
        let login = other.visit("/login/ada").await;
        for site in [one, other] {
            assert_eq!(site.text("/whoami", &login).await, "ada", "{when}");
        }
        one.text("/logout", &login).await;
        for site in [other, one] {
            assert_eq!(site.text("/whoami", &login).await, "nobody", "{when}: a logout was undone");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_is_out_of_order_costs_nothing_but_speed() {
    if !is_wanted("cached") {
        return;
    }
    let database = Postgres::start();
    let mut cache = Redis::start();
    let backend = Backend { cache: cache.url(), ..Backend::new(database.url(), database) };
    // A site waits for the cache for a share of its timeout.
    let sites = [(); 2].map(|()| backend.site_at(&backend.url, Duration::from_secs(20)));
    let cookie = sites[0].visit("/count").await;
    assert_never_stale(&sites, &cookie, "well").await;
    cache.pause();
    assert_never_stale(&sites, &cookie, "stopped").await;
    cache.resume();
    assert_never_stale(&sites, &cookie, "continued").await;
    cache.kill();
    assert_never_stale(&sites, &cookie, "killed").await;
    cache.restart();
    assert_never_stale(&sites, &cookie, "restarted with what it held").await;
}
