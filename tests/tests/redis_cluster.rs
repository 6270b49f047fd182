//! The Redis store on a cluster whose slots move, and whose primaries die or stand still.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_rocket::store::redis::RedisStore;
use session_rocket::store::{Create, Lookup, Options, Retire, Store, Touch, Update, conformance};
use session_rocket::{Clock, ErrorKind, Key, ManualClock, Record, Tombstone, Version};
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::RedisCluster;

const DAY: Duration = Duration::from_hours(24);
const TIMEOUT: Duration = Duration::from_secs(8);
/// A second until a node is taken for dead, and as long again to agree on its successor.
const FAILOVER: Duration = Duration::from_secs(90);

fn key(number: u8) -> Key {
    Key::from_bytes([number; 32])
}

fn name(key: &Key) -> String {
    format!("session:{}", key.to_hex())
}

fn record(clock: &ManualClock, version: u64) -> Record {
    let now = clock.now();
    Record::new(Version::from_bits(version), now.plus(DAY))
        .with_scope("session")
        .with_payload("payload")
        .with_times(now, now)
        .with_identity("ada")
}

async fn store_on(cluster: &RedisCluster, clock: &Arc<ManualClock>) -> RedisStore {
    let options = Options::new(cluster.url()).timeout(TIMEOUT).clock(clock.clone());
    RedisStore::open(&options).await.expect("a store that can be opened")
}

/// Sixty sessions, some at each node.
async fn filled(store: &RedisStore, clock: &ManualClock) -> Vec<(Key, Record)> {
    let mut sessions = Vec::new();
    for number in 0..60 {
        let record = record(clock, number.into());
        assert_eq!(store.create(&key(number), &record).await.unwrap(), Create::Created);
        sessions.push((key(number), record));
    }
    sessions
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_followed_while_it_moves_and_after() {
    if !is_wanted("redis") {
        return;
    }
    let (cluster, clock) = (RedisCluster::start(), Arc::new(ManualClock::default()));
    let store = store_on(&cluster, &clock).await;
    let one = Options::new(format!("redis://127.0.0.1:{}", cluster.ports()[0]));
    let error = RedisStore::open(&one).await.expect_err("one node is not all");
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("redis+cluster:"), "{error:?}");

    let (key, first) = (key(1), record(&clock, 1));
    store.create(&key, &first).await.unwrap();
    let from = cluster.primary_of(&name(&key), 0);
    let slot = cluster.ask(from, &["CLUSTER", "KEYSLOT", &name(&key)]);
    let to = (0..3).find(|node| *node != from).expect("another primary");
    let id = |node| cluster.ask(node, &["CLUSTER", "MYID"]);
    let set = |node, what: &[&str]| {
        assert_eq!(cluster.ask(node, &[&["CLUSTER", "SETSLOT", &slot], what].concat()), "OK");
    };
    set(to, &["IMPORTING", &id(from)]);
    set(from, &["MIGRATING", &id(to)]);
    // Still at the old node, for it is there.
    assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(first.clone()));
    let port = cluster.ports()[to].to_string();
    assert_eq!(cluster.ask(from, &["MIGRATE", "127.0.0.1", &port, &name(&key), "0", "5000"]), "OK");

    // The old node sends there, for this key only.
    assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(first.clone()));
    let second = record(&clock, 2);
    let calls = (0..8).map(|_| store.update(&key, first.version, &second));
    let answers = futures::future::try_join_all(calls).await.unwrap();
    assert_eq!(answers.iter().filter(|answer| **answer == Update::Updated).count(), 1, "{answers:?}");
    let later = clock.now().plus(DAY * 2);
    assert_eq!(store.touch(&key, second.version, later).await.unwrap(), Touch::Touched);

    for node in [to, from] {
        set(node, &["NODE", &id(to)]);
    }
    let mut held = second;
    held.expires_at = later;
    assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(held.clone()));
    assert_eq!(store.list("session", "ada").await.unwrap(), [(key, held)]);
    let tombstone = Tombstone::ended(later);
    assert_eq!(store.retire(&key, None, tombstone).await.unwrap(), Retire::Retired);
}

/// How long nothing can be written to a session. `spared` is at a node that lives.
async fn gap(store: &RedisStore, (key, record): &(Key, Record), spared: &Key) -> String {
    let began = Instant::now();
    let (mut failures, mut longest) = (0, Duration::ZERO);
    loop {
        let started = Instant::now();
        let answer = store.update(key, record.version, record).await;
        longest = longest.max(started.elapsed());
        assert!(longest < TIMEOUT + TIMEOUT / 2, "{longest:?}");
        match answer {
            Ok(answer) => {
                assert_eq!(answer, Update::Updated);
                let gap = began.elapsed();
                return format!("no write for {gap:?} ({failures} calls failed, none took longer than {longest:?})");
            }
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error:?}"),
        }
        failures += 1;
        assert!(began.elapsed() < FAILOVER, "no node takes the place of another");
        // While a vote is held, `CLUSTERDOWN` may meet others too.
        let _ = store.load(spared).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_stay_when_a_primary_dies_or_stands_still() {
    if !is_wanted("redis") {
        return;
    }
    let (mut cluster, clock) = (RedisCluster::start(), Arc::new(ManualClock::default()));
    let store = store_on(&cluster, &clock).await;
    let sessions = filled(&store, &clock).await;
    let mut asked = 0;
    for stands_still in [false, true] {
        let victim = cluster.primary_of(&name(&sessions[0].0), asked);
        asked = (0..cluster.size()).find(|node| *node != victim && cluster.is_up(*node)).expect("a node that lives");
        let (hit, spared): (Vec<_>, Vec<_>) =
            sessions.iter().cloned().partition(|(key, _)| cluster.primary_of(&name(key), asked) == victim);
        assert!(!hit.is_empty() && !spared.is_empty());
        // What was acknowledged a moment ago is on its way to the replica.
        cluster.wait_for_copies();
        if stands_still {
            cluster.node(victim).pause();
        } else {
            cluster.node(victim).kill();
        }
        let how = if stands_still { "stood still" } else { "was killed" };
        println!("a primary {how}: {}", gap(&store, &hit[0], &spared[0].0).await);
        for (key, record) in &sessions {
            assert_eq!(store.load(key).await.unwrap(), Lookup::Found(record.clone()), "a session is gone");
        }
        assert_eq!(store.list("session", "ada").await.unwrap().len(), sessions.len());
        if stands_still {
            cluster.node(victim).resume();
        } else {
            cluster.node(victim).restart();
        }
        cluster.settle();
        for (key, record) in &sessions {
            assert_eq!(store.load(key).await.unwrap(), Lookup::Found(record.clone()), "after it came back");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_cluster_is_an_error_and_is_found_again() {
    if !is_wanted("redis") {
        return;
    }
    let (mut cluster, clock) = (RedisCluster::start(), Arc::new(ManualClock::default()));
    let store = store_on(&cluster, &clock).await;
    let sessions = filled(&store, &clock).await;
    cluster.wait_for_copies();
    (0..cluster.size()).for_each(|node| cluster.node(node).kill());
    let started = Instant::now();
    conformance::errors_are_not_answers(&store).await;
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
    (0..cluster.size()).for_each(|node| cluster.node(node).restart());
    cluster.settle();
    for (key, record) in &sessions {
        assert_eq!(store.load(key).await.unwrap(), Lookup::Found(record.clone()));
    }
}
