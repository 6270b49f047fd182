use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use rocket::futures::future::join;
use rocket::http::{ContentType, Cookie, Header, Status};
use rocket::local::asynchronous;
use rocket::local::blocking::{Client, LocalRequest, LocalResponse};
use rocket::{Build, Rocket};
use serde_json::{Value, json};
use session_rocket::testing::{self, AsyncClientExt, ClientExt};
use session_rocket::{LoadUser, ManualClock, Session, Sessions};

use crate::device::Device;
use crate::pages::Theme;
use crate::user::Account;
use crate::users::{User, Users};

/// The status, the `Location` header, and the body.
type Reply = (Status, String, String);

fn rocket(clock: Arc<ManualClock>) -> Rocket<Build> {
    let figment = rocket::Config::figment().merge(("log_level", "off"));
    testing::isolated(super::site(clock).configure(figment))
}

/// Adds a user without a valid password. Only a test can log this user in.
fn add_user<P: rocket::Phase>(rocket: &Rocket<P>, name: &str) -> User {
    rocket.state::<Users>().unwrap().add(name, format!("the hash of {name}")).unwrap()
}

fn login(user: &User, device: &'static str) -> impl FnOnce(&Session<Account>) + Send + use<> {
    let user = user.clone();
    move |session| {
        user.log_in(session);
        session.set_device(device);
    }
}

struct Site {
    client: Client,
    clock: Arc<ManualClock>,
    ada: User,
}

struct Browser<'s> {
    client: &'s Client,
    cookie: RefCell<Option<Cookie<'static>>>,
}

impl Site {
    fn start() -> Self {
        let clock = Arc::new(ManualClock::default());
        let client = Client::untracked(rocket(clock.clone())).unwrap();
        let ada = add_user(client.rocket(), "ada");
        Self { client, clock, ada }
    }

    fn browser(&self) -> Browser<'_> {
        Browser { client: &self.client, cookie: RefCell::default() }
    }

    /// Logs Ada in on a new device.
    fn log_in(&self, device: &'static str) -> Browser<'_> {
        self.log_in_user(&self.ada, device)
    }

    fn log_in_user(&self, user: &User, device: &'static str) -> Browser<'_> {
        self.clock.advance(Duration::from_secs(1));
        let cookie = self.client.set_session::<Account>(login(user, device));
        Browser { client: &self.client, cookie: RefCell::new(cookie) }
    }
}

impl Browser<'_> {
    fn send(&self, request: LocalRequest<'_>) -> Reply {
        let cookie = self.cookie.borrow().clone();
        let response = match cookie {
            Some(cookie) => request.cookie(cookie).dispatch(),
            None => request.dispatch(),
        };
        if let Some(cookie) = response.cookies().get("sessionid") {
            self.cookie.replace(Some(cookie.clone()));
        }
        read(response)
    }

    fn get(&self, path: &str) -> Reply {
        self.send(self.client.get(path.to_owned()))
    }

    fn page(&self, path: &str) -> String {
        let (status, _, page) = self.get(path);
        assert_eq!(status, Status::Ok, "{path}");
        page
    }

    fn post(&self, path: &str, form: &str) -> Reply {
        self.send(self.client.post(path.to_owned()).header(ContentType::Form).body(form))
    }

    /// Posts a form as a browser does for a page of another site.
    fn post_from_another_site(&self, path: &str, form: &str) -> Reply {
        let request = self.client.post(path.to_owned()).header(ContentType::Form).body(form);
        let request = request.header(Header::new("Sec-Fetch-Site", "cross-site"));
        self.send(request.header(Header::new("Origin", "https://evil.example")))
    }
}

fn read(response: LocalResponse<'_>) -> Reply {
    assert_eq!(response.headers().get_one("Cache-Control"), Some("no-store"));
    let location = response.headers().get_one("Location").unwrap_or_default().to_owned();
    (response.status(), location, response.into_string().unwrap_or_default())
}

/// Returns the path that logs out another device.
fn other_device(browser: &Browser<'_>) -> String {
    let page = browser.page("/devices/");
    let (_, rest) = page.split_once("action=\"/devices/").expect("another device");
    format!("/devices/{}", rest.split('"').next().unwrap())
}

fn redirect_to(path: &str) -> Reply {
    (Status::SeeOther, path.to_owned(), String::new())
}

