//! The `chromedriver` process.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::programs;
use crate::processes;

/// How long the driver may take to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// The environment variables that say where a program writes files.
const DIRECTORIES: [&str; 6] =
    ["TMPDIR", "HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"];

/// A driver that runs until the value is dropped. Its browsers end with it.
pub(super) struct Driver {
    process: Child,
    port: u16,
    /// The driver and its browsers write only to this directory. Its path also identifies their processes.
    directory: TempDir,
}

impl Driver {
    /// Starts the driver.
    ///
    /// # Errors
    /// If the program is missing or does not start.
    pub fn start() -> Result<Self, String> {
        let program = programs::chromedriver()?;
        let directory = tempfile::Builder::new().prefix("session-rocket-browser-").tempdir().map_err(message)?;
        let log = File::create(directory.path().join("chromedriver.log")).map_err(message)?;
        // The driver stays in the process group of the tests, so that Ctrl-C ends it too. It chooses its port itself,
        // because another program could take a port that is chosen here before the driver listens on it.
        let process = Command::new(&program)
            .args(["--port=0", "--enable-chrome-logs"])
            // Browsers that share one of these directories find each other's files and locks.
            .envs(DIRECTORIES.map(|variable| (variable, directory.path())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let mut driver = Self { process, port: 0, directory };
        let out = driver.process.stdout.take().expect("the output is piped");
        driver.port =
            announced_port(out).ok_or_else(|| format!("{} does not start: {}", program.display(), driver.log()))?;
        Ok(driver)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The directory of the browser's profile.
    pub fn profile(&self) -> PathBuf {
        self.directory.path().join("profile")
    }

    /// The log of the driver and its browsers.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("chromedriver.log")).unwrap_or_default()
    }

    /// The directory whose path is in the environment of the driver's processes.
    #[cfg(test)]
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let family = processes::family(self.process.id(), self.directory.path());
        // The driver may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        processes::kill_and_wait(&family, self.directory.path());
    }
}

/// Waits for the line with the port on which the driver listens.
fn announced_port(out: ChildStdout) -> Option<u16> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        if let Some(port) = lines.find_map(|line| port_in(&line)) {
            let _ = sender.send(port);
        }
        // The rest of the output must be read, or the driver blocks once the pipe is full.
        lines.for_each(drop);
    });
    receiver.recv_timeout(START_TIMEOUT).ok()
}

fn port_in(line: &str) -> Option<u16> {
    line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
}

fn message(error: std::io::Error) -> String {
    error.to_string()
}
