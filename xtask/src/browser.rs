//! Chromium and its driver, which the browser tests need.

// The tests look for them in the same way.
#[path = "../../tests/src/chromium/programs.rs"]
mod programs;

use std::path::Path;
use std::process::{Command, Stdio};

use programs::PACKAGES;

use crate::Outcome;

/// Makes sure that they are there: installs them where that is possible without asking anybody.
pub fn ensure() -> Outcome {
    let Err(missing) = present() else { return Ok(()) };
    let Some(prefix) = install_prefix() else { return Err(missing) };
    update_and_install(prefix).map_err(|error| format!("{error}\n{missing}"))?;
    present()
}

fn update_and_install(prefix: &[&str]) -> Outcome {
    // A list of packages that is out of date names files that the archive no longer has.
    if packages_known() && install(prefix).is_ok() {
        return Ok(());
    }
    apt_get(prefix, &["update"])?;
    install(prefix)
}

fn present() -> Outcome {
    programs::chromium()?;
    programs::chromedriver()?;
    Ok(())
}

fn install(prefix: &[&str]) -> Outcome {
    apt_get(prefix, &[&["install", "--yes", "--no-install-recommends"], PACKAGES.as_slice()].concat())
}

/// What stands before `apt-get`, if it may install: nothing for root, `sudo` where it asks for no password.
fn install_prefix() -> Option<&'static [&'static str]> {
    if !Path::new("/etc/debian_version").exists() {
        return None;
    }
    if output("id", &["-u"]).is_some_and(|id| id.trim() == "0") {
        return Some(&[]);
    }
    output("sudo", &["-n", "true"]).map(|_| ["sudo", "-n"].as_slice())
}

/// Whether `apt-get update` has ever been run.
fn packages_known() -> bool {
    output("apt-cache", &["show", PACKAGES[1]]).is_some_and(|text| !text.is_empty())
}

fn apt_get(prefix: &[&str], args: &[&str]) -> Outcome {
    let environment = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"];
    let words = [prefix, &environment, args].concat();
    println!("==> {}", words.join(" "));
    let (program, args) = words.split_first().ok_or("no command")?;
    let status = Command::new(program).args(args).stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("==> failed with {status}: {}", words.join(" "))),
        Err(error) => Err(format!("cannot run {program}: {error}")),
    }
}

/// What a program prints, if it succeeds.
fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
