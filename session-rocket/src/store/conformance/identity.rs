//! Clause 9: the index of identities.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::subject::{HOUR, MINUTE, Subject, random_key, reply, version};
use crate::base::clock::Clock;
use crate::base::error::ErrorKind;
use crate::base::id::Key;
use crate::store::record::Record;
use crate::store::{Create, Lookup, Retire, Update, revoke, revoke_all};

impl Subject {
    /// Checks that `list` returns `Unsupported`, as it must if the store reports no index of identities.
    pub(super) async fn check_without_index(&self) {
        let listed = self.store.list("conformance", "nobody").await;
        let is_unsupported = listed.is_err_and(|error| error.kind() == ErrorKind::Unsupported);
        assert!(is_unsupported, "has_identity_index is false, but list does not return Unsupported");
    }

    /// Returns what `list` returns, sorted by key.
    async fn listed(&self, scope: &str, identity: &str) -> Vec<(Key, Record)> {
        let mut listed = reply("list", self.store.list(scope, identity).await);
        listed.sort_by_key(|(key, _)| *key);
        listed
    }

    /// Ends the session of `identity` at `key`, or at the key to which the session moved.
    async fn revoke(&self, identity: &str, key: Key) -> Option<Key> {
        reply("revoke", revoke(&*self.store, "conformance", identity, key, self.in_an_hour()).await)
    }

    /// Ends the sessions of `identity` except the session at `kept`. Returns the keys of the ended sessions, sorted.
    async fn revoke_all(&self, identity: &str, kept: Option<Key>) -> Vec<Key> {
        let revoked = revoke_all(&*self.store, "conformance", identity, kept, self.in_an_hour()).await;
        let mut ended = reply("revoke_all", revoked);
        ended.sort();
        ended
    }

    /// Creates a session of `identity`.
    async fn session_of(&self, identity: &str) -> (Key, Record) {
        let record = self.record("theirs").with_identity(identity);
        (self.create_new(&record).await, record)
    }

    /// Creates a session of `identity` in another scope.
    async fn session_in_other_scope(&self, identity: &str) -> (Key, Record) {
        let record = self.record("theirs").with_identity(identity).with_scope("elsewhere");
        (self.create_new(&record).await, record)
    }

    /// Creates a session of `identity` that expires in a minute.
    async fn brief_session_of(&self, identity: &str) -> Key {
        let expires_at = self.clock.now().plus(MINUTE);
        self.create_new(&Record { expires_at, ..self.record("brief").with_identity(identity) }).await
    }
}

/// Returns a new identity. It contains lower-case letters, so that `list` can check case sensitivity.
fn random_identity() -> String {
    format!("ada {}", random_key().to_hex())
}

pub(super) async fn retired_records_are_not_listed(subject: Subject) {
    let identity = random_identity();
    let (key, _) = subject.session_of(&identity).await;
    assert_eq!(subject.retire(&key, None, subject.moved_tombstone(random_key())).await, Retire::Retired);
    assert_eq!(subject.listed("conformance", &identity).await, [], "a retired record is listed");
    assert_eq!(subject.revoke_all(&identity, None).await, [], "a retired record was revoked");
}

pub(super) async fn list(subject: Subject) {
    let identity = random_identity();
    assert_eq!(
        subject.listed("conformance", &identity).await,
        [],
        "`list` returned a session of an identity without sessions"
    );
    let mut expected = vec![
        subject.session_of(&identity).await,
        subject.session_of(&identity).await,
        subject.session_of(&identity).await,
    ];
    expected.sort_by_key(|(key, _)| *key);
    let upper = identity.to_uppercase();
    let accent = format!("{identity}\u{301}");
    // A database's collation or pattern matching may treat these strings as equal to `identity`.
    for other in [&format!("{identity} "), &format!("{identity}\0"), &identity[1..], &upper, &accent, "%", ""] {
        subject.session_of(other).await;
    }
    let elsewhere = subject.session_in_other_scope(&identity).await;
    subject.create_new(&subject.record("nobody's")).await;
    assert_eq!(subject.listed("conformance", &identity).await, expected);
    assert_eq!(subject.listed("elsewhere", &identity).await, [elsewhere]);
}

pub(super) async fn list_follows(subject: Subject) {
    let (before, after) = (random_identity(), random_identity());
    let (key, old) = subject.session_of(&before).await;
    let (deleted, _) = subject.session_of(&after).await;
    let expired = subject.brief_session_of(&after).await;
    let new = subject.record("handed on").with_identity(&after);
    assert_eq!(subject.update(&key, old.version, &new).await, Update::Updated);
    subject.delete(&deleted).await;
    subject.clock.advance(MINUTE);
    assert_eq!(subject.listed("conformance", &before).await, [], "a record is listed under its former identity");
    assert_eq!(subject.listed("conformance", &after).await, [(key, new.clone())]);
    assert_eq!(subject.create(&expired, &subject.record("anew")).await, Create::Created);
    assert_eq!(
        subject.listed("conformance", &after).await,
        [(key, new.clone())],
        "a record is listed under the key's former identity"
    );
    assert_eq!(subject.update(&key, new.version, &subject.record("nobody's")).await, Update::Updated);
    assert_eq!(subject.listed("conformance", &after).await, [], "a record without an identity is listed");
}

