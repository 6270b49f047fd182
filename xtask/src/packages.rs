//! Finds and installs the programs that the tests and the gate start: a browser, curl, database servers, Valgrind.

// Symbolic links to files of `tests`, so that the tests find the same programs.
mod browser;
mod servers;

use std::path::Path;
use std::process::{Command, Stdio};

use crate::backends::Backends;
use crate::{Result, output};

/// Installs the missing programs that the tests of `backends` need, if that is possible without a prompt.
pub fn ensure(backends: &Backends) -> Result {
    let Err((packages, missing)) = check(backends) else { return Ok(()) };
    let Some(prefix) = install_prefix() else { return Err(missing) };
    update_and_install(prefix, &packages).map_err(|error| format!("{error}\n{missing}"))?;
    check(backends).map_err(|(_, missing)| missing)
}

/// Installs the programs that the gate needs, if they are missing.
pub fn ensure_for_gate() -> Result {
    // Each package has the name of its program.
    let is_missing = |program: &&str| output(Command::new(program).arg("--version")).is_none();
    let missing = || ["redis-server", "valgrind"].into_iter().filter(is_missing).collect::<Vec<_>>();
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let message = format!("cannot count instructions and allocations: install the packages {}", packages.join(", "));
    let prefix = install_prefix().ok_or(&message)?;
    update_and_install(prefix, &packages).map_err(|error| format!("{error}\n{message}"))?;
    if missing().is_empty() { Ok(()) } else { Err(message) }
}

/// Checks that all programs are installed. The error has the missing packages and a message.
fn check(backends: &Backends) -> Result<(), (Vec<&'static str>, String)> {
    let mut packages = Vec::new();
    let mut missing = Vec::new();
    for program in [browser::chromium(), browser::chromedriver()] {
        if let Err(problem) = program {
            packages.extend(browser::PACKAGES);
            missing.push(problem);
        }
    }
    if output(Command::new("curl").arg("--version")).is_none() {
        packages.push("curl");
        missing.push("the test of `examples/account/api.sh` needs `curl`: install the package `curl`".to_owned());
    }
    for (program, package) in servers::PROGRAMS.iter().filter(|(program, _)| backends.is_program_needed(program)) {
        if let Err(problem) = servers::find(program) {
            packages.push(*package);
            missing.push(problem);
        }
    }
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() { Ok(()) } else { Err((packages, missing.join("\n"))) }
}

fn update_and_install(prefix: &[&str], packages: &[&str]) -> Result {
    // An outdated package list may name files that the archive no longer has. Then update it.
    if has_package_list() && install(prefix, packages).is_ok() {
        return Ok(());
    }
    apt_get(prefix, &["update"])?;
    install(prefix, packages)
}

fn install(prefix: &[&str], packages: &[&str]) -> Result {
    apt_get(prefix, &[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

/// The words before `apt-get`: none for root, or `sudo -n` if sudo needs no password. `None` if nothing can be installed.
fn install_prefix() -> Option<&'static [&'static str]> {
    if !Path::new("/etc/debian_version").exists() {
        return None;
    }
    if output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0") {
        return Some(&[]);
    }
    output(Command::new("sudo").args(["-n", "true"])).map(|_| ["sudo", "-n"].as_slice())
}

/// Whether `apt-get update` has ever been run.
fn has_package_list() -> bool {
    output(Command::new("apt-cache").args(["show", browser::PACKAGES[1]])).is_some_and(|text| !text.is_empty())
}

fn apt_get(prefix: &[&str], args: &[&str]) -> Result {
    // Another `apt-get` may hold the lock.
    let wait = ["-o", "DPkg::Lock::Timeout=600"];
    let environment = [&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"], &wait[..]].concat();
    let words = [prefix, &environment[..], args].concat();
    println!("==> {}", words.join(" "));
    let (program, args) = words.split_first().ok_or("no command")?;
    let status = Command::new(program).args(args).stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("==> failed with {status}: {}", words.join(" "))),
        Err(error) => Err(format!("cannot run {program}: {error}")),
    }
}
