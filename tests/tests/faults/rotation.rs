//! A rotation or login fails, and its last write arrives later. The session must not end.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::{Either, select};
use rocket::http::Header;
use rocket::local::asynchronous::Client;
use rocket::{get, routes};
use session_rocket::store::{self, Create, Lookup, Options, Retire, Store, Touch, Update};
use session_rocket::{Config, Error, Key, Record, Session, Timestamp, Tombstone, Version};
use session_rocket_tests::proxy::Proxy;
use session_rocket_tests::report::is_wanted;
use tokio::time::sleep;

use super::{Backend, TIMEOUT};

#[derive(Session)]
struct Visitor {
    count: u32,
    #[session(identity)]
    user_id: Option<u32>,
}

#[get("/count")]
fn count(session: Session<Visitor>) -> String {
    session.update_count(|count| *count += 1);
    session.count().to_string()
}

#[get("/show")]
fn show(session: Session<Visitor>) -> String {
    format!("{} {:?}", session.count(), session.user_id())
}

#[get("/cycle")]
fn cycle(session: Session<Visitor>) {
    session.cycle_id();
}

#[get("/login/<user>")]
fn login(session: Session<Visitor>, user: u32) {
    session.set_user_id(user);
}

/// Which requests to the server are held.
#[derive(Clone, Copy, Default)]
enum Hold {
    #[default]
    Nothing,
    /// The next retire.
    Retire,
    /// The next retire, and all later requests.
    RetireAndLater,
}

/// A store that can delay its next retire on the way to the server.
struct DelayRetire {
    store: Arc<dyn Store>,
    proxy: Arc<Proxy>,
    hold: Mutex<Hold>,
}

