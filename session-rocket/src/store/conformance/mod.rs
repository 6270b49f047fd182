//! Tests of every clause of the store contract, for any store.
//!
//! For authors of stores. [`run`] takes a function that opens the store with a clock that the suite moves, and calls the
//! function once for each of the [`checks`]. Keys are random, so the store may be shared and need not be empty; but no
//! other process may sweep it while the suite runs. The suite needs a tokio runtime with time enabled, preferably one
//! with several threads.
//!
//! ```
//! use std::sync::Arc;
//! use session_rocket::ManualClock;
//! use session_rocket::store::{Store, conformance, memory::MemoryStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! conformance::run(async |clock: Arc<ManualClock>| Arc::new(MemoryStore::new(10_000, clock)) as Arc<dyn Store>).await;
//! # }
//! ```
//!
//! Clause 11 ("errors are not answers") needs a store whose back-end is out of order, which only its author can arrange:
//! pass such a store to [`errors_are_not_answers`].

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use self::subject::Outcome;
use self::subject::{HOUR, Subject, random_key, version};
use super::Store;
use crate::base::clock::{Clock, ManualClock};
use crate::base::error::{ErrorKind, Result};
use crate::store::record::{Record, Tombstone};

mod calls;
mod cancellation;
mod expiry;
mod identity;
mod neighbours;
mod races;
mod records;
mod subject;

/// A check that takes longer than this fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// One check of the suite.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    clause: u8,
    name: &'static str,
    run: fn(Subject) -> Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

impl Check {
    /// The number of the check's clause in the documentation of [`store`](super).
    pub fn clause(&self) -> u8 {
        self.clause
    }

    /// What the check tests.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clause {}: {}", self.clause, self.name)
    }
}

macro_rules! checks {
    ($($clause:literal $module:ident::$check:ident $name:literal,)*) => {
        &[$(Check {
            clause: $clause,
            name: $name,
            run: |subject| Box::pin(async { $module::$check(subject).await.into() }),
        }),*]
    };
}

/// All checks, in the order of the clauses.
pub fn checks() -> &'static [Check] {
    CHECKS
}

const CHECKS: &[Check] = checks! {
    1 records::payloads "any payload comes back as it was",
    1 records::versions_and_moments "versions and moments come back as they were",
    1 records::texts "identities and scopes come back as they were",
    1 records::updated "an update gives back all it was given",
    1 neighbours::loads "of many loads at once each gets its own answer",
    2 records::create_spares_the_living "create leaves a live record as it is",
    2 records::create_spares_tombstones "create leaves a live tombstone as it is",
    2 races::creates "of concurrent creates one wins",
    2 neighbours::creates "of many creates at once each gets its own answer",
    3 records::update_swaps "update replaces the expected version only",
    3 records::update_never_creates "update does not create",
    3 records::update_of_the_ended "update tells ended from moved",
    3 races::updates "of concurrent updates one wins",
    3 races::increments "no increment by compare-and-swap is lost",
    3 neighbours::updates "of many updates at once each gets its own answer",
    4 records::touch_moves_the_expiry_only "touch moves the expiry only",
    4 records::touch_compares "touch compares versions",
    4 records::touch_never_creates "touch does not create",
    4 races::touch_and_update "a touch never undoes an update",
    4 neighbours::touches "of many touches at once each gets its own answer",
    5 records::retire_leaves_a_tombstone "retire leaves the tombstone it was given",
    5 records::retire_compares "retire compares versions where it was told one",
    5 records::retire_of_nothing "retire leaves what is not live as it is",
    5 identity::retire_forgets "a retired record is listed no more",
    5 races::retires "of concurrent retires and updates one wins",
    5 neighbours::retires "of many retires at once each gets its own answer",
    6 records::delete_removes "delete removes record and tombstone",
    6 records::delete_of_nothing "delete of what is absent is fine",
    7 expiry::records_end "an expired record is absent in every call",
    7 expiry::tombstones_end "an expired tombstone is absent in every call",
    7 expiry::keys_are_free_again "an expired key can be created anew",
    7 expiry::touched_records_live_on "a touched record expires when the touch said",
    8 expiry::sweep_removes_the_expired "a sweep removes what expired, within its limit",
    8 expiry::sweep_follows_updates "a sweep keeps to the expiry of the last update or touch",
    8 expiry::sweep_spares_the_living "a sweep removes nothing live",
    9 identity::list "list gives the live records of one identity in one scope",
    9 identity::list_follows "list follows updates, deletes and expiry",
    9 identity::retire_all "retire_all ends what list gave, but for the exception",
    9 identity::retire_all_meets_cycles "retire_all ends a session that is given a new id meanwhile",
    10 cancellation::reads "a load cut off at any await disturbs nobody",
    10 cancellation::creates "a create cut off at any await happened or did not",
    10 cancellation::updates "an update cut off at any await happened or did not",
    10 cancellation::touches "a touch cut off at any await happened or did not",
    10 cancellation::retires "a retire cut off at any await happened or did not",
    10 cancellation::deletes "a delete cut off at any await happened or did not",
    10 cancellation::sweeps "a sweep cut off at any await spares the living",
    10 cancellation::retire_alls "a retire_all cut off at any await leaves records or tombstones",
};

