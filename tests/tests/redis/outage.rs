//! Servers that are suspended, killed and restarted, and connections that break silently.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn calls_fail_immediately_while_the_server_is_down_and_succeed_after_its_restart() {
    if !is_wanted("redis") {
        return;
    }
    let (mut server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = impatient_store_at(server.url(), &clock).await;
    let (key, first) = (key(), record(&clock, DAY));
    store.create(&key, &first).await.unwrap();
    for _ in 0..3 {
        // Redis writes changes to the disk every second.
        wait_until("the record is on the disk", async || {
            server.ask(&["INFO", "persistence"]).contains("aof_pending_bio_fsync:0")
        })
        .await;
        server.kill();
        let started = Instant::now();
        conformance::failures_are_errors(&*store).await;
        assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
        server.restart();
        let failures = AtomicU64::new(0);
        let gap = wait_until("the store works again", async || {
            let is_loaded = store.load(&key).await.is_ok();
            failures.fetch_add(u64::from(!is_loaded), Ordering::Relaxed);
            is_loaded
        })
        .await;
        let failures = failures.into_inner();
        println!("the store works again {gap:?} after the restart, after {failures} failed loads");
        assert!(failures < MAX_FAILED_LOADS, "{failures} loads failed in {gap:?}");
        assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(first.clone()));
    }
}

// With one thread, the task of the connection runs as soon as the test waits.
#[tokio::test]
async fn a_restart_of_the_server_while_the_store_is_idle_fails_no_call() {
    if !is_wanted("redis") {
        return;
    }
    let (mut server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    server.kill();
    server.restart();
    // The connection is closed already. During this pause, its task notices that.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(store.create(&key(), &record(&clock, DAY)).await.unwrap(), Create::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_a_suspended_server_time_out_and_later_calls_get_their_own_replies() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = impatient_store_at(server.url(), &clock).await;
    let mut records = Vec::new();
    for _ in 0..20 {
        let (key, record) = (key(), record(&clock, DAY));
        store.create(&key, &record).await.unwrap();
        records.push((key, record));
    }
    server.pause();
    for round in 0..3 {
        let started = Instant::now();
        // The callers drop half of the calls.
        let calls = records.iter().enumerate().map(async |(number, (key, _))| {
            if number % 2 == 0 {
                return tokio::time::timeout(TIMEOUT * 3 / 4, store.load(key)).await.is_err();
            }
            store.load(key).await.is_err_and(|error| error.kind() == ErrorKind::Timeout)
        });
        assert!(join_all(calls).await.into_iter().all(|is_expected| is_expected));
        assert!(started.elapsed() < TIMEOUT * 5, "round {round}: {:?}", started.elapsed());
    }
    server.resume();
    for (key, record) in &records {
        assert_eq!(
            store.load(key).await.unwrap(),
            Lookup::Found(record.clone()),
            "the call returned the reply of another call"
        );
    }
}

/// Starts a server and a proxy, and opens a store that reaches the server through the proxy and has one session.
async fn store_behind_proxy() -> (Redis, Proxy, Arc<RedisStore>, Key, Record) {
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let proxy = Proxy::to(server.port()).await;
    let store = impatient_store_at(format!("redis://127.0.0.1:{}", proxy.port()), &clock).await;
    let (key, first) = (key(), record(&clock, DAY));
    store.create(&key, &first).await.unwrap();
    (server, proxy, store, key, first)
}

/// A router can drop a connection silently.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_replaced() {
    if !is_wanted("redis") {
        return;
    }
    let (_server, proxy, store, key, first) = store_behind_proxy().await;
    for is_dropped in [false, true] {
        let before = proxy.connections();
        proxy.silence_connections();
        if is_dropped {
            assert!(tokio::time::timeout(TIMEOUT * 3 / 4, store.load(&key)).await.is_err());
        } else {
            assert_eq!(store.load(&key).await.unwrap_err().kind(), ErrorKind::Timeout);
        }
        assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(first.clone()));
        assert_eq!(proxy.connections(), before + 1);
    }
}

