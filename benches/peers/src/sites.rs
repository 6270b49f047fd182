//! The servers under load. Each runs in its own process.

use std::env;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::stores::Store;

/// The number of threads of a server.
const WORKERS: &str = "2";
const START_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Server {
    Bare,
    HandWritten,
    SessionRocket,
    Flex,
    Tower,
    Actix,
}

impl Server {
    pub const ALL: [Self; 6] =
        [Self::Bare, Self::HandWritten, Self::SessionRocket, Self::Flex, Self::Tower, Self::Actix];

    /// The name of the program, also in arguments.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::HandWritten => "hand-written",
            Self::SessionRocket => "session-rocket",
            Self::Flex => "flex",
            Self::Tower => "tower",
            Self::Actix => "actix",
        }
    }

    /// The name on the page.
    pub fn title(self) -> &'static str {
        match self {
            Self::Bare => "Rocket without sessions",
            Self::HandWritten => "hand-written",
            Self::SessionRocket => "session-rocket",
            Self::Flex => "rocket_flex_session",
            Self::Tower => "tower-sessions (axum)",
            Self::Actix => "actix-session (Actix Web)",
        }
    }

    pub fn supports(self, store: Store) -> bool {
        match self {
            Self::Bare | Self::SessionRocket => true,
            Self::HandWritten => !matches!(store, Store::Memory | Store::Signed | Store::Encrypted),
            Self::Flex => store != Store::Signed,
            Self::Tower => !matches!(store, Store::Signed | Store::Encrypted),
            Self::Actix => store == Store::Redis,
        }
    }

    /// Whether a lost update is an error.
    pub fn must_keep_updates(self) -> bool {
        matches!(self, Self::HandWritten | Self::SessionRocket)
    }

    fn is_rival(self) -> bool {
        matches!(self, Self::Flex | Self::Tower | Self::Actix)
    }
}

/// The allocator of every server of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allocator {
    Mimalloc,
    System,
}

impl Allocator {
    pub const ALL: [Self; 2] = [Self::Mimalloc, Self::System];

    /// The name in arguments and in results.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mimalloc => "mimalloc",
            Self::System => "system",
        }
    }
}

/// Builds the programs of `servers`.
///
/// # Panics
/// If a build fails.
pub fn build(servers: &[Server], allocator: Allocator) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (ours, rivals) = (here.join("Cargo.toml"), here.join("rivals/Cargo.toml"));
    for (manifest, are_rivals, target) in [(ours, false, target()), (rivals, true, target().join("rivals"))] {
        // session-rocket is always built, because requests to `bare` have its cookies.
        let is_wanted = |server: &Server| servers.contains(server) || *server == Server::SessionRocket;
        let is_here = |server: &Server| server.is_rival() == are_rivals && is_wanted(server);
        let wanted: Vec<Server> = Server::ALL.into_iter().filter(is_here).collect();
        if wanted.is_empty() {
            continue;
        }
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--release", "--manifest-path"]).arg(manifest).arg("--target-dir").arg(target);
        for (name, _) in env::vars_os() {
            // Cargo sets these variables for this program. Some packages are rebuilt if they change.
            if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                cargo.env_remove(name);
            }
        }
        wanted.iter().for_each(|server| _ = cargo.args(["--bin", server.name()]));
        cargo.args((allocator == Allocator::Mimalloc).then_some("--features=mimalloc"));
        assert!(cargo.status().expect("cargo runs").success(), "the servers cannot be built");
    }
}

/// The target directory of this program.
fn target() -> PathBuf {
    let program = env::current_exe().expect("cannot find this program");
    program.ancestors().nth(2).expect("this program is in the target directory").to_owned()
}

/// A running server, stopped on drop.
pub struct Site {
    process: Child,
    pub port: u16,
}

impl Site {
    /// Starts `server` with the URL of a store, and waits until it accepts connections.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn start(server: Server, store: &str) -> Self {
        Self::start_with(server, store, &[])
    }

    /// Starts `server` with these additional environment variables.
    ///
    /// # Panics
    /// If the server does not start.
    pub fn start_with(server: Server, store: &str, variables: &[(&str, &str)]) -> Self {
        let folder = if server.is_rival() { target().join("rivals/release") } else { target().join("release") };
        let port = free_port();
        let mut command = Command::new(folder.join(server.name()));
        command.arg(port.to_string()).args((server != Server::Bare).then_some(store));
        command
            .env("ROCKET_WORKERS", WORKERS)
            .env("ROCKET_LOG_LEVEL", "off")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| panic!("cannot run {}: {error}", server.name()));
        let mut site = Self { process, port };
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = site.process.try_wait().expect("cannot query a child process");
            assert!(ended.is_none() && started.elapsed() < START_TIMEOUT, "{} did not start", server.name());
            thread::sleep(Duration::from_millis(5));
        }
        site
    }

    pub fn process(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}
