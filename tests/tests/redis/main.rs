//! What the Redis store does beyond the contract: its index, its connection, and what it says at a launch.

mod index;
mod outage;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::{join_all, poll_fn};
use session_rocket::store::redis::RedisStore;
use session_rocket::store::{Create, Lookup, Options, Retire, Store, Touch, Update, conformance, open};
use session_rocket::{Clock, Error, ErrorKind, Key, ManualClock, Record, Tombstone, Version};
use session_rocket_tests::logs;
use session_rocket_tests::proxy::Proxy;
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::Redis;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const TIMEOUT: Duration = Duration::from_secs(3);
/// For calls that nothing delays but a busy machine.
const AMPLE: Duration = Duration::from_secs(60);
/// A site is itself again so soon after its server is.
const RECOVERY: Duration = Duration::from_secs(2);

/// A key, a version: any that was not used before.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn key() -> Key {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number().to_be_bytes());
    Key::from_bytes(bytes)
}

fn record(clock: &ManualClock, lifetime: Duration) -> Record {
    let now = clock.now();
    Record::new(Version::from_bits(number()), now.plus(lifetime))
        .with_scope("session")
        .with_payload("payload")
        .with_times(now, now)
}

async fn store_at(url: String, clock: &Arc<ManualClock>) -> Arc<RedisStore> {
    store_with(AMPLE, url, clock).await
}

/// A store that gives up after [`TIMEOUT`].
async fn impatient_store_at(url: String, clock: &Arc<ManualClock>) -> Arc<RedisStore> {
    store_with(TIMEOUT, url, clock).await
}

async fn store_with(timeout: Duration, url: String, clock: &Arc<ManualClock>) -> Arc<RedisStore> {
    let options = Options::new(url).timeout(timeout).clock(clock.clone());
    Arc::new(RedisStore::open(&options).await.expect("a store that can be opened"))
}

/// The one index of an identity there is.
fn index(server: &Redis) -> String {
    let keys = server.ask(&["KEYS", "session:index:*"]);
    assert_eq!(keys.lines().count(), 1, "{keys}");
    keys
}

fn number_of(server: &Redis, command: &[&str]) -> i64 {
    server.ask(command).parse().expect("a number")
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) -> Duration {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(120), "{what}: in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

#[tokio::test]
async fn a_prefix_keeps_two_sites_apart() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let open = async |prefix: &str| {
        let options = Options::new(server.url()).key_prefix(prefix).clock(clock.clone());
        open(&options).await.unwrap()
    };
    let (one, other) = (open("one:").await, open("{other}:").await);
    let key = key();
    one.create(&key, &record(&clock, DAY).with_identity("ada")).await.unwrap();
    assert_eq!(other.load(&key).await.unwrap(), Lookup::Absent);
    assert_eq!(other.list("session", "ada").await.unwrap(), []);
    assert_eq!(other.retire_all("session", "ada", None, clock.now().plus(HOUR)).await.unwrap(), 0);
    assert_eq!(other.create(&key, &record(&clock, DAY)).await.unwrap(), Create::Created);
    assert_eq!(one.list("session", "ada").await.unwrap().len(), 1);
    let keys = server.ask(&["KEYS", "*"]);
    assert!(keys.lines().all(|key| key.starts_with("one:") || key.starts_with("{other}:")), "{keys}");
}

