//! How each back-end keeps the store contract, for the table that `cargo xtask test` prints.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use session_rocket::ManualClock;
use session_rocket::store::{
    Store,
    conformance::{self, Outcome},
};

/// Back-ends that are to be tested, where not all are: their names with commas between.
const ONLY: &str = "SESSION_ROCKET_ONLY";

/// Whether a back-end is to be tested. One that is not says so.
pub fn is_wanted(backend: &str) -> bool {
    let only = env::var(ONLY).unwrap_or_default();
    let wanted = only.is_empty() || only.split(',').any(|name| name == backend);
    if !wanted {
        println!("{backend} is left out: {ONLY}={only}");
    }
    wanted
}

/// Runs every check of the contract on the store that `open` opens, prints how it did and keeps that for the table.
///
/// A back-end without an index of identities may say so where `has_index` is false; nothing else is forgiven.
///
/// # Panics
/// When the store breaks the contract.
pub async fn examine(backend: &str, has_index: bool, open: impl AsyncFn(Arc<ManualClock>) -> Arc<dyn Store>) {
    let outcomes = conformance::examine(open).await;
    let mut table = String::new();
    for (check, outcome) in &outcomes {
        let word = match outcome {
            Outcome::Kept => "kept",
            Outcome::Unsupported => "unsupported",
            Outcome::Broken(_) => "broken",
        };
        println!("{backend:<16} {check:<75} {outcome:?}");
        writeln!(table, "{}\t{}\t{word}", check.clause(), check.name()).expect("a text takes it");
    }
    let directory = directory();
    fs::create_dir_all(&directory).expect("the folder of the results can be made");
    fs::write(directory.join(backend), table).expect("a result can be written");
    assert_eq!(outcomes.len(), conformance::checks().len());
    let right = |outcome: &Outcome| *outcome == Outcome::Kept || !has_index && *outcome == Outcome::Unsupported;
    let wrong: Vec<_> = outcomes.iter().filter(|(_, outcome)| !right(outcome)).collect();
    assert!(wrong.is_empty(), "{backend} breaks the contract: {wrong:#?}");
}

/// Where results are kept: a file for each back-end.
fn directory() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in a folder of the project");
    root.join("target/conformance")
}
