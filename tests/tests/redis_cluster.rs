//! The Redis store on a cluster whose slots move, and whose primaries are killed or suspended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_rocket::store::redis::RedisStore;
use session_rocket::store::{Create, Lookup, Options, Retire, Store, Touch, Update, conformance};
use session_rocket::{Clock, ErrorKind, Key, ManualClock, Record, Tombstone, Version};
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::RedisCluster;

const DAY: Duration = Duration::from_hours(24);
const TIMEOUT: Duration = Duration::from_secs(8);
/// How long a failover may take on a busy machine. Usually it takes a few seconds.
const FAILOVER_LIMIT: Duration = Duration::from_secs(90);

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
    RedisStore::open(&options).await.expect("the store opens")
}

/// Creates sixty sessions, some on each node.
async fn create_sessions(store: &RedisStore, clock: &ManualClock) -> Vec<(Key, Record)> {
    let mut sessions = Vec::new();
    for number in 0..60 {
        let record = record(clock, number.into());
        assert_eq!(store.create(&key(number), &record).await.unwrap(), Create::Created);
        sessions.push((key(number), record));
    }
    sessions
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_follows_a_slot_during_and_after_its_move() {
    if !is_wanted("redis") {
        return;
    }
    let (cluster, clock) = (RedisCluster::start(), Arc::new(ManualClock::default()));
    let store = store_on(&cluster, &clock).await;
    let single_node = Options::new(format!("redis://127.0.0.1:{}", cluster.ports()[0]));
    let error = RedisStore::open(&single_node).await.expect_err("the URL is for a single server");
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("redis+cluster:"), "{error:?}");

    let (key, first) = (key(1), record(&clock, 1));
    store.create(&key, &first).await.unwrap();
    let from = cluster.primary_of(&name(&key), 0);
    let slot = cluster.ask(from, &["CLUSTER", "KEYSLOT", &name(&key)]);
    let to = (0..3).find(|node| *node != from).expect("there is another primary");
    let id = |node| cluster.ask(node, &["CLUSTER", "MYID"]);
    let set = |node, what: &[&str]| {
        assert_eq!(cluster.ask(node, &[&["CLUSTER", "SETSLOT", &slot], what].concat()), "OK");
    };
    set(to, &["IMPORTING", &id(from)]);
    set(from, &["MIGRATING", &id(to)]);
    // The record is still on the old node.
    assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(first.clone()));
    let port = cluster.ports()[to].to_string();
    assert_eq!(cluster.ask(from, &["MIGRATE", "127.0.0.1", &port, &name(&key), "0", "5000"]), "OK");

    // The old node redirects the calls for this key only.
    assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(first.clone()));
    let second = record(&clock, 2);
    let calls = (0..8).map(|_| store.update(&key, first.version, &second));
    let replies = futures::future::try_join_all(calls).await.unwrap();
    assert_eq!(replies.iter().filter(|reply| **reply == Update::Updated).count(), 1, "{replies:?}");
    let later = clock.now().plus(DAY * 2);
    assert_eq!(store.touch(&key, second.version, later).await.unwrap(), Touch::Touched);

    for node in [to, from] {
        set(node, &["NODE", &id(to)]);
    }
    let mut expected = second;
    expected.expires_at = later;
    assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(expected.clone()));
    assert_eq!(store.list("session", "ada").await.unwrap(), [(key, expected)]);
    // The slots of the two nodes are no longer adjacent.
    assert_eq!(store.stats().await.unwrap().live, 1);
    let tombstone = Tombstone::ended(later);
    assert_eq!(store.retire(&key, None, tombstone).await.unwrap(), Retire::Retired);
}

/// Writes a session until a write succeeds, and returns how long that took. `spared` is a session on a node that runs.
async fn wait_for_write(store: &RedisStore, (key, record): &(Key, Record), spared: &Key) -> String {
    let began = Instant::now();
    let (mut failures, mut longest) = (0, Duration::ZERO);
    loop {
        let started = Instant::now();
        let reply = store.update(key, record.version, record).await;
        longest = longest.max(started.elapsed());
        assert!(longest < TIMEOUT * 4, "{longest:?}");
        match reply {
            Ok(reply) => {
                assert_eq!(reply, Update::Updated);
                let elapsed = began.elapsed();
                return format!(
                    "no write for {elapsed:?} ({failures} calls failed, none took longer than {longest:?})"
                );
            }
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error:?}"),
        }
        failures += 1;
        assert!(began.elapsed() < FAILOVER_LIMIT, "no replica replaces the primary");
        // During the election, `CLUSTERDOWN` can fail calls for other slots too.
        let _ = store.load(spared).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_survive_when_a_primary_is_killed_or_suspended() {
    if !is_wanted("redis") {
        return;
    }
    let (mut cluster, clock) = (RedisCluster::with_failover(), Arc::new(ManualClock::default()));
    let store = store_on(&cluster, &clock).await;
    let sessions = create_sessions(&store, &clock).await;
    let mut asked = 0;
    for is_suspended in [false, true] {
        let victim = cluster.primary_of(&name(&sessions[0].0), asked);
        asked = (0..cluster.size()).find(|node| *node != victim && cluster.is_up(*node)).expect("another node runs");
        let (affected, spared): (Vec<_>, Vec<_>) =
            sessions.iter().cloned().partition(|(key, _)| cluster.primary_of(&name(key), asked) == victim);
        assert!(!affected.is_empty() && !spared.is_empty());
        // The last acknowledged writes may not have reached the replica yet.
        cluster.wait_for_replication();
        if is_suspended {
            cluster.node(victim).pause();
        } else {
            cluster.node(victim).kill();
        }
        let how = if is_suspended { "was suspended" } else { "was killed" };
        println!("a primary {how}: {}", wait_for_write(&store, &affected[0], &spared[0].0).await);
        for (key, record) in &sessions {
            assert_eq!(store.load(key).await.unwrap(), Lookup::Found(record.clone()), "a session is lost");
        }
        assert_eq!(store.list("session", "ada").await.unwrap().len(), sessions.len());
        if is_suspended {
            cluster.node(victim).resume();
        } else {
            cluster.node(victim).restart();
        }
        cluster.wait_until_ready();
        for (key, record) in &sessions {
            assert_eq!(
                store.load(key).await.unwrap(),
                Lookup::Found(record.clone()),
                "a session is lost after the node restarted"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_fail_while_the_cluster_is_down_and_succeed_after_its_restart() {
    if !is_wanted("redis") {
        return;
    }
    let (mut cluster, clock) = (RedisCluster::start(), Arc::new(ManualClock::default()));
    let store = store_on(&cluster, &clock).await;
    let sessions = create_sessions(&store, &clock).await;
    cluster.wait_for_replication();
    (0..cluster.size()).for_each(|node| cluster.node(node).kill());
    let started = Instant::now();
    conformance::failures_are_errors(&store).await;
    assert!(started.elapsed() < TIMEOUT * 4, "{:?}", started.elapsed());
    (0..cluster.size()).for_each(|node| cluster.node(node).restart());
    cluster.wait_until_ready();
    for (key, record) in &sessions {
        assert_eq!(store.load(key).await.unwrap(), Lookup::Found(record.clone()));
    }
}
