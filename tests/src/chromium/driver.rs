//! The process `chromedriver`, on a port of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::programs;
use crate::processes;

/// How long it may take to start, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// The variables that say where a program keeps files.
const DIRECTORIES: [&str; 6] =
    ["TMPDIR", "HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"];

/// How often it is started, if the port that it chose is taken.
const TRIES: usize = 5;

/// A driver that runs until it is dropped, which ends its browsers too.
pub(super) struct Driver {
    process: Child,
    port: u16,
    /// All that the driver and its browsers write; its name also tells which processes are theirs.
    directory: TempDir,
}

impl Driver {
    /// Starts the program.
    ///
    /// # Errors
    /// When it is missing or does not start.
    pub fn start() -> Result<Self, String> {
        let program = programs::chromedriver()?;
        for _ in 1..TRIES {
            match Self::try_start(&program) {
                // It takes a free port of IPv4, and then the same one of IPv6, which somebody may have.
                Err(message) if message.contains("Address already in use") => {}
                started => return started,
            }
        }
        Self::try_start(&program)
    }

    fn try_start(program: &Path) -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("session-rocket-browser-").tempdir().map_err(text)?;
        let log = File::create(directory.path().join("chromedriver.log")).map_err(text)?;
        // In the process group of the tests, so that a Ctrl-C at the terminal ends them all. The driver chooses the
        // port itself, since one that is found free here can be taken when the driver gets to it.
        let process = Command::new(program)
            .arg("--port=0")
            // A browser that shares one of these directories with another browser can meet its files and locks.
            .envs(DIRECTORIES.map(|variable| (variable, directory.path())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let mut driver = Self { process, port: 0, directory };
        let out = driver.process.stdout.take().expect("its output is piped");
        driver.port =
            announced_port(out).ok_or_else(|| format!("{} does not start: {}", program.display(), driver.log()))?;
        Ok(driver)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where the browser keeps its profile.
    pub fn profile(&self) -> PathBuf {
        self.directory.path().join("profile")
    }

    /// What the driver and its browsers complained about.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("chromedriver.log")).unwrap_or_default()
    }

    /// The directory whose name all its processes have in their environment.
    #[cfg(test)]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let family = processes::family(self.process.id(), self.directory.path());
        // It may have ended already: then there is nothing to stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
        processes::end(&family, self.directory.path());
    }
}

/// Waits for the line that says that the driver listens, and where.
fn announced_port(out: ChildStdout) -> Option<u16> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        if let Some(port) = lines.find_map(|line| port_in(&line)) {
            let _ = sender.send(port);
        }
        // Whatever else it prints is read, so that it never waits for a reader.
        lines.for_each(drop);
    });
    receiver.recv_timeout(PATIENCE).ok()
}

fn port_in(line: &str) -> Option<u16> {
    line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}
