//! Tests of the Memcached store that go beyond the contract: protocol, memory limits, outages.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rocket::tokio;
use session_rocket::store::conformance;
use session_rocket::store::{Create, Lookup, Options, Retire, Store, Touch, Update, open};
use session_rocket::{Clock, ErrorKind, Key, ManualClock, Record, Result, SystemClock, Tombstone, Version};
use session_rocket_tests::proxy::Proxy;
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::Memcached;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The timeout of calls to a server that does not reply.
const TIMEOUT: Duration = Duration::from_secs(2);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long an operation may take on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(120);

fn options(url: &str) -> Options {
    Options::new(url).timeout(TIME_LIMIT)
}

async fn open_store(server: &Memcached) -> Arc<dyn Store> {
    open(&options(&server.url())).await.expect("the store opens")
}

fn key(number: u8) -> Key {
    Key::from_bytes([number; 32])
}

fn record(payload: impl Into<Vec<u8>>, version: u64, lives: Duration) -> Record {
    let now = SystemClock.now();
    Record::new(Version::from_bits(version), now.plus(lives))
        .with_scope("tests")
        .with_payload(payload.into())
        .with_times(now, now)
}

/// Repeats a call until it succeeds.
async fn retry<R>(call: impl AsyncFn() -> Result<R>) -> R {
    let started = Instant::now();
    loop {
        match call().await {
            Ok(reply) => return reply,
            Err(error) => assert!(started.elapsed() < TIME_LIMIT, "the store does not recover: {error}"),
        }
    }
}

/// Sends a command to the server and returns the reply, which ends with `end`.
async fn send_command(server: &Memcached, command: &str, end: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    stream.write_all(command.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(end.as_bytes()) {
        assert_ne!(stream.read_buf(&mut reply).await.unwrap(), 0);
    }
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test]
async fn the_server_removes_expired_entries_by_itself() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::start();
    let clock = Arc::new(ManualClock::default());
    let store = open(&options(&server.url()).clock(clock.clone())).await.unwrap();
    let query = format!("mg session:{} t\r\n", key(1).to_hex());
    assert_eq!(store.create(&key(1), &record("brief", 1, Duration::from_secs(2))).await.unwrap(), Create::Created);
    let started = Instant::now();
    loop {
        let loaded = store.load(&key(1)).await.unwrap();
        if send_command(&server, &query, "\r\n").await == "EN\r\n" {
            break;
        }
        assert!(matches!(loaded, Lookup::Found(_)), "the store does not find an entry that the server still has");
        assert!(started.elapsed() < TIME_LIMIT, "the server does not remove the entry");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(started.elapsed() >= Duration::from_secs(2), "the entry was removed too early: {:?}", started.elapsed());
}

#[tokio::test]
async fn lifetimes_over_30_days_reach_the_server_as_points_in_time() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::start();
    let clock = Arc::new(ManualClock::default());
    let store = open(&options(&server.url()).clock(clock.clone())).await.unwrap();
    for (number, days, left) in [(1, 29, 29), (2, 30, 30), (3, 31, 31), (4, 400, 400), (5, 200_000, -1)] {
        let long_lived = record("long", 1, DAY * days);
        assert_eq!(store.create(&key(number), &long_lived).await.unwrap(), Create::Created);
        assert_eq!(store.load(&key(number)).await.unwrap(), Lookup::Found(long_lived), "{days} days");
        let reply = send_command(&server, &format!("mg session:{} t\r\n", key(number).to_hex()), "\r\n").await;
        let seconds: i64 = reply.trim().strip_prefix("HD t").and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
        let expected = if left < 0 { -1..=-1 } else { left * 86_400 - 5..=left * 86_400 + 10 };
        assert!(expected.contains(&seconds), "{days} days: {reply}");
    }
    // The store computes lifetimes with its own clock, even if that differs much from the server's.
    clock.advance(DAY * 1000);
    let mut later = record("later", 1, HOUR);
    later.expires_at = clock.now().plus(HOUR);
    assert_eq!(store.create(&key(3), &later).await.unwrap(), Create::Created, "the session of 31 days has not expired");
    assert_eq!(store.load(&key(3)).await.unwrap(), Lookup::Found(later));
}

