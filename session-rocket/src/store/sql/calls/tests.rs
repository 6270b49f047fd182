use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor, Sqlite};

use super::super::sqlite::SqliteStore;
use super::super::value::{Value, record_values};
use super::*;
use crate::base::clock::{ManualClock, Timestamp};
use crate::base::id::Key;
use crate::store::record::{Record, Tombstone, Version};
use crate::store::{Options, Retire, Store, Touch, Update};

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn record(number: u8, version: u64) -> Record {
    Record::new(Version::from_bits(version), Timestamp::from_millis(i64::MAX))
        .with_scope("session")
        .with_payload(vec![number; 3])
        .with_identity("ada")
}

/// Runs a group without its queue, which would hide a failure by running the calls alone.
async fn run_group(
    store: &SqliteStore,
    statement: fn(&Statements) -> &GroupableStatement,
    values: impl Fn(u8) -> Vec<Value>,
) -> Vec<Option<bool>> {
    let calls: Vec<Call> = (1..=2).map(|number| Call::new(&Key::from_bytes([number; 32]), values(number))).collect();
    let changes: ChangeCalls<Sqlite> = ChangeCalls { client: store.client.clone(), statement };
    changes.run_group(&calls.iter().collect::<Vec<_>>()).await.expect("the statement runs")
}

#[tokio::test]
async fn a_group_changes_each_row_to_the_values_of_its_own_call() {
    let store = SqliteStore::open(&Options::new("sqlite::memory:")).await.unwrap();
    let loaded = async |number: u8| store.load(&Key::from_bytes([number; 32])).await.unwrap();
    let version = |bits: u64| Value::from(Version::from_bits(bits));
    let all = vec![Some(true); 2];
    assert_eq!(run_group(&store, |s| &s.insert, |number| record_values(&record(number, 1)).to_vec()).await, all);
    let save = |number| [record_values(&record(number + 10, 2)).to_vec(), vec![version(1), NOW.into()]].concat();
    assert_eq!(run_group(&store, |s| &s.update, save).await, all);
    assert_eq!(run_group(&store, |s| &s.update, save).await, [None; 2], "the version is another one");
    let refresh = |_| vec![Timestamp::from_millis(i64::MAX).into(), version(2), NOW.into()];
    assert_eq!(run_group(&store, |s| &s.touch, refresh).await, all);
    for number in 1..=2 {
        assert_eq!(loaded(number).await, Lookup::Found(record(number + 10, 2)));
    }
    let end = |_| vec![NOW.into(), Timestamp::from_millis(i64::MAX).into(), Value::Key(None), version(2)];
    assert_eq!(run_group(&store, |s| &s.retire, end).await, all);
    let ended = Lookup::Tombstone(Tombstone::ended(Timestamp::from_millis(i64::MAX)));
    let calls: Vec<Call> = (1..=2).map(|number| Call::new(&Key::from_bytes([number; 32]), [NOW.into()])).collect();
    let replies = LoadCalls(store.client.clone()).run_group(&calls.iter().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(replies, [Some(ended.clone()), Some(ended)]);
}

/// A call uses the time at which its statement runs, not the time at which the call began.
#[tokio::test]
async fn a_change_that_waits_until_its_session_has_expired_does_not_revive_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sessions.db");
    let clock = Arc::new(ManualClock::at(NOW));
    let options = Options::new(format!("sqlite://{}", path.display())).clock(clock.clone());
    let store = SqliteStore::open(&options).await.unwrap();
    let expires_at = NOW.plus(Duration::from_secs(60));
    let keys: Vec<Key> = (1..=6).map(|number| Key::from_bytes([number; 32])).collect();
    for key in &keys {
        store.create(key, &Record { expires_at, ..record(1, 1) }).await.unwrap();
    }
    let (expected, renewed, until) = (Version::from_bits(1), record(2, 2), Timestamp::from_millis(i64::MAX));
    let ended = Tombstone::ended(until);
    // Of two calls of one kind, the first has the turn, and the second waits in the queue. The lock of another
    // connection blocks the first.
    let mut other = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let mut updates = [&keys[0], &keys[1]].map(|key| store.update(key, expected, &renewed));
    let mut touches = [&keys[2], &keys[3]].map(|key| store.touch(key, expected, until));
    let mut retires = [&keys[4], &keys[5]].map(|key| store.retire(key, None, ended));
    updates.iter_mut().for_each(|update| assert!(update.now_or_never().is_none()));
    touches.iter_mut().for_each(|touch| assert!(touch.now_or_never().is_none()));
    retires.iter_mut().for_each(|retire| assert!(retire.now_or_never().is_none()));
    clock.advance(Duration::from_secs(60));
    other.execute("ROLLBACK").await.unwrap();
    let (updates, touches, retires) = tokio::join!(join_all(updates), join_all(touches), join_all(retires));
    assert!(matches!(updates[1], Ok(Update::Gone)), "{updates:?}");
    assert!(matches!(touches[1], Ok(Touch::Gone)), "{touches:?}");
    assert!(matches!(retires[1], Ok(Retire::Gone)), "{retires:?}");
}
