//! The index of identities: what it forgets, and what it must not.

use super::*;

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

/// Each login and logout of a user leaves nothing behind.
#[tokio::test]
async fn who_logs_out_leaves_the_index() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let kept = record(&clock, DAY).with_identity("ada");
    store.create(&key(), &kept).await.unwrap();
    for _ in 0..3 {
        let (key, record) = (key(), record(&clock, DAY).with_identity("ada"));
        store.create(&key, &record).await.unwrap();
        let tombstone = Tombstone::ended(clock.now().plus(HOUR));
        assert_eq!(store.retire(&key, None, tombstone).await.unwrap(), Retire::Retired);
        assert_eq!(number_of(&server, &["ZCARD", &index(&server)]), 1);
    }
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
    let tombstone = Tombstone::moved(after, clock.now().plus(HOUR));
    assert_eq!(store.retire(&before, None, tombstone).await.unwrap(), Retire::Retired);
    assert_eq!(store.list("session", "ada").await.unwrap(), [(after, held)]);
    assert_eq!(store.retire_all("session", "ada", Some(&after), clock.now().plus(HOUR)).await.unwrap(), 0);
    assert_eq!(store.retire_all("session", "ada", None, clock.now().plus(HOUR)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_session_that_could_not_be_ended_stays_in_the_index() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    let key = key();
    store.create(&key, &record(&clock, DAY).with_identity("ada")).await.unwrap();
    clock.advance(HOUR);
    // A value of another type makes the server refuse the script, as a node of a cluster that is down would.
    let name = format!("session:{}", key.to_hex());
    server.ask(&["RENAME", &name, "aside"]);
    server.ask(&["LPUSH", &name, "x"]);
    assert!(store.retire_all("session", "ada", None, clock.now().plus(HOUR)).await.is_err());
    server.ask(&["RENAME", "aside", &name]);
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
    store.retire(&key, None, Tombstone::ended(clock.now())).await.unwrap();
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

/// Gives a session a new id again and again, until somebody ends it. Returns whether it had ended when `is_over` was set.
///
/// Pauses after 300 ids until `is_over` is set, because a list on a busy machine would follow a faster session forever.
async fn cycles(store: &RedisStore, clock: &ManualClock, is_over: &AtomicBool) -> bool {
    let (mut key, mut current) = (key(), record(clock, DAY).with_identity("ada"));
    store.create(&key, &current).await.unwrap();
    for number in 0.. {
        while number > 300 && !is_over.load(Ordering::SeqCst) {
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
