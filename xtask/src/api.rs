//! The public API of the library, compared with `docs/public-api.txt`: a change of the API is a change of that file.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use crate::{Outcome, cargo, cargo_path, output, root};

/// Set where this program is started instead of rustdoc.
const AS_RUSTDOC: &str = "SESSION_ROCKET_API_RUSTDOC";

const LISTING: &str = "docs/public-api.txt";

/// Compares the public API with the listing, or writes the listing anew.
pub fn api(keep: bool) -> Outcome {
    let here = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    // Cargo starts this program as rustdoc: the variable that allows the JSON would make it build all dependencies again.
    let flags = [
        ("RUSTDOC", here.to_str().ok_or("the path of this program is not UTF-8")?),
        ("RUSTDOCFLAGS", "-Z unstable-options --output-format json"),
        (AS_RUSTDOC, "1"),
    ];
    cargo("doc --quiet --package session-rocket --lib --all-features --no-deps", &flags)?;
    let mut command = Command::new(cargo_path());
    command.args(["run", "--quiet", "--package", "session-rocket-api", "--"]).arg(json()?);
    let listed = output(command.current_dir(root()).stderr(Stdio::inherit())).ok_or("cannot list the public API")?;
    let file = root().join(LISTING);
    if keep {
        return fs::write(&file, listed).map_err(|error| format!("cannot write {}: {error}", file.display()));
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let added = listed.lines().filter(|line| !kept.lines().any(|other| other == *line)).map(|line| format!("+ {line}"));
    let removed =
        kept.lines().filter(|line| !listed.lines().any(|other| other == *line)).map(|line| format!("- {line}"));
    let changes: Vec<String> = removed.chain(added).collect();
    if changes.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the public API differs from {LISTING}:\n{}\nif that is intended: `cargo xtask api --keep`",
        changes.join("\n")
    ))
}

/// Runs rustdoc with its unstable JSON output allowed, if Cargo started this program as rustdoc.
///
/// The crate that reads the JSON is tied to the version of this compiler.
pub fn as_rustdoc() -> Option<ExitCode> {
    env::var_os(AS_RUSTDOC)?;
    let status = Command::new("rustdoc").args(env::args_os().skip(1)).env("RUSTC_BOOTSTRAP", "1").status();
    Some(if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The file that rustdoc writes.
fn json() -> Result<PathBuf, String> {
    let metadata = Command::new(cargo_path())
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    let text = String::from_utf8_lossy(&metadata.stdout).into_owned();
    let (_, rest) = text.split_once("\"target_directory\":\"").ok_or("cargo metadata names no target directory")?;
    let target = rest.split('"').next().unwrap_or_default();
    Ok(PathBuf::from(target).join("doc/session_rocket.json"))
}
