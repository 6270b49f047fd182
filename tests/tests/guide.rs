//! Checks which store a test uses if the site's `Rocket.toml` names another one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rocket::figment::Figment;
use rocket::figment::providers::Serialized;
use rocket::local::blocking::Client;
use rocket::{Build, Rocket, get, routes};
use session_rocket::store::memory::MemoryStore;
use session_rocket::{Config, ManualClock, Session, SessionFairing};
use session_rocket_tests::logs;
use tempfile::TempDir;

#[derive(Session)]
struct Visitor {
    num_visits: u32,
}

#[get("/")]
fn index(session: Session<Visitor>) -> String {
    session.update_num_visits(|visits| *visits += 1);
    session.num_visits().to_string()
}

/// An application with the SQLite file that its `Rocket.toml` names.
struct Site {
    folder: TempDir,
    settings: Figment,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be created");
        let url = format!("sqlite://{}", folder.path().join("sessions.db").display());
        let settings = Figment::from(rocket::Config::figment()).merge(("log_level", "off"));
        Self { folder, settings: settings.merge(("session.store", url)) }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("sessions.db")
    }

    /// Builds the application as its `main` does.
    fn rocket(&self) -> Rocket<Build> {
        let sessions = Session::<Visitor>::fairing().config(Config::new().cookie_name("school"));
        logs::rocket(&self.settings).attach(sessions).mount("/", routes![index])
    }
}

/// A fairing that replaces that of the site.
fn sessions_in_memory(clock: &Arc<ManualClock>) -> SessionFairing<Visitor> {
    Session::<Visitor>::fairing().store(MemoryStore::new(1000, clock.clone())).clock(clock.clone())
}

fn visit(client: &Client) -> String {
    client.get("/").dispatch().into_string().expect("the page is text")
}

#[test]
fn a_store_that_is_set_in_code_replaces_the_store_of_rocket_toml() {
    let site = Site::new();
    let clock = Arc::new(ManualClock::default());
    // If two fairings have the same session type, Rocket keeps the one that is attached last.
    let client = Client::tracked(site.rocket().attach(sessions_in_memory(&clock))).expect("the site launches");
    assert_eq!([visit(&client), visit(&client)], ["1", "2"]);
    clock.advance(Duration::from_secs(15 * 86_400));
    assert_eq!(visit(&client), "1");
    assert!(!site.file().exists(), "the test opened the site's database");
}

#[test]
fn rocket_toml_overrides_a_store_url_that_is_set_in_code() {
    let site = Site::new();
    let sessions = Session::<Visitor>::fairing().config(Config::new().store("memory:"));
    let client = Client::tracked(site.rocket().attach(sessions)).expect("the site launches");
    visit(&client);
    assert!(site.file().exists());
}

#[test]
fn a_test_can_switch_off_the_cache_of_rocket_toml() {
    let clock = Arc::new(ManualClock::default());
    let mut site = Site::new();
    // No server listens on this port, so a launch with this cache logs a warning.
    site.settings = site.settings.merge(("session.cache", "redis://127.0.0.1:1"));
    let no_cache = Serialized::global("session.cache", None::<String>);
    for (switched_off, warnings) in [(true, 0), (false, 1)] {
        let rocket = site.rocket();
        let rocket = if switched_off {
            let figment = rocket.figment().clone().merge(&no_cache);
            rocket.configure(figment)
        } else {
            rocket
        };
        let client = Client::tracked(rocket.attach(sessions_in_memory(&clock))).expect("the site launches");
        assert_eq!(visit(&client), "1");
        assert_eq!(logs::containing("cannot open `cache`").len(), warnings);
    }
}
