//! Session ids: how they are generated, how long they are valid, and which ids the library accepts.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rocket::fairing::AdHoc;
use rocket::http::{ContentType, Cookie, Header, Method, Status};
use rocket::local::asynchronous::Client;
use session_rocket::store::{Create, Lookup, Retire, Store, Touch, Update};
use session_rocket::{Config, Error, Key, ManualClock, Record, Refresh, Timestamp, Tombstone, Version};
use session_rocket_tests::browser::Browser;
use session_rocket_tests::site_process::SiteProcess;
use session_rocket_tests::spy::Spy;

use super::site::{DAY, STRANGER, Site, launch, sealed, value};

/// The alphabet of base64url.
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Returns `text` with another letter at `index`.
fn with_other_letter(text: &str, index: usize) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    letters[index] = if letters[index] == 'A' { 'B' } else { 'A' };
    letters.into_iter().collect()
}

#[rocket::async_test]
async fn a_7_2_1_a_value_with_one_changed_letter_gives_an_empty_session() {
    for site in [
        Site::new(Config::new()).await,
        Site::configured(sealed("cookie+signed:")).await,
        Site::configured(sealed("cookie+encrypted:")).await,
    ] {
        let user = value(&site.user(7).await);
        assert_eq!(site.show(format!("sessionid={user}")).await, "7 0 ");
        for index in 0..user.len() {
            assert_eq!(
                site.show(format!("sessionid={}", with_other_letter(&user, index))).await,
                STRANGER,
                "letter {index}"
            );
        }
    }
}

#[rocket::async_test]
async fn a_7_2_2_a_constant_value_gives_an_empty_session() {
    let site = Site::new(Config::new()).await;
    site.user(7).await;
    for constant in [String::new(), "0".into(), "null".into(), "A".repeat(43), "_".repeat(43), "0".repeat(43)] {
        assert_eq!(site.show(format!("sessionid={constant}")).await, STRANGER);
    }
}

/// A store that replies `Taken` to the first calls of `create`.
#[derive(Clone)]
struct TakenKeyStore {
    spy: Spy,
    /// How many more calls of `create` to refuse.
    taken: Arc<AtomicUsize>,
}

#[async_trait]
impl Store for TakenKeyStore {
    async fn load(&self, key: &Key) -> Result<Lookup, Error> {
        self.spy.load(key).await
    }

    async fn create(&self, key: &Key, record: &Record) -> Result<Create, Error> {
        let one_less = |left: usize| left.checked_sub(1);
        match self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => Ok(Create::Taken),
            Err(_) => self.spy.create(key, record).await,
        }
    }

    async fn update(&self, key: &Key, expected: Version, record: &Record) -> Result<Update, Error> {
        self.spy.update(key, expected, record).await
    }

    async fn touch(&self, key: &Key, expected: Version, expires_at: Timestamp) -> Result<Touch, Error> {
        self.spy.touch(key, expected, expires_at).await
    }

    async fn retire(&self, key: &Key, expected: Option<Version>, tombstone: Tombstone) -> Result<Retire, Error> {
        self.spy.retire(key, expected, tombstone).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.spy.delete(key).await
    }

    async fn delete_expired(&self, limit: u32) -> Result<u64, Error> {
        self.spy.delete_expired(limit).await
    }
}

async fn client_with_taken_keys(taken: usize) -> Client {
    let clock = Arc::new(ManualClock::default());
    let store = TakenKeyStore { spy: Spy::new(clock.clone()), taken: Arc::new(AtomicUsize::new(taken)) };
    launch(Config::new(), clock, Some(store)).await
}

#[rocket::async_test]
async fn a_7_2_3_an_id_has_256_random_bits_and_is_generated_again_if_it_is_taken() {
    let site = Site::new(Config::new()).await;
    let mut ids = std::collections::HashSet::new();
    let mut counts = [0_u32; 64];
    for _ in 0..500 {
        let id = value(&site.user(7).await);
        assert_eq!(id.len(), 43);
        // The last letter has only four bits.
        for letter in id[..42].chars() {
            counts[LETTERS.find(letter).expect("the id is base64url")] += 1;
        }
        assert!(ids.insert(id));
    }
    // There are 21,000 letters, so about 328 of each, with a standard deviation of 18. A bias of a fifth is detected.
    assert!(counts.iter().all(|count| (220..440).contains(count)), "{counts:?}");
    let mut browser = Browser::default();
    let client = client_with_taken_keys(3).await;
    assert_eq!(browser.get(&client, "/count").await.status, Status::Ok);
    assert_eq!(browser.get(&client, "/count").await.body, "2");
    let response = Browser::default().get(&client_with_taken_keys(1000).await, "/count").await;
    assert!(response.status.code >= 500 && response.set_cookie().is_none());
}

