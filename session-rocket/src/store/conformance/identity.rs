//! Clause 9.

use super::subject::{HOUR, MINUTE, Subject, random_key, reply, version};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::ErrorKind;
use crate::base::id::Key;
use crate::store::record::Record;
use crate::store::{Create, Lookup, Retire, Update};

impl Subject {
    /// Checks that a store that says that it has no index of identities supports neither call.
    pub(super) async fn check_without_index(&self) {
        let listed = self.store.list("conformance", "nobody").await.map(drop);
        let retired = self.store.retire_all("conformance", "nobody", None, self.in_an_hour()).await.map(drop);
        for (call, result) in [("list", listed), ("retire_all", retired)] {
            let is_unsupported = result.is_err_and(|error| error.kind() == ErrorKind::Unsupported);
            assert!(is_unsupported, "has_identity_index is false, but {call} does not return Unsupported");
        }
    }

    /// What `list` returns, sorted by key.
    async fn listed(&self, scope: &str, identity: &str) -> Vec<(Key, Record)> {
        let mut listed = reply("list", self.store.list(scope, identity).await);
        listed.sort_by_key(|(key, _)| *key);
        listed
    }

    pub(super) async fn retire_all(&self, identity: &str, except: Option<&Key>, until: Timestamp) -> u64 {
        reply("retire_all", self.store.retire_all("conformance", identity, except, until).await)
    }

    /// A session of `identity`.
    async fn of(&self, identity: &str) -> (Key, Record) {
        let record = self.record("theirs").with_identity(identity);
        (self.stored(&record).await, record)
    }

    /// A session of `identity` in another scope.
    async fn elsewhere(&self, identity: &str) -> (Key, Record) {
        let record = self.record("theirs").with_identity(identity).with_scope("elsewhere");
        (self.stored(&record).await, record)
    }

    /// A session of `identity` that expires in a minute.
    async fn brief(&self, identity: &str) -> Key {
        let expires_at = self.clock.now().plus(MINUTE);
        self.stored(&Record { expires_at, ..self.record("brief").with_identity(identity) }).await
    }
}

/// An identity that no other run of the suite has used, of letters that have upper case.
fn somebody() -> String {
    format!("ada {}", random_key().to_hex())
}

pub(super) async fn retire_delists(on: Subject) {
    let identity = somebody();
    let (key, _) = on.of(&identity).await;
    assert_eq!(on.retire(&key, None, on.moved(random_key())).await, Retire::Retired);
    assert_eq!(on.listed("conformance", &identity).await, [], "a retired record is listed");
    assert_eq!(on.retire_all(&identity, None, on.in_an_hour()).await, 0, "a retired record was retired again");
}

pub(super) async fn list(on: Subject) {
    let identity = somebody();
    assert_eq!(on.listed("conformance", &identity).await, [], "an identity without sessions has some");
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
    assert_eq!(on.listed("conformance", &identity).await, expected);
    assert_eq!(on.listed("elsewhere", &identity).await, [elsewhere]);
}

pub(super) async fn list_follows(on: Subject) {
    let (before, after) = (somebody(), somebody());
    let (key, old) = on.of(&before).await;
    let (deleted, _) = on.of(&after).await;
    let expired = on.brief(&after).await;
    let new = on.record("handed on").with_identity(&after);
    assert_eq!(on.update(&key, old.version, &new).await, Update::Updated);
    on.delete(&deleted).await;
    on.clock.advance(MINUTE);
    assert_eq!(on.listed("conformance", &before).await, [], "a record is listed under its former identity");
    assert_eq!(on.listed("conformance", &after).await, [(key, new.clone())]);
    assert_eq!(on.create(&expired, &on.record("anew")).await, Create::Created);
    assert_eq!(
        on.listed("conformance", &after).await,
        [(key, new.clone())],
        "a record is listed under the key's former identity"
    );
    assert_eq!(on.update(&key, new.version, &on.record("nobody's")).await, Update::Updated);
    assert_eq!(on.listed("conformance", &after).await, [], "a record without an identity is listed");
}

pub(super) async fn retire_all(on: Subject) {
    let (identity, other) = (somebody(), somebody());
    let expired = on.brief(&identity).await;
    on.clock.advance(MINUTE);
    let (kept, ended, also) = (on.of(&identity).await, on.of(&identity).await, on.of(&identity).await);
    let stranger = on.of(&other).await;
    let (moved, tombstone) = on.buried(&also.1, on.moved(kept.0)).await;
    let elsewhere = on.elsewhere(&identity).await;
    let retired = on.retire_all(&identity, Some(&kept.0), on.ended().expires_at).await;
    assert_eq!(retired, 2, "wrong number of sessions without the excepted one");
    for (key, record) in [&ended, &also] {
        on.check_update(key, Lookup::Tombstone(on.ended()), record.version, record).await;
    }
    for (key, record) in [&kept, &stranger, &elsewhere] {
        on.holds(key, record).await;
    }
    assert_eq!(on.load(&moved).await, tombstone, "retire_all changed a tombstone");
    assert_eq!(on.load(&expired).await, Lookup::Absent, "retire_all revived an expired session");
    assert_eq!(on.listed("conformance", &identity).await, [kept]);
    assert_eq!(
        on.retire_all(&identity, None, on.in_an_hour()).await,
        1,
        "wrong number of sessions without an exception"
    );
    on.clock.advance(HOUR);
    assert_eq!(on.load(&ended.0).await, Lookup::Absent, "a tombstone did not expire");
}

/// Gives the session at `old` a new id, as a login does. Removes the new record if the session has ended meanwhile.
async fn rotate(on: &Subject, (old, record): &(Key, Record)) -> Key {
    let new = random_key();
    let again = Record { version: version(), ..record.clone() };
    assert_eq!(on.create(&new, &again).await, Create::Created);
    if on.retire(old, Some(record.version), on.moved(new)).await != Retire::Retired {
        on.delete(&new).await;
    }
    new
}

pub(super) async fn retire_all_meets_rotations(on: Subject) {
    const ROUNDS: usize = 12;
    const OTHERS: u64 = 12;
    for _ in 0..ROUNDS {
        let identity = somebody();
        let rotated = on.of(&identity).await;
        for _ in 0..OTHERS {
            on.of(&identity).await;
        }
        let rotating = on.clone();
        let rotating = tokio::spawn(async move { rotate(&rotating, &rotated).await });
        let retired = on.retire_all(&identity, None, on.ended().expires_at).await;
        assert!(retired >= OTHERS, "retire_all left sessions");
        let new = rotating.await.expect("a rotation does not panic");
        assert!(!matches!(on.load(&new).await, Lookup::Found(_)), "a session that was given a new id lives on");
    }
}
