//! The commit through Rocket, on a store whose calls fail in a planned order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rocket::local::asynchronous::Client;
use rocket::{Build, Rocket, State, get, routes, tokio};
use session_rocket::store::memory::MemoryStore;
use session_rocket::store::{Create, Lookup, Retire, Store, Touch, Update};
use session_rocket::{
    Config, Error, ErrorKind, Key, ManualClock, Record, Refresh, Session, Timestamp, Tombstone, Version,
};
use session_rocket_tests::browser::{Browser, Response};
use session_rocket_tests::gate::Gate;

#[derive(Session)]
struct Visitor {
    name: Option<String>,
    count: u32,
    coupon: Option<String>,
    #[session(identity)]
    user_id: Option<String>,
}

/// What goes wrong with a call of the store.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    None,
    /// Waits at the gate before the call is executed.
    Wait,
    /// Waits at the gate, then fails.
    WaitAndFail,
    /// Executes the call and loses the reply.
    LoseReply,
    /// Fails without executing the call.
    Fail,
    /// Never replies. `run_delayed_calls` executes the call.
    Delay,
    Panic,
}

type DelayedCall = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

struct FaultStore {
    store: Arc<MemoryStore>,
    /// The next calls with a fault, by the name of the call. Other calls succeed.
    plan: Mutex<VecDeque<(&'static str, Fault)>>,
    gate: Gate,
    delayed: Mutex<Vec<DelayedCall>>,
    /// The names of the calls that were executed without a fault.
    executed: Mutex<Vec<&'static str>>,
}

impl FaultStore {
    fn new(clock: &Arc<ManualClock>) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::new(MemoryStore::new(10_000, clock.clone())),
            plan: Mutex::default(),
            gate: Gate::default(),
            delayed: Mutex::default(),
            executed: Mutex::default(),
        })
    }
    fn plan(&self, plan: &[(&'static str, Fault)]) {
        *self.plan.lock().unwrap() = plan.iter().copied().collect();
    }
    async fn run_delayed_calls(&self) {
        let delayed = std::mem::take(&mut *self.delayed.lock().unwrap());
        for call in delayed {
            call.await;
        }
    }
    /// How often this call was executed without a fault.
    fn executions(&self, what: &str) -> usize {
        self.executed.lock().unwrap().iter().filter(|name| **name == what).count()
    }
    /// Waits until this call was executed more than `before` times without a fault.
    async fn wait_for_execution(&self, what: &str, before: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.executions(what) <= before {
            assert!(Instant::now() < deadline, "`{what}` is not executed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    fn next_fault(&self, what: &'static str) -> Fault {
        let mut plan = self.plan.lock().unwrap();
        if plan.front().is_some_and(|(name, _)| *name == what) { plan.pop_front().unwrap().1 } else { Fault::None }
    }
    async fn call<A: Send + 'static>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<A, Error>> + Send + 'static,
    ) -> Result<A, Error> {
        let down = || Err(Error::new(ErrorKind::Unavailable, "the store is down"));
        match self.next_fault(what) {
            Fault::None => {
                let reply = call.await;
                self.executed.lock().unwrap().push(what);
                reply
            }
            Fault::Wait => {
                self.gate.pass().await;
                call.await
            }
            Fault::WaitAndFail => {
                self.gate.pass().await;
                down()
            }
            Fault::LoseReply => {
                let _ = call.await;
                down()
            }
            Fault::Fail => down(),
            Fault::Delay => {
                self.delayed.lock().unwrap().push(Box::pin(async move { drop(call.await) }));
                std::future::pending().await
            }
            Fault::Panic => panic!("a store that panics"),
        }
    }
}

#[async_trait]
impl Store for FaultStore {
    async fn load(&self, key: &Key) -> Result<Lookup, Error> {
        let (s, k) = (self.store.clone(), *key);
        self.call("load", async move { s.load(&k).await }).await
    }
    async fn create(&self, key: &Key, record: &Record) -> Result<Create, Error> {
        let (s, k, r) = (self.store.clone(), *key, record.clone());
        self.call("create", async move { s.create(&k, &r).await }).await
    }
    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update, Error> {
        let (s, k, r) = (self.store.clone(), *key, record.clone());
        self.call("update", async move { s.update(&k, expected, &r).await }).await
    }
    async fn touch(&self, key: &Key, expected: Version, at: Timestamp) -> Result<Touch, Error> {
        let (s, k) = (self.store.clone(), *key);
        self.call("touch", async move { s.touch(&k, expected, at).await }).await
    }
    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire, Error> {
        let (s, k) = (self.store.clone(), *key);
        self.call("retire", async move { s.retire(&k, expected, tombstone).await }).await
    }
    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let (s, k) = (self.store.clone(), *key);
        self.call("delete", async move { s.delete(&k).await }).await
    }
    async fn delete_expired(&self, limit: u32) -> Result<u64, Error> {
        self.store.delete_expired(limit).await
    }
}

#[derive(Default)]
/// Session handles that outlive their requests.
struct SavedHandles(Mutex<Vec<Session<Visitor>>>);

impl SavedHandles {
    fn take(&self) -> Session<Visitor> {
        self.0.lock().unwrap().pop().unwrap()
    }
}

#[get("/show")]
fn show(session: Session<Visitor>) -> String {
    let user = session.user_id().unwrap_or_default();
    format!("{}|{}|{user}", session.name().unwrap_or_default(), session.count())
}
#[get("/count")]
fn count(session: Session<Visitor>) -> String {
    session.update_count(|c| *c += 1);
    session.count().to_string()
}
#[get("/set/<n>")]
fn set(session: Session<Visitor>, n: u32) {
    session.set_count(n);
}
#[get("/login/<user>")]
fn login(session: Session<Visitor>, user: &str) {
    session.set_user_id(user);
}
#[get("/logout")]
fn logout(session: Session<Visitor>) {
    session.flush();
}
#[get("/cycle")]
fn cycle(session: Session<Visitor>) {
    session.cycle_id();
}
#[get("/coupon")]
fn coupon(session: Session<Visitor>) {
    session.set_coupon("C");
}
#[get("/take")]
async fn take(session: Session<Visitor>) -> String {
    format!("{:?}", session.transact(|v| v.coupon.take()).await.map_err(|e| e.kind()))
}
#[get("/slow/take-flush")]
async fn slow_take_flush(session: Session<Visitor>, gate: &State<Arc<Gate>>) -> String {
    gate.pass().await;
    let taken = session.transact(|v| v.coupon.take());
    session.flush();
    format!("{:?}", taken.await.map_err(|e| e.kind()))
}
#[get("/slow/take-as/<user>")]
async fn slow_take_as(session: Session<Visitor>, user: &str, gate: &State<Arc<Gate>>) -> String {
    gate.pass().await;
    let user = user.to_owned();
    let taken = session.transact(move |v| {
        v.user_id = (user != "nobody").then_some(user);
        v.coupon.take()
    });
    format!("{:?}", taken.await.map_err(|e| e.kind()))
}
#[get("/handles/count")]
fn count_and_keep_handle(session: Session<Visitor>, handles: &State<Arc<SavedHandles>>) {
    session.update_count(|c| *c += 1);
    handles.0.lock().unwrap().push(session);
}
#[get("/double-failure")]
async fn double_failure(session: Session<Visitor>, store: &State<Arc<FaultStore>>) -> String {
    session.set_name("important");
    // The caller drops this save, which fails later.
    store.plan(&[("update", Fault::WaitAndFail), ("load", Fault::Fail)]);
    let mut save = Box::pin(session.save());
    assert!(futures::poll!(&mut save).is_pending());
    drop(save);
    store.gate.wait_for_arrival().await;
    store.gate.open(1);
    // After the failure, the session shows the stored values.
    let deadline = Instant::now() + Duration::from_secs(60);
    while session.name().is_some() {
        assert!(Instant::now() < deadline, "the first save does not finish");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The second save also fails, and the handler ignores that failure.
    store.plan(&[("update", Fault::Fail), ("load", Fault::Fail)]);
    session.update_count(|count| *count += 1);
    let counted = session.save().await.is_ok();
    format!("counted: {counted}")
}
#[get("/retry-logout")]
async fn retry_logout(session: Session<Visitor>) -> String {
    session.flush();
    let first = session.save().await.map_err(|e| e.kind());
    session.flush();
    let second = session.save().await.map_err(|e| e.kind());
    format!("{first:?} {second:?}")
}

struct Site {
    client: Client,
    store: Arc<FaultStore>,
    clock: Arc<ManualClock>,
    gate: Arc<Gate>,
    handles: Arc<SavedHandles>,
}

fn build(
    store: &Arc<FaultStore>,
    clock: &Arc<ManualClock>,
    config: Config,
    gate: &Arc<Gate>,
    handles: &Arc<SavedHandles>,
) -> Rocket<Build> {
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    let fairing =
        Session::<Visitor>::fairing().config(config.sweep_interval(None)).store(store.clone()).clock(clock.clone());
    rocket::custom(figment)
        .manage(store.clone())
        .manage(gate.clone())
        .manage(handles.clone())
        .manage(clock.clone())
        .attach(fairing)
        .mount("/", routes![show, count, set, login, logout, cycle, coupon, take, slow_take_flush, slow_take_as])
        .mount("/", routes![count_and_keep_handle, double_failure, retry_logout])
}

impl Site {
    async fn new(config: Config) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = FaultStore::new(&clock);
        Self::on(config, store, clock).await
    }
    async fn on(config: Config, store: Arc<FaultStore>, clock: Arc<ManualClock>) -> Self {
        let gate = Arc::<Gate>::default();
        let handles = Arc::<SavedHandles>::default();
        let client = Client::untracked(build(&store, &clock, config, &gate, &handles)).await.unwrap();
        Self { client, store, clock, gate, handles }
    }
    async fn get(&self, browser: &mut Browser, path: &str) -> Response {
        browser.get(&self.client, path).await
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// If the task's `save` succeeds, the browser must receive the new id.
#[rocket::async_test]
async fn a_login_by_a_task_while_the_response_commits_reaches_the_browser() {
    let site = Site::new(Config::new()).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    site.store.plan(&[("update", Fault::Wait), ("retire", Fault::Wait)]);
    let (response, saved) = tokio::join!(browser.send(&site.client, "/handles/count"), async {
        site.store.gate.wait_for_arrival().await;
        let session = site.handles.take();
        session.set_user_id("ada");
        let mut save = Box::pin(session.save());
        assert!(futures::poll!(&mut save).is_pending());
        site.store.gate.open(2);
        save.await
    });
    browser.store_cookie(&response);
    let shown = browser.get(&site.client, "/show").await.body;
    match saved {
        Ok(()) => assert_eq!(shown, "|2|ada"),
        Err(_) => assert_eq!(shown, "|2|"),
    }
}

/// Two requests take one coupon. One of them calls `flush` before it awaits the result.
#[rocket::async_test]
async fn a_value_taken_before_a_logout_in_the_same_request_is_taken_once() {
    let site = Site::new(Config::new()).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/coupon").await;
    let (slow, other) = tokio::join!(browser.send(&site.client, "/slow/take-flush"), async {
        site.gate.wait_for_arrival().await;
        let other = browser.send(&site.client, "/take").await;
        site.gate.open(1);
        other
    });
    assert!(!(slow.body.contains("Some(\"C\")") && other.body.contains("Some(\"C\")")), "{} {}", slow.body, other.body);
}

/// Two requests take one coupon. One of them changes the user in the same closure.
#[rocket::async_test]
async fn a_value_taken_together_with_a_change_of_user_is_taken_once() {
    for to in ["bob", "nobody"] {
        let site = Site::new(Config::new()).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/login/ada").await;
        site.get(&mut browser, "/coupon").await;
        let path = format!("/slow/take-as/{to}");
        let (slow, other) = tokio::join!(browser.send(&site.client, &path), async {
            site.gate.wait_for_arrival().await;
            let other = browser.send(&site.client, "/take").await;
            site.gate.open(1);
            other
        });
        assert!(
            !(slow.body.contains("Some(\"C\")") && other.body.contains("Some(\"C\")")),
            "{to}: {} {}",
            slow.body,
            other.body
        );
    }
}

/// The update that fences the late retire off fails several times, and then the retire arrives.
#[rocket::async_test]
async fn a_retire_that_arrives_late_does_not_end_the_session() {
    for (fails, path) in [(1, "/cycle"), (2, "/login/ada"), (2, "/cycle"), (1000, "/cycle")] {
        let site = Site::new(Config::new().timeout(Duration::from_secs(2))).await;
        let mut browser = Browser::default();
        for _ in 0..3 {
            site.get(&mut browser, "/count").await;
        }
        let updates = site.store.executions("update");
        let mut plan = vec![("retire", Fault::Delay)];
        plan.extend(std::iter::repeat_n(("update", Fault::Fail), fails));
        site.store.plan(&plan);
        let response = site.get(&mut browser, path).await;
        site.store.plan(&[]);
        // The store works again before the retire arrives. If no update succeeded in time, a background task repeats it.
        site.store.wait_for_execution("update", updates).await;
        site.store.run_delayed_calls().await;
        let shown = site.get(&mut browser, "/show").await.body;
        assert!(shown.starts_with("|3|"), "fence fails {fails}: {path} {} -> {shown}", response.status);
    }
}

/// The retire is executed and its reply is lost. The next update finds the tombstone, but no load succeeds.
#[rocket::async_test]
async fn a_rotation_that_was_executed_succeeds_although_no_load_succeeds() {
    let site = Site::new(Config::new().timeout(Duration::from_millis(300))).await;
    let mut browser = Browser::default();
    for _ in 0..3 {
        site.get(&mut browser, "/count").await;
    }
    let mut plan = vec![("load", Fault::None), ("retire", Fault::LoseReply)];
    plan.extend(std::iter::repeat_n([("update", Fault::None), ("load", Fault::Fail)], 1000).flatten());
    site.store.plan(&plan);
    let response = browser.send(&site.client, "/cycle").await;
    site.store.plan(&[]);
    browser.store_cookie(&response);
    let shown = site.get(&mut browser, "/show").await.body;
    assert_eq!(shown, "|3|", "{}", response.status);
}

#[rocket::async_test]
async fn a_server_whose_clock_is_two_minutes_behind_accepts_a_renewed_session() {
    let site = Site::new(Config::new().refresh(Refresh::Share(0.1))).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/login/ada").await;
    for _ in 0..10 {
        site.clock.advance(DAY * 2);
        assert_eq!(site.get(&mut browser, "/show").await.body, "|0|ada");
    }
    // Another server, whose clock is two minutes behind.
    use session_rocket::Clock;
    let behind = Arc::new(ManualClock::at(Timestamp::from_millis(site.clock.now().as_millis() - 120_000)));
    let other = Site::on(Config::new().refresh(Refresh::Share(0.1)), site.store.clone(), behind).await;
    let shown = browser.send(&other.client, "/show").await.body;
    assert_eq!(shown, "|0|ada");
}

/// The session is used all the time, by reads or by saves of equal values.
#[rocket::async_test]
async fn an_active_visitor_survives_a_lowered_expiry() {
    for path in ["/set/1", "/show"] {
        let site = Site::new(Config::new()).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/set/1").await;
        let clock = site.clock.clone();
        let lowered = Site::on(
            Config::new().expiry(Duration::from_secs(3600)).refresh(Refresh::Share(0.1)),
            site.store.clone(),
            clock.clone(),
        )
        .await;
        for minute in 0..20 {
            clock.advance(Duration::from_secs(600));
            let response = browser.send(&lowered.client, path).await;
            assert_eq!(response.status.code, 200);
            let shown = browser.send(&lowered.client, "/show").await.body;
            assert_eq!(shown, "|1|", "{path}: after {} minutes of use", (minute + 1) * 10);
        }
    }
}

/// The request presents two sessions.
#[rocket::async_test]
async fn a_retried_logout_ends_the_sessions_that_the_first_attempt_did_not_end() {
    for plan in [
        vec![("retire", Fault::Fail), ("load", Fault::Fail)],
        vec![("retire", Fault::None), ("retire", Fault::Fail), ("load", Fault::Fail)],
    ] {
        let site = Site::new(Config::new()).await;
        let (mut one, mut two) = (Browser::default(), Browser::default());
        site.get(&mut one, "/login/ada").await;
        site.get(&mut two, "/login/ada").await;
        let both = Browser::with(format!("{}; {}", one.cookie.clone().unwrap(), two.cookie.clone().unwrap()));
        let mut faults = vec![("load", Fault::None)];
        faults.extend(plan);
        site.store.plan(&faults);
        let response = both.send(&site.client, "/retry-logout").await;
        if response.status.code == 200 && response.body.ends_with("Ok(())") {
            assert_eq!(site.get(&mut one, "/show").await.body, "|0|");
            assert_eq!(site.get(&mut two, "/show").await.body, "|0|", "the second session survived the logout");
        }
    }
}

/// The handler drops the first save, and sees the failure of the second.
#[rocket::async_test]
async fn a_failed_save_that_the_handler_did_not_see_fails_the_response() {
    let site = Site::new(Config::new()).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    let response = site.get(&mut browser, "/double-failure").await;
    let shown = site.get(&mut browser, "/show").await.body;
    assert!(
        response.status.code == 503 || shown.starts_with("important"),
        "{} {} -> {shown}",
        response.status,
        response.body
    );
}

#[rocket::async_test]
async fn a_panic_of_the_store_during_a_renewal_does_not_fail_a_read() {
    let site = Site::new(Config::new().refresh(Refresh::Always)).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    site.clock.advance(DAY);
    site.store.plan(&[("load", Fault::None), ("touch", Fault::Panic)]);
    let response = site.get(&mut browser, "/show").await;
    assert_eq!(response.body, "|1|");
}

#[rocket::async_test]
async fn a_panic_of_the_store_during_a_write_is_500_and_changes_nothing() {
    for (path, plan) in [
        ("/count", vec![("update", Fault::Panic)]),
        ("/login/ada", vec![("create", Fault::Panic)]),
        ("/login/ada", vec![("retire", Fault::Panic)]),
        ("/logout", vec![("retire", Fault::Panic)]),
        ("/cycle", vec![("retire", Fault::Fail), ("update", Fault::Panic)]),
        ("/set/1", vec![("touch", Fault::Panic)]),
    ] {
        let site = Site::new(Config::new()).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/count").await;
        let mut faults = vec![("load", Fault::None)];
        faults.extend(plan.clone());
        site.store.plan(&faults);
        let response = site.get(&mut browser, path).await;
        assert_eq!((response.status.code, response.set_cookie()), (500, None), "{path} {plan:?}");
        assert_eq!(site.get(&mut browser, "/show").await.body, "|1|", "{path} {plan:?}");
        assert_eq!(site.get(&mut browser, "/count").await.body, "2", "{path} {plan:?}");
    }
}

/// The response is 503, and the browser keeps the cookie of the session that is still live.
#[rocket::async_test]
async fn a_logout_that_ends_only_one_of_two_sessions_keeps_the_cookie() {
    let site = Site::new(Config::new()).await;
    let (mut one, mut two) = (Browser::default(), Browser::default());
    site.get(&mut one, "/login/ada").await;
    site.get(&mut two, "/login/ada").await;
    let both = Browser::with(format!("{}; {}", one.cookie.clone().unwrap(), two.cookie.clone().unwrap()));
    site.store.plan(&[("load", Fault::None), ("retire", Fault::None), ("retire", Fault::Fail), ("load", Fault::Fail)]);
    let response = both.send(&site.client, "/logout").await;
    assert_eq!(response.status.code, 503);
    assert_eq!(site.get(&mut one, "/show").await.body, "|0|");
    assert_eq!(site.get(&mut two, "/show").await.body, "|0|ada");
    assert_eq!(response.header_values("set-cookie"), [""; 0], "the cookie was removed although a session is live");
}

/// Asserts that exactly one of many concurrent requests takes the coupon, in each round.
async fn assert_coupon_is_taken_once(sites: &[Site]) {
    let mut browser = Browser::default();
    for round in 0..25 {
        if round % 3 == 0 {
            browser.get(&sites[0].client, "/login/ada").await;
        }
        browser.get(&sites[0].client, "/coupon").await;
        let mut all = Vec::new();
        for n in 0..24 {
            let site = &sites[n % sites.len()];
            let path = match n {
                7 if round % 2 == 0 => "/cycle",
                11 => "/count",
                13 => "/count",
                _ => "/take",
            };
            all.push(browser.send(&site.client, path));
        }
        let responses = futures::future::join_all(all).await;
        let taken = responses.iter().filter(|a| a.body.contains("Some(\"C\")")).count();
        assert!(responses.iter().all(|a| a.status.code == 200), "a request failed in round {round}");
        assert_eq!(taken, 1, "round {round}");
        for a in &responses {
            browser.store_cookie(a);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_requests_to_two_sites_takes_the_coupon() {
    let one = Site::new(Config::new()).await;
    let two = Site::on(Config::new(), one.store.clone(), one.clock.clone()).await;
    assert_coupon_is_taken_once(&[one, two]).await;
}
