//! How many instructions the library's operations take, compared with what was kept: unlike a time, the same at every run.

use std::collections::BTreeMap;
use std::env::{self, consts::ARCH};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::{Outcome, cargo, output, packages, root};

/// How often an operation runs in the two runs whose difference is counted: so what starting and ending takes is not.
const FEW: u32 = 100;
const MANY: u32 = 400;

/// In percent: what a change may add to an operation, and how much better a count is before it is worth keeping.
const TOLERANCE: f64 = 3.0;
/// In percent: the same where the counts were kept with another compiler or C library.
const TOLERANCE_ELSEWHERE: f64 = 10.0;

/// In instructions: a change of less is none. Where the checkout lies has a say in what the compiler inlines.
const SLACK: u64 = 100;

/// Counts all operations, prints them beside the kept counts, and keeps them if asked to.
pub fn gate(keep: bool) -> Outcome {
    packages::ensure_valgrind()?;
    cargo("build --release --package session-rocket-gate", &[])?;
    let program = program()?;
    let names = output(&mut Command::new(&program)).ok_or("the gate does not list its operations")?;
    let counts: Vec<(&str, u64)> =
        names.lines().map(|name| count(&program, name).map(|count| (name, count))).collect::<Result<_, _>>()?;
    let kept = Kept::read();
    let tolerance = kept.tolerance();
    println!("{:32} {:>12} {:>12} {:>8}", "operation", "instructions", "kept", "percent");
    let mut worse = Vec::new();
    let mut better = false;
    for (name, count) in &counts {
        let Some(before) = kept.counts.get(*name) else {
            println!("{name:32} {count:>12} {:>12} {:>8}", "-", "new");
            continue;
        };
        let percent = percent(*before, *count);
        println!("{name:32} {count:>12} {before:>12} {percent:>+8.1}");
        if before.abs_diff(*count) < SLACK {
            continue;
        }
        if percent > tolerance {
            worse.push(*name);
        }
        better |= percent < -tolerance;
    }
    if keep {
        return write(&counts);
    }
    if !worse.is_empty() {
        return Err(format!(
            "over {tolerance} % more instructions than kept: {}; if that has to be, `cargo xtask bench --gate --keep`",
            worse.join(", ")
        ));
    }
    if better {
        println!("over {tolerance} % better than kept: `cargo xtask bench --gate --keep` holds on to it");
    }
    Ok(())
}

fn percent(before: u64, now: u64) -> f64 {
    // Counts are far below what a float holds exactly.
    #[expect(clippy::cast_precision_loss, reason = "as said above")]
    let [before, now] = [before, now].map(|count| count as f64);
    (now / before - 1.0) * 100.0
}

/// The counts of an earlier run, on the same kind of processor.
#[derive(Default)]
struct Kept {
    made_with: String,
    counts: BTreeMap<String, u64>,
}

impl Kept {
    /// Nothing where none are kept for this kind of processor.
    fn read() -> Self {
        let text = fs::read_to_string(file()).unwrap_or_default();
        let mut kept = Self::default();
        for line in text.lines() {
            match line.rsplit_once(char::is_whitespace) {
                _ if line.starts_with('#') => line.trim_start_matches("# ").clone_into(&mut kept.made_with),
                Some((name, count)) => {
                    kept.counts.extend(count.parse().ok().map(|count| (name.trim().to_owned(), count)));
                }
                None => {}
            }
        }
        kept
    }

    fn tolerance(&self) -> f64 {
        let here = made_with();
        if self.made_with == here {
            return TOLERANCE;
        }
        if !self.counts.is_empty() {
            println!("==> kept with {}; here it is {here}", self.made_with);
        }
        TOLERANCE_ELSEWHERE
    }
}

fn write(counts: &[(&str, u64)]) -> Outcome {
    let lines = counts.iter().map(|(name, count)| format!("{name:32} {count:>8}\n"));
    let text = format!("# {}\n{}", made_with(), lines.collect::<String>());
    fs::write(file(), text).map_err(|error| format!("cannot write {}: {error}", file().display()))?;
    println!("==> kept in {}", file().display());
    Ok(())
}

fn file() -> PathBuf {
    root().join(format!("benches/gate/{ARCH}.txt"))
}

/// The compiler and the C library: what counts depend on besides the code.
fn made_with() -> String {
    let version = |program: &str, arg| output(Command::new(program).arg(arg)).unwrap_or_default();
    format!("{}, {}", version("rustc", "--version").trim(), version("getconf", "GNU_LIBC_VERSION").trim())
}

/// The program that was built: it lies in the same target directory as this one, which is `debug/xtask` there.
fn program() -> Result<PathBuf, String> {
    let here = env::current_exe().map_err(|error| format!("cannot find the target directory: {error}"))?;
    let target = here.ancestors().nth(2).ok_or("cannot find the target directory")?;
    Ok(target.join("release/session-rocket-gate"))
}

/// How many instructions one run of an operation takes.
fn count(program: &Path, name: &str) -> Result<u64, String> {
    let [few, many] = thread::scope(|scope| {
        [FEW, MANY]
            .map(|times| scope.spawn(move || total(program, name, times)))
            .map(|run| run.join().unwrap_or_else(|_| Err("counting panicked".to_owned())))
    });
    Ok(many?.saturating_sub(few?) / u64::from(MANY - FEW))
}

/// How many instructions a whole run takes.
fn total(program: &Path, name: &str, times: u32) -> Result<u64, String> {
    let run = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(program)
        .args([name, &times.to_string()])
        // Rocket reads the environment: what is in it moves everything in memory.
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        // Or long copies would count one instruction for each byte, and from a length on that depends on the processor.
        .env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1000000000")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}"))?;
    let report = String::from_utf8_lossy(&run.stderr);
    let line = report.lines().find(|line| run.status.success() && line.contains("refs:"));
    let digits = line.map(|line| line.rsplit(':').next().unwrap_or_default().replace([',', ' '], ""));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("valgrind did not count `{name}`:\n{report}"))
}
