//! A primary of a Redis cluster is killed under load.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::RedisCluster;
use session_rocket_tests::site_process::SiteProcess;
use tokio::task::JoinSet;

use super::{Site, TIME_LIMIT, TIMEOUT};

/// The number of visitors. Their sessions are on all nodes.
const VISITORS: usize = 24;

/// A visitor who sends increments continuously, with the results.
struct Visitor {
    cookie: String,
    name: String,
    /// The last acknowledged count.
    acknowledged_count: u64,
    /// The longest time without a response with status 200.
    gap: Duration,
}

impl Visitor {
    async fn new(site: &Site, number: usize) -> Self {
        let name = format!("visitor{number}");
        let cookie = site.visit(&format!("/login/{name}")).await;
        Self { cookie, name, acknowledged_count: 0, gap: Duration::ZERO }
    }

    async fn count(mut self, sites: Arc<[Site; 2]>, is_over: Arc<AtomicBool>, acknowledged: Arc<AtomicU64>) -> Self {
        let mut last = Instant::now();
        let mut turn = 0;
        // Continues until a request succeeds after the failover.
        while !is_over.load(Ordering::SeqCst) || last.elapsed() > self.gap {
            turn += 1;
            let response = sites[turn % 2].get("/count", &self.cookie).await;
            if response.status == 200 {
                self.acknowledged_count = response.text.parse().expect("the body is a number");
                acknowledged.fetch_add(1, Ordering::SeqCst);
                self.gap = self.gap.max(last.elapsed());
                last = Instant::now();
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
            } else {
                response.assert_unavailable();
                assert!(last.elapsed() < TIME_LIMIT, "no replica replaced the primary");
            }
        }
        self
    }
}

fn site(url: &str, directory: &Path) -> Site {
    let timeout = TIMEOUT.as_millis().to_string();
    let variables = [("SITE_STORE", url), ("SITE_TIMEOUT", &timeout)];
    let server = SiteProcess::start_with(Command::new(env!("CARGO_BIN_EXE_site")), directory, &variables);
    Site { server, client: reqwest::Client::new() }
}

/// Waits until another node reports that the first node failed and that all slots are served again.
async fn wait_for_failover(cluster: &RedisCluster) {
    let deadline = Instant::now() + TIME_LIMIT;
    let is_done = || {
        cluster.ask(1, &["CLUSTER", "NODES"]).contains("master,fail ")
            && cluster.ask(1, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
    };
    while !is_done() {
        assert!(Instant::now() < deadline, "no replica replaced the primary");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_survive_when_a_primary_is_killed_under_load() {
    if !is_wanted("redis-cluster") {
        return;
    }
    let mut cluster = RedisCluster::with_failover();
    let directory = tempfile::tempdir().expect("a directory can be created");
    let sites = Arc::new([(); 2].map(|()| site(&cluster.url(), directory.path())));
    let (is_over, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for number in 0..VISITORS {
        let visitor = Visitor::new(&sites[0], number).await;
        tasks.spawn(visitor.count(sites.clone(), is_over.clone(), acknowledged.clone()));
    }
    let deadline = Instant::now() + TIME_LIMIT;
    while acknowledged.load(Ordering::SeqCst) < 10 * VISITORS as u64 {
        assert!(Instant::now() < deadline, "the sites are too slow for this test");
        tokio::task::yield_now().await;
    }
    cluster.node(0).kill();
    wait_for_failover(&cluster).await;
    is_over.store(true, Ordering::SeqCst);
    let visitors = tasks.join_all().await;

    let longest = visitors.iter().map(|visitor| visitor.gap).max().unwrap_or_default();
    let (mut lost, mut counts) = (0, 0);
    for visitor in &visitors {
        let user = sites[1].get_when_recovered("/whoami", &visitor.cookie).await.0.text;
        assert_eq!(user, visitor.name, "a session is lost");
        let count: u64 =
            sites[0].get_when_recovered("/get", &visitor.cookie).await.0.text.parse().expect("the value is a number");
        lost += visitor.acknowledged_count.saturating_sub(count);
        counts += count;
    }
    println!(
        "a primary was killed: {longest:.1?} without a successful response, {lost} of {counts} increments were lost"
    );
    assert!(longest > Duration::from_millis(100), "no request failed, so the test shows nothing");
    // A primary can acknowledge a write that it has not yet replicated: at most the last write of each visitor.
    assert!(lost <= VISITORS as u64, "{lost} increments were lost");
}
