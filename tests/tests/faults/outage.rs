//! A server that answers nothing, is gone, and comes back.

use std::time::{Duration, Instant};

use super::{Backend, Site, TIMEOUT};

/// What a request may take that waits for a store in vain.
const LONGEST: Duration = Duration::from_secs(5);

/// Requests of all kinds while the server is out of order; how many increments were asked for.
async fn assert_out_of_order(sites: &[Site; 2], cookie: &str, how: &str) -> u64 {
    for site in sites {
        for (path, cookie) in [("/count", cookie), ("/get", cookie), ("/count", ""), ("/logout", cookie)] {
            let started = Instant::now();
            let answer = site.get(path, cookie).await;
            let took = started.elapsed();
            answer.assert_unavailable();
            assert!(took < LONGEST, "{how}: {path} took {took:?} with a timeout of {TIMEOUT:?}");
        }
    }
    2
}

/// Waits until the site reads the session again, and says what the count is.
async fn count_at(site: &Site, cookie: &str, how: &str) -> u64 {
    let (answer, took) = site.recovered("/get", cookie).await;
    println!("{how}: the site was itself again after {took:.1?}");
    answer.text.parse().expect("a number")
}

pub(super) async fn a_server_that_is_stopped_or_killed_is_503_until_it_is_back(mut backend: Backend) {
    let sites = [(); 2].map(|()| backend.site_at(&backend.url, TIMEOUT));
    let patient = backend.site();
    let cookie = sites[0].visit("/count").await;
    let other = sites[1].visit("/login/ada").await;
    let mut promised = 1;

    backend.server.pause();
    let mut unclear = assert_out_of_order(&sites, &cookie, "stopped").await;
    backend.server.resume();
    // A logout that was answered with 503 may have happened, when the server went on.
    let stored = match sites[0].recovered("/get", &cookie).await.0.text.as_str() {
        "0" => None,
        text => Some(text.parse::<u64>().expect("a number")),
    };
    let cookie = match stored {
        Some(stored) => {
            assert!(stored >= promised && stored <= promised + unclear, "{stored} of {promised} and {unclear}");
            cookie
        }
        None => sites[0].visit("/count").await,
    };
    count_at(&sites[1], &cookie, "stopped and continued").await;
    // An increment of a site with a short timeout may happen although the site answered 503.
    promised = patient.text("/count", &cookie).await.parse().expect("a number");
    assert_eq!(sites[0].recovered("/whoami", &other).await.0.text, "ada");

    backend.server.kill();
    unclear = assert_out_of_order(&sites, &cookie, "killed").await;
    assert_eq!(unclear, 2);
    backend.server.restart();
    let stored = count_at(&sites[0], &cookie, "killed and restarted").await;
    let expected = if backend.keeps { promised } else { 0 };
    assert_eq!(stored, expected, "what a dead server was asked for does not come after all");
    sites[0].recovered("/count", &cookie).await;
    let user = if backend.keeps { "ada" } else { "nobody" };
    assert_eq!(sites[1].recovered("/whoami", &other).await.0.text, user);
}