#[rocket::async_test]
async fn a_7_2_4_a_login_gives_the_session_a_new_id_and_ends_the_old_id() {
    let site = Site::new(Config::new()).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/count").await;
    // A second login of the same user also changes the id.
    for login in ["/login/7", "/login/7", "/login/8"] {
        let before = browser.cookie.clone().unwrap();
        let token = site.get(&mut browser, "/token").await.body;
        site.get(&mut browser, login).await;
        assert_ne!(browser.cookie.as_ref(), Some(&before));
        assert_eq!(site.show(before).await, STRANGER);
        assert_eq!(site.post(&browser, &token).await, Status::Forbidden);
    }
}

#[rocket::async_test]
async fn a_7_3_1_an_idle_session_ends_even_if_the_store_still_has_its_record() {
    let site = Site::new(Config::new().expiry(DAY)).await;
    let user = site.user(7).await.cookie.unwrap();
    site.clock.advance(Duration::from_millis(86_399_999));
    assert_eq!(site.show(user.clone()).await, "7 0 ");
    site.clock.advance(Duration::from_millis(1));
    assert_eq!(site.show(user).await, STRANGER);
}

#[rocket::async_test]
async fn a_7_3_2_a_session_ends_after_its_maximum_lifetime_even_if_it_is_active() {
    let config = Config::new().expiry(DAY).max_lifetime(DAY * 3).refresh(Refresh::Always);
    for site in [
        Site::new(config.clone()).await,
        Site::configured(config.store("cookie+signed:").secret_keys([super::site::KEY])).await,
    ] {
        let mut browser = site.user(7).await;
        for hour in 1..72 {
            site.clock.advance(DAY / 24);
            let path = ["/show", "/count", "/name/ada"][hour % 3];
            site.get(&mut browser, path).await;
        }
        assert!(site.get(&mut browser, "/show").await.body.starts_with("7 "));
        site.clock.advance(DAY / 24);
        assert_eq!(site.get(&mut browser, "/show").await.body, STRANGER);
    }
}

#[rocket::async_test]
async fn a_7_6_2_a_request_that_sets_nothing_creates_no_session() {
    let site = Site::new(Config::new()).await;
    for path in ["/plain", "/show", "/admin", "/nowhere", "/debug", "/logout"] {
        let response = site.get(&mut Browser::default(), path).await;
        assert_eq!((response.set_cookie(), site.spy.take_loads(), site.spy.take_writes()), (None, 0, 0), "{path}");
    }
}

#[rocket::async_test]
async fn b_1_the_store_does_not_contain_the_id() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("sessions.db").display());
    let site = Site::configured(Config::new().store(url)).await;
    let id = value(&site.user(7).await);
    use base64::Engine as _;
    let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&id).unwrap();
    let mut stored = Vec::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        stored.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let contains = |part: &[u8]| stored.windows(part.len()).any(|window| window == part);
    assert!(contains(b"user_id"), "the session was not stored");
    assert!(!contains(id.as_bytes()) && !contains(&raw));
}

#[rocket::async_test]
async fn b_7_unknown_ids_and_logouts_write_nothing() {
    let site = Site::new(Config::new()).await;
    for n in 0..200 {
        let id = format!("{n:0>43}");
        for path in ["/show", "/logout"] {
            assert_eq!(site.send(format!("sessionid={id}"), path).await.status, Status::Ok);
        }
    }
    assert_eq!((site.spy.creates(), site.spy.take_writes()), (0, 0));
}

#[rocket::async_test]
async fn b_8_after_a_logout_the_old_id_gives_an_empty_session() {
    let site = Site::new(Config::new()).await;
    let mut browser = site.user(7).await;
    let old = browser.cookie.clone().unwrap();
    site.get(&mut browser, "/logout").await;
    assert_eq!(browser.cookie, None);
    assert_eq!(site.show("sessionid=").await, STRANGER);
    site.get(&mut browser, "/count").await;
    assert_ne!(browser.cookie.as_ref(), Some(&old));
    assert_eq!(site.show(old).await, STRANGER);
}

