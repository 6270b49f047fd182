//! Clause 9, and the part of clause 5 about identities.

use super::subject::{HOUR, MINUTE, Outcome, Subject, answer, random_key, version};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{ErrorKind, Result};
use crate::base::id::Key;
use crate::store::record::Record;
use crate::store::{Create, Lookup, Retire, Update};

impl Subject {
    /// What `list` returns, sorted by key; `None` if the store cannot index.
    async fn listed(&self, scope: &str, identity: &str) -> Option<Vec<(Key, Record)>> {
        let mut listed = supported("list", self.store.list(scope, identity).await)?;
        listed.sort_by_key(|(key, _)| *key);
        Some(listed)
    }

    async fn retire_all(&self, identity: &str, except: Option<&Key>, until: Timestamp) -> Option<u64> {
        supported("retire_all", self.store.retire_all("conformance", identity, except, until).await)
    }

    async fn of(&self, identity: &str) -> (Key, Record) {
        let record = self.record("theirs").with_identity(identity);
        (self.stored(&record).await, record)
    }

    /// A session of `identity` in another scope.
    async fn elsewhere(&self, identity: &str) -> (Key, Record) {
        let record = self.record("theirs").with_identity(identity).with_scope("elsewhere");
        (self.stored(&record).await, record)
    }
}

/// What a call returned; `None` if the store does not support the call.
fn supported<T>(call: &str, result: Result<T>) -> Option<T> {
    let is_unsupported = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unsupported);
    (!is_unsupported).then(|| answer(call, result))
}

/// An identity that no other run of the suite has used, of letters that have upper case.
fn somebody() -> String {
    format!("ada {}", random_key().to_hex())
}

pub(super) async fn retire_forgets(on: Subject) -> Outcome {
    let identity = somebody();
    let (key, _) = on.of(&identity).await;
    assert_eq!(on.retire(&key, None, on.moved(random_key())).await, Retire::Retired);
    let Some(listed) = on.listed("conformance", &identity).await else { return Outcome::Unsupported };
    assert!(listed.is_empty(), "a retired record is listed");
    assert_eq!(on.retire_all(&identity, None, on.in_an_hour()).await, Some(0), "a retired record was retired again");
    Outcome::Kept
}

pub(super) async fn list(on: Subject) -> Outcome {
    let identity = somebody();
    let Some(none) = on.listed("conformance", &identity).await else {
        assert_eq!(on.retire_all(&identity, None, on.in_an_hour()).await, None, "it retires all, but does not list");
        assert!(!on.store.has_identity_index(), "it says that it has an identity index, but does not list");
        return Outcome::Unsupported;
    };
    assert!(on.store.has_identity_index(), "it lists, but says that it has no identity index");
    assert!(none.is_empty(), "an identity that nobody has is listed");
    let mut expected = vec![on.of(&identity).await, on.of(&identity).await, on.of(&identity).await];
    expected.sort_by_key(|(key, _)| *key);
    let upper = identity.to_uppercase();
    let accent = format!("{identity}\u{301}");
    // Strings that a database's collation or pattern may treat as equal.
    for other in [&format!("{identity} "), &format!("{identity}\0"), &identity[1..], &upper, &accent, "%", ""] {
        on.of(other).await;
    }
    let elsewhere = on.elsewhere(&identity).await;
    on.stored(&on.record("nobody's")).await;
    assert_eq!(on.listed("conformance", &identity).await, Some(expected));
    assert_eq!(on.listed("elsewhere", &identity).await, Some(vec![elsewhere]));
    Outcome::Kept
}

