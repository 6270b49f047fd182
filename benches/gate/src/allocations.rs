//! Counts the allocations of requests for `cargo xtask bench --gate`. Prints a name, a tab and a count per line.
//!
//! Allocations of SQLite itself, such as for the values of a row, do not count. Growing a block counts as an allocation of
//! the new size.

#[expect(dead_code, reason = "`session-rocket-gate` uses the rest")]
mod site;

use std::alloc::System;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rocket::tokio::runtime::Builder;
use tempfile::TempDir;
use tracking_allocator::{AllocationGroupId, AllocationGroupToken, AllocationRegistry, AllocationTracker, Allocator};

use self::site::Site;

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();

/// The first requests also fill caches and buffers.
const WARM_UP: u64 = 200;
const TIMES: u64 = 1000;

const ROUTES: [(&str, &str); 2] = [("read", "/read"), ("write", "/write")];

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static FOREIGN_FREES: AtomicU64 = AtomicU64::new(0);

struct Counter;

impl AllocationTracker for Counter {
    fn allocated(&self, _: usize, size: usize, _: usize, _: AllocationGroupId) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(size as u64, Ordering::Relaxed);
    }

    fn deallocated(&self, _: usize, _: usize, _: usize, source: AllocationGroupId, current: AllocationGroupId) {
        FOREIGN_FREES.fetch_add(u64::from(source != current), Ordering::Relaxed);
    }
}

fn main() {
    // The main thread runs all of Rocket. All other threads, which are SQLite's, are in the root group.
    let mut token = AllocationGroupToken::register().expect("cannot register a group of allocations");
    let _group = token.enter();
    AllocationRegistry::set_global_tracker(Counter).expect("no other tracker");
    AllocationRegistry::enable_tracking();
    let runtime = Builder::new_current_thread().enable_all().build().expect("cannot start a runtime");
    runtime.block_on(count_all());
}

async fn count_all() {
    count("without the library", &Site::bare().await, "/bare").await;
    let directory = tempfile::tempdir().expect("cannot create a directory");
    let redis = Redis::start(&directory);
    let sqlite = format!("sqlite:{}", directory.path().join("sessions.db").display());
    let stores = [
        ("memory", "memory:"),
        ("signed", "cookie+signed:"),
        ("encrypted", "cookie+encrypted:"),
        ("SQLite", &sqlite),
        ("Redis", &redis.url),
    ];
    for (store, url) in stores {
        let site = Site::with_visits(url).await;
        for (name, path) in ROUTES {
            count(&format!("{name}, {store}"), &site, path).await;
        }
    }
}

async fn count(name: &str, site: &Site, path: &str) {
    send(site, path, WARM_UP).await;
    let before = counts();
    send(site, path, TIMES).await;
    let after = counts();
    for (index, unit) in ["allocations", "bytes", "frees by another thread"].into_iter().enumerate() {
        let each = (after[index] - before[index] + TIMES / 2) / TIMES;
        println!("{name}: {unit}\t{each}");
    }
}

fn counts() -> [u64; 3] {
    [&ALLOCATIONS, &BYTES, &FOREIGN_FREES].map(|count| count.load(Ordering::Relaxed))
}

async fn send(site: &Site, path: &str, times: u64) {
    for _ in 0..times {
        site.get(path, true).await;
    }
}

/// A Redis server, stopped on drop.
struct Redis {
    process: Child,
    url: String,
}

impl Redis {
    fn start(directory: &TempDir) -> Self {
        // Another program may take the port before the server listens on it.
        const TRIES: usize = 5;
        (0..TRIES).find_map(|_| Self::try_start(directory)).expect("redis-server ended")
    }

    /// Starts a server and waits until it accepts connections. Returns `None` if it ends.
    fn try_start(directory: &TempDir) -> Option<Self> {
        const TIME_LIMIT: Duration = Duration::from_secs(60);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        drop(listener);
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"]).arg(directory.path());
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("cannot run redis-server");
        let mut redis = Self { process, url: format!("redis://127.0.0.1:{port}") };
        let started = Instant::now();
        loop {
            let is_accepting = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            // If the server has ended, another program accepted the connection.
            if redis.process.try_wait().expect("cannot read the status of redis-server").is_some() {
                return None;
            }
            if is_accepting {
                return Some(redis);
            }
            assert!(started.elapsed() < TIME_LIMIT, "redis-server did not start");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
