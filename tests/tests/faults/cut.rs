//! The wire to the server is cut or held in the midst of answers.

use std::sync::Arc;

use session_rocket_tests::proxy::Proxy;
use tokio::task::JoinSet;

use super::{Answer, Backend, Site, TIMEOUT, Tally};

/// A visitor whose session holds a name that nobody else's does.
struct Visitor {
    name: String,
    cookie: String,
    tally: Tally,
}

impl Visitor {
    async fn new(site: &Site, name: &str) -> Self {
        let cookie = site.visit(&format!("/login/{name}")).await;
        Self { name: name.to_owned(), cookie, tally: Tally::default() }
    }

    /// Asks who it is and counts, both at once. An answer of 200 is its own.
    async fn use_it(&mut self, site: &Arc<Site>) {
        let mut tasks = JoinSet::new();
        for path in ["/whoami", "/count", "/whoami"] {
            let (site, cookie) = (site.clone(), self.cookie.clone());
            tasks.spawn(async move { (path, site.get(path, &cookie).await) });
        }
        for (path, answer) in tasks.join_all().await {
            self.take(path, &answer);
        }
    }

    fn take(&mut self, path: &str, answer: &Answer) {
        let saved = answer.status == 200;
        if !saved {
            answer.assert_unavailable();
        }
        match path {
            "/whoami" if saved => assert_eq!(answer.text, self.name, "somebody else's session"),
            "/count" if saved => self.tally.acknowledged(&answer.text),
            "/count" => self.tally.unclear += 1,
            _ => {}
        }
    }
}

pub(super) async fn a_reply_that_is_cut_gives_nobody_the_data_of_another_session(backend: Backend) {
    let port = backend.server.port();
    let proxy = Proxy::to(port).await;
    let url = backend.url.replace(&format!(":{port}"), &format!(":{}", proxy.port()));
    let site = Arc::new(backend.site_at(&url, TIMEOUT));
    let mut visitors = [Visitor::new(&site, "ada").await, Visitor::new(&site, "grace").await];
    let use_it = async |visitors: &mut [Visitor; 2]| {
        let [ada, grace] = visitors;
        tokio::join!(ada.use_it(&site), grace.use_it(&site));
    };
    // Within the first answers, and within those that open a connection anew.
    for bytes in (0..60).chain((60..600).step_by(15)).chain((600..9000).step_by(300)) {
        proxy.cut_after(bytes);
        use_it(&mut visitors).await;
    }
    proxy.cut();
    for _ in 0..2 {
        // Kept back for longer than the site waits: what comes then was given up, and is nobody's.
        proxy.hold_after(0);
        use_it(&mut visitors).await;
        proxy.release();
        use_it(&mut visitors).await;
    }
    let whole = proxy_is_whole(&site, &mut visitors).await;
    println!("acknowledged, unclear: {whole:?}");
    assert!(
        whole.iter().all(|(promised, unclear)| *promised > 5 && *unclear > 0),
        "nothing was cut, or all: {whole:?}"
    );
}

/// The wire is whole again: every answer is 200, and what was acknowledged is there.
async fn proxy_is_whole(site: &Arc<Site>, visitors: &mut [Visitor; 2]) -> [(u64, u64); 2] {
    for visitor in visitors.iter_mut() {
        site.recovered("/get", &visitor.cookie).await;
        assert_eq!(site.recovered("/whoami", &visitor.cookie).await.0.text, visitor.name);
        let stored = site.recovered("/get", &visitor.cookie).await.0.text;
        visitor.tally.stored(&stored);
    }
    visitors.each_ref().map(|visitor| (visitor.tally.promised, visitor.tally.unclear))
}
