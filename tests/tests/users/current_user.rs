//! The guard `CurrentUser`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rocket::http::Status;
use rocket::request::Request;
use rocket::{State, catch, catchers, get, routes};
use session_rocket::testing::AsyncClientExt;
use session_rocket::{Config, CurrentUser, EndReason, EventKind, LoadError, LoadUser, ManualClock, Session, Transport};
use session_rocket_tests::browser::{Browser, over};
use session_rocket_tests::gate::Gate;
use session_rocket_tests::logs;
use session_rocket_tests::over_both_transports;
use session_rocket_tests::spy::Spy;

use super::events::Recorder;
use super::site::{Account, Site, memory, memory_and_sealed, rocket};

/// The accounts of the site: each name with the hash of its password.
#[derive(Default)]
struct Accounts {
    by_id: Mutex<HashMap<i64, (String, Option<String>)>>,
    loads: AtomicUsize,
}

impl Accounts {
    fn set(&self, id: i64, name: &str, auth_hash: &str) {
        let auth_hash = (!auth_hash.is_empty()).then(|| auth_hash.to_owned());
        self.by_id.lock().expect("the lock is not poisoned").insert(id, (name.to_owned(), auth_hash));
    }

    fn remove(&self, id: i64) {
        self.by_id.lock().expect("the lock is not poisoned").remove(&id);
    }

    fn take_loads(&self) -> usize {
        self.loads.swap(0, Ordering::SeqCst)
    }
}

struct User {
    id: i64,
    name: String,
    auth_hash: Option<String>,
}

/// The account with this id cannot be loaded.
const BROKEN: i64 = 13;

fn find(accounts: &Accounts, id: i64) -> Option<User> {
    let accounts = accounts.by_id.lock().expect("the lock is not poisoned");
    accounts.get(&id).map(|(name, auth_hash)| User { id, name: name.clone(), auth_hash: auth_hash.clone() })
}

impl LoadUser for User {
    type Session = Account;

    async fn load(id: &i64, request: &Request<'_>) -> Result<Option<Self>, LoadError> {
        let accounts = request.rocket().state::<Arc<Accounts>>().ok_or("the site manages its accounts")?;
        accounts.loads.fetch_add(1, Ordering::SeqCst);
        if *id == BROKEN {
            return Err("the table of accounts is gone".into());
        }
        Ok(find(accounts, *id))
    }

    fn identity(&self) -> i64 {
        self.id
    }

    fn auth_hash(&self) -> Option<String> {
        self.auth_hash.clone()
    }
}

#[get("/log-in/<id>")]
fn log_in(session: Session<Account>, id: i64, accounts: &State<Arc<Accounts>>) -> Option<()> {
    find(accounts, id)?.log_in(&session);
    Some(())
}

#[get("/slow-log-in/<id>")]
async fn slow_log_in(session: Session<Account>, id: i64, accounts: &State<Arc<Accounts>>, gate: &State<Gate>) {
    gate.pass().await;
    find(accounts, id).expect("the account exists").log_in(&session);
}

#[get("/me")]
fn me(user: CurrentUser<User>) -> String {
    user.session().update_count(|count| *count += 1);
    format!("{} {}", user.session().identity(), user.name)
}

#[get("/me", rank = 2)]
fn nobody(session: Session<Account>) -> String {
    format!("nobody, {:?}", session.user_id())
}

#[get("/three-guards")]
fn three_guards(
    first: CurrentUser<User>,
    second: CurrentUser<User>,
    third: Result<CurrentUser<User>, session_rocket::Error>,
) -> String {
    format!("{} {} {}", first.name, second.name, third.expect("the account is loaded").name)
}

#[get("/switch/<id>")]
fn switch(user: CurrentUser<User>, session: Session<Account>, id: i64) -> Status {
    assert_ne!(user.id, id);
    session.set_user_id(id);
    Status::ImATeapot
}

#[get("/log-out-and-fail")]
fn log_out_and_fail(user: CurrentUser<User>) -> Status {
    user.session().flush();
    Status::ImATeapot
}

#[catch(418)]
async fn teapot(request: &Request<'_>) -> String {
    match request.guard::<CurrentUser<User>>().await.succeeded() {
        Some(user) => format!("user {}", user.name),
        None => "nobody".to_owned(),
    }
}

struct UserSite {
    site: Site,
    is_in_memory: bool,
    accounts: Arc<Accounts>,
    recorder: Recorder,
}