#[rocket::async_test]
async fn b_13_an_unknown_id_is_never_adopted() {
    let site = Site::new(Config::new()).await;
    let chosen = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for path in ["/count", "/login/7"] {
        let mut browser = Browser::with(format!("sessionid={chosen}"));
        site.get(&mut browser, path).await;
        assert_ne!(value(&browser), chosen, "{path}");
        assert_eq!(site.show(format!("sessionid={chosen}")).await, STRANGER);
    }
}

#[rocket::async_test]
async fn b_14_an_id_in_a_query_a_form_or_another_header_is_ignored() {
    let site = Site::new(Config::new()).await;
    let id = value(&site.user(7).await);
    let query = site.get(&mut Browser::default(), &format!("/show?sessionid={id}")).await;
    assert_eq!((query.body.as_str(), query.set_cookie()), (STRANGER, None));
    let form = format!("name=eve&sessionid={id}");
    let posted = Browser::default().post(&site.client, "/open", ContentType::Form, form).await;
    assert_eq!((posted.status, posted.set_cookie()), (Status::Ok, None));
    site.spy.take_loads();
    for name in ["sessionid", "X-Session-Id", "Authorization", "X-Sessionid", "Set-Cookie", "Cookie2"] {
        let header = Header::new(name, format!("sessionid={id}"));
        assert_eq!(site.with_header(Method::Get, "/show", header).await, (Status::Ok, None), "{name}");
    }
    assert_eq!(site.spy.take_loads(), 0);
}

/// The environment variable with the store URL of the site of another package.
const OFFICE_STORE: &str = "OFFICE_STORE";

/// Serves that site in the process that the next test starts. Without the environment variable, it does nothing.
#[rocket::async_test]
async fn serves_the_site_of_another_package() {
    let Ok(store) = std::env::var(OFFICE_STORE) else { return };
    let print_port =
        AdHoc::on_liftoff("port", |rocket| Box::pin(async move { println!("\nport {}", rocket.config().port) }));
    session_rocket_tests_office::rocket(store)
        .attach(print_port)
        .launch()
        .await
        .expect("the site shuts down without an error");
}

#[rocket::async_test]
async fn b_20_a_session_of_one_package_is_unknown_to_another_package() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let store = format!("sqlite://{}/sessions.db", directory.path().display());
    let [site, replica] = [(); 2].map(|()| SiteProcess::start(env!("CARGO_BIN_EXE_site"), directory.path(), &store));
    let mut this = Command::new(std::env::current_exe().expect("the path of this program is known"));
    this.args(["--exact", "ids::serves_the_site_of_another_package", "--nocapture"]);
    // On a busy machine, a call can take longer than the default timeout.
    let variables = [(OFFICE_STORE, &*store), ("ROCKET_SESSION", "{timeout=\"1 minute\"}")];
    let office = SiteProcess::start_with(this, directory.path(), &variables);
    let (customer, clerk) = (login_at(&site).await, login_at(&office).await);
    let mut responses = Vec::new();
    for (server, cookie) in [(&replica, &customer), (&office, &customer), (&site, &clerk), (&office, &clerk)] {
        responses.push(ask(server, "/whoami", cookie).await.text().await.expect("the body is text"));
    }
    assert_eq!(responses, ["ada", "nobody", "nobody", "ada"]);
}

async fn ask(server: &SiteProcess, path: &str, cookie: &str) -> reqwest::Response {
    let request = reqwest::Client::new().get(server.url(path)).header("cookie", cookie);
    request.send().await.expect("the site responds").error_for_status().expect("the status is 200")
}

/// Logs in as `ada` and returns the cookie.
async fn login_at(server: &SiteProcess) -> String {
    let response = ask(server, "/login/ada", "").await;
    let line = response.headers()["set-cookie"].to_str().expect("a cookie is ASCII");
    line.split(';').next().expect("`split` returns at least one part").to_owned()
}

#[rocket::async_test]
async fn b_20_a_session_of_one_type_is_unknown_to_another_type() {
    let site = Site::new(Config::new()).await;
    let mut browser = Browser::default();
    site.get(&mut browser, "/name/mallory").await;
    let id = value(&browser);
    assert_eq!(site.send(format!("admin={id}"), "/admin").await.body, "nobody");
    let mut admin = Browser::default();
    site.get(&mut admin, "/admin/root").await;
    assert_eq!(site.show(format!("sessionid={}", value(&admin))).await, STRANGER);
}