/// Runs every check on the store that `open` opens.
///
/// # Panics
/// If the store breaks the contract. The message lists every check that failed.
pub async fn run(open: impl AsyncFn(Arc<ManualClock>) -> Arc<dyn Store>) {
    let broken: Vec<String> = examine(open)
        .await
        .into_iter()
        .filter_map(|(check, outcome)| match outcome {
            Outcome::Broken(how) => Some(format!("{check}: {how}")),
            Outcome::Kept | Outcome::Unsupported => None,
        })
        .collect();
    assert!(broken.is_empty(), "the store breaks the contract:\n{}", broken.join("\n"));
}

/// Runs every check on the store that `open` opens, and returns all results.
pub async fn examine(open: impl AsyncFn(Arc<ManualClock>) -> Arc<dyn Store>) -> Vec<(Check, Outcome)> {
    let mut outcomes = Vec::new();
    for check in checks() {
        let clock = Arc::new(ManualClock::default());
        let store = open(clock.clone()).await;
        let task = tokio::spawn(tokio::time::timeout(PATIENCE, (check.run)(Subject { store, clock })));
        let outcome = match task.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Outcome::Broken(format!("the check took longer than {PATIENCE:?}")),
            Err(error) if error.is_panic() => Outcome::Broken(message(&*error.into_panic())),
            Err(_) => Outcome::Broken("the runtime was shut down".to_owned()),
        };
        outcomes.push((*check, outcome));
    }
    outcomes
}

/// Checks clause 11 on a store whose back-end is out of order: every call has to return an error.
///
/// # Panics
/// If a call succeeds, or fails with another kind than [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`].
pub async fn errors_are_not_answers(store: &dyn Store) {
    let (key, now) = (random_key(), ManualClock::default().now());
    let record = Record::new(version(), now.plus(HOUR))
        .with_scope("conformance")
        .with_payload("payload")
        .with_times(now, now)
        .with_identity("identity");
    let tombstone = Tombstone::ended(now.plus(HOUR));
    failed("load", store.load(&key).await, false);
    failed("create", store.create(&key, &record).await, false);
    failed("update", store.update(&key, record.version, &record).await, false);
    failed("touch", store.touch(&key, record.version, now).await, false);
    failed("retire", store.retire(&key, None, tombstone).await, false);
    failed("delete", store.delete(&key).await, false);
    failed("delete_expired", store.delete_expired(1).await, false);
    failed("list", store.list("conformance", "identity").await, true);
    failed("retire_all", store.retire_all("conformance", "identity", None, now).await, true);
}

fn failed<T>(call: &str, result: Result<T>, optional: bool) {
    let kind = result.err().map(|error| error.kind());
    let right = matches!(kind, Some(ErrorKind::Unavailable | ErrorKind::Timeout))
        || optional && kind == Some(ErrorKind::Unsupported);
    assert!(right, "clause 11: errors are not answers: {call} gave {kind:?} while the back-end is out of order");
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}
