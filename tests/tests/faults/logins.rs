//! A request that is still at work when its session is ended, or changes hands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::{Answer, Backend, PATIENCE, Site};

/// A request that has read its session and set a field, and waits before it answers.
async fn held(site: &Arc<Site>, cookie: &str) -> JoinHandle<Answer> {
    let (own, cookie) = (site.clone(), cookie.to_owned());
    let writer = tokio::spawn(async move { own.get("/held/late", &cookie).await });
    let started = Instant::now();
    while site.text("/waiting", "").await != "1" {
        assert!(started.elapsed() < PATIENCE, "the writer never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    writer
}

pub(super) async fn a_held_writer_undoes_neither_a_logout_nor_a_login(backend: Backend) {
    let (slow, fast) = (Arc::new(backend.site()), backend.site());

    let cookie = slow.visit("/login/ada").await;
    let writer = held(&slow, &cookie).await;
    fast.text("/logout", &cookie).await;
    slow.text("/open", "").await;
    let late = writer.await.expect("the writer is answered");
    assert_eq!((late.status.as_u16(), late.cookie), (200, None), "its changes end with the session");
    for site in [&*slow, &fast] {
        assert_eq!(site.text("/whoami", &cookie).await, "nobody", "a logout was undone");
        assert_eq!(site.text("/fields", &cookie).await, "0", "an ended session came back");
    }

    let cookie = slow.visit("/count").await;
    let writer = held(&slow, &cookie).await;
    let login = fast.get("/login/ada", &cookie).await;
    let new = login.cookie.expect("a login has a new cookie");
    slow.text("/open", "").await;
    let late = writer.await.expect("the writer is answered");
    assert_eq!((late.status.as_u16(), late.cookie), (200, None), "a late answer replaces the cookie of the login");
    for site in [&*slow, &fast] {
        assert_eq!(site.text("/whoami", &new).await, "ada");
        assert_eq!(site.text("/fields", &new).await, "0", "a request from before the login changes the user's session");
        assert_eq!(site.text("/whoami", &cookie).await, "nobody", "the old cookie is the user's");
    }
}
