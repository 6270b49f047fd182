//! Sites that run in their own processes.
//!
//! They log nothing. With `ROCKET_LOG_LEVEL=critical` in the environment of the tests, they print warnings and errors.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a site may take to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(180);

/// A site process that runs until the value is dropped.
pub struct SiteProcess {
    process: Child,
    port: u16,
}

impl SiteProcess {
    /// Starts the program `site` on a free port, with its sessions in `store`.
    ///
    /// # Panics
    /// If the site does not start.
    pub fn start(site: &str, directory: &Path, store: &str) -> Self {
        Self::start_with(Command::new(site), directory, &[("SITE_STORE", store)])
    }

    /// Starts `site` on a free port, with these environment variables. The site must print its port.
    ///
    /// # Panics
    /// If the site does not start.
    pub fn start_with(mut site: Command, directory: &Path, variables: &[(&str, &str)]) -> Self {
        let mut process = site
            .current_dir(directory)
            .envs(variables.iter().copied())
            .env("ROCKET_ADDRESS", "127.0.0.1")
            .env("ROCKET_PORT", "0")
            .env("ROCKET_WORKERS", "2")
            .env("ROCKET_LOG_LEVEL", env::var("ROCKET_LOG_LEVEL").unwrap_or_else(|_| "off".to_owned()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the site starts");
        let out = BufReader::new(process.stdout.take().expect("the output is piped"));
        // Kills the process if the wait for its port panics.
        let mut site = Self { process, port: 0 };
        site.port = wait_for_port(out);
        site
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Kills the process with SIGKILL.
    ///
    /// # Panics
    /// If the process cannot be killed.
    pub fn kill(mut self) {
        self.process.kill().expect("a child can be killed");
        self.process.wait().expect("a killed child ends");
    }
}

impl Drop for SiteProcess {
    fn drop(&mut self) {
        // The site may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until a site prints its port, and prints the rest of the output in another thread.
fn wait_for_port(out: BufReader<ChildStdout>) -> u16 {
    let (sender, announced) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = out.lines().map_while(Result::ok);
        if let Some(port) = lines.find_map(|line| line.strip_prefix("port ")?.parse().ok()) {
            // Fails only if the site took too long, because then the receiver is gone.
            let _ = sender.send(port);
        }
        // The rest of the output must be read, or the site blocks once the pipe is full.
        lines.for_each(|line| println!("{line}"));
    });
    announced.recv_timeout(START_LIMIT).expect("the site prints its port")
}