#[test]
fn a_registration_logs_in_and_its_message_is_shown_once() {
    let site = Site::start();
    let browser = site.browser();
    for path in ["/", "/register/", "/login/"] {
        let page = browser.page(path);
        assert!(page.contains("href=\"/register/\"") && !page.contains("EventSource"), "{page}");
    }
    let form = "username=grace&password=a+long+password";
    assert_eq!(browser.post("/register/", form), redirect_to("/"));
    assert!(browser.page("/").contains("role=\"status\">Hello, grace!<"));
    assert!(!browser.page("/").contains("Hello, grace!"));
    assert_eq!(browser.post("/logout/", ""), redirect_to("/login/"));
    assert!(browser.page("/login/").contains("You are logged out."));
    assert_eq!(browser.get("/devices/"), redirect_to("/login/"));
    assert_eq!(browser.post("/login/", form), redirect_to("/"));
    assert_eq!(browser.get("/login/"), redirect_to("/"));
}

#[test]
fn a_registration_with_a_taken_name_or_a_short_password_is_refused() {
    let site = Site::start();
    for (form, error) in [
        ("username=ada&password=a+long+password", "This username is taken."),
        ("username=+&password=a+long+password", "with 1 to 40 characters"),
        ("username=bob&password=short", "at least 8 characters."),
    ] {
        let (status, _, page) = site.browser().post("/register/", form);
        assert_eq!(status, Status::UnprocessableEntity);
        assert!(page.contains(error), "{page}");
    }
}

#[test]
fn remember_me_sets_the_lifetime_of_the_session() {
    let site = Site::start();
    for (remember, cookie_days, days) in [("", None, 14), ("&remember=on", Some(30), 30)] {
        let browser = site.browser();
        let form = format!("username=user{days}&password=a+long+password{remember}");
        browser.post("/register/", &form);
        let cookie = browser.cookie.borrow().clone().unwrap();
        assert_eq!(cookie.max_age().map(rocket::time::Duration::whole_days), cookie_days);
        // This page takes the message out of the session. The save renews the session.
        browser.page("/");
        site.clock.advance(Duration::from_hours(24 * days - 1));
        assert_eq!(browser.get("/devices/").0, Status::Ok);
        site.clock.advance(Duration::from_hours(1));
        assert_eq!(browser.get("/devices/"), redirect_to("/login/"));
    }
}

#[test]
fn the_devices_page_logs_out_one_device_or_all_others() {
    let site = Site::start();
    let (phone, tablet, laptop) = (site.log_in("Phone"), site.log_in("Tablet"), site.log_in("Laptop"));
    let page = laptop.page("/devices/");
    assert_eq!(page.matches("This device").count(), 1);
    let names = ["Laptop</strong> <span class=\"success\">This device", "Tablet<", "Phone<"];
    let places = names.map(|name| page.find(name).unwrap_or_else(|| panic!("{name} is not in {page}")));
    assert!(places.is_sorted(), "the latest login comes first");

    let path = other_device(&laptop);
    assert_eq!(laptop.post(&path, ""), redirect_to("/devices/"));
    assert!(laptop.page("/devices/").contains("The device is logged out."));
    assert_eq!(tablet.get("/devices/"), redirect_to("/login/"));
    assert_eq!(phone.get("/devices/").0, Status::Ok);
    laptop.post(&path, "");
    assert!(laptop.page("/devices/").contains("The device was not logged in any more."));

    assert_eq!(laptop.post("/devices/logout-others/", ""), redirect_to("/devices/"));
    assert!(laptop.page("/devices/").contains("Other devices logged out: 1."));
    assert_eq!(phone.get("/devices/"), redirect_to("/login/"));
}

#[test]
fn a_device_that_logs_out_itself_on_the_devices_page_gets_the_login_page() {
    let site = Site::start();
    let (phone, laptop) = (site.log_in("Phone"), site.log_in("Laptop"));
    assert_eq!(laptop.post(&other_device(&phone), ""), redirect_to("/devices/"));
    assert_eq!(laptop.get("/devices/"), redirect_to("/login/"));
    assert_eq!(phone.get("/devices/").0, Status::Ok);
}

#[test]
fn each_page_of_a_user_has_a_logout_button() {
    let site = Site::start();
    let browser = site.log_in("Laptop");
    for path in ["/", "/devices/", "/app/", "/activity/", "/confirm/", "/password/"] {
        assert!(browser.page(path).contains("<form method=\"post\" action=\"/logout/\""), "{path}");
    }
}