#[tokio::test]
async fn a_record_that_is_too_large_does_not_change_the_stored_record() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::start();
    let store = open_store(&server).await;
    let old = record("old", 1, HOUR);
    store.create(&key(1), &old).await.unwrap();
    let large = record(vec![7; 1024 * 1024], 2, HOUR);
    // An update of a stored record, a create under its key, and a create under another key.
    let failures = [
        store.update(&key(1), old.version, &large).await.map(|_| ()),
        store.create(&key(1), &large).await.map(|_| ()),
        store.create(&key(2), &large).await.map(|_| ()),
    ];
    for failed in failures {
        let error = failed.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("`max_size`") && error.to_string().contains("`-I`"), "{error}");
    }
    assert_eq!(store.load(&key(1)).await.unwrap(), Lookup::Found(old.clone()));
    assert_eq!(store.load(&key(2)).await.unwrap(), Lookup::Absent);
    let fits = record(vec![7; 1024 * 1024 - 1024], 3, HOUR);
    assert_eq!(store.update(&key(1), old.version, &fits).await.unwrap(), Update::Updated);
    assert_eq!(store.load(&key(1)).await.unwrap(), Lookup::Found(fits));
}

#[tokio::test]
async fn a_server_without_free_memory_refuses_writes_and_keeps_its_records() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::with_arguments(&["-M", "-m", "8"]);
    let store = open_store(&server).await;
    let old = record("old", 1, HOUR);
    store.create(&key(0), &old).await.unwrap();
    let large = record(vec![7; 500_000], 2, HOUR);
    let mut numbers = 1..=255;
    let error = loop {
        let number = numbers.next().expect("the memory of the server becomes full");
        if let Err(error) = store.create(&key(number), &large).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("`-m`"), "{error}");
    assert_eq!(store.update(&key(0), old.version, &large).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.load(&key(0)).await.unwrap(), Lookup::Found(old));
}

/// Opens a store, and asserts that this fails. Returns the kind and the text of the error.
async fn open_error(options: &Options) -> (ErrorKind, String) {
    let error = open(options).await.err().expect("opening the store fails");
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn the_error_about_a_wrong_server_says_what_to_do() {
    if !is_wanted("memcached") {
        return;
    }
    let (kind, text) = open_error(&options("memcached://127.0.0.1:1")).await;
    assert!(
        kind == ErrorKind::Unavailable && text.contains("`127.0.0.1:1` cannot be reached: start it, or change"),
        "{text}"
    );
    let (kind, text) = open_error(&options("memcached://nowhere.invalid")).await;
    assert!(
        matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout) && text.contains("`nowhere.invalid:11211`"),
        "{text}"
    );

    // One of two servers is missing. Then the server accepts connections, but does not reply.
    let server = Memcached::start();
    let (kind, _) = open_error(&options(&format!("{},127.0.0.1:1", server.url()))).await;
    assert_eq!(kind, ErrorKind::Unavailable);
    server.pause();
    let started = Instant::now();
    let (kind, text) = open_error(&options(&server.url()).timeout(TIMEOUT)).await;
    assert!(kind == ErrorKind::Timeout && text.contains("start it, or change the URL"), "{text}");
    assert!(started.elapsed() < TIMEOUT * 10, "opening the store took {:?}", started.elapsed());

    // A server with another protocol, and one that requires a password.
    for reply in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "-ERR unknown command 'version'\r\n",
        "CLIENT_ERROR unauthenticated\r\n",
        &"x".repeat(9999),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("memcached://{}", listener.local_addr().unwrap());
        let reply = reply.to_owned();
        let other = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(reply.as_bytes()).await.unwrap();
            // Keeps the connection open until the store closes it.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let (kind, text) = open_error(&options(&url)).await;
        assert!(kind == ErrorKind::Config && text.contains("is not a Memcached server"), "{text}");
        other.await.unwrap();
    }
}

