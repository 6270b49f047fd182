//! A real browser for tests: headless Chromium, driven through WebDriver.
//!
//! The calls block until the browser has done what they ask for, so use them in tests that are not asynchronous.
//!
//! ```no_run
//! # use session_rocket_tests::chromium::Chromium;
//! # use session_rocket_tests::served::Served;
//! # let rocket = rocket::build();
//! let site = Served::start(rocket);
//! let browser = Chromium::start();
//! browser.open(site.url("/login"));
//! browser.fill("name", "rajat");
//! browser.submit();
//! assert_eq!(browser.text_of("h1"), "Hello, rajat!");
//! assert!(browser.cookie("sessionid").unwrap().http_only);
//! ```

mod cookie;
mod driver;
pub mod programs;
mod session;
mod tab;

use std::ops::Deref;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub use cookie::Cookie;
use driver::Driver;
use session::{Preferences, Session};
pub use tab::Tab;

/// How many times to start a browser, each time with a new driver.
///
/// The driver takes a free IPv4 port, and then fails if another program has the same IPv6 port. On a busy machine, Chromium
/// sometimes exits while it starts.
const TRIES: usize = 5;

/// A browser with its own profile and cookie jar. It runs until the value is dropped.
///
/// The value dereferences to the browser's first tab. If the test panics, a screenshot of that tab is written to
/// `target/screenshots/failed-TEST.png`.
pub struct Chromium {
    tab: Tab,
    driver: Driver,
}

impl Chromium {
    /// Starts a browser with an empty profile.
    ///
    /// # Panics
    /// If Chromium is missing. The message says what to install.
    #[track_caller]
    pub fn start() -> Self {
        Self::launch(&Preferences::default())
    }

    /// Starts a browser whose user refuses all cookies.
    ///
    /// # Panics
    /// If Chromium is missing. The message says what to install.
    #[track_caller]
    pub fn refusing_cookies() -> Self {
        Self::launch(&Preferences { refuse_cookies: true, ..Preferences::default() })
    }

    /// Starts a browser that resolves each `https://HOST` to a port of 127.0.0.1 and accepts every certificate.
    ///
    /// # Panics
    /// If Chromium is missing. The message says what to install.
    #[track_caller]
    pub fn with_hosts(hosts: &[(&str, u16)]) -> Self {
        Self::with_hosts_at(443, hosts)
    }

    /// Starts a browser that resolves port `at` of each host to another port of 127.0.0.1 and accepts every certificate.
    ///
    /// # Panics
    /// If Chromium is missing. The message says what to install.
    #[track_caller]
    pub fn with_hosts_at(at: u16, hosts: &[(&str, u16)]) -> Self {
        let hosts = hosts.iter().map(|(host, port)| (format!("{host}:{at}"), *port)).collect();
        Self::launch(&Preferences { hosts, ..Preferences::default() })
    }

    #[track_caller]
    fn launch(preferences: &Preferences) -> Self {
        let started = (1..TRIES).find_map(|_| Self::try_launch(preferences).ok());
        started.unwrap_or_else(|| Self::try_launch(preferences).unwrap_or_else(|message| panic!("{message}")))
    }

    fn try_launch(preferences: &Preferences) -> Result<Self, String> {
        let driver = Driver::start()?;
        let (session, window) = Session::start(&driver, preferences)?;
        Ok(Self { tab: Tab::new(Arc::new(session), window), driver })
    }
}

impl Deref for Chromium {
    type Target = Tab;

    fn deref(&self) -> &Tab {
        &self.tab
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if thread::panicking() {
            let name = thread::current().name().unwrap_or("test").replace("::", "-");
            match self.tab.try_screenshot(&format!("failed-{name}")) {
                Ok(path) => eprintln!("screenshot of the browser: {}", path.display()),
                Err(error) => eprintln!("cannot take a screenshot of the browser: {error}\n{}", self.driver.log()),
            }
        }
        self.tab.session().quit();
    }
}

/// Waits until a condition is true, at most a minute.
///
/// # Panics
/// If the condition is still false after a minute.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "still waiting after a minute until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests;
