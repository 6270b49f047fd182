//! The connection to the server is cut or delayed during replies.

use std::sync::Arc;

use session_rocket_tests::proxy::Proxy;
use tokio::task::JoinSet;

use super::{Backend, Response, Site, TIMEOUT, Tally};

/// A visitor whose session contains a unique name.
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

    /// Sends concurrent reads and an increment. Asserts that each successful response is for this visitor.
    async fn send_requests(&mut self, site: &Arc<Site>) {
        let mut tasks = JoinSet::new();
        for path in ["/whoami", "/count", "/whoami"] {
            let (site, cookie) = (site.clone(), self.cookie.clone());
            tasks.spawn(async move { (path, site.get(path, &cookie).await) });
        }
        for (path, response) in tasks.join_all().await {
            self.check_response(path, &response);
        }
    }

    fn check_response(&mut self, path: &str, response: &Response) {
        let is_success = response.status == 200;
        if !is_success {
            response.assert_unavailable();
        }
        match path {
            "/whoami" if is_success => assert_eq!(response.text, self.name, "the response is for another visitor"),
            "/count" if is_success => self.tally.record_acknowledged(&response.text),
            "/count" => self.tally.unclear += 1,
            _ => {}
        }
    }
}

pub(super) async fn a_cut_reply_never_exposes_the_data_of_another_session(backend: Backend) {
    let port = backend.server.port();
    let proxy = Proxy::to(port).await;
    let url = backend.url.replace(&format!(":{port}"), &format!(":{}", proxy.port()));
    let site = Arc::new(backend.site_at(&url, TIMEOUT));
    let mut visitors = [Visitor::new(&site, "ada").await, Visitor::new(&site, "grace").await];
    let send_requests = async |visitors: &mut [Visitor; 2]| {
        let [ada, grace] = visitors;
        tokio::join!(ada.send_requests(&site), grace.send_requests(&site));
    };
    // Cuts within the first replies, and within the replies while a new connection is opened.
    for bytes in (0..60).chain((60..600).step_by(15)).chain((600..9000).step_by(300)) {
        proxy.cut_after(bytes);
        send_requests(&mut visitors).await;
    }
    proxy.cut();
    for _ in 0..2 {
        // Holds replies for longer than the site's timeout, so they arrive after their calls were dropped.
        proxy.hold_replies_after(0);
        send_requests(&mut visitors).await;
        proxy.release_replies();
        send_requests(&mut visitors).await;
    }
    let tallies = check_stored_counts(&site, &mut visitors).await;
    println!("acknowledged, unclear: {tallies:?}");
    assert!(
        tallies.iter().all(|(acknowledged, unclear)| *acknowledged > 5 && *unclear > 0),
        "no request failed, or all failed: {tallies:?}"
    );
}

/// Asserts that every request succeeds again and that all acknowledged increments are stored. Returns the numbers of
/// acknowledged and unclear increments.
async fn check_stored_counts(site: &Arc<Site>, visitors: &mut [Visitor; 2]) -> [(u64, u64); 2] {
    for visitor in visitors.iter_mut() {
        site.get_when_recovered("/get", &visitor.cookie).await;
        assert_eq!(site.get_when_recovered("/whoami", &visitor.cookie).await.0.text, visitor.name);
        let stored = site.get_when_recovered("/get", &visitor.cookie).await.0.text;
        visitor.tally.check_stored(&stored);
    }
    visitors.each_ref().map(|visitor| (visitor.tally.acknowledged, visitor.tally.unclear))
}
