//! Database servers for tests. Each has a free port of 127.0.0.1 and its own directory, and stops when its value is
//! dropped.
//!
//! If a program is missing, the test fails with a message that says what to install. `cargo xtask test` installs it.

mod memcached;
mod mysql;
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
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::port::Port;
use crate::processes;

/// How long a server may take to start on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(10);

/// Builds the command that starts a server in a directory, on a port.
type Start = Box<dyn Fn(&Path, u16) -> Command + Send + Sync>;

/// Whether the server that accepts connections on a port is ready to serve them.
type Ready = fn(u16) -> bool;

/// A server that runs until the value is dropped.
pub struct ServerProcess {
    process: Child,
    port: Port,
    directory: TempDir,
    start: Start,
    ready: Ready,
}

impl ServerProcess {
    /// Starts a server in `directory` on a free port, and waits until it accepts connections.
    ///
    /// # Panics
    /// If the server does not start. The message has the end of its log.
    fn start(directory: TempDir, start: impl Fn(&Path, u16) -> Command + Send + Sync + 'static) -> Self {
        Self::start_when_ready(directory, start, |_| true)
    }

    /// Starts a server that accepts connections before it is ready, and waits until `ready` returns true.
    ///
    /// # Panics
    /// If the server does not start. The message has the end of its log.
    fn start_when_ready(
        directory: TempDir,
        start: impl Fn(&Path, u16) -> Command + Send + Sync + 'static,
        ready: Ready,
    ) -> Self {
        // A program other than these tests may take the port before the server listens on it.
        const TRIES: usize = 5;
        for _ in 0..TRIES {
            let port = Port::claim();
            let mut process = spawn(start(directory.path(), port.number()), directory.path());
            if wait_until_ready(&mut process, port.number(), ready, directory.path()) {
                return Self { process, port, directory, start: Box::new(start), ready };
            }
        }
        panic!("the server does not start: {}", end_of_log(directory.path()));
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The id of the server's main process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The directory of the server's data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Suspends all processes of the server with SIGSTOP. Connections are still accepted, but nothing replies.
    pub fn pause(&self) {
        // The main process goes first, because it would replace child processes that stop.
        processes::suspend(self.process.id());
        self.family().into_iter().for_each(processes::suspend);
    }

    /// Resumes the server after [`pause`](Self::pause).
    pub fn resume(&self) {
        processes::resume(self.process.id());
        self.family().into_iter().for_each(processes::resume);
    }

    /// Kills all processes of the server with SIGKILL.
    pub fn kill(&mut self) {
        kill(&mut self.process, self.directory.path());
    }

    /// Starts the server again after [`kill`](Self::kill), with the same data and port.
    ///
    /// # Panics
    /// If the server does not start. The message has the end of its log.
    pub fn restart(&mut self) {
        self.process = spawn((self.start)(self.directory.path(), self.port()), self.directory.path());
        let ready = wait_until_ready(&mut self.process, self.port.number(), self.ready, self.directory.path());
        assert!(ready, "the server does not start again: {}", end_of_log(self.directory.path()));
    }

    fn family(&self) -> BTreeSet<u32> {
        processes::family(self.process.id(), self.directory.path())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Creates a temporary directory that only this user can read.
fn temporary_directory() -> TempDir {
    tempfile::tempdir().expect("a directory for the server can be created")
}

/// Makes the server's program write all temporary and user files to `directory`, because servers that share a directory
/// delete each other's temporary files. The variables also mark all processes as belonging to this server.
fn confine<'c>(command: &'c mut Command, directory: &Path) -> &'c mut Command {
    command.current_dir(directory);
    command.envs(["TMPDIR", "TMP", "TEMP", "HOME", "XDG_RUNTIME_DIR"].map(|variable| (variable, directory)))
}

fn spawn(mut command: Command, directory: &Path) -> Child {
    let log = File::options().create(true).append(true).open(directory.join("log")).expect("the log can be opened");
    let second = log.try_clone().expect("a file handle can be cloned");
    confine(&mut command, directory).stdin(Stdio::null()).stdout(log).stderr(second);
    command.spawn().unwrap_or_else(|error| panic!("cannot run {}: {error}", command.get_program().display()))
}

/// Waits until the server is ready. Returns false if the server exits.
///
/// # Panics
/// If the server takes too long.
fn wait_until_ready(process: &mut Child, port: u16, ready: Ready, directory: &Path) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let started = Instant::now();
    while started.elapsed() < TIME_LIMIT {
        if process.try_wait().expect("the status of a child process can be read").is_some() {
            return false;
        }
        if TcpStream::connect_timeout(&address, PAUSE * 10).is_ok() && ready(port) {
            return true;
        }
        thread::sleep(PAUSE);
    }
    kill(process, directory);
    panic!("the server is not ready after {TIME_LIMIT:?}: {}", end_of_log(directory));
}

/// Kills all processes of a server with SIGKILL.
fn kill(process: &mut Child, directory: &Path) {
    let family = processes::family(process.id(), directory);
    // The server may have exited already.
    let _ = process.kill();
    let _ = process.wait();
    processes::kill_and_wait(&family, directory);
}

/// Runs a program that prepares or asks a server, and returns its output.
///
/// # Panics
/// If the program cannot be run or takes too long.
fn run(command: &mut Command) -> Output {
    let name = command.get_program().display().to_string();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let process = command.spawn().unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
    let id = process.id();
    let (sender, ended) = mpsc::channel();
    // Fails only if the program took too long, because then the receiver is gone.
    thread::spawn(move || _ = sender.send(process.wait_with_output()));
    let output = ended.recv_timeout(TIME_LIMIT).unwrap_or_else(|_| {
        processes::kill(id);
        panic!("{name} did not end within {TIME_LIMIT:?}")
    });
    output.unwrap_or_else(|error| panic!("cannot read the output of {name}: {error}"))
}

/// The last lines of the server's log.
fn end_of_log(directory: &Path) -> String {
    let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
