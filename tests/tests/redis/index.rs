//! Which sessions the index of identities contains, and how long.

use super::*;

#[tokio::test]
async fn the_index_drops_removed_sessions_after_an_hour_but_not_before() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let (removed, live) = (key(), key());
    for key in [removed, live] {
        assert_eq!(store.create(&key, &record(&clock, DAY).with_identity("ada")).await.unwrap(), Create::Created);
    }
    let name = format!("session:{}", removed.to_hex());
    server.ask(&["PEXPIRE", &name, "1"]);
    wait_until("Redis removes the record", async || store.load(&removed).await.unwrap() == Lookup::Absent).await;

    let listed =
        async || -> Vec<Key> { store.list("session", "ada").await.unwrap().into_iter().map(|(key, _)| key).collect() };
    let size = || number_of(&server, &["ZCARD", &index(&server)]);
    assert_eq!(listed().await, [live]);
    assert_eq!(size(), 2, "a recent entry stays, because its record could still be written");
    clock.advance(HOUR);
    assert_eq!(listed().await, [live]);
    assert_eq!(size(), 1, "a list removes an old entry without a record");

    clock.advance(HOUR);
    assert_eq!(revoke_all(&*store, "session", "ada", None, clock.now().plus(HOUR)).await.unwrap(), [live]);
    assert_eq!(listed().await, []);
    assert_eq!(server.ask(&["KEYS", "session:index:*"]), "", "the index of a user without sessions is removed");
}

#[tokio::test]
async fn the_index_of_a_user_who_logs_in_every_day_does_not_grow() {
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
    assert!(size <= 3, "{size} of 30 expired sessions are in the index");
}

#[tokio::test]
async fn a_logout_removes_the_session_from_the_index() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let other = record(&clock, DAY).with_identity("ada");
    store.create(&key(), &other).await.unwrap();
    for _ in 0..3 {
        let (key, record) = (key(), record(&clock, DAY).with_identity("ada"));
        store.create(&key, &record).await.unwrap();
        let tombstone = Tombstone::ended(clock.now().plus(HOUR));
        assert_eq!(store.retire(&key, None, tombstone).await.unwrap(), Retire::Retired);
        assert_eq!(number_of(&server, &["ZCARD", &index(&server)]), 1);
    }
}

#[tokio::test]
async fn the_index_expires_after_its_last_session() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let assert_lifetime = |expected: Duration| {
        let lifetime = number_of(&server, &["PTTL", &index(&server)]);
        let expected = i64::try_from(expected.as_millis()).unwrap();
        assert!((expected - 60_000..expected + 60_000).contains(&lifetime), "{lifetime} ms instead of {expected} ms");
    };
    let (key, first) = (key(), record(&clock, DAY).with_identity("ada"));
    store.create(&key, &first).await.unwrap();
    assert_lifetime(DAY * 3);
    // A session that expires sooner does not shorten the lifetime of the index.
    store.create(&self::key(), &record(&clock, HOUR).with_identity("ada")).await.unwrap();
    assert_lifetime(DAY * 3);
    assert_eq!(store.touch(&key, first.version, clock.now().plus(DAY * 2)).await.unwrap(), Touch::Touched);
    assert_lifetime(DAY * 5);
    let longer = record(&clock, DAY * 3).with_identity("ada");
    assert_eq!(store.update(&key, first.version, &longer).await.unwrap(), Update::Updated);
    assert_lifetime(DAY * 7);
    store.update(&key, longer.version, &record(&clock, DAY)).await.unwrap();
    assert_eq!(store.list("session", "ada").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_touch_adds_a_missing_session_to_the_index_again() {
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
async fn a_list_follows_a_session_that_moved_to_a_key_outside_the_index() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let (before, after, moved) = (key(), key(), record(&clock, DAY).with_identity("ada"));
    store.create(&after, &moved).await.unwrap();
    server.ask(&["DEL", &index(&server)]);
    store.create(&before, &record(&clock, DAY).with_identity("ada")).await.unwrap();
    let tombstone = Tombstone::moved(after, clock.now().plus(HOUR));
    assert_eq!(store.retire(&before, None, tombstone).await.unwrap(), Retire::Retired);
    clock.advance(Duration::from_mins(30));
    for _ in 0..2 {
        // The list does not remove the old entry, which leads to the session.
        assert_eq!(store.list("session", "ada").await.unwrap(), [(after, moved.clone())]);
    }
    assert_eq!(revoke_all(&*store, "session", "ada", Some(after), clock.now().plus(HOUR)).await.unwrap(), []);
    assert_eq!(revoke_all(&*store, "session", "ada", None, clock.now().plus(HOUR)).await.unwrap(), [after]);
}

/// Otherwise the entry would keep the user's other sessions from ending.
#[tokio::test]
async fn a_list_skips_a_malformed_entry_and_finds_the_entry_again_after_it_was_restored() {
    if !is_wanted("redis") {
        return;
    }
    logs::capture();
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let (malformed, intact) = (key(), key());
    for key in [malformed, intact] {
        store.create(&key, &record(&clock, DAY).with_identity("ada")).await.unwrap();
    }
    clock.advance(HOUR);
    let name = format!("session:{}", malformed.to_hex());
    server.ask(&["RENAME", &name, "backup"]);
    server.ask(&["SET", &name, "malformed"]);
    assert_eq!(store.load(&malformed).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let keys =
        async || -> Vec<Key> { store.list("session", "ada").await.unwrap().into_iter().map(|(key, _)| key).collect() };
    assert_eq!(keys().await, [intact]);
    assert!(!logs::containing("WARN session_rocket skipped 1 malformed entries while listing sessions").is_empty());
    assert_eq!(revoke_all(&*store, "session", "ada", None, clock.now().plus(HOUR)).await.unwrap(), [intact]);
    server.ask(&["RENAME", "backup", &name]);
    assert_eq!(keys().await, [malformed]);
}

#[tokio::test]
async fn a_session_that_revoke_all_could_not_end_stays_in_the_index() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let key = key();
    store.create(&key, &record(&clock, DAY).with_identity("ada")).await.unwrap();
    clock.advance(HOUR);
    // A value of another type makes the list fail, as a cluster node that is down does.
    let name = format!("session:{}", key.to_hex());
    server.ask(&["RENAME", &name, "moved"]);
    server.ask(&["LPUSH", &name, "x"]);
    assert!(revoke_all(&*store, "session", "ada", None, clock.now().plus(HOUR)).await.is_err());
    server.ask(&["RENAME", "moved", &name]);
    // Without scripts, the list succeeds, and the session cannot be ended.
    server.ask(&["ACL", "SETUSER", "default", "-@scripting"]);
    assert!(revoke_all(&*store, "session", "ada", None, clock.now().plus(HOUR)).await.is_err());
    server.ask(&["ACL", "SETUSER", "default", "+@all"]);
    assert_eq!(revoke_all(&*store, "session", "ada", None, clock.now().plus(HOUR)).await.unwrap(), [key]);
}

/// A site with a slow clock, or a test with a manual clock, can still use the session in that minute.
#[tokio::test]
async fn redis_removes_a_session_up_to_a_minute_after_its_expiry() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let (key, mut stored) = (key(), record(&clock, Duration::from_millis(1)));
    let remaining = || number_of(&server, &["PTTL", &format!("session:{}", key.to_hex())]);
    store.create(&key, &stored).await.unwrap();
    assert!((30_000..=60_001).contains(&remaining()), "{}", remaining());
    stored.expires_at = clock.now().plus(HOUR);
    store.touch(&key, stored.version, stored.expires_at).await.unwrap();
    assert!((3_630_000..=3_660_000).contains(&remaining()), "{}", remaining());
    store.retire(&key, None, Tombstone::ended(clock.now())).await.unwrap();
    assert!((30_000..=60_000).contains(&remaining()), "{}", remaining());
}

