//! `Sessions`: listing, ending and changing the sessions of a user, on every store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{join, join_all};
use rocket::http::Status;
use session_rocket::store::memory::MemoryStore;
use session_rocket::store::{self, Create, Lookup, Options, Retire, Store, Touch, Update};
use session_rocket::{
    Clock, Config, Error, ErrorKind, Key, ManualClock, Record, Result, Session, SessionHandle, Sessions, Timestamp,
    Tombstone, Transport, Version,
};
use session_rocket_tests::backends::Backend;
use session_rocket_tests::browser::over;
use session_rocket_tests::logs;
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::Memcached;

use super::site::{Account, SEALED, Site, TIME_LIMIT, memory, rocket};

/// A session type in another scope, with the same identities.
#[derive(Session)]
#[session(scope = "others", config = "other")]
struct Other {
    #[session(identity)]
    user_id: Option<i64>,
}

#[rocket::get("/other/<user>")]
fn other(session: Session<Other>, user: i64) {
    session.set_user_id(user);
}

/// A site on one store.
struct StoreSite {
    site: Site,
    store: Arc<dyn Store>,
}

impl StoreSite {
    async fn new(backend: &Backend, transport: Transport) -> Self {
        let clock = Arc::new(ManualClock::default());
        let mut options = Options::new(&*backend.url).timeout(TIME_LIMIT).clock(clock.clone());
        if !backend.cache.is_empty() {
            options = options.cache(&*backend.cache);
        }
        let store = store::open(&options).await.expect("the store opens");
        let config = over(transport, Config::new().timeout(TIME_LIMIT));
        let other_config = match transport {
            Transport::Cookie => config.clone().cookie_name("other"),
            _ => config.clone().new_id_header("X-Other-Id"),
        };
        let fairing = Session::<Account>::fairing().config(config).store(store.clone()).clock(clock.clone());
        let other_type = Session::<Other>::fairing().config(other_config).store(store.clone());
        let rocket = rocket().attach(other_type.clock(clock.clone())).mount("/", rocket::routes![other]);
        Self { site: Site::launch(rocket, fairing, clock).await.over(transport), store }
    }
}

async fn check_store(name: &str, transport: Transport) {
    let Some(backend) = Backend::start(name) else { return };
    let site = StoreSite::new(&backend, transport).await;
    the_list_has_the_live_sessions_of_a_user_latest_login_first(&site.site).await;
    the_list_leaves_out_other_users_and_other_scopes(&site.site).await;
    a_damaged_session_is_not_listed(&site).await;
    a_revoked_session_ends_and_the_others_stay(&site.site).await;
    revoking_all_or_all_others_ends_exactly_these(&site.site).await;
    a_login_can_end_all_other_sessions_in_the_same_request(&site.site).await;
    an_update_changes_all_sessions_and_loses_no_change_of_a_request(&site.site).await;
    an_expired_session_is_not_listed(&site.site).await;
}

macro_rules! stores {
    ($($name:literal $transport:ident $test:ident)*) => {
        $(#[rocket::async_test]
        async fn $test() {
            check_store($name, Transport::$transport).await;
        })*
    };
}

stores! {
    "memory" Cookie the_sessions_of_a_user_are_listed_ended_and_changed_in_memory
    "sqlite" Cookie the_sessions_of_a_user_are_listed_ended_and_changed_in_sqlite
    "memory" Bearer the_sessions_of_apps_are_listed_ended_and_changed_in_memory
    "sqlite" Bearer the_sessions_of_apps_are_listed_ended_and_changed_in_sqlite
    "postgres" Cookie the_sessions_of_a_user_are_listed_ended_and_changed_in_postgres
    "mysql" Cookie the_sessions_of_a_user_are_listed_ended_and_changed_in_mysql
    "redis" Cookie the_sessions_of_a_user_are_listed_ended_and_changed_in_redis
    "redis-cluster" Cookie the_sessions_of_a_user_are_listed_ended_and_changed_in_a_redis_cluster
    "file" Cookie the_sessions_of_a_user_are_listed_ended_and_changed_in_files
    "cached" Cookie the_sessions_of_a_user_are_listed_ended_and_changed_behind_a_cache
}

