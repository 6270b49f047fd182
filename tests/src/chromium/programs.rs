//! Finds Chromium and its driver.
//!
//! `cargo xtask test` includes this file, so it uses the standard library only.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The Debian packages of the two programs.
pub const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// Finds the browser.
///
/// # Errors
/// If the program is missing. The message says what to install.
pub fn chromium() -> Result<PathBuf, String> {
    find("CHROMIUM", &["chromium", "google-chrome", "chromium-browser"])
}

/// Finds the browser's driver.
///
/// # Errors
/// If the program is missing. The message says what to install.
pub fn chromedriver() -> Result<PathBuf, String> {
    find("CHROMEDRIVER", &["chromedriver"])
}

fn find(variable: &str, names: &[&str]) -> Result<PathBuf, String> {
    find_in(variable, env::var_os(variable), names, &env::var_os("PATH").unwrap_or_default())
}

/// Returns the file that the environment variable names, or the first program with one of the names in the search path.
pub(super) fn find_in(
    variable: &str,
    value: Option<OsString>,
    names: &[&str],
    path: &OsStr,
) -> Result<PathBuf, String> {
    if let Some(chosen) = value.filter(|value| !value.is_empty()).map(PathBuf::from) {
        let missing = format!("{variable} is set to {}, which is not a program", chosen.display());
        return if is_program(&chosen) { Ok(chosen) } else { Err(missing) };
    }
    let directories: Vec<PathBuf> = env::split_paths(path).collect();
    let mut candidates = names.iter().flat_map(|name| directories.iter().map(move |directory| directory.join(name)));
    candidates.find(|candidate| is_program(candidate)).ok_or_else(|| missing(variable, names))
}

fn missing(variable: &str, names: &[&str]) -> String {
    format!(
        "the browser tests need {}, which is not in the PATH: `apt-get install {}` (on Debian, as root; `cargo xtask \
         test` does it by itself), or set {variable} to its path",
        names.join(" or "),
        PACKAGES.join(" "),
    )
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}
