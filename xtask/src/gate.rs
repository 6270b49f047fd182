//! Counts the instructions of the library's operations and compares them with a baseline in `benches/gate`.
//!
//! Unlike times, instruction counts hardly differ between runs.

use std::collections::BTreeMap;
use std::env::{self, consts::ARCH};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::{Result, cargo, output, packages, root};

/// Each program run repeats an operation this often. The difference of two runs excludes the program's start and end.
const FEW: u32 = 100;
const MANY: u32 = 400;

/// In percent: a larger increase is a failure, and a larger decrease is worth a new baseline.
const TOLERANCE: f64 = 3.0;
/// In percent: the tolerance if the baseline is of another compiler or C library.
const TOLERANCE_OTHER_TOOLCHAIN: f64 = 10.0;

/// In instructions: smaller changes are ignored, because even the path of the checkout affects inlining.
const NOISE: u64 = 100;

/// Counts all operations and compares them with the baseline. With `update`, writes the counts as the new baseline.
pub fn gate(update: bool) -> Result {
    packages::ensure_valgrind()?;
    cargo("build --release --package session-rocket-gate", &[])?;
    let program = program()?;
    let names = output(&mut Command::new(&program)).ok_or("session-rocket-gate did not list its operations")?;
    let counts: Vec<(&str, u64)> =
        names.lines().map(|name| count(&program, name).map(|count| (name, count))).collect::<Result<_>>()?;
    let baseline = Baseline::read();
    let tolerance = baseline.tolerance();
    println!("{:32} {:>12} {:>12} {:>8}", "operation", "instructions", "baseline", "percent");
    let mut worse = Vec::new();
    let mut better = false;
    for (name, count) in &counts {
        let Some(before) = baseline.counts.get(*name) else {
            println!("{name:32} {count:>12} {:>12} {:>8}", "-", "new");
            continue;
        };
        let percent = percent(*before, *count);
        println!("{name:32} {count:>12} {before:>12} {percent:>+8.1}");
        if before.abs_diff(*count) < NOISE {
            continue;
        }
        if percent > tolerance {
            worse.push(*name);
        }
        better |= percent < -tolerance;
    }
    if update {
        return write(&counts);
    }
    if !worse.is_empty() {
        return Err(format!(
            "over {tolerance} % more instructions than the baseline: {}; to accept this, run `cargo xtask bench --gate --keep`",
            worse.join(", ")
        ));
    }
    if better {
        println!("over {tolerance} % fewer instructions: update the baseline with `cargo xtask bench --gate --keep`");
    }
    Ok(())
}

fn percent(before: u64, now: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let [before, now] = [before, now].map(|count| count as f64);
    (now / before - 1.0) * 100.0
}

/// The stored counts for this processor architecture.
#[derive(Default)]
struct Baseline {
    toolchain: String,
    counts: BTreeMap<String, u64>,
}

impl Baseline {
    /// Reads the baseline. It is empty if this architecture has no file.
    fn read() -> Self {
        let text = fs::read_to_string(file()).unwrap_or_default();
        let mut baseline = Self::default();
        for line in text.lines() {
            match line.rsplit_once(char::is_whitespace) {
                _ if line.starts_with('#') => line.trim_start_matches("# ").clone_into(&mut baseline.toolchain),
                Some((name, count)) => {
                    baseline.counts.extend(count.parse().ok().map(|count| (name.trim().to_owned(), count)));
                }
                None => {}
            }
        }
        baseline
    }

    fn tolerance(&self) -> f64 {
        let toolchain = toolchain();
        if self.toolchain == toolchain {
            return TOLERANCE;
        }
        if !self.counts.is_empty() {
            println!("==> the baseline is of {}, this machine has {toolchain}", self.toolchain);
        }
        TOLERANCE_OTHER_TOOLCHAIN
    }
}

fn write(counts: &[(&str, u64)]) -> Result {
    let lines = counts.iter().map(|(name, count)| format!("{name:32} {count:>8}\n"));
    let text = format!("# {}\n{}", toolchain(), lines.collect::<String>());
    fs::write(file(), text).map_err(|error| format!("cannot write {}: {error}", file().display()))?;
    println!("==> wrote the baseline {}", file().display());
    Ok(())
}

fn file() -> PathBuf {
    root().join(format!("benches/gate/{ARCH}.txt"))
}

/// The versions of the compiler and the C library, on which counts depend.
fn toolchain() -> String {
    let version = |program: &str, arg| output(Command::new(program).arg(arg)).unwrap_or_default();
    format!("{}, {}", version("rustc", "--version").trim(), version("getconf", "GNU_LIBC_VERSION").trim())
}

/// The path of `session-rocket-gate`. This program is `debug/xtask` in the same target directory.
fn program() -> Result<PathBuf> {
    let here = env::current_exe().map_err(|error| format!("cannot find the target directory: {error}"))?;
    let target = here.ancestors().nth(2).ok_or("cannot find the target directory")?;
    Ok(target.join("release/session-rocket-gate"))
}

/// Counts the instructions of an operation.
fn count(program: &Path, name: &str) -> Result<u64> {
    let [few, many] = thread::scope(|scope| {
        [FEW, MANY]
            .map(|times| scope.spawn(move || total(program, name, times)))
            .map(|run| run.join().unwrap_or_else(|_| Err("counting panicked".to_owned())))
    });
    Ok(many?.saturating_sub(few?) / u64::from(MANY - FEW))
}

/// Counts the instructions of a program run that repeats an operation.
fn total(program: &Path, name: &str, times: u32) -> Result<u64> {
    let run = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(program)
        .args([name, &times.to_string()])
        // Rocket reads the environment, whose size affects memory addresses and so the counts.
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        // Otherwise long copies use an instruction that Valgrind counts per byte, from a length that depends on the processor.
        .env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1000000000")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}"))?;
    let report = String::from_utf8_lossy(&run.stderr);
    let line = report.lines().find(|line| run.status.success() && line.contains("refs:"));
    let digits = line.map(|line| line.rsplit(':').next().unwrap_or_default().replace([',', ' '], ""));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("valgrind did not count `{name}`:\n{report}"))
}
