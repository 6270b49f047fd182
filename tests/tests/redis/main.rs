//! Tests of the Redis store that go beyond the contract: the index of identities, connections, errors at launch.

mod groups;
mod index;
mod outage;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use futures::future::{join_all, poll_fn};
use session_rocket::store::redis::RedisStore;
use session_rocket::store::{Create, Lookup, Options, Retire, Store, Touch, Update, conformance, open, revoke_all};
use session_rocket::{Clock, Error, ErrorKind, Key, ManualClock, Record, Tombstone, Version};
use session_rocket_tests::logs;
use session_rocket_tests::proxy::Proxy;
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::Redis;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout of calls that only a busy machine can delay.
const LONG_TIMEOUT: Duration = Duration::from_secs(60);
/// The number of loads, one every 5 ms, that may fail after the server works again. Unlike a time limit, this number does
/// not depend on the load of the machine.
const MAX_FAILED_LOADS: u64 = 400;

/// The number of scripts that a server has run.
fn number_of_scripts(server: &Redis) -> u64 {
    let stats = server.ask(&["INFO", "commandstats"]);
    let rest = stats.split("cmdstat_evalsha:calls=").nth(1).expect("Redis has run scripts");
    rest.split(',').next().and_then(|calls| calls.parse().ok()).expect("the value is a number")
}

/// Returns a number that was not used before.
fn unique_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn key() -> Key {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&unique_number().to_be_bytes());
    Key::from_bytes(bytes)
}

fn record(clock: &ManualClock, lifetime: Duration) -> Record {
    let now = clock.now();
    Record::new(Version::from_bits(unique_number()), now.plus(lifetime))
        .with_scope("session")
        .with_payload("payload")
        .with_times(now, now)
}

async fn store_at(url: String, clock: &Arc<ManualClock>) -> Arc<RedisStore> {
    store_with(LONG_TIMEOUT, url, clock).await
}

/// A store that gives up after [`TIMEOUT`].
async fn impatient_store_at(url: String, clock: &Arc<ManualClock>) -> Arc<RedisStore> {
    store_with(TIMEOUT, url, clock).await
}

async fn store_with(timeout: Duration, url: String, clock: &Arc<ManualClock>) -> Arc<RedisStore> {
    let options = Options::new(url).timeout(timeout).clock(clock.clone());
    Arc::new(RedisStore::open(&options).await.expect("the store opens"))
}

/// Returns the key of the only index of an identity.
fn index(server: &Redis) -> String {
    let keys = server.ask(&["KEYS", "session:index:*"]);
    assert_eq!(keys.lines().count(), 1, "{keys}");
    keys
}

/// Runs a command and returns the number that Redis replies.
fn number_of(server: &Redis, command: &[&str]) -> i64 {
    server.ask(command).parse().expect("the value is a number")
}

/// Waits until a condition is true, and returns how long that took.
async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) -> Duration {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(120), "timed out waiting until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

#[tokio::test]
async fn sites_with_different_prefixes_do_not_share_sessions() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let open = async |prefix: &str| {
        let options = Options::new(server.url()).timeout(LONG_TIMEOUT).key_prefix(prefix).clock(clock.clone());
        open(&options).await.unwrap()
    };
    let (one, other) = (open("one:").await, open("{other}:").await);
    let key = key();
    one.create(&key, &record(&clock, DAY).with_identity("ada")).await.unwrap();
    assert_eq!(other.load(&key).await.unwrap(), Lookup::Absent);
    assert_eq!(other.list("session", "ada").await.unwrap(), []);
    assert_eq!(revoke_all(&*other, "session", "ada", None, clock.now().plus(HOUR)).await.unwrap(), []);
    assert_eq!(other.create(&key, &record(&clock, DAY)).await.unwrap(), Create::Created);
    assert_eq!(one.list("session", "ada").await.unwrap().len(), 1);
    let keys = server.ask(&["KEYS", "*"]);
    assert!(keys.lines().all(|key| key.starts_with("one:") || key.starts_with("{other}:")), "{keys}");
}

#[tokio::test]
async fn a_malformed_record_is_an_error_and_is_not_changed() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let key = key();
    let name = format!("session:{}", key.to_hex());
    let tombstone = Tombstone::ended(clock.now().plus(HOUR));
    let far = "\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}";
    for malformed in ["x", &format!("\u{1}{far}"), &format!("\u{9}{far}{far}{far}{far}{far}")] {
        server.ask(&["SET", &name, malformed]);
        let failed = [
            store.load(&key).await.err(),
            store.update(&key, Version::from_bits(1), &record(&clock, DAY)).await.err(),
            store.touch(&key, Version::from_bits(1), clock.now().plus(DAY)).await.err(),
            store.retire(&key, Some(Version::from_bits(1)), tombstone).await.err(),
        ];
        for (call, error) in failed.into_iter().enumerate() {
            let error = error.unwrap_or_else(|| panic!("call {call} accepted the malformed record {malformed:?}"));
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(!format!("{error:?}").contains(&key.to_hex()), "{error:?}");
        }
        assert_eq!(server.ask(&["GET", &name]), malformed);
    }
}

#[tokio::test]
async fn scripts_that_the_server_no_longer_has_are_sent_again() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let (key, first) = (key(), record(&clock, DAY).with_identity("ada"));
    server.ask(&["SCRIPT", "FLUSH"]);
    assert_eq!(store.create(&key, &first).await.unwrap(), Create::Created);
    server.ask(&["SCRIPT", "FLUSH"]);
    assert_eq!(store.touch(&key, first.version, clock.now().plus(DAY)).await.unwrap(), Touch::Touched);
}

