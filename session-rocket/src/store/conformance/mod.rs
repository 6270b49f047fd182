//! Tests of every clause of the store contract, for any store.
//!
//! This module is for authors of stores. [`run`] takes a function that opens the store with the given clock, and calls
//! the function once for each of the [`checks`]. The store must read the time from that clock, because the suite moves it.
//! The store need not be empty, and other processes may use it, because the suite uses random keys. But no other process
//! may sweep the store meanwhile. The suite needs a Tokio runtime with time enabled, preferably a multi-threaded one.
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
//! For clause 11 ("failures are errors"), set up a store whose back-end is broken, and pass it to [`failures_are_errors`].

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use self::states::{ALONE, CONCURRENT};
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

/// Ends a check that hangs. The longest check takes seconds, but much longer on a slow disk of a busy machine.
const CHECK_TIMEOUT: Duration = Duration::from_secs(300);

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The store fulfills this part of the contract.
    Passed,
    /// The store does not support the call, which the contract allows.
    Unsupported,
    /// The store breaks the contract in the way that the string describes.
    Failed(String),
}

/// One check of the suite.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    clause: u8,
    name: &'static str,
    run: fn(Subject) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Check {
    /// Returns the number of the clause that the check tests. The documentation of [`store`](super) has the clauses.
    pub fn clause(&self) -> u8 {
        self.clause
    }

    /// Returns a sentence that describes what the check tests.
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
        Outcome::Passed
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clause {}: {}", self.clause, self.name)
    }
}

macro_rules! checks {
    ($($clause:literal $module:ident::$check:ident $(($concurrent:expr))? $name:literal,)*) => {
        &[$(Check {
            clause: $clause,
            name: $name,
            run: |subject| Box::pin($module::$check(subject $(, $concurrent)?)),
        }),*]
    };
}

/// Returns all checks, in the order of the clauses.
pub fn checks() -> &'static [Check] {
    CHECKS
}

const CHECKS: &[Check] = checks! {
    1 records::payloads "every payload is loaded as it was stored",
    1 records::versions_and_times "versions and times are loaded as they were stored",
    1 records::strings "identities and scopes are loaded as they were stored",
    1 records::updated "an update stores the whole record",
    1 states::loads(CONCURRENT) "each of many concurrent loads gets its own reply",
    2 states::creates(ALONE) "create stores a record only if the key is absent",
    2 states::creates(CONCURRENT) "each of many concurrent creates gets its own reply",
    2 races::creates "exactly one of several concurrent creates of one key succeeds",
    3 states::updates(ALONE) "update replaces only a live record of the expected version",
    3 states::updates(CONCURRENT) "each of many concurrent updates gets its own reply",
    3 races::updates "exactly one of several concurrent updates of one version succeeds",
    3 races::increments "no increment by compare-and-swap is lost",
    4 states::touches(ALONE) "touch moves only the expiry, and only of a live record of the expected version",
    4 states::touches(CONCURRENT) "each of many concurrent touches gets its own reply",
    4 races::touch_and_update "a touch never undoes an update",
    5 states::retires(ALONE) "retire replaces only a live record, with the given tombstone",
    5 states::retires(CONCURRENT) "each of many concurrent retires gets its own reply",
    5 races::updates_and_retires "exactly one of several concurrent retires and updates of one version succeeds",
    6 states::deletes(ALONE) "delete removes a record or tombstone, and succeeds if the key is absent",
    7 expiry::entries_expire "an expired record or tombstone is absent in every call",
    7 expiry::keys_are_free_again "an expired key can be created again",
    7 expiry::touched_records_live_on "a touched record expires at the time that touch sets",
    8 expiry::sweep_removes_the_expired "a sweep removes all expired entries within its limit, and no live ones",
    8 expiry::sweep_follows_updates "a sweep respects the expiry of the last update or touch",
    9 identity::list "list returns the live records of one identity in one scope",
    9 identity::list_follows "list follows updates, deletes and expiry",
    9 identity::retired_records_are_not_listed "a retired record is no longer listed",
    9 identity::list_during_rotation "list does not miss a session that gets a new id while list runs",
    9 identity::revoke_one "revoke ends one session, at its key or the key it moved to",
    9 identity::revoke_others "revoke_all ends the listed sessions except the given one",
    9 identity::revoke_all_during_rotation "revoke_all ends a session that gets a new id while revoke_all runs",
    10 cancellation::loads "a load that is dropped at any await disturbs no other call",
    10 cancellation::creates "a create that is dropped at any await happens completely or not at all",
    10 cancellation::updates "an update that is dropped at any await happens completely or not at all",
    10 cancellation::touches "a touch that is dropped at any await happens completely or not at all",
    10 cancellation::retires "a retire that is dropped at any await happens completely or not at all",
    10 cancellation::deletes "a delete that is dropped at any await happens completely or not at all",
    10 cancellation::sweeps "a sweep that is dropped at any await removes no live record",
    10 cancellation::lists "a list that is dropped at any await disturbs no other call",
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
            Outcome::Failed(how) => Some(format!("{check}: {how}")),
            Outcome::Passed | Outcome::Unsupported => None,
        })
        .collect();
    assert!(broken.is_empty(), "the store breaks the contract:\n{}", broken.join("\n"));
}

