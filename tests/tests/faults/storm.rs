//! The server is killed again and again while many sessions are used and clients go away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Backend, PATIENCE, Site, TIMEOUT, Tally};

const VISITORS: usize = 24;
const KILLS: usize = 4;
/// So many increments have to be acknowledged before each kill.
const STEP: u64 = 300;
/// How long an impatient client waits: some answers come in time, and some do not.
const IMPATIENCE: Duration = Duration::from_millis(4);
/// The pause between two looks, and of a client whose request was refused.
const PAUSE: Duration = Duration::from_millis(10);

struct Visitor {
    cookie: String,
    tally: Tally,
}

impl Visitor {
    /// Asks for an increment, without waiting long if it is `impatient`; says whether it was acknowledged.
    async fn count(&mut self, site: &Site, impatient: bool) -> bool {
        let limit = if impatient { IMPATIENCE } else { PATIENCE };
        match timeout(limit, site.get("/count", &self.cookie)).await {
            Ok(answer) if answer.status == 200 => {
                self.tally.acknowledged(&answer.text);
                return true;
            }
            Ok(answer) => {
                answer.assert_unavailable();
                tokio::time::sleep(PAUSE).await;
            }
            Err(_) => {}
        }
        self.tally.unclear += 1;
        false
    }
}

pub(super) async fn what_was_acknowledged_survives_kills_of_the_server(mut backend: Backend) {
    if !backend.keeps {
        // What ends with the server is promised to nobody.
        return;
    }
    // What a site could not tell the cache in time, another one does not know for a while.
    let number = if backend.cache.is_empty() { 2 } else { 1 };
    let sites: Arc<[Site]> = (0..number).map(|_| backend.site_at(&backend.url, TIMEOUT)).collect();
    let (done, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for number in 0..VISITORS {
        let cookie = sites[0].visit("/count").await;
        let mut visitor = Visitor { cookie, tally: Tally::default() };
        visitor.tally.acknowledged("1");
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
    kill_again_and_again(&mut backend, &acknowledged).await;
    done.store(true, Ordering::SeqCst);
    let mut visitors = tasks.join_all().await;
    let unclear: u64 = visitors.iter().map(|visitor| visitor.tally.unclear).sum();
    println!("{} acknowledged, {unclear} unclear", acknowledged.load(Ordering::SeqCst));
    assert!(unclear > 0, "nothing was cut off: the test shows nothing");
    for visitor in &mut visitors {
        let stored = sites[0].recovered("/get", &visitor.cookie).await.0.text;
        visitor.tally.stored(&stored);
    }
}

async fn kill_again_and_again(backend: &mut Backend, acknowledged: &AtomicU64) {
    for _ in 0..KILLS {
        let (started, before) = (Instant::now(), acknowledged.load(Ordering::SeqCst));
        while acknowledged.load(Ordering::SeqCst) < before + STEP {
            assert!(started.elapsed() < PATIENCE, "the sites do not recover");
            tokio::time::sleep(PAUSE).await;
        }
        backend.server.kill();
        backend.server.restart();
    }
}
