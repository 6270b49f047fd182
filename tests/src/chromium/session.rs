//! The connection to the driver. Its methods block, so tests need no async runtime.

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

/// How long a command may take on a busy machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(180);

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

/// The settings of a browser that differ from the defaults.
#[derive(Default)]
pub(super) struct Preferences {
    pub refuse_cookies: bool,
    /// Host names with a port, each with the port of 127.0.0.1 that the browser uses instead.
    pub hosts: Vec<(String, u16)>,
}

/// A browser's WebDriver session.
pub(super) struct Session {
    runtime: Runtime,
    driver: WebDriver,
    /// The window that receives the commands.
    current: Mutex<WindowHandle>,
}

impl Session {
    /// Starts a browser with the preferences.
    ///
    /// # Errors
    /// If the browser is missing or does not start.
    pub fn start(process: &Driver, preferences: &Preferences) -> Result<(Self, WindowHandle), String> {
        let program = programs::chromium()?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let connected = runtime.block_on(async {
            let capabilities = capabilities(&program, &process.profile(), preferences)?;
            let http = reqwest::Client::builder().no_proxy().timeout(COMMAND_TIMEOUT * 2).build();
            let http = http.expect("a client without TLS can be built");
            let driver = WebDriver::builder(process.url(), capabilities).client(http).connect().await?;
            // The session ends with the driver's process, so the client need not end it.
            let _ = driver.clone().leak();
            let patience =
                TimeoutConfiguration::new(Some(COMMAND_TIMEOUT), Some(COMMAND_TIMEOUT), Some(Duration::ZERO));
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

    /// Runs commands in a window.
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

    /// Closes the browser as its user would. Gives up after five seconds.
    pub fn quit(&self) {
        let _ = self.runtime.block_on(async {
            let quit = self.driver.cmd(thirtyfour::common::command::Command::DeleteSession);
            tokio::time::timeout(Duration::from_secs(5), quit).await
        });
    }
}

fn capabilities(program: &Path, profile: &Path, preferences: &Preferences) -> WebDriverResult<ChromeCapabilities> {
    let mut capabilities = DesiredCapabilities::chrome();
    capabilities.set_binary(&program.to_string_lossy())?;
    for flag in FLAGS {
        capabilities.add_arg(flag)?;
    }
    capabilities.add_arg(&format!("--user-data-dir={}", profile.display()))?;
    capabilities.add_arg(&resolver_rules(&preferences.hosts))?;
    capabilities.accept_insecure_certs(!preferences.hosts.is_empty())?;
    if preferences.refuse_cookies {
        // 2 means "block" in Chromium.
        capabilities
            .add_experimental_option("prefs", json!({ "profile.default_content_setting_values.cookies": 2 }))?;
    }
    Ok(capabilities)
}

/// Builds rules that keep the browser from connecting to any other machine.
fn resolver_rules(hosts: &[(String, u16)]) -> String {
    let hosts = hosts.iter().map(|(host, port)| format!("MAP {host} 127.0.0.1:{port}, "));
    format!("--host-resolver-rules={}MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost", hosts.collect::<String>())
}
