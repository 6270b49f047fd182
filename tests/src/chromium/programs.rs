//! Where Chromium and its driver are.
//!
//! With nothing but the standard library: `cargo xtask test` looks for them in the same way.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// What `apt-get` calls the two on Debian.
pub const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// The browser.
///
/// # Errors
/// When it is not there: what to install.
pub fn chromium() -> Result<PathBuf, String> {
    find("CHROMIUM", &["chromium", "google-chrome", "chromium-browser"])
}

/// The program that drives it.
///
/// # Errors
/// When it is not there: what to install.
pub fn chromedriver() -> Result<PathBuf, String> {
    find("CHROMEDRIVER", &["chromedriver"])
}

fn find(variable: &str, names: &[&str]) -> Result<PathBuf, String> {
    find_in(variable, env::var_os(variable), names, &env::var_os("PATH").unwrap_or_default())
}

/// The file that the variable names, or else the first of that name in the search path.
pub(super) fn find_in(
    variable: &str,
    value: Option<OsString>,
    names: &[&str],
    path: &OsStr,
) -> Result<PathBuf, String> {
    if let Some(chosen) = value.filter(|value| !value.is_empty()).map(PathBuf::from) {
        let missing = format!("{variable} is set to {}, where no program is", chosen.display());
        return if is_program(&chosen) { Ok(chosen) } else { Err(missing) };
    }
    let directories: Vec<PathBuf> = env::split_paths(path).collect();
    let mut candidates = names.iter().flat_map(|name| directories.iter().map(move |directory| directory.join(name)));
    candidates.find(|candidate| is_program(candidate)).ok_or_else(|| missing(variable, names))
}

fn missing(variable: &str, names: &[&str]) -> String {
    format!(
        "the browser tests need {}, which is not in the PATH: `apt-get install {}` (on Debian, as root; `cargo xtask \
         test` does it by itself), or set {variable} to where it is",
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
