//! Where the programs of database servers are.
//!
//! With nothing but the standard library: `cargo xtask test` looks for them in the same way.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// What the tests start, and what `apt-get` calls its package on Debian.
pub const PROGRAMS: &[(&str, &str)] = &[
    ("postgres", "postgresql"),
    ("mariadbd", "mariadb-server"),
    ("mariadb-install-db", "mariadb-server"),
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("openssl", "openssl"),
    ("memcached", "memcached"),
];

/// The program of that name.
///
/// # Errors
/// When it is not there: what to install.
pub fn find(name: &str) -> Result<PathBuf, String> {
    let found = directories().into_iter().map(|directory| directory.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let package = PROGRAMS.iter().find(|(program, _)| *program == name).map_or(name, |(_, package)| *package);
        format!(
            "the tests need `{name}`, which is in none of {}: `apt-get install {package}` (on Debian, as root; \
             `cargo xtask test` does it by itself), or leave its back-end out with `cargo xtask test --only …`",
            directories().iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        )
    })
}

/// The search path, and where Debian keeps servers.
fn directories() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = env::split_paths(&path).collect();
    directories.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    // One folder for each version; the newest first.
    let versions = fs::read_dir(Path::new("/usr/lib/postgresql")).into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    directories.extend(versions.into_iter().rev());
    directories
}