#[test]
fn nobody_can_log_out_the_devices_of_another_user() {
    let site = Site::start();
    let (phone, laptop) = (site.log_in("Phone"), site.log_in("Laptop"));
    let eve = site.log_in_user(&add_user(site.client.rocket(), "eve"), "Tablet");
    eve.post(&other_device(&laptop), "");
    assert!(eve.page("/devices/").contains("The device was not logged in any more."));
    assert_eq!(phone.get("/devices/").0, Status::Ok);
}

#[test]
fn a_fourth_login_ends_the_oldest_session() {
    let site = Site::start();
    let browsers = ["First", "Second", "Third", "Fourth"].map(|device| site.log_in(device));
    let statuses = browsers.each_ref().map(|browser| browser.get("/devices/").0);
    assert_eq!(statuses, [Status::SeeOther, Status::Ok, Status::Ok, Status::Ok]);
    assert!(browsers[3].page("/activity/").contains("Logged out by a login on a fourth device"));
}

#[test]
fn a_change_of_the_password_keeps_the_data_of_this_session() {
    let client = Client::tracked(rocket(Arc::default())).unwrap();
    let ada = add_user(client.rocket(), "ada");
    client.set_session::<Account>(login(&ada, "Laptop"));
    client.set_session::<Account>(|session| session.set_theme(Theme::Dark));
    let request = client.post("/password/").header(ContentType::Form).body("password=a+new+password");
    assert_eq!(read(request.dispatch()), redirect_to("/"));
    let account = client.session::<Account>();
    assert_eq!((account.user_id, account.theme, &*account.device), (Some(ada.id), Theme::Dark, "Laptop"));
    assert!(account.notice.unwrap().starts_with("Your password is changed."));
}

#[test]
fn a_change_of_the_password_ends_the_other_sessions() {
    let site = Site::start();
    let (phone, laptop) = (site.log_in("Phone"), site.log_in("Laptop"));
    assert_eq!(laptop.post("/password/", "password=a+new+password"), redirect_to("/"));
    for path in ["/password/", "/devices/"] {
        assert_eq!(phone.get(path), redirect_to("/login/"));
    }
    assert_eq!(laptop.get("/devices/").0, Status::Ok);
    assert!(laptop.page("/activity/").contains("Logged out by another device"));
    let (status, _, page) = laptop.post("/password/", "password=short");
    assert_eq!(status, Status::UnprocessableEntity);
    assert!(page.contains("at least 8 characters."));
}

#[test]
fn a_password_that_a_tool_changes_ends_the_sessions_at_their_next_request() {
    let site = Site::start();
    let (phone, laptop) = (site.log_in("Phone"), site.log_in("Laptop"));
    site.client.rocket().state::<Users>().unwrap().set_password_hash(site.ada.id, "another hash".into()).unwrap();
    for browser in [&phone, &laptop] {
        assert_eq!(browser.get("/devices/"), redirect_to("/login/"));
    }
    let ada = site.client.rocket().state::<Users>().unwrap().find(site.ada.id).unwrap();
    let laptop = site.log_in_user(&ada, "Laptop");
    assert_eq!(laptop.page("/activity/").matches("Logged out, because the password was changed").count(), 2);
}

#[test]
fn five_minutes_after_the_login_a_change_of_the_password_asks_for_the_password() {
    let site = Site::start();
    let browser = site.browser();
    browser.post("/register/", "username=grace&password=a+long+password");
    site.clock.advance(Duration::from_mins(5));
    browser.page("/password/");
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(browser.get("/password/"), redirect_to("/confirm/"));
    assert_eq!(browser.post("/password/", "password=a+new+password"), redirect_to("/confirm/"));
    let (status, _, page) = browser.post("/confirm/", "password=wrong");
    assert_eq!(status, Status::Unauthorized);
    assert!(page.contains("This is not your password."));
    assert_eq!(browser.get("/password/"), redirect_to("/confirm/"));
    assert_eq!(browser.post("/confirm/", "password=a+long+password"), redirect_to("/password/"));
    assert_eq!(browser.post("/password/", "password=a+new+password"), redirect_to("/"));
    let page = browser.page("/activity/");
    assert_eq!((page.matches("Entered the password again").count(), page.matches(">Logged in<").count()), (2, 1));
}

