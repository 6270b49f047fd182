//! Runs the conformance suite on a back-end, and records the results for the table that `cargo xtask test` prints.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use session_rocket::ManualClock;
use session_rocket::store::{
    Store,
    conformance::{self, Outcome},
};

/// The environment variable with the names of the back-ends to test, separated by commas. If unset, all are tested.
const ONLY: &str = "SESSION_ROCKET_ONLY";

/// The environment variable with the folder for the results. `cargo xtask test` sets it, and each run has its own folder.
const RESULTS: &str = "SESSION_ROCKET_RESULTS";

/// Whether to test a back-end. Prints a line if not.
pub fn is_wanted(backend: &str) -> bool {
    let only = env::var(ONLY).unwrap_or_default();
    let wanted = only.is_empty() || only.split(',').any(|name| name == backend);
    if !wanted {
        println!("{backend} is skipped: {ONLY}={only}");
    }
    wanted
}

/// Runs all conformance checks on the store that `open` opens. Prints the results, and records them for the table of
/// `cargo xtask test`.
///
/// If `has_index` is false, the store may return `Unsupported` for the calls that need an index of identities.
///
/// # Panics
/// If the store violates the contract.
pub async fn assert_conformance(
    backend: &str,
    has_index: bool,
    open: impl AsyncFn(Arc<ManualClock>) -> Arc<dyn Store>,
) {
    let outcomes = conformance::examine(open).await;
    let mut table = String::new();
    for (check, outcome) in &outcomes {
        let word = match outcome {
            Outcome::Passed => "passed",
            Outcome::Unsupported => "unsupported",
            Outcome::Failed(_) => "failed",
        };
        println!("{backend:<16} {check:<75} {outcome:?}");
        writeln!(table, "{}\t{}\t{word}", check.clause(), check.name()).expect("writing to a string cannot fail");
    }
    if let Some(directory) = env::var_os(RESULTS).map(PathBuf::from) {
        fs::create_dir_all(&directory).expect("the folder of the results can be created");
        fs::write(directory.join(backend), table).expect("the results can be written");
    }
    assert_eq!(outcomes.len(), conformance::checks().len());
    let is_expected = |outcome: &Outcome| *outcome == Outcome::Passed || !has_index && *outcome == Outcome::Unsupported;
    let failures: Vec<_> = outcomes.iter().filter(|(_, outcome)| !is_expected(outcome)).collect();
    assert!(failures.is_empty(), "{backend} violates the contract: {failures:#?}");
}