#[rocket::async_test]
async fn b_21_a_read_does_not_prolong_the_session() {
    let site = Site::new(Config::new().expiry(DAY)).await;
    let user = site.user(7).await.cookie.unwrap();
    for _ in 0..23 {
        site.clock.advance(DAY / 24);
        assert_eq!(site.show(user.clone()).await, "7 0 ");
    }
    site.clock.advance(DAY / 24);
    assert_eq!(site.show(user).await, STRANGER);
}

#[rocket::async_test]
async fn b_23_every_way_to_set_the_identity_gives_the_session_a_new_id() {
    use session_rocket::Session;
    // All accessors that write the identity, including those for the whole struct.
    let ways: [fn(&Session<super::site::Visitor>); 5] = [
        |session| session.set_user_id(7),
        |session| _ = session.setdefault_user_id(7),
        |session| session.update_user_id(|user| *user = Some(7)),
        |session| session.update(|visitor| visitor.user_id = Some(7)),
        |session| {
            let visitor = session.get();
            session.replace(super::site::Visitor { user_id: Some(7), ..visitor });
        },
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let clock = Arc::new(ManualClock::default());
        let rocket = super::site::site(Config::new(), clock.clone(), Some(Spy::new(clock)));
        let rocket = rocket.mount("/", rocket::routes![log_in]).manage(way);
        let client = Client::untracked(rocket).await.unwrap();
        let mut browser = Browser::default();
        browser.get(&client, "/count").await;
        let planted = browser.clone();
        browser.get(&client, "/log-in").await;
        assert_ne!(browser.cookie, planted.cookie, "way {number}");
        assert_eq!(browser.send(&client, "/show").await.body, "7 1 ");
        assert_eq!(planted.send(&client, "/show").await.body, STRANGER, "way {number}");
    }
}

#[rocket::get("/log-in")]
fn log_in(
    session: session_rocket::Session<super::site::Visitor>,
    way: &rocket::State<fn(&session_rocket::Session<super::site::Visitor>)>,
) {
    way(&session);
}

#[rocket::async_test]
async fn b_26_a_new_id_never_overwrites_an_existing_record() {
    // The first save and a login both generate another id if the key of the first is taken.
    let clock = Arc::new(ManualClock::default());
    let store = TakenKeyStore { spy: Spy::new(clock.clone()), taken: Arc::default() };
    let taken = store.taken.clone();
    let client = launch(Config::new(), clock, Some(store.clone())).await;
    let mut browser = Browser::default();
    for path in ["/count", "/login/7", "/login/8"] {
        taken.store(2, Ordering::SeqCst);
        let rows = store.spy.creates();
        assert_eq!(browser.get(&client, path).await.status, Status::Ok);
        assert_eq!((taken.load(Ordering::SeqCst), store.spy.creates()), (0, rows + 1), "{path}");
    }
    assert_eq!(browser.get(&client, "/show").await.body, "8 0 ");
}

#[rocket::async_test]
async fn b_37_invalid_lifetimes_and_names_abort_the_launch() {
    for seconds in [u64::MAX, u64::MAX / 1000, 34_560_001] {
        let clock = Arc::new(ManualClock::default());
        let expiry = Config::new().expiry(Duration::from_secs(seconds));
        let error = super::site::site(expiry, clock.clone(), Some(Spy::new(clock))).ignite().await.unwrap_err();
        assert!(matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)));
    }
    for name in ["a b", "a;b", "a=b", "", "ä", "a\r\nSet-Cookie: b", "__Host-x", "\"a\""] {
        let clock = Arc::new(ManualClock::default());
        let config = Config::new().cookie_name(name);
        let error = super::site::site(config, clock.clone(), Some(Spy::new(clock))).ignite().await.unwrap_err();
        assert!(matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)), "{name:?}");
    }
    // Malformed `Cookie` headers give an empty session.
    let site = Site::new(Config::new()).await;
    for header in ["sessionid", "=;=;;;", "sessionid==", "\u{0}", "sessionid=a=b; sessionid", "; ; sessionid = x"] {
        assert_eq!(site.show(header).await, STRANGER, "{header:?}");
    }
    let jar = site.client.get("/show").cookie(Cookie::new("sessionid", "\r\n;,\"")).dispatch().await;
    assert_eq!(jar.status(), Status::Ok);
}