#[tokio::test]
async fn calls_fail_during_an_outage_and_succeed_after_it() {
    if !is_wanted("memcached") {
        return;
    }
    let mut server = Memcached::start();
    let (impatient, store) = (open(&options(&server.url()).timeout(TIMEOUT)).await.unwrap(), open_store(&server).await);
    let first = record("first", 1, HOUR);
    store.create(&key(1), &first).await.unwrap();

    server.pause();
    let started = Instant::now();
    assert_eq!(impatient.load(&key(1)).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(started.elapsed() < TIMEOUT * 10, "{:?}", started.elapsed());
    conformance::failures_are_errors(&*impatient).await;
    server.resume();
    let first = Lookup::Found(first);
    assert_eq!(retry(async || impatient.load(&key(1)).await).await, first);
    let load = async || store.load(&key(1)).await;
    assert_eq!(load().await.unwrap(), first);

    server.kill();
    let started = Instant::now();
    assert_eq!(store.load(&key(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    conformance::failures_are_errors(&*store).await;
    conformance::failures_are_errors(&*impatient).await;
    assert!(started.elapsed() < TIME_LIMIT, "{:?}", started.elapsed());
    server.restart();
    assert_eq!(retry(load).await, Lookup::Absent, "a restarted server is empty");
    let second = record("second", 2, HOUR);
    assert_eq!(store.create(&key(1), &second).await.unwrap(), Create::Created);
    assert_eq!(store.load(&key(1)).await.unwrap(), Lookup::Found(second));
}

/// The store replaces connections that were closed while they were idle.
#[tokio::test]
async fn a_restart_of_the_server_between_two_loads_fails_neither() {
    if !is_wanted("memcached") {
        return;
    }
    let mut server = Memcached::start();
    let store = open_store(&server).await;
    let mut loads = JoinSet::new();
    for number in 1..9 {
        let store = store.clone();
        loads.spawn(async move { store.load(&key(number)).await.unwrap() });
    }
    assert_eq!(loads.join_all().await, vec![Lookup::Absent; 8]);
    server.kill();
    server.restart();
    for number in 1..9 {
        assert_eq!(store.load(&key(number)).await.unwrap(), Lookup::Absent);
    }
}

/// Drops a call after `bytes` bytes of its reply have passed. The other bytes pass later.
async fn drop_during_reply<R: std::fmt::Debug>(proxy: &Proxy, bytes: usize, call: impl Future<Output = R>) {
    proxy.hold_replies_after(bytes);
    tokio::select! {
        biased;
        ended = tokio::time::timeout(TIME_LIMIT, call) => panic!("the call completed after {bytes} bytes: {ended:?}"),
        () = proxy.wait_for_held_reply() => {}
    }
    proxy.release_replies();
}

/// The calls of one user are dropped after each byte of their replies. The calls of another user follow.
#[tokio::test]
async fn the_reply_to_a_dropped_call_is_never_given_to_another_call() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::start();
    let proxy = Proxy::to(server.port()).await;
    let url = format!("memcached://127.0.0.1:{}", proxy.port());
    // With only one connection, the next call would read the rest of a reply.
    let store = open(&options(&url).max_connections(1)).await.unwrap();
    let (alice, bob) = (record("alice", 1, HOUR), record("bob, of another length", 2, HOUR));
    store.create(&key(1), &alice).await.unwrap();
    store.create(&key(2), &bob).await.unwrap();
    let later = alice.expires_at.plus(HOUR);
    let before = proxy.reply_bytes();
    assert_eq!(store.load(&key(1)).await.unwrap(), Lookup::Found(alice.clone()));
    let length = proxy.reply_bytes() - before;
    for bytes in 0..length {
        drop_during_reply(&proxy, bytes, async { store.load(&key(1)).await }).await;
        assert_eq!(store.load(&key(2)).await.unwrap(), Lookup::Found(bob.clone()), "a load, after {bytes} bytes");
        assert_eq!(store.touch(&key(1), alice.version, later).await.unwrap(), Touch::Touched, "after {bytes} bytes");
        drop_during_reply(&proxy, bytes, async { store.update(&key(1), bob.version, &bob).await }).await;
        assert_eq!(store.load(&key(3)).await.unwrap(), Lookup::Absent, "an update, after {bytes} bytes");
        assert_eq!(store.load(&key(2)).await.unwrap(), Lookup::Found(bob.clone()), "an update, after {bytes} bytes");
    }
    // The replies to writes are shorter.
    for bytes in 0.."NOT_FOUND\r\n".len() {
        drop_during_reply(&proxy, bytes, async { store.delete(&key(4)).await }).await;
        assert_eq!(store.create(&key(2), &alice).await.unwrap(), Create::Taken, "a delete, after {bytes} bytes");
        drop_during_reply(&proxy, bytes, async { store.create(&key(2), &alice).await }).await;
        assert_eq!(store.load(&key(2)).await.unwrap(), Lookup::Found(bob.clone()), "a create, after {bytes} bytes");
    }
}

/// The server is suspended, the pending calls are dropped, and the server replies to them when it resumes.
#[tokio::test(flavor = "multi_thread")]
async fn late_replies_of_a_suspended_server_are_never_given_to_another_call() {
    if !is_wanted("memcached") {
        return;
    }
    const USERS: u8 = 8;
    let server = Memcached::start();
    let store = open_store(&server).await;
    let users: Vec<Record> =
        (0..USERS).map(|user| record(vec![user; 400_000 + usize::from(user)], user.into(), HOUR)).collect();
    for (user, record) in (0..USERS).zip(&users) {
        store.create(&key(user), record).await.unwrap();
    }
    for round in 0..10 {
        let mut calls = JoinSet::new();
        for user in 0..USERS {
            let (store, record) = (store.clone(), users[usize::from(user)].clone());
            calls.spawn(async move {
                let loaded = store.load(&key(user)).await;
                assert!(
                    !matches!(&loaded, Ok(loaded) if *loaded != Lookup::Found(record.clone())),
                    "the call returned another user's session"
                );
                let _ = store.touch(&key(user), record.version, record.expires_at).await;
            });
        }
        // Suspends the server at a different moment in each round.
        for _ in 0..round * 20 {
            tokio::task::yield_now().await;
        }
        server.pause();
        calls.abort_all();
        while let Some(ended) = calls.join_next().await {
            assert!(!ended.is_err_and(|error| error.is_panic()), "the call returned another user's session");
        }
        server.resume();
        for (user, record) in (0..USERS).zip(&users) {
            assert_eq!(retry(async || store.load(&key(user)).await).await, Lookup::Found(record.clone()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_updates_through_two_stores_are_all_counted() {
    if !is_wanted("memcached") {
        return;
    }
    const WRITERS: u64 = 16;
    const EACH: u64 = 10;
    let server = Memcached::start();
    let options = options(&server.url());
    let stores = [open(&options).await.unwrap(), open(&options).await.unwrap()];
    stores[0].create(&key(1), &record("0", 1, HOUR)).await.unwrap();
    let mut writers = JoinSet::new();
    for (number, store) in (0..WRITERS).zip(stores.iter().cycle().cloned()) {
        writers.spawn(async move {
            for turn in 0..EACH {
                loop {
                    let Lookup::Found(current) = store.load(&key(1)).await.unwrap() else {
                        panic!("the record is missing")
                    };
                    let count: u64 = std::str::from_utf8(&current.payload).unwrap().parse().unwrap();
                    let next = record((count + 1).to_string(), 2 + number * EACH + turn, HOUR);
                    if store.update(&key(1), current.version, &next).await.unwrap() == Update::Updated {
                        break;
                    }
                    store.touch(&key(1), current.version, current.expires_at.plus(HOUR)).await.unwrap();
                }
            }
        });
    }
    writers.join_all().await;
    let Lookup::Found(last) = stores[1].load(&key(1)).await.unwrap() else { panic!("the record is missing") };
    assert_eq!(last.payload, (WRITERS * EACH).to_string());
}

#[tokio::test]
async fn sites_with_different_prefixes_share_a_server() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::start();
    let (one, other) = (options(&server.url()).key_prefix("one:"), options(&server.url()).key_prefix("other:"));
    let (one, other) = (open(&one).await.unwrap(), open(&other).await.unwrap());
    let (first, second) = (record("first", 1, HOUR), record("second", 2, HOUR));
    assert_eq!(one.create(&key(1), &first).await.unwrap(), Create::Created);
    assert_eq!(other.load(&key(1)).await.unwrap(), Lookup::Absent);
    assert_eq!(other.create(&key(1), &second).await.unwrap(), Create::Created);
    let tombstone = Tombstone::ended(second.expires_at);
    assert_eq!(other.retire(&key(1), None, tombstone).await.unwrap(), Retire::Retired);
    other.delete(&key(1)).await.unwrap();
    assert_eq!(one.load(&key(1)).await.unwrap(), Lookup::Found(first));
}

#[tokio::test]
async fn sessions_are_distributed_over_several_servers() {
    if !is_wanted("memcached") {
        return;
    }
    let mut servers = [Memcached::start(), Memcached::start()];
    let [a, b] = [0, 1].map(|number: usize| format!("127.0.0.1:{}", servers[number].port()));
    let store = open(&options(&format!("memcached://{a},{b}"))).await.unwrap();
    let reversed = open(&options(&format!("memcached://{b},{a}"))).await.unwrap();
    let stored = record("stored", 1, HOUR);
    for number in 0..64 {
        assert_eq!(store.create(&key(number), &stored).await.unwrap(), Create::Created);
        assert_eq!(reversed.load(&key(number)).await.unwrap(), Lookup::Found(stored.clone()));
    }
    servers[0].kill();
    let mut lost = 0;
    for number in 0..64 {
        match store.load(&key(number)).await {
            Ok(loaded) => assert_eq!(loaded, Lookup::Found(stored.clone())),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                lost += 1;
            }
        }
    }
    assert!((16..48).contains(&lost), "{lost} of 64 records were on one of two servers");
}
