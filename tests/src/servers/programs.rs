//! Finds the programs of database servers.
//!
//! `cargo xtask test` includes this file, so it uses the standard library only.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The programs that the tests start, each with its Debian package.
pub const PROGRAMS: &[(&str, &str)] = &[
    ("postgres", "postgresql"),
    ("mariadbd", "mariadb-server"),
    ("mariadb-install-db", "mariadb-server"),
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("openssl", "openssl"),
    ("memcached", "memcached"),
];

/// Finds a program by its name.
///
/// # Errors
/// If the program is missing. The message says what to install.
pub fn find(name: &str) -> Result<PathBuf, String> {
    let program = directories().into_iter().map(|directory| directory.join(name)).find(|path| path.is_file());
    program.ok_or_else(|| {
        let package = PROGRAMS.iter().find(|(program, _)| *program == name).map_or(name, |(_, package)| *package);
        format!(
            "the tests need `{name}`, which is in none of {}: `apt-get install {package}` (on Debian, as root; \
             `cargo xtask test` does it by itself), or skip its back-end with `cargo xtask test --only …`",
            directories().iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        )
    })
}

/// The directories of the search path, and those in which Debian installs servers.
fn directories() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = env::split_paths(&path).collect();
    directories.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    // One folder for each version, the newest first.
    let versions = fs::read_dir(Path::new("/usr/lib/postgresql")).into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    directories.extend(versions.into_iter().rev());
    directories
}