/// Moves the session at `old` to a new key, as a login does. Removes the new record if the session has ended meanwhile.
async fn rotate(subject: &Subject, (old, record): &(Key, Record)) -> (Key, Record) {
    let (new, again) = (random_key(), Record { version: version(), ..record.clone() });
    assert_eq!(subject.create(&new, &again).await, Create::Created);
    if subject.retire(old, Some(record.version), subject.moved_tombstone(new)).await != Retire::Retired {
        subject.delete(&new).await;
    }
    (new, again)
}

/// Moves the session at most 20 times, until `is_over` is true. Returns the session at its last key.
async fn rotate_until(subject: Subject, mut session: (Key, Record), is_over: Arc<AtomicBool>) -> (Key, Record) {
    for _ in 0..20 {
        session = rotate(&subject, &session).await;
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        // A store in memory never waits, so the list would not run.
        tokio::task::yield_now().await;
    }
    session
}

pub(super) async fn list_during_rotation(subject: Subject) {
    const LISTS: usize = 40;
    const OTHERS: usize = 32;
    let identity = random_identity();
    for _ in 0..OTHERS {
        subject.session_of(&identity).await;
    }
    let record = subject.record("rotated").with_identity(&identity);
    let mut session = (subject.create_new(&record).await, record);
    for _ in 0..LISTS {
        let is_over = Arc::new(AtomicBool::new(false));
        let rotations = tokio::spawn(rotate_until(subject.clone(), session, is_over.clone()));
        tokio::task::yield_now().await;
        let listed = subject.listed("conformance", &identity).await;
        is_over.store(true, Ordering::SeqCst);
        let is_listed = listed.iter().any(|(_, record)| record.payload == "rotated");
        assert!(is_listed, "list missed a session that was given a new id");
        session = rotations.await.expect("a rotation does not panic");
    }
}

pub(super) async fn revoke_one(subject: Subject) {
    let (identity, other) = (random_identity(), random_identity());
    let (kept, stranger, elsewhere) = (
        subject.session_of(&identity).await,
        subject.session_of(&other).await,
        subject.session_in_other_scope(&identity).await,
    );
    let (ended, before) = (subject.session_of(&identity).await, subject.session_of(&identity).await);
    let between = rotate(&subject, &before).await;
    let after = rotate(&subject, &between).await;
    assert_eq!(subject.revoke(&identity, ended.0).await, Some(ended.0), "revoke did not end a session");
    assert_eq!(
        subject.revoke(&identity, before.0).await,
        Some(after.0),
        "revoke did not follow a session to its new id"
    );
    for key in [ended.0, before.0, stranger.0, elsewhere.0, random_key()] {
        assert_eq!(subject.revoke(&identity, key).await, None, "revoke ended a session that is not the identity's");
    }
    for (key, record) in [&kept, &stranger, &elsewhere] {
        subject.assert_holds(key, record).await;
    }
    for (key, record) in [&ended, &after] {
        subject.check_update(key, Lookup::Tombstone(subject.ended_tombstone()), record.version, record).await;
    }
    assert_eq!(subject.listed("conformance", &identity).await, [kept]);
}

pub(super) async fn revoke_others(subject: Subject) {
    let (identity, other) = (random_identity(), random_identity());
    let expired = subject.brief_session_of(&identity).await;
    subject.clock.advance(MINUTE);
    let (kept, ended, also) =
        (subject.session_of(&identity).await, subject.session_of(&identity).await, subject.session_of(&identity).await);
    let (stranger, elsewhere) = (subject.session_of(&other).await, subject.session_in_other_scope(&identity).await);
    let (moved, tombstone) = subject.create_retired(&also.1, subject.moved_tombstone(kept.0)).await;
    let rotated = rotate(&subject, &kept).await;
    let mut keys = [ended.0, also.0];
    keys.sort();
    assert_eq!(
        subject.revoke_all(&identity, Some(kept.0)).await,
        keys,
        "revoke_all ended too many or too few sessions"
    );
    for (key, record) in [&ended, &also] {
        subject.check_update(key, Lookup::Tombstone(subject.ended_tombstone()), record.version, record).await;
    }
    for (key, record) in [&rotated, &stranger, &elsewhere] {
        subject.assert_holds(key, record).await;
    }
    assert_eq!(subject.load(&moved).await, tombstone, "revoke_all changed a tombstone");
    assert_eq!(subject.load(&expired).await, Lookup::Absent, "revoke_all revived an expired session");
    let key = rotated.0;
    assert_eq!(subject.listed("conformance", &identity).await, [rotated]);
    assert_eq!(subject.revoke_all(&identity, None).await, [key], "revoke_all kept a session");
    subject.clock.advance(HOUR);
    assert_eq!(subject.load(&ended.0).await, Lookup::Absent, "a tombstone did not expire");
}

pub(super) async fn revoke_all_during_rotation(subject: Subject) {
    const ROUNDS: usize = 12;
    const OTHERS: usize = 12;
    for _ in 0..ROUNDS {
        let identity = random_identity();
        let rotated = subject.session_of(&identity).await;
        for _ in 0..OTHERS {
            subject.session_of(&identity).await;
        }
        let rotating = subject.clone();
        let rotating = tokio::spawn(async move { rotate(&rotating, &rotated).await });
        let ended = subject.revoke_all(&identity, None).await;
        assert!(ended.len() > OTHERS, "revoke_all left sessions");
        let (new, _) = rotating.await.expect("a rotation does not panic");
        assert!(
            !matches!(subject.load(&new).await, Lookup::Found(_)),
            "`revoke_all` did not end a session that got a new id"
        );
    }
}
