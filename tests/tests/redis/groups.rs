//! Calls that arrive while another call runs are sent together, and each gets its own reply.

use super::*;

/// A store behind a proxy, with sessions under some keys.
async fn store_with_sessions(server: &Redis, timeout: Duration) -> (Proxy, Arc<RedisStore>, Vec<(Key, Record)>) {
    let clock = Arc::new(ManualClock::default());
    let proxy = Proxy::to(server.port()).await;
    let store = store_with(timeout, format!("redis://127.0.0.1:{}", proxy.port()), &clock).await;
    let mut sessions = Vec::new();
    for _ in 0..100 {
        let (key, record) = (key(), record(&clock, DAY));
        store.create(&key, &record).await.unwrap();
        sessions.push((key, record));
    }
    (proxy, store, sessions)
}

/// The size of the reply to a load.
async fn reply_size(proxy: &Proxy, store: &RedisStore, key: &Key) -> usize {
    let before = proxy.reply_bytes();
    store.load(key).await.unwrap();
    proxy.reply_bytes() - before
}

/// Polls a call once.
async fn start(call: &mut (impl Future + Unpin)) {
    assert!(futures::poll!(call).is_pending(), "the server cannot have replied yet");
}

#[tokio::test]
async fn each_of_many_calls_gets_its_own_reply() {
    if !is_wanted("redis") {
        return;
    }
    let server = Redis::start();
    let (_proxy, store, sessions) = store_with_sessions(&server, LONG_TIMEOUT).await;
    // More calls than a group may have.
    for (loaded, (_, record)) in join_all(sessions.iter().map(|(key, _)| store.load(key))).await.iter().zip(&sessions) {
        assert_eq!(*loaded.as_ref().unwrap(), Lookup::Found(record.clone()));
    }
}

