//! Servers that stand still, die and come back, and connections of which nobody says that they are dead.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_dead_calls_fail_at_once_and_it_recovers_by_itself() {
    if !is_wanted("redis") {
        return;
    }
    let (mut server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = impatient_store_at(server.url(), &clock).await;
    let (key, first) = (key(), record(&clock, DAY));
    store.create(&key, &first).await.unwrap();
    for _ in 0..3 {
        // Written to the disk every second.
        until("it is on the disk", async || server.ask(&["INFO", "persistence"]).contains("aof_pending_bio_fsync:0"))
            .await;
        server.kill();
        let started = Instant::now();
        conformance::errors_are_not_answers(&*store).await;
        assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
        server.restart();
        let gap = until("it answers", async || store.load(&key).await.is_ok()).await;
        println!("it answers {gap:?} after the server is back");
        assert!(gap < RECOVERY, "{gap:?}");
        assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(first.clone()));
    }
}

// One thread, on which the connection's task runs as soon as the test waits.
#[tokio::test]
async fn an_idle_store_does_not_notice_that_the_server_was_restarted() {
    if !is_wanted("redis") {
        return;
    }
    let (mut server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = store_at(server.url(), &clock).await;
    server.kill();
    server.restart();
    // The system has closed the connection already, so any wait lets its task see that.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(store.create(&key(), &record(&clock, DAY)).await.unwrap(), Create::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_stands_still_calls_end_in_time_and_later_ones_get_their_own_replies() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let store = impatient_store_at(server.url(), &clock).await;
    let mut kept = Vec::new();
    for _ in 0..20 {
        let (key, record) = (key(), record(&clock, DAY));
        store.create(&key, &record).await.unwrap();
        kept.push((key, record));
    }
    server.pause();
    for round in 0..3 {
        let started = Instant::now();
        // Half of them are dropped by their callers.
        let calls = kept.iter().enumerate().map(async |(number, (key, _))| {
            if number % 2 == 0 {
                return tokio::time::timeout(TIMEOUT * 3 / 4, store.load(key)).await.is_err();
            }
            store.load(key).await.is_err_and(|error| error.kind() == ErrorKind::Timeout)
        });
        assert!(join_all(calls).await.into_iter().all(|late| late));
        assert!(started.elapsed() < TIMEOUT * 3 / 2, "round {round}: {:?}", started.elapsed());
    }
    server.resume();
    for (key, record) in &kept {
        assert_eq!(store.load(key).await.unwrap(), Lookup::Found(record.clone()), "another call's reply");
    }
}

/// A connection of which nobody says that it is dead: behind a router that forgot it, or a host that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_nothing_comes_back_is_replaced() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let wire = Proxy::to(server.port()).await;
    let store = impatient_store_at(format!("redis://127.0.0.1:{}", wire.port()), &clock).await;
    let (key, first) = (key(), record(&clock, DAY));
    store.create(&key, &first).await.unwrap();
    for is_dropped in [false, true] {
        let before = wire.connections();
        wire.swallow();
        if is_dropped {
            assert!(tokio::time::timeout(TIMEOUT * 3 / 4, store.load(&key)).await.is_err());
        } else {
            assert_eq!(store.load(&key).await.unwrap_err().kind(), ErrorKind::Timeout);
        }
        assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(first.clone()));
        assert_eq!(wire.connections(), before + 1);
    }
}

/// The same, when each call is given up long before the store would: as a cache's calls are.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_replaced_though_no_call_waits_for_long() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let wire = Proxy::to(server.port()).await;
    let store = impatient_store_at(format!("redis://127.0.0.1:{}", wire.port()), &clock).await;
    let (key, first) = (key(), record(&clock, DAY));
    store.create(&key, &first).await.unwrap();
    wire.swallow();
    until("the connection is replaced", async || {
        let loaded = tokio::time::timeout(TIMEOUT / 30, store.load(&key)).await;
        matches!(loaded, Ok(Ok(Lookup::Found(_))))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_cut_off_anywhere_is_an_error_and_nothing_is_sent_twice() {
    if !is_wanted("redis") {
        return;
    }
    let (server, clock) = (Redis::start(), Arc::new(ManualClock::default()));
    let wire = Proxy::to(server.port()).await;
    let store = store_at(format!("redis://127.0.0.1:{}", wire.port()), &clock).await;
    let (other, others) = (key(), record(&clock, DAY));
    store.create(&other, &others).await.unwrap();
    let runs = || {
        let stats = server.ask(&["INFO", "commandstats"]);
        let rest = stats.split("cmdstat_evalsha:calls=").nth(1).expect("scripts were run");
        rest.split(',').next().and_then(|calls| calls.parse::<u64>().ok()).expect("a number")
    };
    // A script that did its work answers `_\r\n`.
    for bytes in 0..3 {
        let (key, record, before) = (key(), record(&clock, DAY), runs());
        wire.cut_after(bytes);
        assert_eq!(store.create(&key, &record).await.unwrap_err().kind(), ErrorKind::Unavailable, "{bytes}");
        assert_eq!(runs(), before + 1, "it was sent again");
        assert_eq!(store.load(&key).await.unwrap(), Lookup::Found(record));
        let tombstone = Tombstone::ended(clock.now().plus(HOUR));
        assert_eq!(store.retire(&key, None, tombstone).await.unwrap(), Retire::Retired);
    }
    for bytes in 0..40 {
        wire.cut_after(bytes);
        assert_eq!(store.load(&other).await.unwrap_err().kind(), ErrorKind::Unavailable, "{bytes}");
        assert_eq!(store.load(&other).await.unwrap(), Lookup::Found(others.clone()));
    }
}

/// Polls a call so often at most, then drops it.
async fn cut_off(polls: usize, call: impl Future) {
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
async fn two_stores_whose_calls_are_cut_off_do_not_disturb_each_other() {
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
                cut_off(polls % 6, mine.update(&key, current.version, &next)).await;
                cut_off(polls % 5, others.load(&key)).await;
                cut_off(polls % 4, others.list("session", &task.to_string())).await;
                let Lookup::Found(held) = others.load(&key).await.unwrap() else { panic!("it is gone") };
                assert!(held == current || held == next, "neither the old nor the new record");
                // One that was cut off may come after the look.
                current = match mine.update(&key, held.version, &next).await.unwrap() {
                    Update::Updated => next,
                    Update::Conflict(fresh) => fresh,
                    wrong => panic!("{wrong:?}"),
                };
                assert_eq!(others.list("session", &task.to_string()).await.unwrap(), [(key, current.clone())]);
            }
        })
    });
    join_all(tasks).await.into_iter().for_each(|done| done.expect("no task panics"));
}