async fn the_list_has_the_live_sessions_of_a_user_latest_login_first(site: &Site) {
    const USER: i64 = 10;
    assert!(site.sessions().list(&USER).await.expect("the store lists sessions").is_empty());
    let start = site.clock.now();
    let mut browsers = Vec::new();
    for device in ["first", "second", "third"] {
        site.clock.advance(Duration::from_secs(10));
        browsers.push(site.user(USER, device).await);
    }
    site.clock.advance(Duration::from_secs(10));
    site.text(&mut browsers[0], "/count").await;
    site.text(&mut browsers[1], "/rotate").await;
    let listed = site.sessions().list(&USER).await.expect("the store lists sessions");
    let at = |seconds| start.plus(Duration::from_secs(seconds));
    let expected = [("third", 0, 30, 30), ("second", 0, 20, 40), ("first", 1, 10, 40)];
    assert_eq!(listed.len(), expected.len());
    for (listing, (device, count, login, save)) in listed.iter().zip(expected) {
        let data = &listing.data;
        assert_eq!((data.device.as_deref(), data.count, data.user_id), (Some(device), count, Some(USER)));
        assert_eq!((listing.authenticated_at, listing.last_saved), (at(login), at(save)), "{device}");
        assert_eq!(listing.expires_at, at(save).plus(Duration::from_secs(14 * 86_400)), "{device}");
    }
    for (browser, listing) in browsers.iter_mut().zip(listed.iter().rev()) {
        assert_eq!(site.handle(browser).await, listing.handle);
    }
}

async fn the_list_leaves_out_other_users_and_other_scopes(site: &Site) {
    const USER: i64 = 20;
    let mut browser = site.user(USER, "phone").await;
    site.user(200, "phone").await;
    site.user(2, "phone").await;
    site.browser("/device/phone").await;
    site.browser(&format!("/other/{USER}")).await;
    assert_eq!(site.devices(USER).await, ["phone"]);
    let others = Sessions::<Other>::of(site.client.rocket()).expect("the fairing is attached");
    assert_eq!(others.list(&USER).await.expect("the store lists sessions").len(), 1);
    assert_eq!(others.revoke_all(&USER).await.expect("the store ends sessions"), 1);
    assert_eq!(site.devices(USER).await, ["phone"]);
    site.text(&mut browser, "/logout").await;
    assert!(site.devices(USER).await.is_empty());
    assert_eq!(site.devices(200).await, ["phone"]);
}

async fn a_damaged_session_is_not_listed(site: &StoreSite) {
    const USER: i64 = 30;
    let StoreSite { site, store } = site;
    site.user(USER, "damaged").await;
    let [(key, mut record)] =
        store.list("users", "30").await.expect("the store lists records").try_into().expect("there is one");
    let version = std::mem::replace(&mut record.version, Version::from_bits(1));
    // The first byte is the format.
    record.payload = record.payload.slice(..2);
    assert_eq!(store.update(&key, version, &record).await.expect("the store works"), Update::Updated);
    site.user(USER, "intact").await;
    assert_eq!(site.devices(USER).await, ["intact"]);
}

async fn a_revoked_session_ends_and_the_others_stay(site: &Site) {
    const USER: i64 = 40;
    let sessions = site.sessions();
    let revoke = async |user, handle| sessions.revoke(&user, &handle).await.expect("the store ends sessions");
    let (mut phone, mut laptop) = (site.user(USER, "phone").await, site.user(USER, "laptop").await);
    let mut stranger = site.user(400, "other").await;
    let handle = site.handle(&mut phone).await;
    assert_eq!(revoke(USER, site.handle(&mut stranger).await).await, 0, "a session of another user was ended");
    assert_eq!(revoke(400, handle).await, 0, "a session of another user was ended");
    let unknown: SessionHandle = "AAAAAAAAAAAAAAAAAAAAAA".parse().expect("it is a handle");
    assert_eq!(revoke(USER, unknown).await, 0);
    assert_eq!(site.devices(USER).await.len(), 2);
    assert_eq!(revoke(USER, handle).await, 1);
    assert_eq!(revoke(USER, handle).await, 0);
    assert_eq!(site.get(&mut phone, "/private").await.status, Status::Unauthorized);
    assert_eq!(site.devices(USER).await, ["laptop"]);
    let old = site.handle(&mut laptop).await;
    site.text(&mut laptop, "/rotate").await;
    assert_eq!(revoke(USER, old).await, 0, "a former handle is still valid");
    assert_eq!(site.text(&mut laptop, "/show").await, "40|laptop|0");
    assert_eq!(site.text(&mut stranger, "/show").await, "400|other|0");
}

