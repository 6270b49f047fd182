//! Clause 9.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::subject::{HOUR, MINUTE, Subject, random_key, reply, version};
use crate::base::clock::Clock;
use crate::base::error::ErrorKind;
use crate::base::id::Key;
use crate::store::record::Record;
use crate::store::{Create, Lookup, Retire, Update, revoke, revoke_all};

impl Subject {
    /// Checks that a store that says that it has no index of identities does not support `list`.
    pub(super) async fn check_without_index(&self) {
        let listed = self.store.list("conformance", "nobody").await;
        let is_unsupported = listed.is_err_and(|error| error.kind() == ErrorKind::Unsupported);
        assert!(is_unsupported, "has_identity_index is false, but list does not return Unsupported");
    }

    /// What `list` returns, sorted by key.
    async fn listed(&self, scope: &str, identity: &str) -> Vec<(Key, Record)> {
        let mut listed = reply("list", self.store.list(scope, identity).await);
        listed.sort_by_key(|(key, _)| *key);
        listed
    }

    /// Ends the session of `identity` at `key`, or at the key it moved to.
    async fn revoke(&self, identity: &str, key: Key) -> Option<Key> {
        reply("revoke", revoke(&*self.store, "conformance", identity, key, self.in_an_hour()).await)
    }

    /// Ends the sessions of `identity` except `kept`. Returns their keys, sorted.
    async fn revoke_all(&self, identity: &str, kept: Option<Key>) -> Vec<Key> {
        let revoked = revoke_all(&*self.store, "conformance", identity, kept, self.in_an_hour()).await;
        let mut ended = reply("revoke_all", revoked);
        ended.sort();
        ended
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
    assert_eq!(on.revoke_all(&identity, None).await, [], "a retired record was revoked");
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

/// Gives the session at `old` a new id, as a login does. Removes the new record if the session has ended meanwhile.
async fn rotate(on: &Subject, (old, record): &(Key, Record)) -> (Key, Record) {
    let (new, again) = (random_key(), Record { version: version(), ..record.clone() });
    assert_eq!(on.create(&new, &again).await, Create::Created);
    if on.retire(old, Some(record.version), on.moved(new)).await != Retire::Retired {
        on.delete(&new).await;
    }
    (new, again)
}

/// Gives the session new ids until `is_over` is true, at most 20 times. Returns the session under its last id.
async fn rotate_until(on: Subject, mut session: (Key, Record), is_over: Arc<AtomicBool>) -> (Key, Record) {
    for _ in 0..20 {
        session = rotate(&on, &session).await;
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        // A store in memory never waits.
        tokio::task::yield_now().await;
    }
    session
}

pub(super) async fn list_meets_rotations(on: Subject) {
    const LISTS: usize = 40;
    const OTHERS: usize = 32;
    let identity = somebody();
    for _ in 0..OTHERS {
        on.of(&identity).await;
    }
    let record = on.record("rotated").with_identity(&identity);
    let mut session = (on.stored(&record).await, record);
    for _ in 0..LISTS {
        let is_over = Arc::new(AtomicBool::new(false));
        let rotations = tokio::spawn(rotate_until(on.clone(), session, is_over.clone()));
        tokio::task::yield_now().await;
        let listed = on.listed("conformance", &identity).await;
        is_over.store(true, Ordering::SeqCst);
        let is_listed = listed.iter().any(|(_, record)| record.payload == "rotated");
        assert!(is_listed, "list missed a session that was given a new id");
        session = rotations.await.expect("a rotation does not panic");
    }
}

pub(super) async fn revoke_ends_one(on: Subject) {
    let (identity, other) = (somebody(), somebody());
    let (kept, stranger, elsewhere) = (on.of(&identity).await, on.of(&other).await, on.elsewhere(&identity).await);
    let (ended, before) = (on.of(&identity).await, on.of(&identity).await);
    let between = rotate(&on, &before).await;
    let after = rotate(&on, &between).await;
    assert_eq!(on.revoke(&identity, ended.0).await, Some(ended.0), "revoke did not end a session");
    assert_eq!(on.revoke(&identity, before.0).await, Some(after.0), "revoke did not follow a session to its new id");
    for key in [ended.0, before.0, stranger.0, elsewhere.0, random_key()] {
        assert_eq!(on.revoke(&identity, key).await, None, "revoke ended a session that is not the identity's");
    }
    for (key, record) in [&kept, &stranger, &elsewhere] {
        on.holds(key, record).await;
    }
    for (key, record) in [&ended, &after] {
        on.check_update(key, Lookup::Tombstone(on.ended()), record.version, record).await;
    }
    assert_eq!(on.listed("conformance", &identity).await, [kept]);
}

pub(super) async fn revoke_all_ends_others(on: Subject) {
    let (identity, other) = (somebody(), somebody());
    let expired = on.brief(&identity).await;
    on.clock.advance(MINUTE);
    let (kept, ended, also) = (on.of(&identity).await, on.of(&identity).await, on.of(&identity).await);
    let (stranger, elsewhere) = (on.of(&other).await, on.elsewhere(&identity).await);
    let (moved, tombstone) = on.buried(&also.1, on.moved(kept.0)).await;
    let rotated = rotate(&on, &kept).await;
    let mut keys = [ended.0, also.0];
    keys.sort();
    assert_eq!(on.revoke_all(&identity, Some(kept.0)).await, keys, "revoke_all ended other sessions than it must");
    for (key, record) in [&ended, &also] {
        on.check_update(key, Lookup::Tombstone(on.ended()), record.version, record).await;
    }
    for (key, record) in [&rotated, &stranger, &elsewhere] {
        on.holds(key, record).await;
    }
    assert_eq!(on.load(&moved).await, tombstone, "revoke_all changed a tombstone");
    assert_eq!(on.load(&expired).await, Lookup::Absent, "revoke_all revived an expired session");
    let key = rotated.0;
    assert_eq!(on.listed("conformance", &identity).await, [rotated]);
    assert_eq!(on.revoke_all(&identity, None).await, [key], "revoke_all kept a session");
    on.clock.advance(HOUR);
    assert_eq!(on.load(&ended.0).await, Lookup::Absent, "a tombstone did not expire");
}

pub(super) async fn revoke_all_meets_rotations(on: Subject) {
    const ROUNDS: usize = 12;
    const OTHERS: usize = 12;
    for _ in 0..ROUNDS {
        let identity = somebody();
        let rotated = on.of(&identity).await;
        for _ in 0..OTHERS {
            on.of(&identity).await;
        }
        let rotating = on.clone();
        let rotating = tokio::spawn(async move { rotate(&rotating, &rotated).await });
        let ended = on.revoke_all(&identity, None).await;
        assert!(ended.len() > OTHERS, "revoke_all left sessions");
        let (new, _) = rotating.await.expect("a rotation does not panic");
        assert!(!matches!(on.load(&new).await, Lookup::Found(_)), "a session that was given a new id lives on");
    }
}
