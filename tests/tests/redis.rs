//! What the Redis store does beyond the contract: its index, its connection, and what it says at a launch.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::{join_all, poll_fn};
use session_rocket::store::redis::RedisStore;
use session_rocket::store::{Create, Lookup, Options, Retire, Store, Touch, Update, conformance, open};
use session_rocket::{Clock, Error, ErrorKind, Fate, Key, ManualClock, Record, Tombstone, Version};
use session_rocket_tests::logs;
use session_rocket_tests::proxy::Proxy;
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::Redis;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const TIMEOUT: Duration = Duration::from_secs(1);
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
    Record::new("session", "payload", Version::from_bits(number()), now, now.plus(lifetime))
}

async fn store_at(url: String, clock: &Arc<ManualClock>) -> Arc<RedisStore> {
    let options = Options::new(url).timeout(TIMEOUT).clock(clock.clone());
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
        assert!(started.elapsed() < Duration::from_secs(30), "{what}: in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

#[tokio::test]
async fn the_index_forgets_what_redis_removed_but_not_what_is_just_being_written() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let (removed, lives) = (key(), key());
    for key in [removed, lives] {
        assert_eq!(store.create(&key, &record(&clock, DAY).with_identity("ada")).await.unwrap(), Create::Created);
    }
    let name = format!("session:{}", removed.to_hex());
    server.ask(&["PEXPIRE", &name, "1"]);
    until("Redis removes it", async || store.load(&removed).await.unwrap() == Lookup::Absent).await;

    let listed =
        async || -> Vec<Key> { store.list("session", "ada").await.unwrap().into_iter().map(|(key, _)| key).collect() };
    let size = || number_of(&server, &["ZCARD", &index(&server)]);
    assert_eq!(listed().await, [lives]);
    assert_eq!(size(), 2, "its record might have been on its way");
    clock.advance(HOUR);
    assert_eq!(listed().await, [lives]);
    assert_eq!(size(), 1, "a reader drops what is no longer right");

    clock.advance(HOUR);
    assert_eq!(store.retire_all("session", "ada", None, clock.now().plus(HOUR)).await.unwrap(), 1);
    assert_eq!(listed().await, []);
    assert_eq!(server.ask(&["KEYS", "session:index:*"]), "", "nothing is left of an index without sessions");
}

#[tokio::test]
async fn who_logs_in_every_day_and_never_lists_has_no_index_that_grows() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    for _ in 0..30 {
        store.create(&key(), &record(&clock, HOUR).with_identity("ada")).await.unwrap();
        clock.advance(DAY);
    }
    let size = number_of(&server, &["ZCARD", &index(&server)]);
    assert!(size <= 3, "{size} of 30 sessions, of which none lives, are in the index");
}

#[tokio::test]
async fn the_index_outlives_its_sessions() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let left = |at_least: Duration| {
        let left = number_of(&server, &["PTTL", &index(&server)]);
        let least = i64::try_from(at_least.as_millis()).unwrap();
        assert!((least - 60_000..least + 60_000).contains(&left), "{left} ms are left, not {least}");
    };
    let (key, first) = (key(), record(&clock, DAY).with_identity("ada"));
    store.create(&key, &first).await.unwrap();
    left(DAY * 3);
    // Another one that is sooner over takes nothing back.
    store.create(&self::key(), &record(&clock, HOUR).with_identity("ada")).await.unwrap();
    left(DAY * 3);
    assert_eq!(store.touch(&key, first.version, clock.now().plus(DAY * 2)).await.unwrap(), Touch::Touched);
    left(DAY * 5);
    let longer = record(&clock, DAY * 3).with_identity("ada");
    assert_eq!(store.update(&key, first.version, &longer).await.unwrap(), Update::Updated);
    left(DAY * 7);
    // Of those who had no identity before, too.
    store.update(&key, longer.version, &record(&clock, DAY)).await.unwrap();
    assert_eq!(store.list("session", "ada").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_record_lost_to_the_index_is_found_again_by_a_touch() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let (key, first) = (key(), record(&clock, DAY).with_identity("ada"));
    store.create(&key, &first).await.unwrap();
    server.ask(&["DEL", &index(&server)]);
    assert_eq!(store.touch(&key, first.version, first.expires_at).await.unwrap(), Touch::Touched);
    assert_eq!(store.list("session", "ada").await.unwrap(), [(key, first)]);
}

