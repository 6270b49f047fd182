use sqlx::Sqlite;

use super::super::sqlite::SqliteStore;
use super::super::value::{Value, record_values};
use super::*;
use crate::base::clock::Timestamp;
use crate::base::id::Key;
use crate::store::record::{Record, Tombstone, Version};
use crate::store::{Options, Store};

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn record(number: u8, version: u64) -> Record {
    Record::new(Version::from_bits(version), Timestamp::from_millis(i64::MAX))
        .with_scope("session")
        .with_payload(vec![number; 3])
        .with_identity("ada")
}

/// Without the repetition alone that hides a group's failure.
async fn run_group(
    store: &SqliteStore,
    statement: fn(&Statements) -> &Grouped,
    values: impl Fn(u8) -> Vec<Value>,
) -> Vec<Option<bool>> {
    let calls: Vec<Call> = (1..=2).map(|number| Call::new(&Key::from_bytes([number; 32]), values(number))).collect();
    let changes: Changes<Sqlite> = Changes { client: store.client.clone(), statement };
    changes.run_group(&calls.iter().collect::<Vec<_>>()).await.expect("answers")
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
    let answers = Loads(store.client.clone()).run_group(&calls.iter().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(answers, [Some(ended.clone()), Some(ended)]);
}