#[test]
fn a_confirmation_of_the_password_is_not_a_fourth_device() {
    let site = Site::start();
    let first = site.browser();
    first.post("/register/", "username=grace&password=a+long+password");
    let grace = site.client.rocket().state::<Users>().unwrap().find(site.ada.id + 1).unwrap();
    let (second, third) = (site.log_in_user(&grace, "Second"), site.log_in_user(&grace, "Third"));
    first.post("/confirm/", "password=a+long+password");
    for browser in [first, second, third] {
        assert_eq!(browser.get("/devices/").0, Status::Ok);
    }
}

#[test]
fn the_log_and_the_counters_have_every_event() {
    let site = Site::start();
    let (phone, laptop) = (site.log_in("Phone"), site.log_in("Laptop"));
    laptop.post(&other_device(&laptop), "");
    phone.get("/");
    let page = laptop.page("/activity/");
    assert_eq!(page.matches(">Logged in<").count(), 2);
    assert_eq!((page.matches("Logged out by another device").count(), page.matches("This session").count()), (1, 1));
    laptop.post("/logout/", "");
    let metrics = site.browser().page("/metrics");
    for (event, number) in [("logged_in", 2), ("ended_revoked", 1), ("ended_logout", 1), ("started", 1)] {
        let line = format!("session_events_total{{event=\"{event}\"}} {number}\n");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
}

#[test]
fn scripts_get_json_and_a_status() {
    let site = Site::start();
    let me: Value = serde_json::from_str(&site.log_in("Phone").page("/api/me")).unwrap();
    assert_eq!(me, json!({ "id": 1, "name": "ada", "device": "Phone" }));
    for path in ["/api/me", "/events"] {
        let reply = site.browser().get(path);
        assert_eq!(reply, (Status::Unauthorized, String::new(), r#"{"error":"Unauthorized"}"#.into()), "{path}");
    }
}

#[rocket::async_test]
async fn the_event_stream_ends_when_the_session_is_revoked() {
    let client = asynchronous::Client::tracked(rocket(Arc::default())).await.unwrap();
    let ada = add_user(client.rocket(), "ada");
    client.set_session::<Account>(login(&ada, "Phone")).await;
    let stream = client.get("/events").dispatch().await;
    assert_eq!(stream.content_type(), Some(ContentType::EventStream));
    let sessions = Sessions::<Account>::of(client.rocket()).unwrap();
    let (events, ended) = join(stream.into_string(), sessions.revoke_all(&ada.id)).await;
    assert_eq!(ended.unwrap(), 1);
    assert!(events.unwrap().contains("event:ended"));
}

#[test]
fn requests_of_other_sites_are_refused_and_change_nothing() {
    let site = Site::start();
    let (browser, other) = (site.log_in("Phone"), site.log_in("Laptop"));
    let device = other_device(&browser);
    let paths = ["/register/", "/login/", "/logout/", "/theme/", "/confirm/", "/password/", "/devices/logout-others/"];
    let form = "username=eve&password=a+long+password&theme=Dark";
    for path in paths.into_iter().chain([&*device]) {
        let (status, _, page) = browser.post_from_another_site(path, form);
        assert_eq!(status, Status::Forbidden, "{path}");
        assert!(page.contains("<h1>Forbidden</h1>"), "{page}");
    }
    assert!(browser.page("/").contains("<h1>ada</h1>") && other.page("/").contains("<h1>ada</h1>"));
    let users = site.client.rocket().state::<Users>().unwrap();
    assert_eq!(
        (users.find(site.ada.id).unwrap().password_hash, users.find(2).is_none()),
        (site.ada.password_hash, true)
    );
}

#[test]
fn devices_are_named_by_browser_and_system() {
    let chrome = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
    for (agent, name) in [
        (format!("Mozilla/5.0 (X11; Linux x86_64) {chrome}"), "Chrome on Linux"),
        (format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {chrome} Edg/140.0"), "Edge on Windows"),
        (format!("Mozilla/5.0 (Linux; Android 10; K) {chrome}"), "Chrome on Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) Version/18.6 Safari/604.1".into(), "Safari on iPhone"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:143.0) Firefox/143.0".into(), "Firefox on macOS"),
        ("curl/8.14.1".into(), "curl"),
        (String::new(), "Unknown device"),
    ] {
        assert_eq!(Device::from_user_agent(&agent), Device(name.into()));
    }
}