#[tokio::test]
async fn what_is_no_session_is_an_error_and_stays() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let key = key();
    let name = format!("session:{}", key.to_hex());
    let tombstone = Tombstone::ended(clock.now().plus(HOUR));
    let far = "\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}";
    for held in ["x", &format!("\u{1}{far}"), &format!("\u{9}{far}{far}{far}{far}{far}")] {
        server.ask(&["SET", &name, held]);
        let failed = [
            store.load(&key).await.err(),
            store.update(&key, Version::from_bits(1), &record(&clock, DAY)).await.err(),
            store.touch(&key, Version::from_bits(1), clock.now().plus(DAY)).await.err(),
            store.retire(&key, Some(Version::from_bits(1)), tombstone).await.err(),
        ];
        for (call, error) in failed.into_iter().enumerate() {
            let error = error.unwrap_or_else(|| panic!("call {call} answered, with {held:?} there"));
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(!format!("{error:?}").contains(&key.to_hex()), "{error:?}");
        }
        assert_eq!(server.ask(&["GET", &name]), held);
    }
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_told_them_again() {
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

/// What a launch says, and that it says so in time.
async fn refusal(url: &str) -> Error {
    let started = Instant::now();
    let error = RedisStore::open(&Options::new(url).timeout(TIMEOUT)).await.err();
    let error = error.unwrap_or_else(|| panic!("opened: {url}"));
    assert!(started.elapsed() < TIMEOUT + TIMEOUT / 2, "it took {:?} to say {error:?}", started.elapsed());
    assert!(!format!("{error:?}").contains("geheim"), "{error:?}");
    error
}

#[tokio::test]
async fn a_launch_says_what_to_change() {
    if !is_wanted("redis") {
        return;
    }
    let (server, open) = (Redis::with_password("geheim"), Redis::start());
    let (port, free) = (server.port(), open.port());
    RedisStore::open(&Options::new(server.url())).await.expect("the right password");
    for (name, rights) in [("reader", "+@read +@connection +info"), ("writer", "+@all -set"), ("other", "+@all")] {
        let keys = if name == "other" { "~other:*" } else { "~*" };
        let mut rule = vec!["ACL", "SETUSER", name, "on", ">geheim", keys];
        rule.extend(rights.split(' '));
        assert_eq!(open.ask(&rule), "OK");
    }
    let replica = Redis::start();
    assert_eq!(replica.ask(&["REPLICAOF", "127.0.0.1", &free.to_string()]), "OK");
    for (url, says) in [
        (format!("redis://:geheim2@127.0.0.1:{port}"), "user or password"),
        (format!("redis://ada:geheim@127.0.0.1:{port}"), "user or password"),
        (format!("redis://127.0.0.1:{port}"), "user or password"),
        (format!("redis://:geheim2@127.0.0.1:{port}/?protocol=2"), "user or password"),
        (format!("redis+cluster://:geheim2@127.0.0.1:{port}"), "user or password"),
        (format!("redis://reader:geheim@127.0.0.1:{free}"), "does not let this user"),
        (format!("redis://writer:geheim@127.0.0.1:{free}"), "does not let this user"),
        (format!("redis://other:geheim@127.0.0.1:{free}"), "does not let this user"),
        (replica.url(), "replica"),
        (format!("redis+cluster://127.0.0.1:{free}"), "is no cluster"),
        (format!("redis://127.0.0.1:{free}/99"), "number at the URL's end"),
        (format!("redis://:geheim@127.0.0.1:{free}/x"), "percent-encoded"),
    ] {
        let error = refusal(&url).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{url}: {error:?}");
        assert!(error.to_string().contains(says), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn a_launch_on_a_server_that_is_not_there_ends_in_time() {
    if !is_wanted("redis") {
        return;
    }
    let nobody = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    // It takes connections, and says nothing.
    let mute = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mute = (mute.local_addr().unwrap(), mute);
    for (place, kind) in [(nobody, ErrorKind::Unavailable), (mute.0, ErrorKind::Timeout)] {
        for scheme in ["redis", "rediss", "redis+cluster", "rediss+cluster"] {
            let error = refusal(&format!("{scheme}://:geheim@{place}")).await;
            assert_eq!(error.kind(), kind, "{scheme}: {error:?}");
            assert!(error.to_string().contains("host, port"), "{error:?}");
        }
    }
    let error = refusal("redis://:geheim@no-such-host.invalid").await;
    assert!(error.kind().is_transient(), "{error:?}");
}

#[tokio::test]
async fn a_server_that_may_forget_sessions_is_warned_of() {
    if !is_wanted("redis") {
        return;
    }
    logs::keep();
    let server = Redis::start();
    let open = async || _ = RedisStore::open(&Options::new(server.url())).await.expect("it opens");
    let warnings = || logs::with("WARN session_rocket").iter().filter(|line| line.contains("allkeys-random")).count();
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    open().await;
    assert_eq!(warnings(), 0, "without a limit nothing is evicted");
    server.ask(&["CONFIG", "SET", "maxmemory", "100mb"]);
    open().await;
    assert_eq!(warnings(), 1);
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    open().await;
    assert_eq!(warnings(), 1);
}

/// In a process of its own: which certificates are trusted is a matter of its environment.
#[test]
fn over_tls_the_certificate_has_to_be_trusted() {
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
    let refused = site().output().expect("the site runs");
    let says = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && says.contains("SSL_CERT_FILE"), "{says}");

    let mut trusting = site().env("SSL_CERT_FILE", server.certificate()).spawn().expect("the site runs");
    let out = std::io::BufReader::new(trusting.stdout.take().expect("its output is piped"));
    let port = std::io::BufRead::lines(out).map_while(Result::ok).find(|line| line.starts_with("port "));
    trusting.kill().expect("a child can be killed");
    trusting.wait().expect("a killed child ends");
    assert!(port.is_some(), "it does not start");
}