#[tokio::test]
async fn revoke_all_does_not_end_a_session_that_now_has_another_user() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let keys = [key(), key(), key()];
    let record_of = |scope: &str, identity: Option<&str>| {
        let mut record = record(&clock, DAY);
        record.scope = scope.to_owned().into();
        record.identity = identity.map(str::to_owned);
        record
    };
    // An identity with the same beginning, no identity, and another scope.
    for (key, next) in keys.iter().zip([
        record_of("session", Some("ada!")),
        record_of("session", None),
        record_of("sessio", Some("nada")),
    ]) {
        let first = record_of("session", Some("ada"));
        store.create(key, &first).await.unwrap();
        assert_eq!(store.update(key, first.version, &next).await.unwrap(), Update::Updated);
    }
    assert_eq!(revoke_all(&*store, "session", "ada", None, clock.now().plus(HOUR)).await.unwrap(), []);
    for key in &keys {
        assert!(matches!(store.load(key).await.unwrap(), Lookup::Found(_)), "another user's session was ended");
    }
}

/// Rotates the id of a session until the session is ended or `is_over` is true. Returns whether the session is ended.
///
/// Pauses after 60 ids until `is_over` is true: `revoke_all` follows a session through at most 100 ids, and on a busy machine
/// the session could get more before `revoke_all` reaches it.
async fn rotate_until_ended(store: &RedisStore, clock: &ManualClock, is_over: &AtomicBool) -> bool {
    let (mut key, mut current) = (key(), record(clock, DAY).with_identity("ada"));
    store.create(&key, &current).await.unwrap();
    for number in 0.. {
        while number > 60 && !is_over.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let is_last = is_over.load(Ordering::SeqCst);
        let (to, next) = (self::key(), record(clock, DAY).with_identity("ada"));
        store.create(&to, &next).await.unwrap();
        let tombstone = Tombstone::moved(to, clock.now().plus(HOUR));
        let is_ended = store.retire(&key, Some(current.version), tombstone).await.unwrap() == Retire::Gone;
        if is_ended || is_last {
            return is_ended;
        }
        (key, current) = (to, next);
    }
    unreachable!("the loop has no end")
}

#[tokio::test(flavor = "multi_thread")]
async fn list_and_revoke_all_find_a_session_whose_id_is_rotated_meanwhile() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let stores = [store_at(server.url(), &clock).await, store_at(server.url(), &clock).await];
    for round in 0..40 {
        let is_over = Arc::new(AtomicBool::new(false));
        let (store, task_clock, task_is_over) = (stores[0].clone(), clock.clone(), is_over.clone());
        let task = tokio::spawn(async move { rotate_until_ended(&store, &task_clock, &task_is_over).await });
        let listed = async || !stores[1].list("session", "ada").await.unwrap().is_empty();
        wait_until("the session is listed", &listed).await;
        for _ in 0..5 {
            assert!(listed().await, "round {round}: the session is not listed");
        }
        revoke_all(&*stores[1], "session", "ada", None, clock.now().plus(HOUR)).await.unwrap();
        is_over.store(true, Ordering::SeqCst);
        assert!(
            task.await.expect("the task does not panic"),
            "round {round}: the session still exists under another id"
        );
        server.ask(&["FLUSHDB"]);
    }
}
