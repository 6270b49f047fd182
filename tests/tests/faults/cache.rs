//! Failures of the cache in front of a database.

use std::time::Duration;

use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::{Postgres, Redis};

use super::{Backend, Site};

/// Asserts that each of two sites immediately sees what the other site has saved or ended.
async fn assert_never_stale(sites: &[Site; 2], cookie: &str, when: &str) {
    for turn in 0..10 {
        let (one, other) = (&sites[turn % 2], &sites[(turn + 1) % 2]);
        let count = one.text("/count", cookie).await;
        for site in [other, one, other] {
            assert_eq!(site.text("/get", cookie).await, count, "{when}: the site read an old record");
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
async fn sites_read_no_stale_session_while_the_cache_fails() {
    if !is_wanted("cached") {
        return;
    }
    let database = Postgres::start();
    let mut cache = Redis::start();
    let backend = Backend { cache: cache.url(), ..Backend::new(database.url(), database) };
    let patient_sites = [(); 2].map(|()| backend.site());
    let cookie = patient_sites[0].visit("/count").await;
    assert_never_stale(&patient_sites, &cookie, "the cache works").await;
    // These sites wait for the cache for a part of their timeout.
    let sites = [(); 2].map(|()| backend.site_at(&backend.url, Duration::from_secs(20)));
    cache.pause();
    assert_never_stale(&sites, &cookie, "the cache is suspended").await;
    cache.resume();
    assert_never_stale(&sites, &cookie, "the cache is resumed").await;
    cache.kill();
    assert_never_stale(&sites, &cookie, "the cache is killed").await;
    cache.restart();
    assert_never_stale(&sites, &cookie, "the cache is restarted with its old data").await;
}
