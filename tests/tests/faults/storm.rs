//! The server is killed several times while many sessions are used and clients disconnect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Backend, Site, TIME_LIMIT, Tally};

const VISITORS: usize = 24;
const KILLS: usize = 4;
/// The number of acknowledged increments before each kill.
const STEP: u64 = 300;
/// How long an impatient client waits. Some responses arrive within this time, others do not.
const SHORT_WAIT: Duration = Duration::from_millis(4);
/// The store timeout. A killed server refuses connections at once, so only calls that a busy machine delays take so long.
const STORM_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the sites may take on a busy machine for the increments before each kill.
const STEP_LIMIT: Duration = TIME_LIMIT.saturating_mul(3);
/// The pause between two checks, and of a client whose request failed.
const PAUSE: Duration = Duration::from_millis(10);

struct Visitor {
    cookie: String,
    tally: Tally,
}

impl Visitor {
    /// Requests an increment, and waits only briefly if `impatient` is true. Returns whether the increment was
    /// acknowledged.
    async fn count(&mut self, site: &Site, impatient: bool) -> bool {
        let limit = if impatient { SHORT_WAIT } else { TIME_LIMIT };
        match timeout(limit, site.get("/count", &self.cookie)).await {
            Ok(response) if response.status == 200 => {
                self.tally.record_acknowledged(&response.text);
                return true;
            }
            Ok(response) => {
                response.assert_unavailable();
                tokio::time::sleep(PAUSE).await;
            }
            Err(_) => {}
        }
        self.tally.unclear += 1;
        false
    }
}

pub(super) async fn acknowledged_increments_survive_kills_of_the_server(mut backend: Backend) {
    if !backend.is_durable {
        // The back-end does not promise that data survives.
        return;
    }
    // With a cache, a second site can read an old record for a while if the first could not update the cache in time.
    let number = if backend.cache.is_empty() { 2 } else { 1 };
    let sites: Arc<[Site]> = (0..number).map(|_| backend.site_at(&backend.url, STORM_TIMEOUT)).collect();
    let (done, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for number in 0..VISITORS {
        let cookie = sites[0].visit("/count").await;
        let mut visitor = Visitor { cookie, tally: Tally::default() };
        visitor.tally.record_acknowledged("1");
        let (sites, done, acknowledged) = (sites.clone(), done.clone(), acknowledged.clone());
        tasks.spawn(async move {
            for request in number.. {
                if done.load(Ordering::SeqCst) {
                    break;
                }
                if visitor.count(&sites[request % sites.len()], request % 5 == 0).await {
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            }
            visitor
        });
    }
    kill_repeatedly(&mut backend, &acknowledged).await;
    done.store(true, Ordering::SeqCst);
    let mut visitors = tasks.join_all().await;
    let unclear: u64 = visitors.iter().map(|visitor| visitor.tally.unclear).sum();
    println!("{} acknowledged, {unclear} unclear", acknowledged.load(Ordering::SeqCst));
    assert!(unclear > 0, "every increment was acknowledged, so the test shows nothing");
    for visitor in &mut visitors {
        let stored = sites[0].get_when_recovered("/get", &visitor.cookie).await.0.text;
        visitor.tally.check_stored(&stored);
    }
}

async fn kill_repeatedly(backend: &mut Backend, acknowledged: &AtomicU64) {
    for _ in 0..KILLS {
        let (started, before) = (Instant::now(), acknowledged.load(Ordering::SeqCst));
        while acknowledged.load(Ordering::SeqCst) < before + STEP {
            assert!(started.elapsed() < STEP_LIMIT, "the sites do not recover");
            tokio::time::sleep(PAUSE).await;
        }
        backend.server.kill();
        backend.server.restart();
    }
}
