//! Counts the instructions and allocations of the library's operations and compares them with a baseline in `benches/gate`.
//!
//! Unlike times, these counts hardly differ between runs.

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

/// A change of a count matters only if it exceeds both limits.
#[derive(Clone, Copy)]
struct Tolerance {
    percent: f64,
    /// In the unit of the count.
    absolute: u64,
}

/// Smaller changes are noise: even the path of the checkout affects inlining.
const INSTRUCTIONS: Tolerance = Tolerance { percent: 3.0, absolute: 99 };
/// Applies if the baseline was counted with another compiler or C library.
const INSTRUCTIONS_OTHER_TOOLCHAIN: Tolerance = Tolerance { percent: 10.0, ..INSTRUCTIONS };
const ALLOCATIONS: Tolerance = Tolerance { percent: 1.5, absolute: 1 };
/// The counts depend on the order in which SQLite's threads run.
const ALLOCATIONS_WITH_THREADS: Tolerance = Tolerance { percent: 5.0, absolute: 3 };

/// Counts all operations and compares them with the baseline. With `update`, writes the counts as the new baseline.
pub fn gate(update: bool) -> Result {
    packages::ensure_for_gate()?;
    let baseline = Baseline::read();
    let (instructions, allocations) = (count_all_instructions()?, count_allocations()?);
    let mut comparison = Comparison::default();
    println!("{:44} {:>12} {:>12} {:>8}", "operation", "count", "baseline", "percent");
    comparison.add(&baseline, &instructions, baseline.tolerance());
    let (with_threads, exact): (Vec<_>, Vec<_>) =
        allocations.into_iter().partition(|(name, _)| name.contains("SQLite"));
    comparison.add(&baseline, &exact, ALLOCATIONS);
    comparison.add(&baseline, &with_threads, ALLOCATIONS_WITH_THREADS);
    if update {
        return write_baseline(&[instructions, exact, with_threads].concat());
    }
    let Comparison { worse, is_better } = comparison;
    if !worse.is_empty() {
        return Err(format!(
            "higher counts than the baseline: {}; to accept this, run `cargo xtask bench --gate --keep`",
            worse.join(", ")
        ));
    }
    if is_better {
        println!("lower counts than the baseline: update it with `cargo xtask bench --gate --keep`");
    }
    Ok(())
}

/// A name, and the count of one operation.
type Count = (String, u64);

fn count_all_instructions() -> Result<Vec<Count>> {
    cargo("build --release --package session-rocket-gate", &[])?;
    let program = program_path("release/session-rocket-gate")?;
    let names = output(&mut Command::new(&program)).ok_or("session-rocket-gate did not list its operations")?;
    names.lines().map(|name| Ok((name.to_owned(), count_instructions(&program, name)?))).collect()
}

/// Counts the allocations of requests on each kind of store. Their instructions are not counted, because Valgrind would also
/// count SQLite's threads.
///
/// The build takes seconds after the tests, because it has their profile. A release build of the database drivers takes
/// minutes.
fn count_allocations() -> Result<Vec<Count>> {
    cargo("build --workspace --all-features --bin session-rocket-allocations", &[])?;
    let program = program_path("debug/session-rocket-allocations")?;
    let counts = output(&mut Command::new(program))
        .ok_or("`target/debug/session-rocket-allocations` failed: run it to see why")?;
    // Rocket logs to the same stream, without tabs.
    let lines = counts.lines().filter_map(|line| line.split_once('\t'));
    let counts = lines.map(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
    counts.collect::<Option<_>>().ok_or_else(|| "session-rocket-allocations printed a malformed count".to_owned())
}

/// The counts that differ from the baseline.
#[derive(Default)]
struct Comparison {
    worse: Vec<String>,
    is_better: bool,
}

impl Comparison {
    /// Prints and compares counts.
    fn add(&mut self, baseline: &Baseline, counts: &[Count], tolerance: Tolerance) {
        for (name, count) in counts {
            let Some(before) = baseline.counts.get(name) else {
                println!("{name:44} {count:>12} {:>12} {:>8}", "-", "new");
                continue;
            };
            let percent = percent(*before, *count);
            println!("{name:44} {count:>12} {before:>12} {percent:>+8.1}");
            if before.abs_diff(*count) <= tolerance.absolute {
                continue;
            }
            if percent > tolerance.percent {
                self.worse.push(format!("{name} ({percent:+.1} %)"));
            }
            self.is_better |= percent < -tolerance.percent;
        }
    }
}

fn percent(before: u64, now: u64) -> f64 {
    if before == now {
        return 0.0;
    }
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
        let text = fs::read_to_string(baseline_path()).unwrap_or_default();
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

    fn tolerance(&self) -> Tolerance {
        let toolchain = toolchain();
        if self.toolchain == toolchain {
            return INSTRUCTIONS;
        }
        if !self.counts.is_empty() {
            println!("==> the baseline is of {}, this machine has {toolchain}", self.toolchain);
        }
        INSTRUCTIONS_OTHER_TOOLCHAIN
    }
}

fn write_baseline(counts: &[Count]) -> Result {
    let lines = counts.iter().map(|(name, count)| format!("{name:44} {count:>8}\n"));
    let text = format!("# {}\n{}", toolchain(), lines.collect::<String>());
    fs::write(baseline_path(), text).map_err(|error| format!("cannot write {}: {error}", baseline_path().display()))?;
    println!("==> wrote the baseline {}", baseline_path().display());
    Ok(())
}

fn baseline_path() -> PathBuf {
    root().join(format!("benches/gate/{ARCH}.txt"))
}

/// The versions of the compiler and the C library, on which the counts depend.
fn toolchain() -> String {
    let version = |program: &str, arg| output(Command::new(program).arg(arg)).unwrap_or_default();
    format!("{}, {}", version("rustc", "--version").trim(), version("getconf", "GNU_LIBC_VERSION").trim())
}

/// Returns the path of a program in the target directory. This program is `debug/xtask` in the same directory.
fn program_path(path: &str) -> Result<PathBuf> {
    let here = env::current_exe().map_err(|error| format!("cannot find the target directory: {error}"))?;
    let target = here.ancestors().nth(2).ok_or("cannot find the target directory")?;
    Ok(target.join(path))
}

/// Counts the instructions of an operation.
fn count_instructions(program: &Path, name: &str) -> Result<u64> {
    let [few, many] = thread::scope(|scope| {
        [FEW, MANY]
            .map(|times| scope.spawn(move || count_run(program, name, times)))
            .map(|run| run.join().unwrap_or_else(|_| Err("counting panicked".to_owned())))
    });
    Ok(many?.saturating_sub(few?) / u64::from(MANY - FEW))
}

/// Counts the instructions of a program run that repeats an operation.
fn count_run(program: &Path, name: &str, times: u32) -> Result<u64> {
    let run = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(program)
        .args([name, &times.to_string()])
        // Rocket reads the environment and looks for its configuration in the working directory and above. Both affect
        // memory addresses and so the counts.
        .current_dir("/")
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        // Otherwise, copies above a length that depends on the processor use an instruction that Valgrind counts once per byte.
        .env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1000000000")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}"))?;
    let report = String::from_utf8_lossy(&run.stderr);
    let line = report.lines().find(|line| run.status.success() && line.contains("refs:"));
    let digits = line.map(|line| line.rsplit(':').next().unwrap_or_default().replace([',', ' '], ""));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("valgrind did not count `{name}`:\n{report}"))
}