pub(super) async fn list_follows(on: Subject) -> Outcome {
    let (before, after) = (somebody(), somebody());
    let (key, old) = on.of(&before).await;
    let (deleted, _) = on.of(&after).await;
    let mut brief = on.record("brief").with_identity(&after);
    brief.expires_at = on.clock.now().plus(MINUTE);
    let expired = on.stored(&brief).await;
    let new = on.record("handed on").with_identity(&after);
    assert_eq!(on.update(&key, old.version, &new).await, Update::Updated);
    on.delete(&deleted).await;
    on.clock.advance(MINUTE);
    let Some(listed) = on.listed("conformance", &before).await else { return Outcome::Unsupported };
    assert!(listed.is_empty(), "a record is listed under the identity it had before");
    assert_eq!(on.listed("conformance", &after).await, Some(vec![(key, new.clone())]));
    assert_eq!(on.create(&expired, &on.record("anew")).await, Create::Created);
    assert_eq!(on.listed("conformance", &after).await, Some(vec![(key, new.clone())]), "an identity is inherited");
    let nobodys = on.record("nobody's");
    assert_eq!(on.update(&key, new.version, &nobodys).await, Update::Updated);
    assert_eq!(on.listed("conformance", &after).await, Some(Vec::new()), "it is listed though it has no identity");
    Outcome::Kept
}

pub(super) async fn retire_all(on: Subject) -> Outcome {
    let (identity, other) = (somebody(), somebody());
    let mut brief = on.record("brief").with_identity(&identity);
    brief.expires_at = on.clock.now().plus(MINUTE);
    let expired = on.stored(&brief).await;
    on.clock.advance(MINUTE);
    let (kept, ended, also) = (on.of(&identity).await, on.of(&identity).await, on.of(&identity).await);
    let stranger = on.of(&other).await;
    let moved = on.of(&identity).await.0;
    assert_eq!(on.retire(&moved, None, on.moved(kept.0)).await, Retire::Retired);
    let elsewhere = on.elsewhere(&identity).await;
    let Some(retired) = on.retire_all(&identity, Some(&kept.0), on.ended().expires_at).await else {
        assert_eq!(on.listed("conformance", &identity).await, None, "it lists, but does not retire all");
        return Outcome::Unsupported;
    };
    assert_eq!(retired, 2, "so many were live, but for the exception");
    for (key, record) in [&ended, &also] {
        assert_eq!(on.load(key).await, Lookup::Tombstone(on.ended()));
        assert_eq!(on.update(key, record.version, record).await, Update::Gone);
    }
    for (key, record) in [&kept, &stranger, &elsewhere] {
        on.holds(key, record).await;
    }
    assert_eq!(on.load(&moved).await, Lookup::Tombstone(on.moved(kept.0)), "retire_all changed a tombstone");
    assert_eq!(on.load(&expired).await, Lookup::Absent, "retire_all revived what had expired");
    assert_eq!(on.listed("conformance", &identity).await, Some(vec![kept.clone()]));
    assert_eq!(on.retire_all(&identity, None, on.in_an_hour()).await, Some(1), "without an exception");
    on.clock.advance(HOUR);
    assert_eq!(on.load(&ended.0).await, Lookup::Absent, "the tombstone outlives its moment");
    Outcome::Kept
}

/// Gives the session at `old` a new id, as a login does. Removes the new record if the session has ended meanwhile.
async fn cycle(on: &Subject, (old, record): &(Key, Record)) -> Key {
    let new = random_key();
    let again = Record { version: version(), ..record.clone() };
    assert_eq!(on.create(&new, &again).await, Create::Created);
    if on.retire(old, Some(record.version), on.moved(new)).await != Retire::Retired {
        on.delete(&new).await;
    }
    new
}

pub(super) async fn retire_all_meets_cycles(on: Subject) -> Outcome {
    const ROUNDS: usize = 12;
    const OTHERS: usize = 12;
    for _ in 0..ROUNDS {
        let identity = somebody();
        let cycled = on.of(&identity).await;
        for _ in 0..OTHERS {
            on.of(&identity).await;
        }
        let (cycling, ending) = (on.clone(), on.clone());
        let cycling = tokio::spawn(async move { cycle(&cycling, &cycled).await });
        let until = on.ended().expires_at;
        let Some(retired) = ending.retire_all(&identity, None, until).await else { return Outcome::Unsupported };
        assert!(retired >= u64::try_from(OTHERS).unwrap_or_default(), "others were left");
        let new = cycling.await.expect("a cycle comes to its end");
        let held = on.load(&new).await;
        assert!(!matches!(held, Lookup::Found(_)), "a session that was given a new id lives on");
    }
    Outcome::Kept
}