#[tokio::test]
async fn a_call_that_fails_fails_no_other_call_of_its_group() {
    if !is_wanted("redis") {
        return;
    }
    let server = Redis::start();
    let (_proxy, store, sessions) = store_with_sessions(&server, LONG_TIMEOUT).await;
    let name = |number: usize| format!("session:{}", sessions[number].0.to_hex());
    server.ask(&["SET", &name(1), "malformed"]);
    server.ask(&["DEL", &name(2)]);
    server.ask(&["RPUSH", &name(2), "a list"]);
    server.ask(&["SCRIPT", "FLUSH"]);
    let absent = key();
    let (key, record) = &sessions[0];
    let (_, next) = &sessions[9];
    // The first call is sent alone.
    let (_, found, malformed, list, none, saved, refused) = tokio::join!(
        store.load(&absent),
        store.load(key),
        store.load(&sessions[1].0),
        store.load(&sessions[2].0),
        store.load(&absent),
        store.update(&sessions[3].0, sessions[3].1.version, next),
        store.update(&sessions[2].0, sessions[2].1.version, next),
    );
    assert_eq!(found.unwrap(), Lookup::Found(record.clone()));
    assert_eq!(malformed.unwrap_err().kind(), ErrorKind::Unavailable);
    let error = list.unwrap_err();
    assert!(format!("{error:?}").contains("WRONGTYPE"), "{error:?}");
    assert_eq!(none.unwrap(), Lookup::Absent);
    assert_eq!(saved.unwrap(), Update::Updated);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_no_other_call_of_its_group() {
    if !is_wanted("redis") {
        return;
    }
    let server = Redis::start();
    let (_proxy, store, sessions) = store_with_sessions(&server, LONG_TIMEOUT).await;
    for gone in 0..4 {
        let mut calls: Vec<_> = sessions[..4].iter().map(|(key, _)| store.load(key)).collect();
        for call in &mut calls {
            start(call).await;
        }
        drop(calls.remove(gone));
        assert!(join_all(calls).await.iter().all(|loaded| matches!(loaded, Ok(Lookup::Found(_)))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_is_sent_before_the_replies_to_earlier_loads_arrive() {
    if !is_wanted("redis") {
        return;
    }
    let server = Redis::start();
    let (proxy, store, sessions) = store_with_sessions(&server, LONG_TIMEOUT).await;
    proxy.hold_replies_after(0);
    let loads = join_all(sessions[..3].iter().map(|(key, _)| store.load(key)));
    let (key, record) = &sessions[0];
    let (_, next) = &sessions[9];
    let save = async {
        proxy.wait_for_held_reply().await;
        let before = number_of_scripts(&server);
        let release = async {
            wait_until("the save is run", async || number_of_scripts(&server) > before).await;
            proxy.release_replies();
        };
        tokio::join!(store.update(key, record.version, next), release).0
    };
    let (loaded, saved) = tokio::join!(loads, save);
    assert!(loaded.iter().all(Result::is_ok), "{loaded:?}");
    assert_eq!(saved.unwrap(), Update::Updated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_does_not_wait_for_a_group_that_hangs() {
    if !is_wanted("redis") {
        return;
    }
    let server = Redis::start();
    let timeout = TIMEOUT * 2;
    let (proxy, store, sessions) = store_with_sessions(&server, timeout).await;
    let before = proxy.connections();
    proxy.silence_connections();
    let has_ended = AtomicBool::new(false);
    let hanging = async {
        let hung = join_all(sessions[..3].iter().map(|(key, _)| store.load(key))).await;
        has_ended.store(true, Ordering::Relaxed);
        hung
    };
    let later = async {
        // A call that is dropped after this time closes the silent connection.
        assert!(tokio::time::timeout(timeout * 3 / 5, store.load(&sessions[0].0)).await.is_err());
        assert_eq!(store.load(&sessions[0].0).await.unwrap(), Lookup::Found(sessions[0].1.clone()));
        assert!(!has_ended.load(Ordering::Relaxed), "the load waited for the group");
    };
    let (hung, ()) = tokio::join!(hanging, later);
    assert!(hung.iter().all(|loaded| loaded.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout)));
    assert_eq!(proxy.connections(), before + 1);
}

// With one thread, no task runs between the calls, so they are one group.
#[tokio::test]
async fn a_connection_that_is_lost_fails_all_calls_of_the_group_and_sends_none_twice() {
    if !is_wanted("redis") {
        return;
    }
    let server = Redis::start();
    let (proxy, store, sessions) = store_with_sessions(&server, LONG_TIMEOUT).await;
    let size = reply_size(&proxy, &store, &sessions[0].0).await;
    let scripts = number_of_scripts(&server);
    // The first call is sent alone. The group loses its connection after the reply to its first call.
    proxy.cut_after(2 * size);
    let (_, next) = &sessions[9];
    let update = |number: usize| store.update(&sessions[number].0, sessions[number].1.version, next);
    let (alone, loaded, first, second) =
        tokio::join!(store.load(&sessions[0].0), store.load(&sessions[1].0), update(2), update(3));
    assert_eq!(alone.unwrap(), Lookup::Found(sessions[0].1.clone()));
    assert_eq!(loaded.unwrap_err().kind(), ErrorKind::Unavailable);
    for saved in [first, second] {
        assert_eq!(saved.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(number_of_scripts(&server), scripts + 2);
}

#[test]
fn a_later_call_sends_the_commands_of_a_runtime_that_is_blocked_or_has_stopped() {
    if !is_wanted("redis") {
        return;
    }
    for shuts_down in [false, true] {
        let server = Redis::start();
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (running, stopped) = (runtime(), runtime());
        let (_proxy, store, sessions) = running.block_on(store_with_sessions(&server, LONG_TIMEOUT));
        let (key, record) = &sessions[0];
        // The first call is sent alone, and needs no task. Nobody runs the task that the second call starts.
        let (mut alone, mut call) = (store.load(key), store.load(key));
        running.block_on(start(&mut alone));
        stopped.block_on(start(&mut call));
        if shuts_down {
            drop(call);
            drop(stopped);
        }
        // A call sends commands that have waited for at least 10 ms. A longer pause has the same effect.
        let late = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            store.load(key).await
        };
        let (early, late) = running.block_on(async { tokio::join!(store.load(key), late) });
        for loaded in [early, late] {
            assert_eq!(loaded.unwrap(), Lookup::Found(record.clone()), "{shuts_down}");
        }
    }
}

#[test]
fn a_request_handler_that_blocks_its_thread_delays_no_call_of_another_thread() {
    if !is_wanted("redis") {
        return;
    }
    let server = Redis::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let clock = Arc::new(ManualClock::default());
    let store = runtime.block_on(store_with(LONG_TIMEOUT, server.url(), &clock));
    let block = || {
        let (release, released) = mpsc::channel::<()>();
        let (is_blocked, blocked) = mpsc::channel();
        let handler = async move {
            is_blocked.send(()).unwrap();
            // Also ends if the test fails and drops `release`.
            let _ = released.recv();
        };
        (handler, blocked, release)
    };
    // Blocks the second thread first, so that it takes no tasks from the first thread.
    let (handler, blocked, release_second) = block();
    runtime.spawn(handler);
    blocked.recv().unwrap();
    let (handler, blocked, _release_first) = block();
    let (first, second) = (store.clone(), store.clone());
    runtime.spawn(async move {
        tokio::spawn(handler);
        // The first call is sent alone. The second call starts the task that sends its group. This task runs once, before the
        // handler, and yields.
        let (one, other) = (key(), key());
        tokio::join!(first.load(&one), second.load(&other)).0.unwrap();
    });
    blocked.recv().unwrap();
    release_second.send(()).unwrap();
    assert_eq!(runtime.block_on(store.load(&key())).unwrap(), Lookup::Absent);
}
