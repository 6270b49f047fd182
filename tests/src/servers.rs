//! Private database servers: each on a free port of 127.0.0.1, with a directory of its own, gone with its handle.
//!
//! A program that is not there is a failure that says what to install; `cargo xtask test` installs it by itself.

mod memcached;
mod mysql;
mod port;
mod postgres;
pub mod programs;
mod redis;

pub use memcached::Memcached;
pub use mysql::MySql;
pub use postgres::Postgres;
pub use redis::{Redis, RedisCluster};

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::processes;
use port::Port;

/// A server that does not start within this time has failed. A busy machine needs a large part of it.
const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(10);

/// How to start a server in a directory, on a port.
type Start = Box<dyn Fn(&Path, u16) -> Command + Send + Sync>;

/// Whether a server that takes connections on a port is ready to serve.
type Ready = fn(u16) -> bool;

/// A server that runs until it is dropped.
pub struct Private {
    process: Child,
    port: Port,
    directory: TempDir,
    start: Start,
    ready: Ready,
}

impl Private {
    /// Starts a server in `directory`, on a free port, and waits until it takes connections.
    ///
    /// # Panics
    /// When it does not start: with the end of its log.
    fn start(directory: TempDir, start: impl Fn(&Path, u16) -> Command + Send + Sync + 'static) -> Self {
        Self::start_until(directory, start, |_| true)
    }

    /// The same, for a server that takes connections before it serves.
    ///
    /// # Panics
    /// When it does not start: with the end of its log.
    fn start_until(
        directory: TempDir,
        start: impl Fn(&Path, u16) -> Command + Send + Sync + 'static,
        ready: Ready,
    ) -> Self {
        // A program other than these tests may take the port before the server listens on it.
        const TRIES: usize = 5;
        for _ in 0..TRIES {
            let port = Port::claim();
            let mut process = spawn(start(directory.path(), port.number()), directory.path());
            if is_ready(&mut process, port.number(), ready) {
                return Self { process, port, directory, start: Box::new(start), ready };
            }
        }
        panic!("a server does not start: {}", log_in(directory.path()));
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The number of its first process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it keeps its data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops all its processes in their tracks: it takes connections, and answers nothing (SIGSTOP).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills all its processes (SIGKILL), if it runs.
    pub fn kill(&mut self) {
        let family = self.family();
        // It may have ended by itself: then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
        processes::end(&family, self.directory.path());
    }

    /// Starts it again, with its data and on its port, after [`kill`](Self::kill).
    ///
    /// # Panics
    /// When it does not start: with the end of its log.
    pub fn restart(&mut self) {
        self.process = spawn((self.start)(self.directory.path(), self.port()), self.directory.path());
        let ready = is_ready(&mut self.process, self.port.number(), self.ready);
        assert!(ready, "a server does not start again: {}", log_in(self.directory.path()));
    }

    fn family(&self) -> BTreeSet<u32> {
        processes::family(self.process.id(), self.directory.path())
    }

    fn signal(&self, signal: Signal) {
        // The first one first: it would start others in the place of those that are stopped.
        processes::send(self.process.id(), signal);
        self.family().into_iter().for_each(|id| processes::send(id, signal));
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A directory in the place for temporary files that only this user can read.
fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory for a server")
}

/// Makes `directory` the only place where the program of a server writes temporary and user files: servers that share a
/// directory for temporary files delete one another's. The variables also mark all its processes as this server's.
fn confine<'c>(command: &'c mut Command, directory: &Path) -> &'c mut Command {
    command.current_dir(directory);
    command.envs(["TMPDIR", "TMP", "TEMP", "HOME", "XDG_RUNTIME_DIR"].map(|variable| (variable, directory)))
}

fn spawn(mut command: Command, directory: &Path) -> Child {
    let log = File::options().create(true).append(true).open(directory.join("log")).expect("a log can be written");
    let also = log.try_clone().expect("a file has a second handle");
    confine(&mut command, directory).stdin(Stdio::null()).stdout(log).stderr(also);
    command.spawn().unwrap_or_else(|error| panic!("cannot run {}: {error}", command.get_program().display()))
}

/// Waits until it serves; false if it ends before.
fn is_ready(process: &mut Child, port: u16, ready: Ready) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if process.try_wait().expect("a child can be asked after").is_some() {
            return false;
        }
        if TcpStream::connect_timeout(&address, PAUSE * 10).is_ok() && ready(port) {
            return true;
        }
        thread::sleep(PAUSE);
    }
    false
}

fn log_in(directory: &Path) -> String {
    let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
