//! A request that is still running when its session is ended or another user logs in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::{Backend, Response, Site, TIME_LIMIT};

/// Sends a request that reads its session, sets a field, and waits before it responds.
async fn start_slow_write(site: &Arc<Site>, cookie: &str) -> JoinHandle<Response> {
    let (own, cookie) = (site.clone(), cookie.to_owned());
    let writer = tokio::spawn(async move { own.get("/slow/late", &cookie).await });
    let started = Instant::now();
    while site.text("/waiting", "").await != "1" {
        assert!(started.elapsed() < TIME_LIMIT, "the slow request did not arrive");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    writer
}

pub(super) async fn a_slow_write_undoes_neither_a_logout_nor_a_login(backend: Backend) {
    let (slow, fast) = (Arc::new(backend.site()), backend.site());

    let cookie = slow.visit("/login/ada").await;
    let writer = start_slow_write(&slow, &cookie).await;
    fast.text("/logout", &cookie).await;
    slow.text("/open", "").await;
    let late = writer.await.expect("the task does not panic");
    assert_eq!((late.status.as_u16(), late.cookie), (200, None), "the changes of the slow request are dropped");
    for site in [&*slow, &fast] {
        assert_eq!(site.text("/whoami", &cookie).await, "nobody", "a logout was undone");
        assert_eq!(site.text("/fields", &cookie).await, "0", "an ended session came back");
    }

    let cookie = slow.visit("/count").await;
    let writer = start_slow_write(&slow, &cookie).await;
    let login = fast.get("/login/ada", &cookie).await;
    let new = login.cookie.expect("a login sets a new cookie");
    slow.text("/open", "").await;
    let late = writer.await.expect("the task does not panic");
    assert_eq!((late.status.as_u16(), late.cookie), (200, None), "the late response replaced the cookie of the login");
    for site in [&*slow, &fast] {
        assert_eq!(site.text("/whoami", &new).await, "ada");
        assert_eq!(site.text("/fields", &new).await, "0", "a request from before the login changed the user's session");
        assert_eq!(site.text("/whoami", &cookie).await, "nobody", "the old cookie is logged in");
    }
}
