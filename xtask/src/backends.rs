//! The back-ends that the tests run on, and a table of how each back-end keeps the store contract.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use crate::{Result, root};

/// All back-ends, with the programs that each needs.
const ALL: &[(&str, &[&str])] = &[
    ("memory", &[]),
    ("sqlite", &[]),
    ("postgres", &["postgres"]),
    ("mysql", &["mariadbd", "mariadb-install-db"]),
    ("redis", &["redis-server", "redis-cli", "openssl"]),
    ("redis-cluster", &["redis-server", "redis-cli"]),
    ("memcached", &["memcached"]),
    ("file", &[]),
    ("cached", &["postgres", "redis-server"]),
];

/// The variable that lists the back-ends to test. The tests of other back-ends are skipped.
pub const ONLY: &str = "SESSION_ROCKET_ONLY";

/// The variable with the folder of the results.
pub const RESULTS: &str = "SESSION_ROCKET_RESULTS";

/// The back-ends to test.
pub struct Backends(Vec<&'static str>);

impl Backends {
    pub fn all() -> Self {
        Self(ALL.iter().map(|(name, _)| *name).collect())
    }

    /// Parses names separated by commas.
    pub fn only(list: &str) -> Result<Self> {
        let known = |name: &str| ALL.iter().map(|(known, _)| *known).find(|known| *known == name);
        let names = list.split(',').map(|name| known(name).ok_or_else(|| format!("unknown back-end `{name}`")));
        names.collect::<Result<_>>().map(Self).map_err(|problem| {
            let all = ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",");
            format!("{problem}: expected one or more of {all}")
        })
    }

    /// Whether any of these back-ends needs a program.
    pub fn is_program_needed(&self, program: &str) -> bool {
        ALL.iter().any(|(name, programs)| self.0.contains(name) && programs.contains(&program))
    }

    /// The value of the variable [`ONLY`], if not all back-ends are tested.
    pub fn variable(&self) -> Option<String> {
        (self.0.len() < ALL.len()).then(|| self.0.join(","))
    }

    /// Prints how each back-end keeps each clause of the contract. Fails if a back-end has no results.
    pub fn report(&self, results: &Results) -> Result {
        let mut columns = Vec::new();
        for name in &self.0 {
            let outcomes = fs::read_to_string(results.path().join(name))
                .map_err(|_| format!("the contract's suite did not run on `{name}`"))?;
            columns.push((*name, clauses(&outcomes)));
        }
        let clauses: Vec<u8> =
            columns.first().map(|(_, clauses)| clauses.keys().copied().collect()).unwrap_or_default();
        println!("\nThe store contract: passed checks of all checks. Clause 9 needs an index of identities\n");
        print!("{:<8}", "clause");
        columns.iter().for_each(|(name, _)| print!("{name:>14}"));
        println!();
        for clause in clauses {
            print!("{clause:<8}");
            for (_, results) in &columns {
                print!("{:>14}", results.get(&clause).map(Tally::to_string).unwrap_or_default());
            }
            println!();
        }
        let skipped: Vec<&str> = ALL.iter().map(|(name, _)| *name).filter(|name| !self.0.contains(name)).collect();
        if !skipped.is_empty() {
            println!("\nSKIPPED: {}", skipped.join(", "));
        }
        Ok(())
    }
}

/// Counts of the checks of one clause.
#[derive(Default)]
struct Tally {
    all: u32,
    passed: u32,
    unsupported: u32,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self { all, unsupported, .. } if all == unsupported => "-".to_owned(),
            Self { all, passed, .. } => format!("{passed}/{all}"),
        };
        f.pad(&text)
    }
}

/// Parses the results of the tests: lines of clause, check and outcome, separated by tabs.
fn clauses(results: &str) -> BTreeMap<u8, Tally> {
    let mut clauses: BTreeMap<u8, Tally> = BTreeMap::new();
    for line in results.lines() {
        let mut fields = line.split('\t');
        let (clause, outcome) = (fields.next().and_then(|clause| clause.parse().ok()), fields.nth(1));
        let tally = clauses.entry(clause.unwrap_or_default()).or_default();
        tally.all += 1;
        tally.passed += u32::from(outcome == Some("passed"));
        tally.unsupported += u32::from(outcome == Some("unsupported"));
    }
    clauses
}

/// The folder in which the tests of this run write one file of results per back-end. It is removed when its value is
/// dropped.
pub struct Results(PathBuf);

impl Results {
    /// Chooses a folder that no other run in this checkout uses.
    pub fn new() -> Self {
        Self(root().join(format!("target/conformance-{}", process::id())))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        // The folder may be missing.
        let _ = fs::remove_dir_all(&self.0);
    }
}