impl UserSite {
    async fn new(config: Config) -> Self {
        let (is_in_memory, transport) = (config.is_in_memory(), config.transport);
        let clock = Arc::new(ManualClock::default());
        let (accounts, recorder) = (Arc::new(Accounts::default()), Recorder::default());
        let mut fairing = Session::<Account>::fairing().clock(clock.clone()).config(config);
        if is_in_memory {
            fairing = fairing.store(Spy::new(clock.clone())).on_event(recorder.receiver());
        }
        accounts.set(7, "Ada", "hash 1");
        accounts.set(8, "Bob", "");
        let rocket = rocket()
            .mount("/", routes![log_in, slow_log_in, me, nobody, three_guards, switch, log_out_and_fail])
            .register("/", catchers![teapot])
            .manage(accounts.clone())
            .manage(Gate::default());
        Self { site: Site::launch(rocket, fairing, clock).await.over(transport), is_in_memory, accounts, recorder }
    }

    async fn text(&self, browser: &mut Browser, path: &str) -> String {
        self.site.text(browser, path).await
    }

    async fn browser(&self, path: &str) -> Browser {
        self.site.browser(path).await
    }
}

over_both_transports! {
    the_account_of_the_user_is_loaded_once_per_request
    an_account_that_is_gone_ends_its_session
    a_changed_auth_hash_ends_every_session_that_logged_in_before
    logging_in_gives_the_session_a_new_id_and_keeps_its_data
    a_login_remembers_the_auth_hash_although_another_request_overtakes_it
    a_request_that_switches_the_user_loads_the_account_of_the_new_user
    a_catcher_does_not_see_the_account_that_the_handler_logged_out
    an_account_that_cannot_be_loaded_is_503_and_keeps_the_session
    a_store_that_fails_is_503_and_loads_no_account
}

async fn the_account_of_the_user_is_loaded_once_per_request(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = UserSite::new(config).await;
        let mut browser = site.browser("/log-in/7").await;
        assert_eq!(site.accounts.take_loads(), 0);
        assert_eq!(site.text(&mut browser, "/three-guards").await, "Ada Ada Ada");
        assert_eq!(site.accounts.take_loads(), 1);
        assert_eq!(site.text(&mut browser, "/me").await, "7 Ada");
        assert_eq!(site.accounts.take_loads(), 1);
        assert_eq!(site.text(&mut site.site.stranger(), "/me").await, "nobody, None");
        assert_eq!(site.accounts.take_loads(), 0, "an account was loaded for a visitor");
    }
}

async fn an_account_that_is_gone_ends_its_session(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = UserSite::new(config).await;
        let mut browser = site.browser("/log-in/7").await;
        let copy = browser.clone();
        site.accounts.remove(7);
        assert_eq!(site.text(&mut browser, "/me").await, "nobody, None");
        assert!(browser.has_no_cookie());
        if site.is_in_memory {
            assert_eq!(site.site.text(&mut copy.clone(), "/show").await, "nobody||0");
            assert_eq!(site.recorder.last(), (EventKind::Ended { reason: EndReason::UserGone }, Some("7".to_owned())));
        }
        // The account does not come back to life in the old session.
        site.accounts.set(7, "Ada", "hash 1");
        assert_eq!(site.text(&mut browser, "/me").await, "nobody, None");
    }
}

async fn a_changed_auth_hash_ends_every_session_that_logged_in_before(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = UserSite::new(config).await;
        let (mut phone, mut laptop) = (site.browser("/log-in/7").await, site.browser("/log-in/7").await);
        site.accounts.set(7, "Ada", "hash 2");
        site.text(&mut phone, "/log-in/7").await;
        assert_eq!(site.text(&mut phone, "/me").await, "7 Ada", "the session that logged in again has ended");
        assert_eq!(site.text(&mut laptop, "/me").await, "nobody, None");
        assert!(laptop.has_no_cookie());
        assert_eq!(site.text(&mut phone, "/me").await, "7 Ada");
        if site.is_in_memory {
            assert!(site.recorder.ends().contains(&(EndReason::AuthHashChanged, Some("7".to_owned()))));
        }
    }
}

async fn logging_in_gives_the_session_a_new_id_and_keeps_its_data(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = UserSite::new(config).await;
        let mut browser = site.browser("/device/phone").await;
        for path in ["/log-in/7", "/log-in/7"] {
            let before = browser.cookie.clone();
            site.text(&mut browser, path).await;
            assert_ne!(browser.cookie, before);
            assert_eq!(site.text(&mut browser, "/me").await, "7 Ada");
            assert!(site.text(&mut browser, "/show").await.starts_with("7|phone|"));
        }
        site.text(&mut browser, "/log-in/8").await;
        assert_eq!(site.text(&mut browser, "/me").await, "8 Bob");
        assert_eq!(site.text(&mut browser, "/show").await, "8||1", "a user has data of another user");
    }
}

