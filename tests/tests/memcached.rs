//! Memcached, beyond the contract: what its protocol, its memory and its outages do to sessions.

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

const TIMEOUT: Duration = Duration::from_secs(2);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// What does not come true within this will not.
const PATIENCE: Duration = Duration::from_secs(120);

fn options(url: &str) -> Options {
    Options::new(url).timeout(PATIENCE)
}

async fn opened(server: &Memcached) -> Arc<dyn Store> {
    open(&options(&server.url())).await.expect("a server that runs")
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

/// Asks until the store answers again, as a site's visitors do.
async fn answered<R>(ask: impl AsyncFn() -> Result<R>) -> R {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(started.elapsed() < PATIENCE, "it does not recover: {error}"),
        }
    }
}

/// What the server itself says to a command: up to the line that ends with `end`.
async fn told(server: &Memcached, command: &str, end: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    stream.write_all(command.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    while !said.ends_with(end.as_bytes()) {
        assert_ne!(stream.read_buf(&mut said).await.unwrap(), 0);
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn the_server_itself_drops_what_expired() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::start();
    let clock = Arc::new(ManualClock::default());
    let store = open(&options(&server.url()).clock(clock.clone())).await.unwrap();
    let question = format!("mg session:{} t\r\n", key(1).to_hex());
    assert_eq!(store.create(&key(1), &record("brief", 1, Duration::from_secs(2))).await.unwrap(), Create::Created);
    let started = Instant::now();
    loop {
        let held = store.load(&key(1)).await.unwrap();
        if told(&server, &question, "\r\n").await == "EN\r\n" {
            break;
        }
        assert!(matches!(held, Lookup::Found(_)), "the server still has the entry");
        assert!(started.elapsed() < PATIENCE, "it stays for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(started.elapsed() >= Duration::from_secs(2), "it went too early: {:?}", started.elapsed());
}

#[tokio::test]
async fn long_lives_are_told_as_moments() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::start();
    let clock = Arc::new(ManualClock::default());
    let store = open(&options(&server.url()).clock(clock.clone())).await.unwrap();
    for (number, days, left) in [(1, 29, 29), (2, 30, 30), (3, 31, 31), (4, 400, 400), (5, 200_000, -1)] {
        let lived = record("long", 1, DAY * days);
        assert_eq!(store.create(&key(number), &lived).await.unwrap(), Create::Created);
        assert_eq!(store.load(&key(number)).await.unwrap(), Lookup::Found(lived), "{days} days");
        let said = told(&server, &format!("mg session:{} t\r\n", key(number).to_hex()), "\r\n").await;
        let seconds: i64 = said.trim().strip_prefix("HD t").and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
        let expected = if left < 0 { -1..=-1 } else { left * 86_400 - 5..=left * 86_400 + 10 };
        assert!(expected.contains(&seconds), "{days} days: {said}");
    }
    // On a clock that is far from the server's, too: lives are counted from it.
    clock.advance(DAY * 1000);
    let mut later = record("later", 1, HOUR);
    later.expires_at = clock.now().plus(HOUR);
    assert_eq!(store.create(&key(3), &later).await.unwrap(), Create::Created, "31 days are over");
    assert_eq!(store.load(&key(3)).await.unwrap(), Lookup::Found(later));
}

#[tokio::test]
async fn what_is_too_large_leaves_what_was_there() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::start();
    let store = opened(&server).await;
    let old = record("old", 1, HOUR);
    store.create(&key(1), &old).await.unwrap();
    let large = record(vec![7; 1024 * 1024], 2, HOUR);
    // With a version that is there and one that is not, and as a session that is in the way.
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
async fn a_server_without_memory_refuses_and_keeps_what_it_has() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::with(&["-M", "-m", "8"]);
    let store = opened(&server).await;
    let old = record("old", 1, HOUR);
    store.create(&key(0), &old).await.unwrap();
    let large = record(vec![7; 500_000], 2, HOUR);
    let mut numbers = 1..=255;
    let error = loop {
        let number = numbers.next().expect("its memory ends");
        if let Err(error) = store.create(&key(number), &large).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("`-m`"), "{error}");
    assert_eq!(store.update(&key(0), old.version, &large).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.load(&key(0)).await.unwrap(), Lookup::Found(old));
}

/// The kind and the text of what `open` says, within the timeout.
async fn refused(url: &str) -> (ErrorKind, String) {
    let started = Instant::now();
    let error = open(&options(url).timeout(TIMEOUT)).await.err().expect("nothing that can be opened");
    assert!(started.elapsed() < TIMEOUT * 2, "it took {:?}", started.elapsed());
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn a_wrong_host_says_what_to_do() {
    if !is_wanted("memcached") {
        return;
    }
    let (kind, text) = refused("memcached://127.0.0.1:1").await;
    assert!(kind == ErrorKind::Unavailable && text.contains("`127.0.0.1:1`: start it, or change the URL"), "{text}");
    let (kind, text) = refused("memcached://nowhere.invalid").await;
    assert!(
        matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout) && text.contains("`nowhere.invalid:11211`"),
        "{text}"
    );

    // One of two, and one that takes connections and is silent.
    let server = Memcached::start();
    let (kind, _) = refused(&format!("{},127.0.0.1:1", server.url())).await;
    assert_eq!(kind, ErrorKind::Unavailable);
    server.pause();
    let (kind, text) = refused(&server.url()).await;
    assert!(kind == ErrorKind::Timeout && text.contains("start it, or change the URL"), "{text}");

    // Something else that answers, and one that wants a password.
    for answer in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "-ERR unknown command 'version'\r\n",
        "CLIENT_ERROR unauthenticated\r\n",
        &"x".repeat(9999),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("memcached://{}", listener.local_addr().unwrap());
        let answer = answer.to_owned();
        let other = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Until the other end closes it.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let (kind, text) = refused(&url).await;
        assert!(kind == ErrorKind::Config && text.contains("is not a Memcached server"), "{text}");
        other.await.unwrap();
    }
}

#[tokio::test]
async fn outages_are_errors_and_end_without_a_restart() {
    if !is_wanted("memcached") {
        return;
    }
    let mut server = Memcached::start();
    let store = open(&options(&server.url()).timeout(TIMEOUT)).await.expect("a server that runs");
    let first = record("first", 1, HOUR);
    store.create(&key(1), &first).await.unwrap();

    server.pause();
    let started = Instant::now();
    assert_eq!(store.load(&key(1)).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(started.elapsed() < TIMEOUT * 2, "{:?}", started.elapsed());
    conformance::errors_are_not_answers(&*store).await;
    server.resume();
    let ask = async || store.load(&key(1)).await;
    assert_eq!(answered(ask).await, Lookup::Found(first));

    server.kill();
    let started = Instant::now();
    assert_eq!(store.load(&key(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(started.elapsed() < TIMEOUT * 2, "{:?}", started.elapsed());
    conformance::errors_are_not_answers(&*store).await;
    server.restart();
    assert_eq!(answered(ask).await, Lookup::Absent, "what a cache held is gone with it");
    let second = record("second", 2, HOUR);
    assert_eq!(store.create(&key(1), &second).await.unwrap(), Create::Created);
    assert_eq!(store.load(&key(1)).await.unwrap(), Lookup::Found(second));
}

/// Connections that died while nobody used them cost a reader nothing.
#[tokio::test]
async fn a_restart_between_two_calls_is_not_seen_by_readers() {
    if !is_wanted("memcached") {
        return;
    }
    let mut server = Memcached::start();
    let store = opened(&server).await;
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

/// Drops a call when so many bytes of its answer went through and the next is waiting, which goes through then.
async fn cut<R: std::fmt::Debug>(proxy: &Proxy, bytes: usize, call: impl Future<Output = R>) {
    proxy.hold_after(bytes);
    tokio::select! {
        biased;
        ended = tokio::time::timeout(PATIENCE, call) => panic!("it ended after {bytes} bytes: {ended:?}"),
        () = proxy.holds() => {}
    }
    proxy.release();
}

/// Two users; the first one's calls are cut off after each byte of their answers.
#[tokio::test]
async fn an_answer_cut_off_at_any_byte_is_nobody_elses() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::start();
    let proxy = Proxy::to(server.port()).await;
    let url = format!("memcached://127.0.0.1:{}", proxy.port());
    // One connection: whatever is left on it, the next one would read.
    let store = open(&options(&url).max_connections(1)).await.unwrap();
    let (alice, bob) = (record("alice", 1, HOUR), record("bob, of another length", 2, HOUR));
    store.create(&key(1), &alice).await.unwrap();
    store.create(&key(2), &bob).await.unwrap();
    let later = alice.expires_at.plus(HOUR);
    let before = proxy.passed();
    assert_eq!(store.load(&key(1)).await.unwrap(), Lookup::Found(alice.clone()));
    let length = proxy.passed() - before;
    for bytes in 0..length {
        cut(&proxy, bytes, async { store.load(&key(1)).await }).await;
        assert_eq!(store.load(&key(2)).await.unwrap(), Lookup::Found(bob.clone()), "a load, after {bytes} bytes");
        assert_eq!(store.touch(&key(1), alice.version, later).await.unwrap(), Touch::Touched, "after {bytes} bytes");
        cut(&proxy, bytes, async { store.update(&key(1), bob.version, &bob).await }).await;
        assert_eq!(store.load(&key(3)).await.unwrap(), Lookup::Absent, "an update, after {bytes} bytes");
        assert_eq!(store.load(&key(2)).await.unwrap(), Lookup::Found(bob.clone()), "an update, after {bytes} bytes");
    }
    // Those to writes are shorter.
    for bytes in 0.."NOT_FOUND\r\n".len() {
        cut(&proxy, bytes, async { store.delete(&key(4)).await }).await;
        assert_eq!(store.create(&key(2), &alice).await.unwrap(), Create::Taken, "a delete, after {bytes} bytes");
        cut(&proxy, bytes, async { store.create(&key(2), &alice).await }).await;
        assert_eq!(store.load(&key(2)).await.unwrap(), Lookup::Found(bob.clone()), "a create, after {bytes} bytes");
    }
}

/// The server stops with questions unanswered, their askers go away, and it answers them all the same when it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_server_answers_late_is_nobody_elses() {
    if !is_wanted("memcached") {
        return;
    }
    const USERS: u8 = 8;
    let server = Memcached::start();
    let store = opened(&server).await;
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
                let held = store.load(&key(user)).await;
                assert!(!matches!(&held, Ok(held) if *held != Lookup::Found(record.clone())), "another's session");
                let _ = store.touch(&key(user), record.version, record.expires_at).await;
            });
        }
        // In the midst of answers, at another point each time.
        for _ in 0..round * 20 {
            tokio::task::yield_now().await;
        }
        server.pause();
        calls.abort_all();
        while let Some(ended) = calls.join_next().await {
            assert!(!ended.is_err_and(|error| error.is_panic()), "another's session");
        }
        server.resume();
        for (user, record) in (0..USERS).zip(&users) {
            assert_eq!(answered(async || store.load(&key(user)).await).await, Lookup::Found(record.clone()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_through_two_stores_lose_nothing() {
    if !is_wanted("memcached") {
        return;
    }
    const WRITERS: u64 = 16;
    const EACH: u64 = 10;
    let server = Memcached::start();
    let patient = options(&server.url());
    let stores = [open(&patient).await.unwrap(), open(&patient).await.unwrap()];
    stores[0].create(&key(1), &record("0", 1, HOUR)).await.unwrap();
    let mut writers = JoinSet::new();
    for (number, store) in (0..WRITERS).zip(stores.iter().cycle().cloned()) {
        writers.spawn(async move {
            for turn in 0..EACH {
                loop {
                    let Lookup::Found(held) = store.load(&key(1)).await.unwrap() else { panic!("it is gone") };
                    let count: u64 = std::str::from_utf8(&held.payload).unwrap().parse().unwrap();
                    let next = record((count + 1).to_string(), 2 + number * EACH + turn, HOUR);
                    if store.update(&key(1), held.version, &next).await.unwrap() == Update::Updated {
                        break;
                    }
                    store.touch(&key(1), held.version, held.expires_at.plus(HOUR)).await.unwrap();
                }
            }
        });
    }
    writers.join_all().await;
    let Lookup::Found(last) = stores[1].load(&key(1)).await.unwrap() else { panic!("it is gone") };
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
async fn several_servers_share_the_sessions() {
    if !is_wanted("memcached") {
        return;
    }
    let mut servers = [Memcached::start(), Memcached::start()];
    let [a, b] = [0, 1].map(|number: usize| format!("127.0.0.1:{}", servers[number].port()));
    let store = open(&options(&format!("memcached://{a},{b}"))).await.unwrap();
    let turned = open(&options(&format!("memcached://{b},{a}"))).await.unwrap();
    let kept = record("kept", 1, HOUR);
    for number in 0..64 {
        assert_eq!(store.create(&key(number), &kept).await.unwrap(), Create::Created);
        assert_eq!(turned.load(&key(number)).await.unwrap(), Lookup::Found(kept.clone()));
    }
    servers[0].kill();
    let mut lost = 0;
    for number in 0..64 {
        match store.load(&key(number)).await {
            Ok(held) => assert_eq!(held, Lookup::Found(kept.clone())),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                lost += 1;
            }
        }
    }
    assert!((16..48).contains(&lost), "{lost} of 64 were on one of two servers");
}