#[tokio::test]
async fn a_session_that_moved_to_where_the_index_does_not_know_is_followed() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let (before, after, held) = (key(), key(), record(&clock, DAY).with_identity("ada"));
    store.create(&after, &held).await.unwrap();
    server.ask(&["DEL", &index(&server)]);
    store.create(&before, &record(&clock, DAY).with_identity("ada")).await.unwrap();
    let tombstone = Tombstone { fate: Fate::Moved(after), expires_at: clock.now().plus(HOUR) };
    assert_eq!(store.retire(&before, None, tombstone).await.unwrap(), Retire::Retired);
    assert_eq!(store.list("session", "ada").await.unwrap(), [(after, held)]);
    assert_eq!(store.retire_all("session", "ada", Some(&after), clock.now().plus(HOUR)).await.unwrap(), 0);
    assert_eq!(store.retire_all("session", "ada", None, clock.now().plus(HOUR)).await.unwrap(), 1);
}

/// Whose clock is slow may see a session for a little longer, and a test for as long as its clock stands.
#[tokio::test]
async fn redis_removes_what_expired_a_minute_late() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let (key, mut held) = (key(), record(&clock, Duration::from_millis(1)));
    let left = || number_of(&server, &["PTTL", &format!("session:{}", key.to_hex())]);
    store.create(&key, &held).await.unwrap();
    assert!((30_000..=60_001).contains(&left()), "{}", left());
    held.expires_at = clock.now().plus(HOUR);
    store.touch(&key, held.version, held.expires_at).await.unwrap();
    assert!((3_630_000..=3_660_000).contains(&left()), "{}", left());
    store.retire(&key, None, Tombstone { fate: Fate::Ended, expires_at: clock.now() }).await.unwrap();
    assert!((30_000..=60_000).contains(&left()), "{}", left());
}

#[tokio::test]
async fn a_session_that_has_another_owner_by_now_is_not_ended_with_the_former_ones() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let keys = [key(), key(), key()];
    let of = |scope: &str, identity: Option<&str>| {
        let mut record = record(&clock, DAY);
        scope.clone_into(&mut record.scope);
        record.identity = identity.map(str::to_owned);
        record
    };
    // One whose bytes begin alike, one without an identity, one of another scope.
    for (key, next) in keys.iter().zip([of("session", Some("ada!")), of("session", None), of("sessio", Some("nada"))]) {
        let first = of("session", Some("ada"));
        store.create(key, &first).await.unwrap();
        assert_eq!(store.update(key, first.version, &next).await.unwrap(), Update::Updated);
    }
    assert_eq!(store.retire_all("session", "ada", None, clock.now().plus(HOUR)).await.unwrap(), 0);
    for key in &keys {
        assert!(matches!(store.load(key).await.unwrap(), Lookup::Found(_)), "another's session was ended");
    }
}

