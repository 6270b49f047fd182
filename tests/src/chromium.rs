//! A real browser for tests: headless Chromium, driven through WebDriver.
//!
//! For plain tests, not for asynchronous ones: each call waits until the browser has done it.
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

/// A browser with a profile and a cookie jar of its own, which runs until it is dropped.
///
/// It is used as its first tab. When a test fails while it runs, it leaves a picture of that tab in
/// `target/screenshots/failed-TEST.png`.
pub struct Chromium {
    tab: Tab,
    driver: Driver,
}

impl Chromium {
    /// Starts a browser that knows nothing yet.
    ///
    /// # Panics
    /// When there is none, with what to install.
    #[track_caller]
    pub fn start() -> Self {
        Self::launch(&Preferences::default())
    }

    /// Starts a browser whose user refuses all cookies.
    ///
    /// # Panics
    /// When there is none, with what to install.
    #[track_caller]
    pub fn refusing_cookies() -> Self {
        Self::launch(&Preferences { refuse_cookies: true, ..Preferences::default() })
    }

    /// Starts a browser for which `https://HOST` is a port of this machine, and which accepts every certificate.
    ///
    /// # Panics
    /// If Chromium is missing, with what to install.
    #[track_caller]
    pub fn with_hosts(hosts: &[(&'static str, u16)]) -> Self {
        Self::launch(&Preferences { hosts: hosts.to_vec(), ..Preferences::default() })
    }

    #[track_caller]
    fn launch(preferences: &Preferences) -> Self {
        let started = Driver::start().and_then(|driver| {
            let (session, window) = Session::start(&driver, preferences)?;
            Ok(Self { tab: Tab::new(Arc::new(session), window), driver })
        });
        started.unwrap_or_else(|message| panic!("{message}"))
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
                Ok(path) => eprintln!("what the browser shows: {}", path.display()),
                Err(error) => eprintln!("no picture of what the browser shows: {error}\n{}", self.driver.log()),
            }
        }
        self.tab.session().quit();
    }
}

/// Waits until a condition holds, for at most a minute: for what the browser does in its own time.
///
/// # Panics
/// When it does not hold by then.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "after a minute it is still not so that {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests;
