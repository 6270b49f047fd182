//! The programs that the tests and the gate start, and how they are installed: a browser, database servers, Valgrind.

// Links to files of `tests`, because the tests look for the programs in the same way.
mod browser;
mod servers;

use std::path::Path;
use std::process::{Command, Stdio};

use crate::backends::Backends;
use crate::{Outcome, output};

/// Makes sure that what the tests of `backends` need is there: installs it where that is possible without asking anybody.
pub fn ensure(backends: &Backends) -> Outcome {
    let Err((packages, missing)) = present(backends) else { return Ok(()) };
    let Some(prefix) = install_prefix() else { return Err(missing) };
    update_and_install(prefix, &packages).map_err(|error| format!("{error}\n{missing}"))?;
    present(backends).map_err(|(_, missing)| missing)
}

/// Makes sure that Valgrind is there.
pub fn ensure_valgrind() -> Outcome {
    let present = || output(Command::new("valgrind").arg("--version")).is_some();
    if present() {
        return Ok(());
    }
    let missing = "instructions are counted by Valgrind: install the package `valgrind`";
    let prefix = install_prefix().ok_or(missing)?;
    update_and_install(prefix, &["valgrind"]).map_err(|error| format!("{error}\n{missing}"))?;
    if present() { Ok(()) } else { Err(missing.to_owned()) }
}

/// The packages that are missing, and what to tell whoever has to install them.
fn present(backends: &Backends) -> Result<(), (Vec<&'static str>, String)> {
    let mut packages = Vec::new();
    let mut missing = Vec::new();
    for found in [browser::chromium(), browser::chromedriver()] {
        if let Err(problem) = found {
            packages.extend(browser::PACKAGES);
            missing.push(problem);
        }
    }
    for (program, package) in servers::PROGRAMS.iter().filter(|(program, _)| backends.need(program)) {
        if let Err(problem) = servers::find(program) {
            packages.push(*package);
            missing.push(problem);
        }
    }
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() { Ok(()) } else { Err((packages, missing.join("\n"))) }
}

fn update_and_install(prefix: &[&str], packages: &[&str]) -> Outcome {
    // A list of packages that is out of date names files that the archive no longer has.
    if packages_known() && install(prefix, packages).is_ok() {
        return Ok(());
    }
    apt_get(prefix, &["update"])?;
    install(prefix, packages)
}

fn install(prefix: &[&str], packages: &[&str]) -> Outcome {
    apt_get(prefix, &[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

/// What stands before `apt-get`, if it may install: nothing for root, `sudo` where it asks for no password.
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
fn packages_known() -> bool {
    output(Command::new("apt-cache").args(["show", browser::PACKAGES[1]])).is_some_and(|text| !text.is_empty())
}

fn apt_get(prefix: &[&str], args: &[&str]) -> Outcome {
    // Another `apt-get` may be running: wait for its lock.
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