async fn a_login_remembers_the_auth_hash_although_another_request_overtakes_it(transport: Transport) {
    for path in ["/rotate", "/device/laptop", "/logout", "/log-in/7", "/log-in/8"] {
        let site = UserSite::new(over(transport, memory())).await;
        let gate = site.site.client.rocket().state::<Gate>().expect("the site manages its gate");
        let mut browser = site.browser("/device/phone").await;
        let mut other = browser.clone();
        let (login, ()) = rocket::tokio::join!(browser.send(&site.site.client, "/slow-log-in/7"), async {
            gate.wait_for_arrival().await;
            site.text(&mut other, path).await;
            gate.open(1);
        });
        assert_eq!(login.status, Status::Ok, "{path}");
        browser.store_cookie(&login);
        assert_eq!(site.text(&mut browser, "/me").await, "7 Ada", "{path}");
    }
}

async fn a_request_that_switches_the_user_loads_the_account_of_the_new_user(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = UserSite::new(config).await;
        let mut browser = site.browser("/log-in/7").await;
        assert_eq!(site.site.get(&mut browser, "/switch/8").await.body, "user Bob");
        assert_eq!(site.text(&mut browser, "/me").await, "8 Bob");
    }
}

async fn a_catcher_does_not_see_the_account_that_the_handler_logged_out(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = UserSite::new(config).await;
        let mut browser = site.browser("/log-in/7").await;
        assert_eq!(site.site.get(&mut browser, "/log-out-and-fail").await.body, "nobody");
        assert!(browser.has_no_cookie());
    }
}

async fn an_account_that_cannot_be_loaded_is_503_and_keeps_the_session(transport: Transport) {
    for config in memory_and_sealed(transport) {
        let site = UserSite::new(config).await;
        let mut browser = site.browser(&format!("/login/{BROKEN}")).await;
        let response = site.site.get(&mut browser, "/me").await;
        assert_eq!((response.status, response.new_id()), (Status::ServiceUnavailable, None));
        assert!(site.text(&mut browser, "/show").await.starts_with("13|"));
        assert!(!logs::containing("cannot load the account of").is_empty());
        assert!(!logs::containing("the table of accounts is gone").is_empty());
    }
}

#[rocket::async_test]
async fn a_login_that_stored_no_auth_hash_is_ended_and_warned_about_once() {
    for config in memory_and_sealed(Transport::Cookie) {
        let site = UserSite::new(config).await;
        for _ in 0..2 {
            let mut browser = site.browser("/login/7").await;
            assert_eq!(site.text(&mut browser, "/me").await, "nobody, None");
        }
        // An account without an auth hash needs none.
        let mut browser = site.browser("/login/8").await;
        assert_eq!(site.text(&mut browser, "/me").await, "8 Bob");
    }
    let warnings = logs::containing("ended a session whose login stored no auth hash: log users in with `log_in`");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

async fn a_store_that_fails_is_503_and_loads_no_account(transport: Transport) {
    let clock = Arc::new(ManualClock::default());
    let (accounts, store) = (Arc::new(Accounts::default()), Spy::new(clock.clone()));
    accounts.set(7, "Ada", "hash 1");
    let config = over(transport, memory());
    let fairing = Session::<Account>::fairing().config(config).clock(clock.clone()).store(store.clone());
    let rocket = rocket().mount("/", routes![log_in, me]).manage(accounts.clone());
    let site = Site::launch(rocket, fairing, clock).await.over(transport);
    let browser = site.browser("/log-in/7").await;
    store.fail_loads(true);
    let response = browser.send(&site.client, "/me").await;
    assert_eq!((response.status, response.new_id()), (Status::ServiceUnavailable, None));
    assert_eq!(accounts.take_loads(), 0);
    store.fail_loads(false);
    assert_eq!(browser.send(&site.client, "/me").await.body, "7 Ada");
}

#[rocket::async_test]
async fn a_test_logs_a_user_in_with_an_asynchronous_client() {
    let site = UserSite::new(memory()).await;
    let user = find(&site.accounts, 7).expect("the account exists");
    let cookie = site.site.client.log_in(&user).await.expect("a login sets the cookie");
    let mut browser = Browser::with(format!("{}={}", cookie.name(), cookie.value()));
    assert_eq!(site.text(&mut browser, "/me").await, "7 Ada");
}
