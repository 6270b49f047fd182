//! Measures the size of a session in each back-end, and how fast one process reads and writes sessions. The results are
//! in `docs/stores.md`. The measurement does not run with the other tests. To run it:
//! `cargo test --release -p session-rocket-tests --test sizes -- --ignored --nocapture --test-threads 1`.
#![cfg(unix)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the results are rounded when they are printed"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream;
use session_rocket::sqlx::{PgPool, query_scalar};
use session_rocket::store::{Create, Lookup, Options, Store, Update, open};
use session_rocket::{Clock, Key, Record, SystemClock, Version};
use session_rocket_tests::servers::{Memcached, MySql, Postgres, Redis};

const SESSIONS: u64 = 20_000;
/// The number of concurrent calls.
const CONCURRENT_CALLS: usize = 32;

/// The size of a typical session with a user, a CSRF token and a few fields.
const PAYLOAD: usize = 200;

fn key(number: u64) -> Key {
    let mut bytes = [0; 32];
    // The keys are evenly distributed, as hashes are.
    for (chunk, part) in bytes.chunks_mut(8).enumerate() {
        let spread = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17 * chunk as u32);
        part.copy_from_slice(&spread.to_be_bytes());
    }
    Key::from_bytes(bytes)
}

fn record(number: u64, version: u64) -> Record {
    let now = SystemClock.now();
    let payload: Vec<u8> = (0..PAYLOAD).map(|index| (number as usize * 31 + index * 7) as u8).collect();
    let expires_at = now.plus(Duration::from_secs(14 * 24 * 3600));
    Record::new(Version::from_bits(version), expires_at)
        .with_scope("session")
        .with_payload(payload)
        .with_times(now, now)
        .with_identity(number.to_string())
}

/// Makes one call for each session, and returns the calls per second.
async fn rate<F: Future<Output = ()>>(call: impl Fn(u64) -> F) -> f64 {
    let started = Instant::now();
    stream::iter(0..SESSIONS).map(call).buffer_unordered(CONCURRENT_CALLS).collect::<()>().await;
    SESSIONS as f64 / started.elapsed().as_secs_f64()
}

/// Creates, loads and updates all sessions, and prints the results. `size` returns the size of the store in bytes.
async fn measure(name: &str, url: &str, size: impl AsyncFn() -> u64) {
    let store: Arc<dyn Store> =
        open(&Options::new(url).timeout(Duration::from_secs(120))).await.expect("the store opens");
    let empty = size().await;
    let creates = rate(|number| {
        let store = store.clone();
        async move {
            assert_eq!(
                store.create(&key(number), &record(number, 1)).await.expect("the session is created"),
                Create::Created
            );
        }
    })
    .await;
    let each = size().await.saturating_sub(empty) / SESSIONS;
    let loads = rate(|number| {
        let store = store.clone();
        async move { assert!(matches!(store.load(&key(number)).await, Ok(Lookup::Found(_)))) }
    })
    .await;
    let updates = rate(|number| {
        let store = store.clone();
        async move {
            let updated = store.update(&key(number), Version::from_bits(1), &record(number, 2)).await;
            assert_eq!(updated.expect("the session is updated"), Update::Updated);
        }
    })
    .await;
    println!("| {name} | {each} | {loads:.0} | {creates:.0} | {updates:.0} |");
}

async fn query_number(pool: &PgPool, sql: &'static str) -> u64 {
    query_scalar::<_, i64>(sql).fetch_one(pool).await.expect("the query returns a number").cast_unsigned()
}

/// The disk space of all files below a directory.
fn disk_usage(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let metadata = entry.metadata().expect("the file exists");
            metadata.blocks() * 512 + if metadata.is_dir() { disk_usage(&entry.path()) } else { 0 }
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "this is a measurement"]
async fn sizes_and_rates() {
    println!(
        "| back-end | bytes a session | loads a second | creates a second | updates a second |\n|---|---|---|---|---|"
    );
    let directory = tempfile::tempdir().expect("a directory can be created");
    let path = directory.path().join("sessions.db");
    measure("SQLite", &format!("sqlite://{}", path.display()), async || disk_usage(directory.path())).await;

    let server = Postgres::start();
    let pool = server.pool().await;
    let size = "SELECT coalesce(pg_total_relation_size(to_regclass('rocket_session')), 0)";
    measure("PostgreSQL", &server.url(), async || query_number(&pool, size).await).await;
    drop(pool);

    let server = MySql::start();
    let files = server.directory().join("data/site");
    measure("MariaDB", &server.url(), async || disk_usage(&files)).await;

    let server = Redis::start();
    let memory = async || stat(server.port(), "INFO memory\r\nQUIT\r\n", "used_memory:");
    measure("Redis", &server.url(), memory).await;

    let server = Memcached::start();
    let memory = async || stat(server.port(), "stats\r\nquit\r\n", "STAT bytes ");
    measure("Memcached", &server.url(), memory).await;

    let directory = tempfile::tempdir().expect("a directory can be created");
    let files = directory.path().join("sessions");
    measure("files", &format!("file://{}", files.display()), async || disk_usage(&files)).await;
}

/// Sends a command to a server and returns the number after `prefix` in its reply.
fn stat(port: u16, command: &str, prefix: &str) -> u64 {
    use std::io::{Read, Write};
    let mut connection = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    connection.write_all(command.as_bytes()).expect("the command can be sent");
    let mut reply = String::new();
    connection.read_to_string(&mut reply).expect("the server replies and closes the connection");
    let number = reply.lines().find_map(|line| line.strip_prefix(prefix)).expect("the reply has this line");
    number.trim().parse().expect("the value is a number")
}
