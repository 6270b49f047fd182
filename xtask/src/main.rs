//! The project's own commands: `cargo xtask` lists them.

mod api;
mod backends;
mod database_crates;
mod gate;
mod layers;
mod links;
mod packages;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use backends::{Backends, Results};

const USAGE: &str = "\
usage: cargo xtask <command>

  test [--only postgres,redis]
          runs all tests and documentation examples; starts private servers of every back-end, or of those listed; installs
          missing servers and Chromium (on Debian as root), or says what to install
  ci      runs every check that a change must pass: formatting, layers, links, spelling, lints with each feature alone and
          with all, documentation, public API, database crates, tests, instruction counts, licences
  layers  checks the order of the layers in docs/architecture.md, import cycles, and the lengths of files and functions
  links   checks the links between Markdown files
  api [--keep]
          compares the public API with docs/public-api.txt; `--keep` updates that file
  database-crates [--check]
          updates the table in docs/stores.md of the database crates that resolve together with session-rocket; `--check`
          only compares it
  fuzz [COUNT]
          tries to open COUNT mutated sealed cookies (default: a million)
  bench [FILTER]
          runs the micro benchmarks; arguments are passed to Criterion
  bench --gate [--keep]
          counts instructions under Valgrind, and allocations; fails if a count is over 3 % (allocations: 1.5 %) higher than the
          baseline in benches/gate; `--keep` updates the baseline
  bench --peers | --growth | --page
          compares with hand-written code and other libraries, measures many sessions and connections, or only writes
          docs/performance.md (see benches/peers/README.md)";

/// The result of a command. An error is its message.
type Result<T = (), E = String> = std::result::Result<T, E>;

