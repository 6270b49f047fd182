//! Compares the public API of the library with `docs/public-api.txt`, so that every change of the API shows in a diff.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use crate::{Result, cargo, cargo_path, output, root};

/// Set if Cargo runs this program as rustdoc.
const AS_RUSTDOC: &str = "SESSION_ROCKET_API_RUSTDOC";

const LISTING: &str = "docs/public-api.txt";

/// Compares the public API with the listing. With `update`, writes the listing instead.
pub fn api(update: bool) -> Result {
    let this = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    // Cargo runs this program as rustdoc. Setting `RUSTC_BOOTSTRAP` for Cargo would make it rebuild all dependencies.
    let flags = [
        ("RUSTDOC", this.to_str().ok_or("the path of this program is not UTF-8")?),
        ("RUSTDOCFLAGS", "-Z unstable-options --output-format json"),
        (AS_RUSTDOC, "1"),
    ];
    cargo("doc --quiet --package session-rocket --lib --all-features --no-deps", &flags)?;
    let mut command = Command::new(cargo_path());
    command.args(["run", "--quiet", "--package", "session-rocket-api", "--"]).arg(json()?);
    let listing = output(command.current_dir(root()).stderr(Stdio::inherit())).ok_or("cannot list the public API")?;
    let file = root().join(LISTING);
    if update {
        return fs::write(&file, listing).map_err(|error| format!("cannot write {}: {error}", file.display()));
    }
    let stored = fs::read_to_string(&file).unwrap_or_default();
    let added =
        listing.lines().filter(|line| !stored.lines().any(|other| other == *line)).map(|line| format!("+ {line}"));
    let removed =
        stored.lines().filter(|line| !listing.lines().any(|other| other == *line)).map(|line| format!("- {line}"));
    let changes: Vec<String> = removed.chain(added).collect();
    if changes.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the public API differs from {LISTING}:\n{}\nif that is intended, run `cargo xtask api --keep`",
        changes.join("\n")
    ))
}

/// If Cargo runs this program as rustdoc, runs rustdoc with its unstable JSON output enabled.
///
/// The crate that reads the JSON is pinned to this compiler's version.
pub fn run_as_rustdoc() -> Option<ExitCode> {
    env::var_os(AS_RUSTDOC)?;
    let status = Command::new("rustdoc").args(env::args_os().skip(1)).env("RUSTC_BOOTSTRAP", "1").status();
    Some(if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The path of the JSON that rustdoc writes.
fn json() -> Result<PathBuf> {
    let metadata = Command::new(cargo_path())
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    let text = String::from_utf8_lossy(&metadata.stdout).into_owned();
    let (_, rest) =
        text.split_once("\"target_directory\":\"").ok_or("cargo metadata did not print a target directory")?;
    let target = rest.split('"').next().unwrap_or_default();
    Ok(PathBuf::from(target).join("doc/session_rocket.json"))
}
