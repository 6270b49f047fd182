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

use self::states::{ALONE, AT_ONCE};
use self::subject::{HOUR, Subject, random_key, version};
use super::Store;
use crate::base::clock::{Clock, ManualClock};
use crate::base::error::{ErrorKind, Result};
use crate::store::record::{Record, Tombstone};

mod calls;
mod cancellation;
mod expiry;
mod identity;
mod races;
mod records;
mod states;
mod subject;

/// A check that takes longer than this fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The store keeps this part of the contract.
    Kept,
    /// The store reports that it does not support the call, which the contract allows.
    Unsupported,
    /// The store breaks the contract in this way.
    Broken(String),
}

/// One check of the suite.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    clause: u8,
    name: &'static str,
    run: fn(Subject) -> Pin<Box<dyn Future<Output = ()> + Send>>,
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

    /// Runs the check. Panics if the store breaks the contract.
    async fn run(self, subject: Subject) -> Outcome {
        if self.clause == 9 && !subject.store.has_identity_index() {
            subject.check_without_index().await;
            return Outcome::Unsupported;
        }
        (self.run)(subject).await;
        Outcome::Kept
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clause {}: {}", self.clause, self.name)
    }
}

macro_rules! checks {
    ($($clause:literal $module:ident::$check:ident $(($at_once:expr))? $name:literal,)*) => {
        &[$(Check {
            clause: $clause,
            name: $name,
            run: |subject| Box::pin($module::$check(subject $(, $at_once)?)),
        }),*]
    };
}

/// All checks, in the order of the clauses.
pub fn checks() -> &'static [Check] {
    CHECKS
}

const CHECKS: &[Check] = checks! {
    1 records::payloads "any payload is loaded as it was stored",
    1 records::versions_and_times "versions and times are loaded as they were stored",
    1 records::strings "identities and scopes are loaded as they were stored",
    1 records::updated "an update stores the whole record",
    1 states::loads(AT_ONCE) "of many loads at once each gets its own reply",
    2 states::creates(ALONE) "create stores a record only if the key is absent",
    2 states::creates(AT_ONCE) "of many creates at once each gets its own reply",
    2 races::creates "of concurrent creates one wins",
    3 states::updates(ALONE) "update replaces only a live record of the expected version",
    3 states::updates(AT_ONCE) "of many updates at once each gets its own reply",
    3 races::updates "of concurrent updates one wins",
    3 races::increments "no increment by compare-and-swap is lost",
    4 states::touches(ALONE) "touch moves only the expiry, and only of a live record of the expected version",
    4 states::touches(AT_ONCE) "of many touches at once each gets its own reply",
    4 races::touch_and_update "a touch never undoes an update",
    5 states::retires(ALONE) "retire leaves the given tombstone, and only in place of a live record",
    5 states::retires(AT_ONCE) "of many retires at once each gets its own reply",
    5 races::updates_and_retires "of concurrent retires and updates one wins",
    6 states::deletes(ALONE) "delete removes a record or tombstone, and succeeds without one",
    7 expiry::entries_expire "an expired record or tombstone is absent in every call",
    7 expiry::keys_are_free_again "an expired key can be created again",
    7 expiry::touched_records_live_on "a touched record expires when the touch said",
    8 expiry::sweep_removes_the_expired "a sweep removes all expired entries within its limit, and no live ones",
    8 expiry::sweep_follows_updates "a sweep respects the expiry of the last update or touch",
    9 identity::list "list returns the live records of one identity in one scope",
    9 identity::list_follows "list follows updates, deletes and expiry",
    9 identity::retire_delists "a retired record is no longer listed",
    9 identity::list_meets_rotations "list does not miss a session that gets a new id meanwhile",
    9 identity::revoke_ends_one "revoke ends one session, at its key or the key it moved to",
    9 identity::revoke_all_ends_others "revoke_all ends the listed sessions except the given one",
    9 identity::revoke_all_meets_rotations "revoke_all ends a session that gets a new id meanwhile",
    10 cancellation::reads "a load that is cut off at any await disturbs no other call",
    10 cancellation::creates "a create that is cut off at any await happened or did not",
    10 cancellation::updates "an update that is cut off at any await happened or did not",
    10 cancellation::touches "a touch that is cut off at any await happened or did not",
    10 cancellation::retires "a retire that is cut off at any await happened or did not",
    10 cancellation::deletes "a delete that is cut off at any await happened or did not",
    10 cancellation::sweeps "a sweep that is cut off at any await removes no live record",
    10 cancellation::lists "a list that is cut off at any await disturbs no other call",
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
        let task = tokio::spawn(tokio::time::timeout(PATIENCE, check.run(Subject { store, clock })));
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
