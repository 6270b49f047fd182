//! A rotation or login fails, and its last write arrives later. The session must not end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rocket::http::Header;
use rocket::local::asynchronous::Client;
use rocket::{get, routes};
use session_rocket::store::{self, Create, Lookup, Options, Retire, Store, Touch, Update};
use session_rocket::{Config, Error, Key, Record, Session, Timestamp, Tombstone, Version};
use session_rocket_tests::proxy::Proxy;
use session_rocket_tests::report::is_wanted;

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

/// A store that can delay its next retire on the way to the server.
struct DelayRetire {
    store: Arc<dyn Store>,
    proxy: Arc<Proxy>,
    delay_next: AtomicBool,
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
        if self.delay_next.swap(false, Ordering::SeqCst) {
            self.proxy.hold_next_request();
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
        let store = Arc::new(DelayRetire { store, proxy, delay_next: false.into() });
        let config = Config::new().timeout(TIMEOUT).sweep_interval(None);
        let fairing = Session::<Visitor>::fairing().config(config).store(store.clone());
        let figment = rocket::Config::figment().merge(("log_level", "off"));
        let rocket = rocket::custom(figment).attach(fairing).mount("/", routes![count, show, cycle, login]);
        Self { client: Client::untracked(rocket).await.expect("the site launches"), store }
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

async fn a_late_retire_does_not_end_the_session(backend: Backend) {
    let site = Site::new(&backend).await;
    for (user, path) in [(None, "/cycle"), (None, "/login/2"), (Some(1), "/login/2"), (Some(1), "/cycle")] {
        let mut cookie = site.get("/count", "").await.1.expect("a new session sets a cookie");
        // After this rotation, the statements are prepared, so the proxy delays the whole next statement.
        cookie = site.get("/cycle", &cookie).await.1.expect("a new id sets a cookie");
        if let Some(user) = user {
            cookie = site.get(&format!("/login/{user}"), &cookie).await.1.expect("a login sets a cookie");
        }
        for _ in 1..10 {
            site.get("/count", &cookie).await;
        }
        site.store.delay_next.store(true, Ordering::SeqCst);
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

macro_rules! on_servers {
    ($($name:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            if is_wanted(stringify!($name)) {
                a_late_retire_does_not_end_the_session(Backend::$name()).await;
            }
        })*
    };
}

on_servers! { postgres mysql redis }