#[tokio::test]
async fn a_connection_that_becomes_silent_between_two_replies_is_replaced() {
    if !is_wanted("redis") {
        return;
    }
    let (_server, proxy, store, key, first) = store_behind_proxy().await;
    let (connections, bytes) = (proxy.connections(), proxy.reply_bytes());
    store.load(&key).await.unwrap();
    proxy.hold_replies_after(proxy.reply_bytes() - bytes);
    // The calls are two messages, because the first call is sent alone.
    let (replied, held) = tokio::join!(store.load(&key), store.load(&key));
    assert_eq!(replied.unwrap(), Lookup::Found(first.clone()));
    assert_eq!(held.unwrap_err().kind(), ErrorKind::Timeout);
    proxy.release_replies();
    assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(first));
    assert_eq!(proxy.connections(), connections + 1);
}

/// The callers drop their calls long before the store's timeout, as those of a cache do.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_replaced_even_if_all_calls_are_dropped_early() {
    if !is_wanted("redis") {
        return;
    }
    let (_server, proxy, store, key, _) = store_behind_proxy().await;
    proxy.silence_connections();
    wait_until("the connection is replaced", async || {
        let loaded = tokio::time::timeout(TIMEOUT / 30, store.load(&key)).await;
        matches!(loaded, Ok(Ok(Lookup::Found(_))))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_of_a_server_that_does_not_reply_ends_after_the_timeout() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let proxy = Proxy::to(server.port()).await;
    let store = store_with(TIMEOUT, format!("redis://127.0.0.1:{}", proxy.port()), &clock).await;
    proxy.hold_replies_after(0);
    let counted = tokio::time::timeout(LONG_TIMEOUT, store.stats()).await.expect("the store limits its calls");
    assert_eq!(counted.unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_cut_at_any_byte_is_an_error_and_no_call_is_sent_twice() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let proxy = Proxy::to(server.port()).await;
    let store = store_at(format!("redis://127.0.0.1:{}", proxy.port()), &clock).await;
    let (other, other_record) = (key(), record(&clock, DAY));
    store.create(&other, &other_record).await.unwrap();
    // The reply of a successful script is `_\r\n`.
    for bytes in 0..3 {
        let (key, record, before) = (key(), record(&clock, DAY), number_of_scripts(&server));
        proxy.cut_after(bytes);
        assert_eq!(store.create(&key, &record).await.unwrap_err().kind(), ErrorKind::Unavailable, "{bytes}");
        assert_eq!(number_of_scripts(&server), before + 1, "the call was sent again");
        assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(record));
        let tombstone = Tombstone::ended(clock.now().plus(HOUR));
        assert_eq!(store.retire(&key, None, tombstone).await.unwrap(), Retire::Retired);
    }
    for bytes in 0..40 {
        proxy.cut_after(bytes);
        assert_eq!(store.load(&other).await.unwrap_err().kind(), ErrorKind::Unavailable, "{bytes}");
        assert_eq!(store.load(&other).await.unwrap(), Lookup::Found(other_record.clone()));
    }
}

/// Polls a call at most `polls` times, then drops it.
async fn poll_and_drop(polls: usize, call: impl Future) {
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
async fn dropped_calls_of_two_stores_leave_the_old_or_the_new_record() {
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
                poll_and_drop(polls % 6, mine.update(&key, current.version, &next)).await;
                poll_and_drop(polls % 5, others.load(&key)).await;
                poll_and_drop(polls % 4, others.list("session", &task.to_string())).await;
                let Lookup::Found(stored) = others.load(&key).await.unwrap() else { panic!("the record is missing") };
                assert!(stored == current || stored == next, "the record is neither the old nor the new one");
                // A dropped update can be executed after the load.
                current = match mine.update(&key, stored.version, &next).await.unwrap() {
                    Update::Updated => next,
                    Update::Conflict(fresh) => fresh,
                    wrong => panic!("{wrong:?}"),
                };
                assert_eq!(others.list("session", &task.to_string()).await.unwrap(), [(key, current.clone())]);
            }
        })
    });
    join_all(tasks).await.into_iter().for_each(|done| done.expect("the task does not panic"));
}
