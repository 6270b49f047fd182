//! `Session::ended`.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, join_all, select};
use rocket::tokio::task::yield_now;
use rocket::tokio::time::timeout;
use session_rocket::{Clock, Config, ManualClock, Session, Sleep, Timestamp};
use session_rocket_tests::browser::{Browser, Response};
use session_rocket_tests::logs;
use session_rocket_tests::spy::Spy;

use super::site::{Account, SEALED, Site, TIME_LIMIT, memory, rocket};

const WAIT: &str = "/wait-for-end";

/// The shortest poll interval.
const POLL: Duration = Duration::from_millis(100);

/// A clock on which no sleep ends, so that a task that waits for the end of a session never polls the store.
struct EndlessSleep(Arc<ManualClock>);

impl Clock for EndlessSleep {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(pending())
    }
}

/// Launches a site that never polls its store, so that only an event of this process can wake a task.
async fn site_without_polls(config: Config) -> (Site, Spy) {
    let clock = Arc::new(ManualClock::default());
    let store = Spy::new(clock.clone());
    let fairing = Session::<Account>::fairing().config(config).store(store.clone()).clock(EndlessSleep(clock.clone()));
    (Site::launch(rocket(), fairing, clock).await, store)
}

/// Runs `other`, and asserts that `waiting` does not complete meanwhile.
async fn while_waiting<O>(waiting: &mut (impl Future<Output = Response> + Unpin), other: impl Future<Output = O>) -> O {
    match select(waiting, pin!(other)).await {
        Either::Left((response, _)) => panic!("the wait ended too early: {response:?}"),
        Either::Right((output, _)) => output,
    }
}

/// Asserts that `waiting` completes.
async fn assert_ends(waiting: impl Future<Output = Response>) {
    let response = timeout(TIME_LIMIT, waiting).await.expect("the wait ends");
    assert_eq!((response.status.code, response.body.as_str()), (200, "ended"));
}

/// Waits until the store was asked `looks` times since the last call of `take_loads`.
async fn looks(store: &Spy, looks: usize) {
    let mut seen = store.take_loads();
    while seen < looks {
        yield_now().await;
        seen += store.take_loads();
    }
}

/// Starts a wait, runs `end`, and asserts that the wait then ends, although the site never polls the store.
async fn assert_ends_at_once(config: Config, end: impl AsyncFn(&Site, &mut Browser)) {
    let (site, store) = site_without_polls(config).await;
    let mut browser = site.user(7, "phone").await;
    let waiter = browser.clone();
    let mut waiting = Box::pin(waiter.send(&site.client, WAIT));
    store.take_loads();
    // The request loads its session, and the wait looks at the store.
    while_waiting(&mut waiting, looks(&store, 2)).await;
    Box::pin(end(&site, &mut browser)).await;
    assert_ends(waiting).await;
}

#[rocket::async_test]
async fn an_end_in_the_same_process_ends_the_wait_at_once() {
    assert_ends_at_once(memory(), async |site, browser| _ = site.text(browser, "/logout").await).await;
    assert_ends_at_once(memory(), async |site, _| _ = site.text(&mut Browser::default(), "/end-all/7").await).await;
    assert_ends_at_once(memory(), async |site, browser| {
        let handle = site.handle(browser).await;
        assert_eq!(site.text(&mut Browser::default(), &format!("/end/7/{handle}")).await, "1");
    })
    .await;
    assert_ends_at_once(memory(), async |site, _| {
        let mut other = site.user(7, "laptop").await;
        assert_eq!(site.text(&mut other, "/end-others").await, "1");
    })
    .await;
    assert_ends_at_once(memory().max_sessions(1), async |site, _| {
        site.clock.advance(Duration::from_secs(1));
        site.user(7, "laptop").await;
    })
    .await;
}

#[rocket::async_test]
async fn a_login_of_somebody_else_ends_the_wait_at_once() {
    assert_ends_at_once(memory(), async |site, browser| _ = site.text(browser, "/login/8").await).await;
}

#[rocket::async_test]
async fn a_login_ends_the_wait_of_the_visitor_before() {
    let (site, store) = site_without_polls(memory()).await;
    let mut browser = site.browser("/device/phone").await;
    let visitor = browser.clone();
    let mut waiting = pin!(visitor.send(&site.client, WAIT));
    store.take_loads();
    while_waiting(&mut waiting, looks(&store, 2)).await;
    site.text(&mut browser, "/login/7").await;
    assert_ends(waiting).await;
}

#[rocket::async_test]
async fn a_session_that_has_ended_already_ends_the_wait_at_once() {
    let (site, store) = site_without_polls(memory()).await;
    let mut browser = site.user(7, "phone").await;
    let old = browser.clone();
    site.text(&mut browser, "/logout").await;
    store.take_loads();
    assert_ends(old.send(&site.client, WAIT)).await;
}