/// Opens a store, and asserts that this fails in time. Returns the error.
async fn open_error(url: &str) -> Error {
    let started = Instant::now();
    let error = RedisStore::open(&Options::new(url).timeout(TIMEOUT)).await.err();
    let error = error.unwrap_or_else(|| panic!("the store was opened: {url}"));
    assert!(started.elapsed() < TIMEOUT + TIMEOUT / 2, "opening the store took {:?}: {error:?}", started.elapsed());
    assert!(!format!("{error:?}").contains("geheim"), "{error:?}");
    error
}

#[tokio::test]
async fn the_error_of_a_launch_says_what_to_change() {
    if !is_wanted("redis") {
        return;
    }
    let (server, open) = (Redis::with_password("geheim"), Redis::start());
    let (port, free) = (server.port(), open.port());
    RedisStore::open(&Options::new(server.url()).timeout(LONG_TIMEOUT)).await.expect("the password is right");
    for (name, rights) in [("reader", "+@read +@connection +info"), ("writer", "+@all -set"), ("other", "+@all")] {
        let keys = if name == "other" { "~other:*" } else { "~*" };
        let mut rule = vec!["ACL", "SETUSER", name, "on", ">geheim", keys];
        rule.extend(rights.split(' '));
        assert_eq!(open.ask(&rule), "OK");
    }
    let replica = Redis::start();
    assert_eq!(replica.ask(&["REPLICAOF", "127.0.0.1", &free.to_string()]), "OK");
    for (url, message) in [
        (format!("redis://:geheim2@127.0.0.1:{port}"), "user name or password"),
        (format!("redis://ada:geheim@127.0.0.1:{port}"), "user name or password"),
        (format!("redis://127.0.0.1:{port}"), "user name or password"),
        (format!("redis://:geheim2@127.0.0.1:{port}/?protocol=2"), "user name or password"),
        (format!("redis+cluster://:geheim2@127.0.0.1:{port}"), "user name or password"),
        (format!("redis://reader:geheim@127.0.0.1:{free}"), "this Redis user lacks a right"),
        (format!("redis://writer:geheim@127.0.0.1:{free}"), "this Redis user lacks a right"),
        (format!("redis://other:geheim@127.0.0.1:{free}"), "this Redis user lacks a right"),
        (replica.url(), "replica"),
        (format!("redis+cluster://127.0.0.1:{free}"), "is not part of a cluster"),
        (format!("redis://127.0.0.1:{free}/99"), "number is at the end of the URL"),
        (format!("redis://:geheim@127.0.0.1:{free}/x"), "percent-encode"),
    ] {
        let error = open_error(&url).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{url}: {error:?}");
        assert!(error.to_string().contains(message), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn a_launch_with_an_unreachable_server_fails_in_time() {
    if !is_wanted("redis") {
        return;
    }
    let closed = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    // This listener accepts connections, but never replies.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (silent_address, _silent) = (silent.local_addr().unwrap(), silent);
    for (address, kind) in [(closed, ErrorKind::Unavailable), (silent_address, ErrorKind::Timeout)] {
        let schemes = ["redis", "rediss", "redis+cluster", "rediss+cluster"];
        let opened = schemes.map(async |scheme| open_error(&format!("{scheme}://:geheim@{address}")).await);
        for (scheme, error) in schemes.into_iter().zip(join_all(opened).await) {
            assert_eq!(error.kind(), kind, "{scheme}: {error:?}");
            assert!(error.to_string().contains("host, port"), "{error:?}");
        }
    }
    let error = open_error("redis://:geheim@no-such-host.invalid").await;
    assert!(error.kind().is_transient(), "{error:?}");
}

#[tokio::test]
async fn a_launch_warns_if_the_server_can_evict_sessions() {
    if !is_wanted("redis") {
        return;
    }
    logs::capture();
    let server = Redis::start();
    let open = async || {
        _ = RedisStore::open(&Options::new(server.url()).timeout(LONG_TIMEOUT)).await.expect("the store opens");
    };
    let warnings =
        || logs::containing("WARN session_rocket").iter().filter(|line| line.contains("allkeys-random")).count();
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    open().await;
    assert_eq!(warnings(), 0, "without a memory limit, nothing is evicted");
    server.ask(&["CONFIG", "SET", "maxmemory", "100mb"]);
    open().await;
    assert_eq!(warnings(), 1);
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    open().await;
    assert_eq!(warnings(), 1);
}

/// The site runs in its own process, because an environment variable sets the trusted certificates.
#[test]
fn a_tls_connection_requires_a_trusted_certificate() {
    if !is_wanted("redis") {
        return;
    }
    let server = Redis::with_tls();
    let site = || {
        let mut site = Command::new(env!("CARGO_BIN_EXE_site"));
        site.env("SITE_STORE", format!("rediss://127.0.0.1:{}", server.port())).current_dir(server.directory());
        site.env("ROCKET_PORT", "0").env("ROCKET_LOG_LEVEL", "off").stdout(Stdio::piped()).stderr(Stdio::piped());
        site
    };
    let refused = site().output().expect("the site can be run");
    let log = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && log.contains("SSL_CERT_FILE"), "{log}");

    let mut trusting = site().env("SSL_CERT_FILE", server.certificate()).spawn().expect("the site can be run");
    let out = std::io::BufReader::new(trusting.stdout.take().expect("the output is piped"));
    let port = std::io::BufRead::lines(out).map_while(Result::ok).find(|line| line.starts_with("port "));
    trusting.kill().expect("a child can be killed");
    trusting.wait().expect("a killed child ends");
    assert!(port.is_some(), "the site does not start");
}
