//! A server that is suspended, killed and restarted.

use std::time::{Duration, Instant};

use super::{Backend, Site, TIMEOUT};

/// How long a request may take on a busy machine if it waits for the store until the timeout.
const REQUEST_LIMIT: Duration = TIMEOUT.saturating_mul(10);

/// Asserts that all kinds of requests are 503. Returns how many increments were requested.
async fn assert_all_unavailable(sites: &[Site; 2], cookie: &str, how: &str) -> u64 {
    for site in sites {
        for (path, cookie) in [("/count", cookie), ("/get", cookie), ("/count", ""), ("/logout", cookie)] {
            let started = Instant::now();
            let response = site.get(path, cookie).await;
            let took = started.elapsed();
            response.assert_unavailable();
            assert!(took < REQUEST_LIMIT, "{how}: {path} took {took:?} with a timeout of {TIMEOUT:?}");
        }
    }
    2
}

/// Waits until the site can read the session again, and returns the count.
async fn count_when_recovered(site: &Site, cookie: &str, how: &str) -> u64 {
    let (response, took) = site.get_when_recovered("/get", cookie).await;
    println!("{how}: the site recovered after {took:.1?}");
    response.text.parse().expect("the value is a number")
}

pub(super) async fn requests_are_503_while_the_server_is_suspended_or_down(mut backend: Backend) {
    let sites = [(); 2].map(|()| backend.site_at(&backend.url, TIMEOUT));
    let site_with_long_timeout = backend.site();
    let cookie = sites[0].visit("/count").await;
    let other = sites[1].visit("/login/ada").await;

    backend.server.pause();
    let unclear = assert_all_unavailable(&sites, &cookie, "suspended").await;
    backend.server.resume();
    // The server may have executed a logout after it was resumed, although the response was 503.
    let (response, took) = sites[0].get_when_recovered("/get", &cookie).await;
    println!("suspended and resumed: the site recovered after {took:.1?}");
    let stored: u64 = response.text.parse().expect("the value is a number");
    assert!(stored <= 1 + unclear, "{stored} of 1 and {unclear}");
    count_when_recovered(&sites[1], &cookie, "suspended and resumed").await;
    assert_eq!(sites[0].get_when_recovered("/whoami", &other).await.0.text, "ada");

    // The server may execute the earlier increments and logouts at any time, so this part needs another session. The site
    // with the long timeout is used here, because an increment can be saved although the response is 503.
    let cookie = site_with_long_timeout.visit("/count").await;
    let acknowledged: u64 =
        site_with_long_timeout.text("/count", &cookie).await.parse().expect("the value is a number");
    sites[1].get_when_recovered("/get", &cookie).await;
    backend.server.kill();
    assert_all_unavailable(&sites, &cookie, "killed").await;
    backend.server.restart();
    let stored = count_when_recovered(&sites[0], &cookie, "killed and restarted").await;
    let expected = if backend.is_durable { acknowledged } else { 0 };
    assert_eq!(stored, expected, "an increment that was requested while the server was down was saved later");
    sites[0].get_when_recovered("/count", &cookie).await;
    let user = if backend.is_durable { "ada" } else { "nobody" };
    assert_eq!(sites[1].get_when_recovered("/whoami", &other).await.0.text, user);
}