async fn revoking_all_or_all_others_ends_exactly_these(site: &Site) {
    const USER: i64 = 50;
    let mut browsers = Vec::new();
    for device in ["a", "b", "c", "d"] {
        browsers.push(site.user(USER, device).await);
    }
    let mut stranger = site.user(500, "other").await;
    assert_eq!(site.text(&mut browsers[1], "/end-others").await, "3");
    assert_eq!(site.devices(USER).await, ["b"]);
    assert_eq!(site.text(&mut browsers[1], "/end-others").await, "0");
    for n in [0, 2, 3] {
        assert_eq!(site.get(&mut browsers[n], "/private").await.status, Status::Unauthorized);
    }
    site.user(USER, "e").await;
    assert_eq!(site.text(&mut browsers[1], "/end-all/50").await, "2");
    assert_eq!(site.get(&mut browsers[1], "/private").await.status, Status::Unauthorized);
    assert!(site.devices(USER).await.is_empty());
    assert_eq!(site.text(&mut stranger, "/end-all/50").await, "0");
    assert_eq!(site.text(&mut stranger, "/show").await, "500|other|0");
    let mut visitor = site.browser("/device/phone").await;
    assert_eq!(site.text(&mut visitor, "/end-others").await, "0");
    assert_eq!(site.text(&mut visitor, "/show").await, "nobody|phone|0");
}

async fn a_login_can_end_all_other_sessions_in_the_same_request(site: &Site) {
    const USER: i64 = 60;
    let (mut old, mut again) = (site.user(USER, "old").await, site.user(USER, "again").await);
    let mut new = site.browser("/device/new").await;
    assert_eq!(site.text(&mut new, "/login-and-end-others/60").await, "2");
    assert_eq!(site.text(&mut new, "/show").await, "60|new|0");
    assert_eq!(site.get(&mut old, "/private").await.status, Status::Unauthorized);
    assert_eq!(site.get(&mut again, "/private").await.status, Status::Unauthorized);
    site.user(USER, "another").await;
    assert_eq!(site.text(&mut new, "/login-and-end-others/60").await, "1");
    assert_eq!(site.devices(USER).await, ["new"]);
    let mut first = site.stranger();
    assert_eq!(site.text(&mut first, "/login-and-end-others/60").await, "1");
    assert_eq!(site.text(&mut first, "/show").await, "60||0");
}

async fn an_update_changes_all_sessions_and_loses_no_change_of_a_request(site: &Site) {
    const USER: i64 = 70;
    const REQUESTS: u32 = 10;
    const UPDATES: u32 = 5;
    let mut browsers = [site.user(USER, "phone").await, site.user(USER, "laptop").await];
    let mut stranger = site.user(700, "other").await;
    let requests = (0..REQUESTS).flat_map(|_| browsers.iter().map(|browser| browser.send(&site.client, "/count")));
    let updates = (0..UPDATES).map(|_| async {
        site.sessions().update(&USER, |account| account.count += 1000).await.expect("the sessions are changed")
    });
    let (responses, updated) = join(join_all(requests), join_all(updates)).await;
    assert!(responses.iter().all(|response| response.status == Status::Ok));
    assert!(updated.iter().all(|changed| *changed == 2), "{updated:?}");
    let count = 1000 * UPDATES + REQUESTS;
    for (browser, device) in browsers.iter_mut().zip(["phone", "laptop"]) {
        assert_eq!(site.text(browser, "/show").await, format!("70|{device}|{count}"));
    }
    assert_eq!(site.text(&mut stranger, "/show").await, "700|other|0");
    let error = site.sessions().update(&USER, |account| account.user_id = Some(71)).await.expect_err("it fails");
    assert_eq!(error.kind(), ErrorKind::TooLate);
    let error = site.sessions().update(&USER, |account| account.user_id = None).await.expect_err("it fails");
    assert_eq!(error.kind(), ErrorKind::TooLate);
    assert_eq!(site.devices(USER).await.len(), 2);
    assert_eq!(site.sessions().update(&71, |account| account.count = 0).await.expect("nothing is to be done"), 0);
}

async fn an_expired_session_is_not_listed(site: &Site) {
    const USER: i64 = 80;
    site.user(USER, "expired").await;
    let mut kept = site.user(USER, "saved").await;
    site.clock.advance(Duration::from_secs(10 * 86_400));
    site.text(&mut kept, "/count").await;
    assert_eq!(site.devices(USER).await.len(), 2);
    site.clock.advance(Duration::from_secs(4 * 86_400));
    assert_eq!(site.devices(USER).await, ["saved"]);
    assert_eq!(site.sessions().update(&USER, |account| account.count += 1).await.expect("the store works"), 1);
    assert_eq!(site.sessions().revoke_all(&USER).await.expect("the store works"), 1);
}

/// A store that ends one listed session before `list` returns.
struct EndsAfterList {
    store: MemoryStore,
    ends: Arc<AtomicBool>,
}