#[async_trait]
impl Store for DelayRetire {
    async fn load(&self, key: &Key) -> Result<Lookup, Error> {
        self.store.load(key).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create, Error> {
        self.store.create(key, record).await
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update, Error> {
        self.store.update(key, expected, record).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch, Error> {
        self.store.touch(key, expected, expires_at).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire, Error> {
        match std::mem::take(&mut *self.hold.lock().expect("the lock is not poisoned")) {
            Hold::Nothing => {}
            Hold::Retire => self.proxy.hold_next_request(),
            Hold::RetireAndLater => self.proxy.hold_next_request_and_later_ones(),
        }
        self.store.retire(key, expected, tombstone).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.store.delete(key).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64, Error> {
        self.store.delete_expired(limit).await
    }
}

/// A site in this process with its store.
struct Site {
    client: Client,
    store: Arc<DelayRetire>,
}

impl Site {
    async fn new(backend: &Backend) -> Self {
        let port = backend.server.port();
        let proxy = Arc::new(Proxy::to(port).await);
        let url = backend.url.replace(&format!(":{port}"), &format!(":{}", proxy.port()));
        let store = store::open(&Options::new(url).timeout(TIMEOUT)).await.expect("the store opens");
        let store = Arc::new(DelayRetire { store, proxy, hold: Mutex::default() });
        let config = Config::new().timeout(TIMEOUT).sweep_interval(None);
        let fairing = Session::<Visitor>::fairing().config(config).store(store.clone());
        let figment = rocket::Config::figment().merge(("log_level", "off"));
        let rocket = rocket::custom(figment).attach(fairing).mount("/", routes![count, show, cycle, login]);
        Self { client: Client::untracked(rocket).await.expect("the site launches"), store }
    }

    /// Starts a session with the count 10 and this user. Returns its cookie.
    async fn session(&self, user: Option<u32>) -> String {
        let mut cookie = self.get("/count", "").await.1.expect("a new session sets a cookie");
        // After this rotation, the statements are prepared, so the proxy delays the whole next statement.
        cookie = self.get("/cycle", &cookie).await.1.expect("a new id sets a cookie");
        if let Some(user) = user {
            cookie = self.get(&format!("/login/{user}"), &cookie).await.1.expect("a login sets a cookie");
        }
        for _ in 1..10 {
            self.get("/count", &cookie).await;
        }
        cookie
    }

    /// Makes the next retire wait at the proxy.
    fn hold(&self, hold: Hold) {
        *self.store.hold.lock().expect("the lock is not poisoned") = hold;
    }

    /// Returns the status, the cookie and the body of a response.
    async fn get(&self, path: &str, cookie: &str) -> (u16, Option<String>, String) {
        let response = self.client.get(path).header(Header::new("Cookie", cookie.to_owned())).dispatch().await;
        let status = response.status().code;
        let cookie =
            response.headers().get_one("Set-Cookie").and_then(|line| line.split(';').next().map(str::to_owned));
        (status, cookie, response.into_string().await.unwrap_or_default())
    }
}

/// How long the server may take to execute a delayed write.
const EXECUTION_TIME: Duration = Duration::from_secs(1);

/// How long after its start a retire arrives at the server if its request fails. The response is sent earlier.
const DELAY: Duration = TIMEOUT.saturating_mul(2);

/// The commits that retire a record, as the user before the request and the path of the request.
const REQUESTS: [(Option<u32>, &str); 4] =
    [(None, "/cycle"), (None, "/login/2"), (Some(1), "/login/2"), (Some(1), "/cycle")];

/// The proxy holds only the retire. The response is 200 if a fence is saved in time, and otherwise 503.
async fn a_late_retire_does_not_end_the_session(backend: Backend) {
    let site = Site::new(&backend).await;
    for (user, path) in REQUESTS {
        let cookie = site.session(user).await;
        site.hold(Hold::Retire);
        let (status, new, _) = site.get(path, &cookie).await;
        assert!(site.store.proxy.is_holding_request(), "the retire was not delayed");
        let is_saved = status == 200;
        assert_eq!(is_saved, new.is_some(), "{status}");
        let cookie = new.unwrap_or(cookie);
        site.store.proxy.release_request();
        let released = Instant::now();
        let expected = if is_saved { site.get("/show", &cookie).await.2 } else { format!("10 {user:?}") };
        while released.elapsed() < EXECUTION_TIME {
            assert_eq!(site.get("/show", &cookie).await.2, expected, "{path} as {user:?} had the status {status}");
        }
    }
}

/// Until the response, the proxy holds the retire and all later requests, so that no fence is saved in time. After the
/// response, only the retire is still held.
async fn a_retire_that_arrives_long_after_a_503_does_not_end_the_session(backend: Backend) {
    let site = Site::new(&backend).await;
    for (user, path) in REQUESTS {
        let cookie = site.session(user).await;
        site.hold(Hold::RetireAndLater);
        let response = pin!(site.get(path, &cookie));
        let retire = pin!(site.store.proxy.wait_for_held_request());
        let Either::Right(((), response)) = select(response, retire).await else {
            panic!("the response did not wait for the retire")
        };
        let started = Instant::now();
        let (status, new, _) = response.await;
        assert_eq!((status, new), (503, None), "{path} as {user:?}");
        site.store.proxy.release_later_requests();
        // The fence needs time to arrive before the retire.
        sleep(DELAY.saturating_sub(started.elapsed()).max(EXECUTION_TIME)).await;
        assert!(site.store.proxy.is_holding_request(), "the retire was not delayed");
        site.store.proxy.release_request();
        let released = Instant::now();
        while released.elapsed() < EXECUTION_TIME {
            assert_eq!(site.get("/show", &cookie).await.2, format!("10 {user:?}"), "{path} as {user:?}");
        }
        assert_eq!(site.get("/count", &cookie).await.2, "11", "{path} as {user:?}");
    }
}

macro_rules! on_servers {
    ($($name:ident)*) => {
        $(mod $name {
            use super::*;

            on_servers! { @tests $name
                a_late_retire_does_not_end_the_session
                a_retire_that_arrives_long_after_a_503_does_not_end_the_session
            }
        })*
    };
    (@tests $name:ident $($test:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            if is_wanted(stringify!($name)) {
                super::$test(Backend::$name()).await;
            }
        })*
    };
}

on_servers! { postgres mysql redis }
