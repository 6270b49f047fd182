//! The connection to the driver, for tests that do not wait for futures.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use thirtyfour::error::WebDriverResult;
use thirtyfour::{
    CapabilitiesHelper, ChromeCapabilities, ChromiumLikeCapabilities, DesiredCapabilities, TimeoutConfiguration,
    WebDriver, WindowHandle,
};
use tokio::runtime::{Builder, Runtime};

use super::driver::Driver;
use super::programs;

/// Whatever takes longer has failed; generous, for a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(180);

const FLAGS: [&str; 13] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--no-proxy-server",
    "--lang=en-US",
    "--window-size=800,600",
];

/// How a browser differs from one with default settings.
#[derive(Default)]
pub(super) struct Preferences {
    pub refuse_cookies: bool,
    /// Host names, each with the port of 127.0.0.1 that the browser connects to instead of the host's port 443.
    pub hosts: Vec<(&'static str, u16)>,
}

/// A browser's WebDriver session.
pub(super) struct Session {
    runtime: Runtime,
    driver: WebDriver,
    /// The window that commands go to.
    current: Mutex<WindowHandle>,
}

impl Session {
    /// Starts a browser with the preferences.
    ///
    /// # Errors
    /// When it is missing or does not start.
    pub fn start(process: &Driver, preferences: &Preferences) -> Result<(Self, WindowHandle), String> {
        let program = programs::chromium()?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let connected = runtime.block_on(async {
            let wanted = wanted(&program, &process.profile(), preferences)?;
            let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE * 2).build();
            let http = http.expect("a client without TLS can be built");
            let driver = WebDriver::builder(process.url(), wanted).client(http).connect().await?;
            // The end of the driver's process ends the session; there is no need to tell the driver before.
            let _ = driver.clone().leak();
            let patience = TimeoutConfiguration::new(Some(PATIENCE), Some(PATIENCE), Some(Duration::ZERO));
            driver.update_timeouts(patience).await?;
            let window = driver.window().await?;
            WebDriverResult::Ok((driver, window))
        });
        let failure = |error| format!("{} does not start: {error}\n{}", program.display(), process.log());
        let (driver, window) = connected.map_err(failure)?;
        Ok((Self { runtime, driver, current: Mutex::new(window.clone()) }, window))
    }

    pub fn driver(&self) -> &WebDriver {
        &self.driver
    }

    /// Carries out commands in a window.
    pub fn run<T>(
        &self,
        window: &WindowHandle,
        commands: impl Future<Output = WebDriverResult<T>>,
    ) -> WebDriverResult<T> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        self.runtime.block_on(async {
            if *current != *window {
                self.driver.switch_to_window(window.clone()).await?;
                *current = window.clone();
            }
            commands.await
        })
    }

    /// Closes the browser, as its user would; gives up after a while.
    pub fn quit(&self) {
        let _ = self.runtime.block_on(async {
            let quit = self.driver.cmd(thirtyfour::common::command::Command::DeleteSession);
            tokio::time::timeout(Duration::from_secs(5), quit).await
        });
    }
}

fn wanted(program: &Path, profile: &Path, preferences: &Preferences) -> WebDriverResult<ChromeCapabilities> {
    let mut wanted = DesiredCapabilities::chrome();
    wanted.set_binary(&program.to_string_lossy())?;
    for flag in FLAGS {
        wanted.add_arg(flag)?;
    }
    wanted.add_arg(&format!("--user-data-dir={}", profile.display()))?;
    wanted.add_arg(&resolver_rules(&preferences.hosts))?;
    wanted.accept_insecure_certs(!preferences.hosts.is_empty())?;
    if preferences.refuse_cookies {
        // 2 is Chromium's "block".
        wanted.add_experimental_option("prefs", json!({ "profile.default_content_setting_values.cookies": 2 }))?;
    }
    Ok(wanted)
}

/// Rules under which the browser connects to no other machine, whatever a page asks for.
fn resolver_rules(hosts: &[(&str, u16)]) -> String {
    let hosts = hosts.iter().map(|(host, port)| format!("MAP {host}:443 127.0.0.1:{port}, "));
    format!("--host-resolver-rules={}MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost", hosts.collect::<String>())
}