#[async_trait]
impl Store for EndsAfterList {
    async fn load(&self, key: &Key) -> Result<Lookup> {
        self.store.load(key).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create> {
        self.store.create(key, record).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update> {
        self.store.update(key, expected, record).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch> {
        self.store.touch(key, expected, expires_at).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire> {
        self.store.retire(key, expected, tombstone).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.store.delete(key).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64> {
        self.store.delete_expired(limit).await
    }

    async fn list(&self, scope: &str, identity: &str) -> Result<Vec<(Key, Record)>> {
        let listed = self.store.list(scope, identity).await?;
        if self.ends.load(Ordering::SeqCst) {
            let (key, record) = listed.first().expect("the user has a session");
            self.store.retire(key, None, Tombstone::ended(record.expires_at)).await?;
        }
        Ok(listed)
    }

    fn has_identity_index(&self) -> bool {
        true
    }
}

#[rocket::async_test]
async fn an_update_leaves_out_a_session_that_ends_meanwhile() {
    let ends = Arc::new(AtomicBool::new(false));
    let site = Site::with(|clock| {
        let store = EndsAfterList { store: MemoryStore::new(1000, clock.clone()), ends: ends.clone() };
        Session::<Account>::fairing().store(store).clock(clock)
    })
    .await;
    for device in ["a", "b", "c"] {
        site.user(7, device).await;
    }
    ends.store(true, Ordering::SeqCst);
    assert_eq!(site.sessions().update(&7, |account| account.count = 5).await.expect("the store works"), 2);
    ends.store(false, Ordering::SeqCst);
    let counts: Vec<u32> =
        site.sessions().list(&7).await.expect("the store works").iter().map(|listing| listing.data.count).collect();
    assert_eq!(counts, [5, 5]);
}

#[rocket::async_test]
async fn a_store_that_fails_fails_each_method() {
    let (site, store) = Site::spied(memory()).await;
    let mut browser = site.user(7, "phone").await;
    let handle = site.handle(&mut browser).await;
    store.fail_loads(true);
    for kind in kinds_of_errors(&site.sessions(), handle).await {
        assert_eq!(kind, Some(ErrorKind::Unavailable));
    }
    store.fail_loads(false);
    assert_eq!(site.text(&mut browser, "/show").await, "7|phone|0");
}

/// Calls all methods that need no session. Returns the kinds of their errors.
async fn kinds_of_errors(sessions: &Sessions<Account>, handle: SessionHandle) -> [Option<ErrorKind>; 4] {
    let kind = |error: Error| error.kind();
    [
        sessions.list(&7).await.err().map(kind),
        sessions.revoke(&7, &handle).await.err().map(kind),
        sessions.revoke_all(&7).await.err().map(kind),
        sessions.update(&7, |account| account.count += 1).await.err().map(kind),
    ]
}

/// Asserts that no method works, and that the session of a user is not affected.
async fn assert_unsupported(site: &Site) {
    let mut browser = site.user(7, "phone").await;
    let handle = "AAAAAAAAAAAAAAAAAAAAAA".parse().expect("it is a handle");
    for kind in kinds_of_errors(&site.sessions(), handle).await {
        assert_eq!(kind, Some(ErrorKind::Unsupported));
    }
    assert_eq!(site.get(&mut browser, "/end-others").await.status, Status::InternalServerError);
    assert_eq!(site.text(&mut browser, "/show").await, "7|phone|0");
}

#[rocket::async_test]
async fn sealed_cookies_support_no_method() {
    assert_unsupported(&Site::new(Config::new().store(SEALED)).await).await;
}

#[rocket::async_test]
async fn memcached_supports_no_method_and_the_launch_warns() {
    if !is_wanted("memcached") {
        return;
    }
    let server = Memcached::start();
    assert_unsupported(&Site::new(Config::new().store(server.url()).timeout(TIME_LIMIT)).await).await;
    let warning = "session type `Account` has an identity, but this store cannot list or revoke the sessions of a user";
    let warnings = logs::containing(warning);
    assert!(warnings.iter().all(|line| line.starts_with("WARN")) && !warnings.is_empty(), "{warnings:?}");
}

#[rocket::async_test]
async fn the_sessions_of_a_rocket_without_the_fairing_are_an_error() {
    let error =
        Sessions::<Account>::of(&logs::rocket(rocket::Config::figment())).expect_err("the fairing is not attached");
    assert_eq!(error.kind(), ErrorKind::NoFairing);
}

#[test]
fn a_handle_is_a_parameter_of_uri() {
    #[rocket::get("/end/<handle>")]
    #[expect(dead_code, reason = "only its URI is used")]
    fn end(handle: SessionHandle) -> String {
        handle.to_string()
    }

    let handle = "AAAAAAAAAAAAAAAAAAAAAA".parse::<SessionHandle>().expect("a handle");
    assert_eq!(rocket::uri!(end(handle)).to_string(), format!("/end/{handle}"));
}
