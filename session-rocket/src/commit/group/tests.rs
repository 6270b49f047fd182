use std::time::Duration;

use super::super::records::Records;
use super::*;
use crate::commit::Events;
use crate::session::SessionData;
use crate::state::{CommitScope, State};
use crate::store::Lookup;
use crate::store::memory::MemoryStore;
use crate::store::record::{Fate, Version};
use crate::tests::fixture::{COUNT, DAY, Visitor, clock, policy, rules};

#[tokio::test]
async fn a_commit_that_waited_too_long_for_its_group_is_not_saved_by_the_next() {
    let rules = rules(clock(), policy(), 1000);
    let (id, created_at, key) = (None, rules.now(), Key::from_bytes([1; 32]));
    let live =
        Live { id, key, version: Version::from_bits(1), created_at, expires_at: created_at, has_lowered_expiry: false };
    let state = State::new(SessionStatus::Live(live.clone()), Values::empty(Visitor::schema()), Vec::new());
    COUNT.set(&state, 1);
    let pending = state.take(CommitScope::Everything).unwrap();

    let records =
        Records::new(rules, Arc::new(MemoryStore::new(1, clock())), Events::default(), Duration::from_millis(1));
    let (groups, calls) = (Groups::default(), Calls::new(&records));
    let other = groups.enter(key);
    let latest = other.group.latest.lock().await;
    let release = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(other.group.waiting.lock().unwrap().len(), 1);
        drop(latest);
    };
    let (saved, ()) = tokio::join!(groups.save(&calls, live, pending), release);
    assert_eq!(saved.err().unwrap().kind(), ErrorKind::Timeout);
    assert!(other.group.take().is_empty());
    drop(other);
    assert!(groups.0.lock().unwrap().is_empty(), "a group is forgotten when its last member leaves");
}

#[tokio::test]
async fn a_retire_that_leaves_no_time_for_its_fence_is_not_sent() {
    let records =
        Records::new(rules(clock(), policy(), 1000), Arc::new(MemoryStore::new(1, clock())), Events::default(), DAY);
    let (key, values) = (Key::from_bytes([1; 32]), Values::empty(Visitor::schema()));
    let (record, live) = records.record(key, None, &values, None).unwrap();
    records.store().create(&key, &record).await.unwrap();
    let calls = Calls { deadline: std::time::Instant::now(), ..Calls::new(&records) };
    let tombstone = records.tombstone(Fate::Ended);
    let retired = calls.retire_version(&Stored { live, values }, tombstone).await;
    assert_eq!(retired.err().unwrap().kind(), ErrorKind::Timeout);
    assert!(matches!(records.store().load(&key).await, Ok(Lookup::Found(_))));
}

#[tokio::test]
async fn a_group_has_as_much_time_as_its_last_member() {
    let store = Arc::new(MemoryStore::new(1, clock()));
    let records = Records::new(rules(clock(), policy(), 1000), store, Events::default(), DAY);
    let (key, values) = (Key::from_bytes([1; 32]), Values::empty(Visitor::schema()));
    let (record, live) = records.record(key, None, &values, None).unwrap();
    records.store().create(&key, &record).await.unwrap();
    let state = State::new(SessionStatus::Live(live.clone()), values.clone(), Vec::new());
    COUNT.set(&state, 1);
    let pending = state.take(CommitScope::Everything).unwrap();
    let (member, mut reply) = Member::new(pending, Instant::now() + DAY);
    // The first attempt fails with a conflict, and the leader has no time for the second.
    let outdated = Stored { live: Live { version: Version::from_bits(1), ..live }, values };
    save(&Calls { deadline: Instant::now(), ..Calls::new(&records) }, outdated, vec![member]).await;
    assert!(matches!(reply.try_recv(), Ok(Ok(Saved::Committed(_)))));
}
