//! The project's own commands: `cargo xtask test`, `ci`, `fuzz`, `bench`, `api`, `layers` and `database-crates`.

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

use backends::Backends;

const USAGE: &str = "\
usage: cargo xtask <command>

  test [--only postgres,redis]
          runs all tests and documentation examples; starts private servers of every back-end, or of those listed; installs
          missing servers and Chromium (on Debian as root), or says what to install
  ci      runs everything that a change must pass: format, layers, spelling, links, lints with each feature alone and with
          all, documentation, public API, tests, instruction counts, licences
  layers  checks the order of the layers in docs/architecture.md, import circles, lengths of files and functions
  links   checks the links between Markdown files
  api [--keep]
          compares the public API with docs/public-api.txt; `--keep` writes that file
  database-crates [--check]
          writes the table in docs/stores.md of the database crates that resolve beside session-rocket; `--check` only
          compares it
  fuzz [COUNT]
          tries to open a million changed sealed cookies, or COUNT
  bench [FILTER]
          runs the micro benchmarks; arguments go to Criterion
  bench --gate [--keep]
          counts instructions under Valgrind, and fails if an operation takes over 3 % more than in benches/gate; `--keep`
          writes the counts
  bench --peers | --growth | --page
          measures beside hand-written code and other libraries, or with many sessions; `--page` writes
          docs/performance.md (see benches/peers/README.md)";

type Outcome = Result<(), String>;

fn main() -> ExitCode {
    if let Some(code) = api::as_rustdoc() {
        return code;
    }
    let mut args = env::args().skip(1);
    let command = args.next();
    let rest: Vec<String> = args.collect();
    let outcome = match (command.as_deref(), rest.as_slice()) {
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
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn test(backends: &Backends) -> Outcome {
    packages::ensure(backends)?;
    backends::forget();
    let only = backends.variable();
    let variables: Vec<_> = only.iter().map(|only| (backends::ONLY, only.as_str())).collect();
    cargo("test --workspace --all-features", &variables)?;
    backends.report()
}

fn ci() -> Outcome {
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
    // Without a back-end, and as `cargo install` builds it.
    cargo("clippy -p session-cli --all-targets --no-default-features -- -D warnings", &[])?;
    cargo("clippy -p session-cli --all-targets -- -D warnings", &[])?;
    cargo("doc --workspace --all-features --no-deps", &[("RUSTDOCFLAGS", "-D warnings")])?;
    api::api(false)?;
    database_crates::database_crates(true)?;
    test(&Backends::all())?;
    gate::gate(false)?;
    deny()
}

/// Runs the fuzz test, which all test runs include with fewer mutations.
fn fuzz(mutations: &str) -> Outcome {
    cargo("test --release -p session-rocket --all-features --lib fuzz_", &[("FUZZ_MUTATIONS", mutations)])
}

/// Runs the project's own benchmarks only, because Criterion takes arguments that cargo's test harness does not.
fn bench(filter: &[String]) -> Outcome {
    let args = format!("bench -p session-rocket-benches --benches -- {}", filter.join(" "));
    cargo(args.trim_end(), &[])
}

/// Measures servers under load. The program is in a workspace of its own, because of the libraries it compares with.
fn peers(args: &[String]) -> Outcome {
    cargo(&format!("run --release --manifest-path benches/peers/Cargo.toml -- {}", args.join(" ")), &[])
}

/// Checks licences, bans and sources. RustSec's advisories are not part of CI, because they need the network.
fn deny() -> Outcome {
    ensure(Command::new(cargo_path()).args(["deny", "--version"]), "cargo-deny --version ~0.20")?;
    cargo("deny --all-features check licenses bans sources", &[])
}

/// Checks the spelling of all files; `typos.toml` has the exceptions.
fn spelling() -> Outcome {
    ensure(Command::new("typos").arg("--version"), "typos-cli --version ~1.52")?;
    println!("==> typos");
    let status = Command::new("typos").current_dir(root()).stdin(Stdio::null()).status();
    match status.map(|status| status.success()) {
        Ok(true) => Ok(()),
        Ok(false) => Err("spelling mistakes: correct them, or add the words to typos.toml".to_owned()),
        Err(error) => Err(format!("cannot run typos: {error}")),
    }
}

/// Installs a package if `probe` fails. Built without optimization, because that takes a fraction of the time.
fn ensure(probe: &mut Command, package: &str) -> Outcome {
    if output(probe).is_some() {
        return Ok(());
    }
    cargo(&format!("install --locked --debug {package}"), &[("CARGO_PROFILE_DEV_DEBUG", "false")])
}

/// The features of `session-rocket`, except `default`.
fn features() -> Result<Vec<String>, String> {
    let path = root().join("session-rocket/Cargo.toml");
    let manifest = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let section = manifest.lines().map(str::trim).skip_while(|line| *line != "[features]").skip(1);
    let entries = section.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    let names = entries.map(|(name, _)| name.trim().trim_matches('"').to_owned());
    Ok(names.filter(|name| name != "default" && !name.starts_with('#')).collect())
}

/// Runs cargo at the root with the words of `args`. Prints the command and how long it took.
fn cargo(args: &str, variables: &[(&str, &str)]) -> Outcome {
    let shown = variables.iter().map(|(name, value)| format!("{name}='{value}' ")).collect::<Vec<_>>().concat();
    println!("==> {shown}cargo {args}");
    let start = Instant::now();
    let mut command = Command::new(cargo_path());
    for (name, _) in env::vars_os() {
        // Variables about this program. Some packages are rebuilt if these variables change.
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

/// The output of a program, if the program succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The cargo that runs this program.
fn cargo_path() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}