/// Runs every check on the store that `open` opens. Returns all results.
pub async fn examine(open: impl AsyncFn(Arc<ManualClock>) -> Arc<dyn Store>) -> Vec<(Check, Outcome)> {
    let mut outcomes = Vec::new();
    for check in checks() {
        let clock = Arc::new(ManualClock::default());
        let store = open(clock.clone()).await;
        let task = tokio::spawn(tokio::time::timeout(CHECK_TIMEOUT, check.run(Subject { store, clock })));
        let outcome = match task.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Outcome::Failed(format!("the check took longer than {CHECK_TIMEOUT:?}")),
            Err(error) if error.is_panic() => Outcome::Failed(message(&*error.into_panic())),
            Err(_) => Outcome::Failed("the runtime was shut down".to_owned()),
        };
        outcomes.push((*check, outcome));
    }
    outcomes
}

/// Checks clause 11 on a store whose back-end is broken: every call must return an error.
///
/// # Panics
/// If a call succeeds, or if its error has a kind other than [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`]. Only
/// `list` may also return [`ErrorKind::Unsupported`].
pub async fn failures_are_errors(store: &dyn Store) {
    let (key, now) = (random_key(), ManualClock::default().now());
    let record = Record::new(version(), now.plus(HOUR))
        .with_scope("conformance")
        .with_payload("payload")
        .with_times(now, now)
        .with_identity("identity");
    let tombstone = Tombstone::ended(now.plus(HOUR));
    assert_failed("load", store.load(&key).await, false);
    assert_failed("create", store.create(&key, &record).await, false);
    assert_failed("update", store.update(&key, record.version, &record).await, false);
    assert_failed("touch", store.touch(&key, record.version, now).await, false);
    assert_failed("retire", store.retire(&key, None, tombstone).await, false);
    assert_failed("delete", store.delete(&key).await, false);
    assert_failed("delete_expired", store.delete_expired(1).await, false);
    assert_failed("list", store.list("conformance", "identity").await, true);
}

fn assert_failed<T>(call: &str, result: Result<T>, may_be_unsupported: bool) {
    match result.map_err(|error| error.kind()) {
        Ok(_) => panic!("clause 11: failures are errors: {call} succeeded although the back-end is broken"),
        Err(ErrorKind::Unavailable | ErrorKind::Timeout) => {}
        Err(ErrorKind::Unsupported) if may_be_unsupported => {}
        Err(kind) => panic!("clause 11: failures are errors: {call} returned an error of kind {kind:?}"),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the check panicked").to_owned()
}
