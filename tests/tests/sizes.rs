//! What a session takes in each back-end, and how fast one process reads and writes them: the figures of
//! `docs/stores.md`. A measurement, no test; it runs when it is asked for:
//! `cargo test --release -p session-rocket-tests --test sizes -- --ignored --nocapture --test-threads 1`.
#![cfg(unix)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "figures, rounded when they are printed"
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
/// So many calls at once.
const AT_ONCE: usize = 32;

/// What a login leaves: a user, a token for forms, a few fields.
const PAYLOAD: usize = 200;

fn key(number: u64) -> Key {
    let mut bytes = [0; 32];
    // Spread, as hashes are.
    for (chunk, part) in bytes.chunks_mut(8).enumerate() {
        let spread = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17 * chunk as u32);
        part.copy_from_slice(&spread.to_be_bytes());
    }
    Key::from_bytes(bytes)
}

fn record(number: u64, version: u64) -> Record {
    let now = SystemClock.now();
    let payload: Vec<u8> = (0..PAYLOAD).map(|place| (number as usize * 31 + place * 7) as u8).collect();
    let expires_at = now.plus(Duration::from_secs(14 * 24 * 3600));
    Record::new(Version::from_bits(version), expires_at)
        .with_scope("session")
        .with_payload(payload)
        .with_times(now, now)
        .with_identity(number.to_string())
}

/// Calls a second, for all sessions.
async fn rate<F: Future<Output = ()>>(call: impl Fn(u64) -> F) -> f64 {
    let started = Instant::now();
    stream::iter(0..SESSIONS).map(call).buffer_unordered(AT_ONCE).collect::<()>().await;
    SESSIONS as f64 / started.elapsed().as_secs_f64()
}

/// Fills a store, uses it, and prints what that took; `size` says how many bytes there are.
async fn measure(name: &str, url: &str, size: impl AsyncFn() -> u64) {
    let store: Arc<dyn Store> = open(&Options::new(url).timeout(Duration::from_secs(30))).await.expect("a store");
    let empty = size().await;
    let creates = rate(|number| {
        let store = store.clone();
        async move {
            assert_eq!(store.create(&key(number), &record(number, 1)).await.expect("a create"), Create::Created);
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
            assert_eq!(updated.expect("an update"), Update::Updated);
        }
    })
    .await;
    println!("| {name} | {each} | {loads:.0} | {creates:.0} | {updates:.0} |");
}

async fn number(pool: &PgPool, sql: &'static str) -> u64 {
    query_scalar::<_, i64>(sql).fetch_one(pool).await.expect("a size").cast_unsigned()
}

/// All files below a directory, in the blocks they take.
fn on_disk(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let metadata = entry.metadata().expect("a file that stays");
            metadata.blocks() * 512 + if metadata.is_dir() { on_disk(&entry.path()) } else { 0 }
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn sizes_and_rates() {
    println!(
        "| back-end | bytes a session | loads a second | creates a second | updates a second |\n|---|---|---|---|---|"
    );
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sessions.db");
    measure("SQLite", &format!("sqlite://{}", path.display()), async || on_disk(directory.path())).await;

    let server = Postgres::start();
    let pool = server.pool().await;
    let size = "SELECT coalesce(pg_total_relation_size(to_regclass('rocket_session')), 0)";
    measure("PostgreSQL", &server.url(), async || number(&pool, size).await).await;
    drop(pool);

    let server = MySql::start();
    let files = server.directory().join("data/site");
    measure("MariaDB", &server.url(), async || on_disk(&files)).await;

    let server = Redis::start();
    let memory = async || stat(server.port(), "INFO memory\r\nQUIT\r\n", "used_memory:");
    measure("Redis", &server.url(), memory).await;

    let server = Memcached::start();
    let memory = async || stat(server.port(), "stats\r\nquit\r\n", "STAT bytes ");
    measure("Memcached", &server.url(), memory).await;

    let directory = tempfile::tempdir().expect("a directory");
    let files = directory.path().join("sessions");
    measure("files", &format!("file://{}", files.display()), async || on_disk(&files)).await;
}

/// A number that a server tells on a line of its own.
fn stat(port: u16, ask: &str, line: &str) -> u64 {
    use std::io::{Read, Write};
    let mut connection = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    connection.write_all(ask.as_bytes()).expect("the server reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("the server answers and hangs up");
    let told = answer.lines().find_map(|told| told.strip_prefix(line)).expect("the line");
    told.trim().parse().expect("a number")
}
