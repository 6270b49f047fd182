//! The results of the last runs, stored next to the page, so that each part of the page can be updated alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rocket::tokio::runtime::Runtime;
use serde::{Deserialize, Serialize};
use session_rocket::time::OffsetDateTime;
use session_rocket_tests::servers::programs;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use crate::growth::Growth;
use crate::peers::Measurement;
use crate::sites::Allocator;

#[derive(Default, Serialize, Deserialize)]
pub struct Results {
    pub peers: Runs<Vec<Measurement>>,
    pub growth: Runs<Growth>,
}

/// The last run with each allocator. Most sections of the page show only the first.
pub type Runs<T> = BTreeMap<Allocator, Run<T>>;

/// A run of this program.
#[derive(Serialize, Deserialize)]
pub struct Run<T> {
    pub command: String,
    pub date: String,
    pub machine: String,
    pub versions: String,
    pub seconds: f64,
    pub rounds: u32,
    pub figures: T,
}

impl<T> Run<T> {
    /// Describes a run that ended now, on this machine.
    pub fn new(args: &[String], seconds: f64, rounds: u32, figures: T) -> Self {
        Self {
            command: format!("cargo xtask bench {}", args.join(" ")),
            date: OffsetDateTime::now_utc().date().to_string(),
            machine: machine(),
            versions: versions(),
            seconds,
            rounds,
            figures,
        }
    }
}

impl Results {
    /// Reads the stored results.
    ///
    /// # Panics
    /// If the file is malformed.
    pub fn read() -> Self {
        match fs::read_to_string(path()) {
            Ok(json) => serde_json::from_str(&json).expect("well-formed results.json"),
            Err(_) => Self::default(),
        }
    }

    /// Stores the results for the next run.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn write(&self) {
        let json = serde_json::to_string_pretty(self).expect("results can be serialized");
        write_doc(&path(), &(json + "\n"));
    }
}

/// Writes a file of the documentation.
///
/// # Panics
/// If the file cannot be written.
pub fn write_doc(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("cannot create the folder");
    fs::write(path, content).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

pub fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn path() -> PathBuf {
    docs().join("performance/results.json")
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str, separator: char| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(separator).map_or("unknown", |(_, value)| value.trim()).trim_matches('"').to_owned()
    };
    let processor = value(&read("/proc/cpuinfo"), "model name", ':');
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = value(&read("/proc/meminfo"), "MemTotal", ':');
    let kilobytes: f64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
    let system = value(&read("/etc/os-release"), "PRETTY_NAME", '=');
    let kernel = read("/proc/sys/kernel/osrelease");
    let kernel = kernel.split('-').next().unwrap_or_default();
    let gigabytes = kilobytes / 1024.0 / 1024.0;
    format!("{processor}, {cores} cores, {gigabytes:.0} GiB memory, {system}, Linux {}", kernel.trim())
}

fn versions() -> String {
    let mut all = vec![version_of("rustc"), version_of("postgres"), version_of("redis-server"), sqlite()];
    for (lock, names) in [
        ("Cargo.lock", &["mimalloc", "rocket", "sqlx", "redis"][..]),
        (
            "rivals/Cargo.lock",
            &["rocket_flex_session", "axum", "tower-sessions", "sqlx", "fred", "actix-web", "actix-session", "redis"],
        ),
    ] {
        let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(lock)).unwrap_or_default();
        all.extend(names.iter().filter_map(|name| {
            let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
            Some(format!("{name} {}", rest.split('"').next()?))
        }));
    }
    all.join(", ")
}

fn version_of(program: &str) -> String {
    let path = programs::find(program).unwrap_or_else(|_| program.into());
    let output = Command::new(path).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let line = String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned();
    // For example `postgres (PostgreSQL) 15.1 (…)`, `Redis server v=7.0 sha=…` or `rustc 1.95.0 (…)`.
    let version = line.split([' ', '=']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    format!("{program} {}", version.unwrap_or("unknown"))
}

fn sqlite() -> String {
    let version: Result<String, sqlx::Error> = Runtime::new().expect("cannot start a runtime").block_on(async {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await?;
        sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await
    });
    format!("SQLite {}", version.as_deref().unwrap_or("unknown"))
}
