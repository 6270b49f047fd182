//! Which back-ends the tests are run for, and the table of how each keeps the store contract.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::{Outcome, root};

/// All of them, and the programs that each needs.
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

/// The variable that tells the tests which back-ends are left out.
pub const ONLY: &str = "SESSION_ROCKET_ONLY";

/// The back-ends to test.
pub struct Backends(Vec<&'static str>);

impl Backends {
    pub fn all() -> Self {
        Self(ALL.iter().map(|(name, _)| *name).collect())
    }

    /// Those of a list with commas between.
    pub fn only(list: &str) -> Result<Self, String> {
        let known = |name: &str| ALL.iter().map(|(known, _)| *known).find(|known| *known == name);
        let names = list.split(',').map(|name| known(name).ok_or_else(|| format!("`{name}` is no back-end")));
        names.collect::<Result<_, _>>().map(Self).map_err(|problem| {
            let all = ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",");
            format!("{problem}: they are {all}")
        })
    }

    /// Whether one of them needs a program.
    pub fn need(&self, program: &str) -> bool {
        ALL.iter().any(|(name, programs)| self.0.contains(name) && programs.contains(&program))
    }

    /// What the tests are told: nothing where all are tested.
    pub fn variable(&self) -> Option<String> {
        (self.0.len() < ALL.len()).then(|| self.0.join(","))
    }

    /// Prints how each keeps the contract, clause by clause. One without results is a failure.
    pub fn report(&self) -> Outcome {
        let mut columns = Vec::new();
        for name in &self.0 {
            let results = fs::read_to_string(results().join(name))
                .map_err(|_| format!("the contract's suite was not run on `{name}`"))?;
            columns.push((*name, clauses(&results)));
        }
        let clauses: Vec<u8> =
            columns.first().map(|(_, clauses)| clauses.keys().copied().collect()).unwrap_or_default();
        println!("\nThe store contract, clause by back-end: checks kept of all. Clause 9 asks for an index\n");
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
        let left_out: Vec<&str> = ALL.iter().map(|(name, _)| *name).filter(|name| !self.0.contains(name)).collect();
        if !left_out.is_empty() {
            println!("\nLEFT OUT: {}", left_out.join(", "));
        }
        Ok(())
    }
}

/// How many checks of a clause there are, were kept, and are said not to be offered.
#[derive(Default)]
struct Tally {
    all: u32,
    kept: u32,
    unsupported: u32,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self { all, unsupported, .. } if all == unsupported => "-".to_owned(),
            Self { all, kept, .. } => format!("{kept}/{all}"),
        };
        f.pad(&text)
    }
}

/// Reads what the tests have written: clause, check and outcome, with tabs between.
fn clauses(results: &str) -> BTreeMap<u8, Tally> {
    let mut clauses: BTreeMap<u8, Tally> = BTreeMap::new();
    for line in results.lines() {
        let mut fields = line.split('\t');
        let (clause, outcome) = (fields.next().and_then(|clause| clause.parse().ok()), fields.nth(1));
        let tally = clauses.entry(clause.unwrap_or_default()).or_default();
        tally.all += 1;
        tally.kept += u32::from(outcome == Some("kept"));
        tally.unsupported += u32::from(outcome == Some("unsupported"));
    }
    clauses
}

/// Forgets the results of an earlier run.
pub fn forget() {
    // They may not be there.
    let _ = fs::remove_dir_all(results());
}

/// Where the tests keep their results: a file for each back-end.
fn results() -> PathBuf {
    root().join("target/conformance")
}
