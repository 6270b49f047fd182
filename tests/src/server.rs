//! Sites in processes of their own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A site that runs until it is dropped.
pub struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts the program `site` on a free port, with sessions kept in `store`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(site: &str, directory: &Path, store: &str) -> Self {
        Self::start_with(Command::new(site), directory, &[("SITE_STORE", store)])
    }

    /// Starts `site` on a free port, with these variables in its environment. The site prints its port.
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
            .env("ROCKET_LOG_LEVEL", "off")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the site starts");
        let out = BufReader::new(process.stdout.take().expect("its output is piped"));
        let mut lines = out.lines().map_while(Result::ok);
        let port = lines.find_map(|line| line.strip_prefix("port ")?.parse().ok()).expect("it prints its port");
        // Whatever else it prints is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, port }
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Kills the process, as `kill -9` does.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(mut self) {
        self.process.kill().expect("a child can be killed");
        self.process.wait().expect("a killed child ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already: then there is nothing to stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
