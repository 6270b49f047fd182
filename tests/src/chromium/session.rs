//! The connection to the driver, for tests that do not wait for futures.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use thirtyfour::error::WebDriverResult;
use thirtyfour::{
    ChromeCapabilities, ChromiumLikeCapabilities, DesiredCapabilities, TimeoutConfiguration, WebDriver, WindowHandle,
};
use tokio::runtime::{Builder, Runtime};

use super::driver::Driver;
use super::programs;

/// Whatever takes longer has failed; generous, for a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

const FLAGS: [&str; 14] = [
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
    // Whatever a page asks for, nothing leaves this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--no-proxy-server",
    "--lang=en-US",
    "--window-size=800,600",
];

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
    pub fn start(process: &Driver, refuse_cookies: bool) -> Result<(Self, WindowHandle), String> {
        let program = programs::chromium()?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let connected = runtime.block_on(async {
            let wanted = wanted(&program, &process.profile(), refuse_cookies)?;
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

fn wanted(program: &Path, profile: &Path, refuse_cookies: bool) -> WebDriverResult<ChromeCapabilities> {
    let mut wanted = DesiredCapabilities::chrome();
    wanted.set_binary(&program.to_string_lossy())?;
    for flag in FLAGS {
        wanted.add_arg(flag)?;
    }
    wanted.add_arg(&format!("--user-data-dir={}", profile.display()))?;
    if refuse_cookies {
        // 2 is Chromium's "block".
        wanted.add_experimental_option("prefs", json!({ "profile.default_content_setting_values.cookies": 2 }))?;
    }
    Ok(wanted)
}
