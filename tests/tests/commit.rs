//! The commit, over Rocket, on a store whose calls fail in a given order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rocket::local::asynchronous::Client;
use rocket::tokio::sync::Semaphore;
use rocket::{Build, Rocket, State, get, routes, tokio};
use session_rocket::store::memory::MemoryStore;
use session_rocket::store::{Create, Lookup, Retire, Store, Touch, Update};
use session_rocket::{
    Config, Error, ErrorKind, Key, ManualClock, Record, Refresh, Session, Timestamp, Tombstone, Version,
};
use session_rocket_tests::browser::Browser;

#[derive(Session)]
struct Visitor {
    name: Option<String>,
    count: u32,
    coupon: Option<String>,
    #[session(identity)]
    user_id: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    Well,
    /// Waits at the gate before it is done.
    Gate,
    /// Waits at the gate, then fails.
    GateFail,
    /// Done, answer lost.
    Lost,
    /// Not done, an error.
    Fail,
    /// Never answers; done when `arrive` is called.
    Late,
    Panic,
}

type LateCall = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

struct Rig {
    store: Arc<MemoryStore>,
    plan: Mutex<VecDeque<(&'static str, Fault)>>,
    down: Mutex<Vec<&'static str>>,
    arrived: Semaphore,
    open: Semaphore,
    late: Mutex<Vec<LateCall>>,
    log: Mutex<Vec<&'static str>>,
}

impl Rig {
    fn new(clock: &Arc<ManualClock>) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::new(MemoryStore::new(10_000, clock.clone())),
            plan: Mutex::default(),
            down: Mutex::default(),
            arrived: Semaphore::new(0),
            open: Semaphore::new(0),
            late: Mutex::default(),
            log: Mutex::default(),
        })
    }
    fn plan(&self, plan: &[(&'static str, Fault)]) {
        *self.plan.lock().unwrap() = plan.iter().copied().collect();
    }
    async fn arrive(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for call in late {
            call.await;
        }
    }
    async fn arrival(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }
    /// Waits for another call of this name.
    async fn reaches(&self, what: &'static str) {
        let calls = || self.log.lock().unwrap().iter().filter(|name| **name == what).count();
        let before = calls();
        let deadline = Instant::now() + Duration::from_secs(60);
        while calls() == before {
            assert!(Instant::now() < deadline, "nothing calls `{what}`");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    fn take(&self, what: &'static str) -> Fault {
        self.log.lock().unwrap().push(what);
        if self.down.lock().unwrap().contains(&what) {
            return Fault::Fail;
        }
        let mut plan = self.plan.lock().unwrap();
        if plan.front().is_some_and(|(name, _)| *name == what) { plan.pop_front().unwrap().1 } else { Fault::Well }
    }
    async fn call<A: Send + 'static>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<A, Error>> + Send + 'static,
    ) -> Result<A, Error> {
        let down = || Err(Error::new(ErrorKind::Unavailable, "the store is down"));
        match self.take(what) {
            Fault::Well => call.await,
            Fault::Gate => {
                self.arrived.add_permits(1);
                self.open.acquire().await.unwrap().forget();
                call.await
            }
            Fault::GateFail => {
                self.arrived.add_permits(1);
                self.open.acquire().await.unwrap().forget();
                down()
            }
            Fault::Lost => {
                let _ = call.await;
                down()
            }
            Fault::Fail => down(),
            Fault::Late => {
                self.late.lock().unwrap().push(Box::pin(async move { drop(call.await) }));
                std::future::pending().await
            }
            Fault::Panic => panic!("a store that panics"),
        }
    }
}

#[async_trait]
impl Store for Rig {
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
struct Stash(Mutex<Vec<Session<Visitor>>>);

impl Stash {
    fn take(&self) -> Session<Visitor> {
        self.0.lock().unwrap().pop().unwrap()
    }
}

struct Gate {
    arrived: Semaphore,
    open: Semaphore,
}

impl Gate {
    async fn pass(&self) {
        self.arrived.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }
    async fn arrival(&self) {
        self.arrived.acquire().await.unwrap().forget();
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
#[get("/held/take-flush")]
async fn held_take_flush(session: Session<Visitor>, gate: &State<Arc<Gate>>) -> String {
    gate.pass().await;
    let taken = session.transact(|v| v.coupon.take());
    session.flush();
    format!("{:?}", taken.await.map_err(|e| e.kind()))
}
#[get("/held/take-as/<user>")]
async fn held_take_as(session: Session<Visitor>, user: &str, gate: &State<Arc<Gate>>) -> String {
    gate.pass().await;
    let user = user.to_owned();
    let taken = session.transact(move |v| {
        v.user_id = (user != "nobody").then_some(user);
        v.coupon.take()
    });
    format!("{:?}", taken.await.map_err(|e| e.kind()))
}
#[get("/stash/count")]
fn stash_count(session: Session<Visitor>, stash: &State<Arc<Stash>>) {
    session.update_count(|c| *c += 1);
    stash.0.lock().unwrap().push(session);
}
#[get("/double-failure")]
async fn double_failure(session: Session<Visitor>, rig: &State<Arc<Rig>>) -> String {
    session.set_name("important");
    // Its caller goes away; it fails later.
    rig.plan(&[("update", Fault::GateFail), ("load", Fault::Fail)]);
    let mut save = Box::pin(session.save());
    assert!(futures::poll!(&mut save).is_pending());
    drop(save);
    rig.arrival().await;
    rig.open.add_permits(1);
    // When it has failed, the session shows what is stored.
    let deadline = Instant::now() + Duration::from_secs(60);
    while session.name().is_some() {
        assert!(Instant::now() < deadline, "the first save never ends");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // A second one, whose failure the handler expects: a counter that does not matter.
    rig.plan(&[("update", Fault::Fail), ("load", Fault::Fail)]);
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
    rig: Arc<Rig>,
    clock: Arc<ManualClock>,
    gate: Arc<Gate>,
    stash: Arc<Stash>,
}

fn build(
    rig: &Arc<Rig>,
    clock: &Arc<ManualClock>,
    config: Config,
    gate: &Arc<Gate>,
    stash: &Arc<Stash>,
) -> Rocket<Build> {
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    let fairing =
        Session::<Visitor>::fairing().config(config.sweep_interval(None)).store(rig.clone()).clock(clock.clone());
    rocket::custom(figment)
        .manage(rig.clone())
        .manage(gate.clone())
        .manage(stash.clone())
        .manage(clock.clone())
        .attach(fairing)
        .mount("/", routes![show, count, set, login, logout, cycle, coupon, take, held_take_flush, held_take_as])
        .mount("/", routes![stash_count, double_failure, retry_logout])
}

impl Site {
    async fn new(config: Config) -> Self {
        let clock = Arc::new(ManualClock::default());
        let rig = Rig::new(&clock);
        Self::on(config, rig, clock).await
    }
    async fn on(config: Config, rig: Arc<Rig>, clock: Arc<ManualClock>) -> Self {
        let gate = Arc::new(Gate { arrived: Semaphore::new(0), open: Semaphore::new(0) });
        let stash = Arc::<Stash>::default();
        let client = Client::untracked(build(&rig, &clock, config, &gate, &stash)).await.unwrap();
        Self { client, rig, clock, gate, stash }
    }
    async fn get(&self, browser: &mut Browser, path: &str) -> session_rocket_tests::browser::Answer {
        browser.get(&self.client, path).await
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// A task logs in while the response's commit runs: save says Ok, the browser must be told the new id.
#[rocket::async_test]
async fn a_task_that_logs_in_while_the_response_is_saved_has_its_cookie_sent() {
    let site = Site::new(Config::new()).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    site.rig.plan(&[("update", Fault::Gate), ("retire", Fault::Gate)]);
    let (answer, saved) = tokio::join!(browser.send(&site.client, "/stash/count"), async {
        site.rig.arrival().await;
        let session = site.stash.take();
        session.set_user_id("ada");
        let mut save = Box::pin(session.save());
        assert!(futures::poll!(&mut save).is_pending());
        site.rig.open.add_permits(2);
        save.await
    });
    browser.take(&answer);
    let shown = browser.get(&site.client, "/show").await.body;
    match saved {
        Ok(()) => assert_eq!(shown, "|2|ada"),
        Err(_) => assert_eq!(shown, "|2|"),
    }
}

/// Two requests take one coupon: one of them flushes before it awaits.
#[rocket::async_test]
async fn a_value_taken_before_a_logout_of_the_same_request_is_given_to_nobody_else() {
    let site = Site::new(Config::new()).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/coupon").await;
    let (held, other) = tokio::join!(browser.send(&site.client, "/held/take-flush"), async {
        site.gate.arrival().await;
        let other = browser.send(&site.client, "/take").await;
        site.gate.open.add_permits(1);
        other
    });
    assert!(!(held.body.contains("Some(\"C\")") && other.body.contains("Some(\"C\")")), "{} {}", held.body, other.body);
}

/// Two requests take one coupon: one changes the user in the same closure.
#[rocket::async_test]
async fn a_value_taken_with_a_change_of_the_user_is_taken_once() {
    for to in ["bob", "nobody"] {
        let site = Site::new(Config::new()).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/login/ada").await;
        site.get(&mut browser, "/coupon").await;
        let path = format!("/held/take-as/{to}");
        let (held, other) = tokio::join!(browser.send(&site.client, &path), async {
            site.gate.arrival().await;
            let other = browser.send(&site.client, "/take").await;
            site.gate.open.add_permits(1);
            other
        });
        assert!(
            !(held.body.contains("Some(\"C\")") && other.body.contains("Some(\"C\")")),
            "{to}: {} {}",
            held.body,
            other.body
        );
    }
}

/// The fence is not confirmed within its time; the retire arrives late.
#[rocket::async_test]
async fn a_retire_that_arrives_after_a_long_outage_does_not_end_the_session() {
    for (fails, path) in [(1, "/cycle"), (2, "/login/ada"), (2, "/cycle"), (1000, "/cycle")] {
        let site = Site::new(Config::new().timeout(Duration::from_millis(300))).await;
        let mut browser = Browser::default();
        for _ in 0..3 {
            site.get(&mut browser, "/count").await;
        }
        let mut plan = vec![("retire", Fault::Late)];
        plan.extend(std::iter::repeat_n(("update", Fault::Fail), fails));
        site.rig.plan(&plan);
        let answer = site.get(&mut browser, path).await;
        site.rig.plan(&[]);
        // The store is back; the visitor goes on only later.
        if fails == 1000 {
            site.rig.reaches("update").await;
        }
        site.rig.arrive().await;
        let shown = site.get(&mut browser, "/show").await.body;
        assert!(shown.starts_with("|3|"), "fence fails {fails}: {path} {} -> {shown}", answer.status);
    }
}

/// The retire was done, its answer lost; the fence sees that, but cannot load.
#[rocket::async_test]
async fn a_rotation_that_was_done_is_a_success_although_nothing_can_be_loaded() {
    let site = Site::new(Config::new().timeout(Duration::from_millis(300))).await;
    let mut browser = Browser::default();
    for _ in 0..3 {
        site.get(&mut browser, "/count").await;
    }
    let mut plan = vec![("load", Fault::Well), ("retire", Fault::Lost)];
    plan.extend(std::iter::repeat_n([("update", Fault::Well), ("load", Fault::Fail)], 1000).flatten());
    site.rig.plan(&plan);
    let answer = browser.send(&site.client, "/cycle").await;
    site.rig.plan(&[]);
    browser.take(&answer);
    let shown = site.get(&mut browser, "/show").await.body;
    assert_eq!(shown, "|3|", "{}", answer.status);
}

/// The clock is set back by 61 seconds after a session was renewed.
#[rocket::async_test]
async fn a_server_whose_clock_is_behind_ends_no_renewed_session() {
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
    let other = Site::on(Config::new().refresh(Refresh::Share(0.1)), site.rig.clone(), behind).await;
    let shown = browser.send(&other.client, "/show").await.body;
    assert_eq!(shown, "|0|ada");
}

/// A lowered expiry: a session that is used all the time by reads and equal saves.
#[rocket::async_test]
async fn an_active_visitor_survives_a_lowered_expiry() {
    for path in ["/set/1", "/show"] {
        let site = Site::new(Config::new()).await;
        let mut browser = Browser::default();
        site.get(&mut browser, "/set/1").await;
        let clock = site.clock.clone();
        let lowered = Site::on(
            Config::new().expiry(Duration::from_secs(3600)).refresh(Refresh::Share(0.1)),
            site.rig.clone(),
            clock.clone(),
        )
        .await;
        for minute in 0..20 {
            clock.advance(Duration::from_secs(600));
            let answer = browser.send(&lowered.client, path).await;
            assert_eq!(answer.status.code, 200);
            let shown = browser.send(&lowered.client, "/show").await.body;
            assert_eq!(shown, "|1|", "{path}: after {} minutes of use", (minute + 1) * 10);
        }
    }
}

/// A handler that tries a failed logout again.
#[rocket::async_test]
async fn a_logout_that_is_tried_again_ends_what_the_first_try_left() {
    for plan in [
        vec![("retire", Fault::Fail), ("load", Fault::Fail)],
        vec![("retire", Fault::Well), ("retire", Fault::Fail), ("load", Fault::Fail)],
    ] {
        let site = Site::new(Config::new()).await;
        let (mut one, mut two) = (Browser::default(), Browser::default());
        site.get(&mut one, "/login/ada").await;
        site.get(&mut two, "/login/ada").await;
        let both =
            Browser { cookie: Some(format!("{}; {}", one.cookie.clone().unwrap(), two.cookie.clone().unwrap())) };
        let mut full = vec![("load", Fault::Well)];
        full.extend(plan);
        site.rig.plan(&full);
        let answer = both.send(&site.client, "/retry-logout").await;
        if answer.status.code == 200 && answer.body.ends_with("Ok(())") {
            assert_eq!(site.get(&mut one, "/show").await.body, "|0|");
            assert_eq!(site.get(&mut two, "/show").await.body, "|0|", "the second session survived the logout");
        }
    }
}

/// The first save fails unseen, the second one is seen.
#[rocket::async_test]
async fn a_failure_that_nobody_saw_fails_the_response_although_a_later_one_was_seen() {
    let site = Site::new(Config::new()).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    let answer = site.get(&mut browser, "/double-failure").await;
    let shown = site.get(&mut browser, "/show").await.body;
    assert!(
        answer.status.code == 503 || shown.starts_with("important"),
        "{} {} -> {shown}",
        answer.status,
        answer.body
    );
}

/// Stores that panic at any call: later requests are well, nothing is a success that is none.
#[rocket::async_test]
async fn a_store_that_panics_while_it_renews_harms_no_reader() {
    let site = Site::new(Config::new().refresh(Refresh::Always)).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    site.clock.advance(DAY);
    site.rig.plan(&[("load", Fault::Well), ("touch", Fault::Panic)]);
    let answer = site.get(&mut browser, "/show").await;
    assert_eq!(answer.body, "|1|");
}

#[rocket::async_test]
async fn a_store_that_panics_in_a_write_is_500_and_loses_nothing() {
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
        let mut full = vec![("load", Fault::Well)];
        full.extend(plan.clone());
        site.rig.plan(&full);
        let answer = site.get(&mut browser, path).await;
        assert_eq!((answer.status.code, answer.set_cookie()), (500, None), "{path} {plan:?}");
        assert_eq!(site.get(&mut browser, "/show").await.body, "|1|", "{path} {plan:?}");
        assert_eq!(site.get(&mut browser, "/count").await.body, "2", "{path} {plan:?}");
    }
}

/// Flush of several where ending one fails: told, and what is live stays known to the browser.
#[rocket::async_test]
async fn a_logout_that_ends_one_of_two_sessions_leaves_the_cookie() {
    let site = Site::new(Config::new()).await;
    let (mut one, mut two) = (Browser::default(), Browser::default());
    site.get(&mut one, "/login/ada").await;
    site.get(&mut two, "/login/ada").await;
    let both = Browser { cookie: Some(format!("{}; {}", one.cookie.clone().unwrap(), two.cookie.clone().unwrap())) };
    site.rig.plan(&[("load", Fault::Well), ("retire", Fault::Well), ("retire", Fault::Fail), ("load", Fault::Fail)]);
    let answer = both.send(&site.client, "/logout").await;
    assert_eq!(answer.status.code, 503);
    assert_eq!(site.get(&mut one, "/show").await.body, "|0|");
    assert_eq!(site.get(&mut two, "/show").await.body, "|0|ada");
    assert_eq!(answer.all("set-cookie"), [""; 0], "503 and no session cookie, but one lives");
}

async fn coupons(stores: Vec<Site>, tag: &str) {
    let mut browser = Browser::default();
    for round in 0..25 {
        if round % 3 == 0 {
            browser.get(&stores[0].client, "/login/ada").await;
        }
        browser.get(&stores[0].client, "/coupon").await;
        let mut all = Vec::new();
        for n in 0..24 {
            let site = &stores[n % stores.len()];
            let path = match n {
                7 if round % 2 == 0 => "/cycle",
                11 => "/count",
                13 => "/count",
                _ => "/take",
            };
            all.push(browser.send(&site.client, path));
        }
        let answers = futures::future::join_all(all).await;
        let taken = answers.iter().filter(|a| a.body.contains("Some(\"C\")")).count();
        assert!(answers.iter().all(|a| a.status.code == 200), "{tag}");
        assert_eq!(taken, 1, "{tag} round {round}");
        for a in &answers {
            browser.take(a);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_requests_to_two_processes_takes_the_coupon() {
    let one = Site::new(Config::new()).await;
    let two = Site::on(Config::new(), one.rig.clone(), one.clock.clone()).await;
    coupons(vec![one, two], "memory").await;
}