fn main() -> ExitCode {
    if let Some(code) = api::run_as_rustdoc() {
        return code;
    }
    let mut args = env::args().skip(1);
    let command = args.next();
    let rest: Vec<String> = args.collect();
    let result = match (command.as_deref(), rest.as_slice()) {
        (Some("test"), []) => test(&Backends::all()),
        (Some("test"), [only, list]) if only == "--only" => Backends::only(list).and_then(|backends| test(&backends)),
        (Some("ci"), []) => ci(),
        (Some("fuzz"), []) => fuzz("1000000"),
        (Some("fuzz"), [mutations]) if mutations.parse::<u64>().is_ok() => fuzz(mutations),
        (Some("database-crates"), []) => database_crates::database_crates(false),
        (Some("database-crates"), [flag]) if flag == "--check" => database_crates::database_crates(true),
        (Some("bench"), [which, ..]) if matches!(which.as_str(), "--peers" | "--growth" | "--page") => peers(&rest),
        (Some("bench"), [flag]) if flag == "--gate" => gate::gate(false),
        (Some("bench"), [flag, keep]) if flag == "--gate" && keep == "--keep" => gate::gate(true),
        (Some("layers"), []) => layers::check(),
        (Some("links"), []) => links::check(),
        (Some("api"), []) => api::api(false),
        (Some("api"), [flag]) if flag == "--keep" => api::api(true),
        (Some("bench"), filter) => bench(filter),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn test(backends: &Backends) -> Result {
    packages::ensure(backends)?;
    let (results, only) = (Results::new(), backends.variable());
    let folder = results.path().display().to_string();
    let mut variables = vec![(backends::RESULTS, folder.as_str())];
    variables.extend(only.iter().map(|only| (backends::ONLY, only.as_str())));
    cargo("test --workspace --all-features", &variables)?;
    backends.report(&results)
}

fn ci() -> Result {
    cargo("fmt --all --check", &[])?;
    layers::check()?;
    links::check()?;
    spelling()?;
    cargo("clippy --workspace --all-targets --all-features -- -D warnings", &[])?;
    cargo("clippy -p session-rocket --all-targets --no-default-features -- -D warnings", &[])?;
    for feature in features()? {
        let alone = format!("--no-default-features --features {feature}");
        cargo(&format!("clippy -p session-rocket --all-targets {alone} -- -D warnings"), &[])?;
    }
    // The command-line program without back-ends, and with the features of `cargo install`.
    cargo("clippy -p session-cli --all-targets --no-default-features -- -D warnings", &[])?;
    cargo("clippy -p session-cli --all-targets -- -D warnings", &[])?;
    cargo("doc --workspace --all-features --no-deps", &[("RUSTDOCFLAGS", "-D warnings")])?;
    api::api(false)?;
    database_crates::database_crates(true)?;
    test(&Backends::all())?;
    gate::gate(false)?;
    deny()
}

/// Runs the fuzz test with more mutations than an ordinary test run.
fn fuzz(mutations: &str) -> Result {
    cargo("test --release -p session-rocket --all-features --lib fuzz_", &[("FUZZ_MUTATIONS", mutations)])
}

/// Runs only the Criterion benchmarks, because Cargo's test harness rejects Criterion's arguments.
fn bench(filter: &[String]) -> Result {
    let args = format!("bench -p session-rocket-benches --benches -- {}", filter.join(" "));
    cargo(args.trim_end(), &[])
}

/// Measures servers under load. The program has a separate workspace because of the libraries that it compares.
fn peers(args: &[String]) -> Result {
    cargo(&format!("run --release --manifest-path benches/peers/Cargo.toml -- {}", args.join(" ")), &[])
}

/// Checks licences, bans and sources. CI does not check advisories, because that needs the network.
fn deny() -> Result {
    ensure(Command::new(cargo_path()).args(["deny", "--version"]), "cargo-deny --version ~0.20")?;
    cargo("deny --all-features check licenses bans sources", &[])
}

/// Checks the spelling of all files; `typos.toml` has the exceptions.
fn spelling() -> Result {
    ensure(Command::new("typos").arg("--version"), "typos-cli --version ~1.52")?;
    println!("==> typos");
    let status = Command::new("typos").current_dir(root()).stdin(Stdio::null()).status();
    match status.map(|status| status.success()) {
        Ok(true) => Ok(()),
        Ok(false) => Err("spelling mistakes found: correct them, or add the words to typos.toml".to_owned()),
        Err(error) => Err(format!("cannot run typos: {error}")),
    }
}

/// Installs a package if `probe` fails. A debug build takes a fraction of the time.
fn ensure(probe: &mut Command, package: &str) -> Result {
    if output(probe).is_some() {
        return Ok(());
    }
    cargo(&format!("install --locked --debug {package}"), &[("CARGO_PROFILE_DEV_DEBUG", "false")])
}

/// The features of `session-rocket`, except `default`.
fn features() -> Result<Vec<String>> {
    let path = root().join("session-rocket/Cargo.toml");
    let manifest = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let section = manifest.lines().map(str::trim).skip_while(|line| *line != "[features]").skip(1);
    let entries = section.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    let names = entries.map(|(name, _)| name.trim().trim_matches('"').to_owned());
    Ok(names.filter(|name| name != "default" && !name.starts_with('#')).collect())
}

/// Runs cargo in the root with the words of `args`. Prints the command and its duration.
fn cargo(args: &str, variables: &[(&str, &str)]) -> Result {
    let shown = variables.iter().map(|(name, value)| format!("{name}='{value}' ")).collect::<Vec<_>>().concat();
    println!("==> {shown}cargo {args}");
    let start = Instant::now();
    let mut command = Command::new(cargo_path());
    for (name, _) in env::vars_os() {
        // Cargo sets these variables for this program. Some packages are rebuilt if they change.
        if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    let status = command
        .args(args.split_whitespace())
        .envs(variables.iter().copied())
        .current_dir(root())
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err(format!("==> failed: {shown}cargo {args}"));
    }
    println!("==> done in {:.0?}", start.elapsed());
    Ok(())
}

/// The standard output of a program, if the program succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The path of the cargo that runs this program.
fn cargo_path() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}
