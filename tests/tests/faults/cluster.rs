//! One primary of a cluster is killed under load.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use session_rocket_tests::report::is_wanted;
use session_rocket_tests::server::Server;
use session_rocket_tests::servers::RedisCluster;
use tokio::task::JoinSet;

use super::{PATIENCE, Site, TIMEOUT};

/// So many visitors, on all slots.
const VISITORS: usize = 24;

/// A visitor who counts without a break, and how that went.
struct Visitor {
    cookie: String,
    name: String,
    /// The last count that was acknowledged.
    promised: u64,
    /// The longest time without an answer of 200.
    gap: Duration,
}

impl Visitor {
    async fn new(site: &Site, number: usize) -> Self {
        let name = format!("visitor{number}");
        let cookie = site.visit(&format!("/login/{name}")).await;
        Self { cookie, name, promised: 0, gap: Duration::ZERO }
    }

    async fn count(mut self, sites: Arc<[Site; 2]>, is_over: Arc<AtomicBool>, acknowledged: Arc<AtomicU64>) -> Self {
        let mut last = Instant::now();
        let mut turn = 0;
        // The last answer is one of 200: the cluster is well again.
        while !is_over.load(Ordering::SeqCst) || last.elapsed() > self.gap {
            turn += 1;
            let answer = sites[turn % 2].get("/count", &self.cookie).await;
            if answer.status == 200 {
                self.promised = answer.text.parse().expect("a number");
                acknowledged.fetch_add(1, Ordering::SeqCst);
                self.gap = self.gap.max(last.elapsed());
                last = Instant::now();
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
            } else {
                answer.assert_unavailable();
                assert!(last.elapsed() < PATIENCE, "no replica takes the place of the primary");
            }
        }
        self
    }
}

fn site(url: &str, directory: &Path) -> Site {
    let timeout = TIMEOUT.as_millis().to_string();
    let variables = [("SITE_STORE", url), ("SITE_TIMEOUT", &timeout)];
    let server = Server::start_with(Command::new(env!("CARGO_BIN_EXE_site")), directory, &variables);
    Site { server, client: reqwest::Client::new() }
}

/// Waits until another node says that the first one is dead, and that all slots are served again.
async fn first_is_replaced(cluster: &RedisCluster) {
    let patience = Instant::now() + PATIENCE;
    let is_replaced = || {
        cluster.ask(1, &["CLUSTER", "NODES"]).contains("master,fail ")
            && cluster.ask(1, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
    };
    while !is_replaced() {
        assert!(Instant::now() < patience, "no replica takes the place of the primary");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_the_place_of_a_primary_that_is_killed_under_load() {
    if !is_wanted("redis-cluster") {
        return;
    }
    let mut cluster = RedisCluster::start();
    let directory = tempfile::tempdir().expect("a directory for the sites");
    let sites = Arc::new([(); 2].map(|()| site(&cluster.url(), directory.path())));
    let (is_over, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for number in 0..VISITORS {
        let visitor = Visitor::new(&sites[0], number).await;
        tasks.spawn(visitor.count(sites.clone(), is_over.clone(), acknowledged.clone()));
    }
    let patience = Instant::now() + PATIENCE;
    while acknowledged.load(Ordering::SeqCst) < 10 * VISITORS as u64 {
        assert!(Instant::now() < patience, "the sites are too slow to show anything");
        tokio::task::yield_now().await;
    }
    cluster.node(0).kill();
    first_is_replaced(&cluster).await;
    is_over.store(true, Ordering::SeqCst);
    let visitors = tasks.join_all().await;

    let longest = visitors.iter().map(|visitor| visitor.gap).max().unwrap_or_default();
    let (mut behind, mut counts) = (0, 0);
    for visitor in &visitors {
        let user = sites[1].recovered("/whoami", &visitor.cookie).await.0.text;
        assert_eq!(user, visitor.name, "a session is gone");
        let count: u64 = sites[0].recovered("/get", &visitor.cookie).await.0.text.parse().expect("a number");
        behind += visitor.promised.saturating_sub(count);
        counts += count;
    }
    println!("a primary was killed: {longest:.1?} without an answer of 200, {behind} of {counts} increments were lost");
    assert!(longest > Duration::from_millis(100), "nobody noticed: the test shows nothing");
    // What a primary acknowledged and had not yet sent on: the last answers of those who counted there.
    assert!(behind <= VISITORS as u64, "{behind} increments were lost");
}