/// Gives a session a new id again and again, until somebody ended it. Whether that was so when `is_over` was said.
async fn cycles(store: &RedisStore, clock: &ManualClock, is_over: &AtomicBool) -> bool {
    let (mut key, mut current) = (key(), record(clock, DAY).with_identity("ada"));
    store.create(&key, &current).await.unwrap();
    loop {
        let is_last = is_over.load(Ordering::SeqCst);
        let (to, next) = (self::key(), record(clock, DAY).with_identity("ada"));
        store.create(&to, &next).await.unwrap();
        let tombstone = Tombstone { fate: Fate::Moved(to), expires_at: clock.now().plus(HOUR) };
        let is_ended = store.retire(&key, Some(current.version), tombstone).await.unwrap() == Retire::Gone;
        if is_ended || is_last {
            return is_ended;
        }
        (key, current) = (to, next);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_given_new_ids_meanwhile_escapes_neither_list_nor_end() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let stores = [store_at(server.url(), &clock).await, store_at(server.url(), &clock).await];
    for round in 0..40 {
        let is_over = Arc::new(AtomicBool::new(false));
        let (store, its_clock, told) = (stores[0].clone(), clock.clone(), is_over.clone());
        let task = tokio::spawn(async move { cycles(&store, &its_clock, &told).await });
        let listed = async || !stores[1].list("session", "ada").await.unwrap().is_empty();
        until("it has begun", &listed).await;
        for _ in 0..5 {
            assert!(listed().await, "round {round}: it is not listed");
        }
        stores[1].retire_all("session", "ada", None, clock.now().plus(HOUR)).await.unwrap();
        is_over.store(true, Ordering::SeqCst);
        assert!(task.await.expect("it does not panic"), "round {round}: it lives on under another id");
        server.ask(&["FLUSHDB"]);
    }
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
    let tombstone = Tombstone { fate: Fate::Ended, expires_at: clock.now().plus(HOUR) };
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

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_dead_calls_fail_at_once_and_it_recovers_by_itself() {
    if !is_wanted("redis") {
        return;
    }
    let (mut server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let (key, first) = (key(), record(&clock, DAY));
    store.create(&key, &first).await.unwrap();
    for _ in 0..3 {
        // Written to the disk every second.
        until("it is on the disk", async || server.ask(&["INFO", "persistence"]).contains("aof_pending_bio_fsync:0"))
            .await;
        server.kill();
        let started = Instant::now();
        conformance::errors_are_not_answers(&*store).await;
        assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
        server.restart();
        let gap = until("it answers", async || store.load(&key).await.is_ok()).await;
        println!("it answers {gap:?} after the server is back");
        assert!(gap < RECOVERY, "{gap:?}");
        assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(first.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_store_does_not_notice_that_the_server_was_restarted() {
    if !is_wanted("redis") {
        return;
    }
    let (mut server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    server.kill();
    server.restart();
    assert_eq!(store.create(&key(), &record(&clock, DAY)).await.unwrap(), Create::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_stands_still_calls_end_in_time_and_later_ones_get_their_own_replies() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let mut kept = Vec::new();
    for _ in 0..20 {
        let (key, record) = (key(), record(&clock, DAY));
        store.create(&key, &record).await.unwrap();
        kept.push((key, record));
    }
    server.pause();
    for round in 0..3 {
        let started = Instant::now();
        // Half of them are dropped by their callers.
        let calls = kept.iter().enumerate().map(async |(number, (key, _))| {
            if number % 2 == 0 {
                return tokio::time::timeout(TIMEOUT * 3 / 4, store.load(key)).await.is_err();
            }
            store.load(key).await.is_err_and(|error| error.kind() == ErrorKind::Timeout)
        });
        assert!(join_all(calls).await.into_iter().all(|late| late));
        assert!(started.elapsed() < TIMEOUT * 3 / 2, "round {round}: {:?}", started.elapsed());
    }
    server.resume();
    for (key, record) in &kept {
        assert_eq!(store.load(key).await.unwrap(), Lookup::Found(record.clone()), "another call's reply");
    }
}

/// A connection of which nobody says that it is dead: behind a router that forgot it, or a host that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_nothing_comes_back_is_replaced() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let wire = Proxy::to(server.port()).await;
    let store = store_at(format!("redis://127.0.0.1:{}", wire.port()), &clock).await;
    let (key, first) = (key(), record(&clock, DAY));
    store.create(&key, &first).await.unwrap();
    for is_dropped in [false, true] {
        let before = wire.connections();
        wire.swallow();
        if is_dropped {
            assert!(tokio::time::timeout(TIMEOUT * 3 / 4, store.load(&key)).await.is_err());
        } else {
            assert_eq!(store.load(&key).await.unwrap_err().kind(), ErrorKind::Timeout);
        }
        assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(first.clone()));
        assert_eq!(wire.connections(), before + 1);
    }
}

/// The same, when each call is given up long before the store would: as a cache's calls are.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_replaced_though_no_call_waits_for_long() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let wire = Proxy::to(server.port()).await;
    let store = store_at(format!("redis://127.0.0.1:{}", wire.port()), &clock).await;
    let (key, first) = (key(), record(&clock, DAY));
    store.create(&key, &first).await.unwrap();
    wire.swallow();
    until("the connection is replaced", async || {
        let loaded = tokio::time::timeout(TIMEOUT / 20, store.load(&key)).await;
        matches!(loaded, Ok(Ok(Lookup::Found(_))))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_cut_off_anywhere_is_an_error_and_nothing_is_sent_twice() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let wire = Proxy::to(server.port()).await;
    let store = store_at(format!("redis://127.0.0.1:{}", wire.port()), &clock).await;
    let (other, others) = (key(), record(&clock, DAY));
    store.create(&other, &others).await.unwrap();
    let runs = || {
        let stats = server.ask(&["INFO", "commandstats"]);
        let rest = stats.split("cmdstat_evalsha:calls=").nth(1).expect("scripts were run");
        rest.split(',').next().and_then(|calls| calls.parse::<u64>().ok()).expect("a number")
    };
    // A script that did its work answers `_\r\n`.
    for bytes in 0..3 {
        let (key, record, before) = (key(), record(&clock, DAY), runs());
        wire.cut_after(bytes);
        assert_eq!(store.create(&key, &record).await.unwrap_err().kind(), ErrorKind::Unavailable, "{bytes}");
        assert_eq!(runs(), before + 1, "it was sent again");
        assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(record));
        let tombstone = Tombstone { fate: Fate::Ended, expires_at: clock.now().plus(HOUR) };
        assert_eq!(store.retire(&key, None, tombstone).await.unwrap(), Retire::Retired);
    }
    for bytes in 0..40 {
        wire.cut_after(bytes);
        assert_eq!(store.load(&other).await.unwrap_err().kind(), ErrorKind::Unavailable, "{bytes}");
        assert_eq!(store.load(&other).await.unwrap(), Lookup::Found(others.clone()));
    }
}

/// Polls a call so often at most, then drops it.
async fn cut_off(polls: usize, call: impl Future) {
    let (mut call, mut left) = (std::pin::pin!(call), polls);
    poll_fn(|context| {
        if left == 0 || call.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        if left == 0 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_whose_calls_are_cut_off_do_not_disturb_each_other() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let stores = [store_at(server.url(), &clock).await, store_at(server.url(), &clock).await];
    let tasks = (0..8).map(|task| {
        let (clock, mine, others) = (clock.clone(), stores[task % 2].clone(), stores[(task + 1) % 2].clone());
        tokio::spawn(async move {
            let (key, mut current) = (key(), record(&clock, DAY).with_identity(task.to_string()));
            mine.create(&key, &current).await.unwrap();
            for polls in 0..60 {
                let next = record(&clock, DAY).with_identity(task.to_string());
                cut_off(polls % 6, mine.update(&key, current.version, &next)).await;
                cut_off(polls % 5, others.load(&key)).await;
                cut_off(polls % 4, others.list("session", &task.to_string())).await;
                let Lookup::Found(held) = others.load(&key).await.unwrap() else { panic!("it is gone") };
                assert!(held == current || held == next, "neither the old nor the new record");
                // One that was cut off may come after the look.
                current = match mine.update(&key, held.version, &next).await.unwrap() {
                    Update::Updated => next,
                    Update::Conflict(fresh) => fresh,
                    wrong => panic!("{wrong:?}"),
                };
                assert_eq!(others.list("session", &task.to_string()).await.unwrap(), [(key, current.clone())]);
            }
        })
    });
    join_all(tasks).await.into_iter().for_each(|done| done.expect("no task panics"));
}