#[rocket::async_test]
async fn new_ids_of_the_same_user_do_not_end_the_wait() {
    for polls in [false, true] {
        let (site, store) =
            if polls { Site::spied(memory().poll_interval(POLL)).await } else { site_without_polls(memory()).await };
        let mut browser = site.user(7, "phone").await;
        let waiter = browser.clone();
        let mut waiting = pin!(waiter.send(&site.client, WAIT));
        store.take_loads();
        while_waiting(&mut waiting, looks(&store, 2)).await;
        for path in ["/rotate", "/login/7", "/count", "/rotate"] {
            while_waiting(&mut waiting, site.text(&mut browser, path)).await;
            if polls {
                store.take_loads();
                while_waiting(&mut waiting, looks(&store, 3)).await;
            }
        }
        site.text(&mut browser, "/logout").await;
        assert_ends(waiting).await;
    }
}

#[rocket::async_test]
async fn an_end_in_another_process_ends_the_wait() {
    let (site, store) = Site::spied(memory().poll_interval(POLL)).await;
    let clock = site.clock.clone();
    // Another Rocket on the same store knows nothing of the tasks of this one.
    let other_store = store.clone();
    let other = Site::with(|_| Session::<Account>::fairing().store(other_store).clock(clock)).await;
    for path in ["/logout", "/end-all/7", "/login/8"] {
        let mut browser = site.user(7, "phone").await;
        let waiter = browser.clone();
        let mut waiting = pin!(waiter.send(&site.client, WAIT));
        store.take_loads();
        while_waiting(&mut waiting, looks(&store, 2)).await;
        // A new id from the other process does not end the wait.
        while_waiting(&mut waiting, other.text(&mut browser, "/rotate")).await;
        store.take_loads();
        while_waiting(&mut waiting, looks(&store, 3)).await;
        other.text(&mut browser, path).await;
        assert_ends(waiting).await;
    }
}

#[rocket::async_test]
async fn the_expiry_of_the_session_ends_the_wait() {
    let (site, store) = Site::spied(memory().poll_interval(POLL)).await;
    let browser = site.user(7, "phone").await;
    let mut waiting = pin!(browser.send(&site.client, WAIT));
    site.clock.advance(Duration::from_secs(13 * 86_400));
    store.take_loads();
    while_waiting(&mut waiting, looks(&store, 4)).await;
    site.clock.advance(Duration::from_secs(2 * 86_400));
    assert_ends(waiting).await;
}

#[rocket::async_test]
async fn a_store_that_is_down_does_not_end_the_wait_and_is_logged_once() {
    const MESSAGE: &str = "cannot check whether a session has ended, retrying";
    let (site, store) = Site::spied(memory().poll_interval(POLL)).await;
    let mut browser = site.user(7, "phone").await;
    let waiter = browser.clone();
    let mut waiting = pin!(waiter.send(&site.client, WAIT));
    store.take_loads();
    while_waiting(&mut waiting, looks(&store, 2)).await;
    store.fail_loads(true);
    while_waiting(&mut waiting, looks(&store, 4)).await;
    assert_eq!(logs::containing(MESSAGE).len(), 1);
    store.fail_loads(false);
    store.take_loads();
    while_waiting(&mut waiting, looks(&store, 3)).await;
    while_waiting(&mut waiting, site.text(&mut browser, "/count")).await;
    site.text(&mut browser, "/logout").await;
    assert_ends(waiting).await;
}

#[rocket::async_test]
async fn a_visitor_without_a_session_and_a_sealed_cookie_wait_forever() {
    let (site, store) = Site::spied(memory().poll_interval(POLL)).await;
    let sealed = Site::new(Config::new().store(SEALED).poll_interval(POLL)).await;
    let (user, sealed_user) = (site.user(7, "phone").await, sealed.user(7, "phone").await);
    let nobody = Browser::default();
    let mut stranger = pin!(nobody.send(&site.client, WAIT));
    let mut of_cookie = pin!(sealed_user.send(&sealed.client, WAIT));
    store.take_loads();
    {
        // Another wait shows that the time to ask the store came several times.
        let mut waiting = pin!(user.send(&site.client, WAIT));
        let looks = while_waiting(&mut waiting, looks(&store, 5));
        let both = pin!(while_waiting(&mut stranger, while_waiting(&mut of_cookie, looks)));
        timeout(TIME_LIMIT, both).await.expect("the store is asked");
    }
    store.take_loads();
    while_waiting(&mut stranger, yield_now()).await;
    assert_eq!(store.take_loads(), 0, "the wait of a visitor asks the store");
}

#[rocket::async_test]
async fn all_tasks_that_wait_for_one_session_end() {
    let (site, store) = site_without_polls(memory()).await;
    let mut browser = site.user(7, "phone").await;
    let waiters = [browser.clone(), browser.clone(), browser.clone()];
    store.take_loads();
    let mut waiting = pin!(join_all(waiters.iter().map(|waiter| waiter.send(&site.client, WAIT))));
    match select(&mut waiting, pin!(looks(&store, 6))).await {
        Either::Left(_) => panic!("a wait ended too early"),
        Either::Right(((), _)) => site.text(&mut browser, "/logout").await,
    };
    let responses = timeout(TIME_LIMIT, waiting).await.expect("all waits end");
    assert!(responses.iter().all(|response| response.body == "ended"));
}
