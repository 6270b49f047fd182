//! The project's own commands: `cargo xtask test`, `ci`, `fuzz`, `bench`, `api`, `layers` and `database-crates`.

mod api;
mod backends;
mod database_crates;
mod gate;
mod layers;
mod packages;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use backends::Backends;

const USAGE: &str = "\
usage: cargo xtask <command>

  test    all tests and documentation examples, with every feature; starts private servers of every back-end, and
          installs what is missing of them and of Chromium (on Debian as root) or says what to install;
          `--only postgres,redis` leaves out the other back-ends
  ci      what a change has to pass: format, lints with each feature alone and with all, documentation, tests,
          `bench --gate`, licences and sources of the dependencies (installs cargo-deny if it is missing),
          `database-crates --check`
  fuzz    a million changed sealed cookies, none of which may open; another number may be given behind it
  bench   the micro benchmarks; arguments behind `bench` go to Criterion, such as the name of one benchmark;
          `--peers` measures beside hand-written code and other libraries, `--growth` with many sessions, many
          connections and large sessions, `--page` writes docs/performance.md anew (see benches/peers/README.md);
          `--gate` counts instructions instead (installs Valgrind) and fails where an operation takes over 3 % more of
          them than kept in `benches/gate`; `--gate --keep` keeps those of now
  api     compares the public API with docs/public-api.txt; `--keep` writes that file anew
  layers  checks the order of the layers in docs/architecture.md, import circles, lengths of files and functions
  database-crates
          writes the table in docs/stores.md of the database crates that resolve beside session-rocket; `--check` says
          whether the table is up to date";

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

/// The test that every run of the tests makes with fewer.
fn fuzz(mutations: &str) -> Outcome {
    cargo("test --release -p session-rocket --all-features --lib fuzz_", &[("FUZZ_MUTATIONS", mutations)])
}

/// Criterion takes arguments that cargo's test harness does not: only our benchmarks are run.
fn bench(filter: &[String]) -> Outcome {
    let args = format!("bench -p session-rocket-benches --benches -- {}", filter.join(" "));
    cargo(args.trim_end(), &[])
}

/// Servers under load: in a workspace of their own, for what other libraries depend on.
fn peers(args: &[String]) -> Outcome {
    cargo(&format!("run --release --manifest-path benches/peers/Cargo.toml -- {}", args.join(" ")), &[])
}

/// Licences, bans and sources; the advisories need a database from the network, so they are not a matter of CI.
fn deny() -> Outcome {
    let installed = Command::new(cargo_path()).args(["deny", "--version"]).stdin(Stdio::null()).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        // It only reads manifests: built without optimization, it is there in a fraction of the time.
        let cheap = [("CARGO_PROFILE_DEV_DEBUG", "false")];
        cargo("install --locked --debug --version ~0.20 cargo-deny", &cheap)?;
    }
    cargo("deny --all-features check licenses bans sources", &[])
}

/// The features of the published crate, but for `default`.
fn features() -> Result<Vec<String>, String> {
    let path = root().join("session-rocket/Cargo.toml");
    let manifest = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let section = manifest.lines().map(str::trim).skip_while(|line| *line != "[features]").skip(1);
    let entries = section.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    let names = entries.map(|(name, _)| name.trim().trim_matches('"').to_owned());
    Ok(names.filter(|name| name != "default" && !name.starts_with('#')).collect())
}

/// Runs cargo at the root with the words of `args`, saying so and how long it took.
fn cargo(args: &str, variables: &[(&str, &str)]) -> Outcome {
    let shown = variables.iter().map(|(name, value)| format!("{name}='{value}' ")).collect::<Vec<_>>().concat();
    println!("==> {shown}cargo {args}");
    let start = Instant::now();
    let mut command = Command::new(cargo_path());
    for (name, _) in env::vars_os() {
        // What cargo tells of this program: some packages are built anew where it differs.
        if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|told| name.to_string_lossy().starts_with(told)) {
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

/// What a program prints, if it succeeds.
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
