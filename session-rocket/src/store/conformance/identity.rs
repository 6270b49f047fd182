//! Clause 9: the index of identities.

use super::subject::{HOUR, MINUTE, Subject, random_key, reply, version};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::ErrorKind;
use crate::base::id::Key;
use crate::store::record::Record;
use crate::store::{Create, Lookup, Retire, Update};

impl Subject {
    /// Checks that a store without an index of identities returns [`ErrorKind::Unsupported`] from both calls.
    pub(super) async fn check_without_index(&self) {
        let listed = self.store.list("conformance", "nobody").await.map(drop);
        let retired = self.store.retire_all("conformance", "nobody", None, self.in_an_hour()).await.map(drop);
        for (call, result) in [("list", listed), ("retire_all", retired)] {
            let is_unsupported = result.is_err_and(|error| error.kind() == ErrorKind::Unsupported);
            assert!(is_unsupported, "has_identity_index is false, but {call} does not return Unsupported");
        }
    }

    /// Returns the records that `list` returns, sorted by key.
    async fn listed(&self, scope: &str, identity: &str) -> Vec<(Key, Record)> {
        let mut listed = reply("list", self.store.list(scope, identity).await);
        listed.sort_by_key(|(key, _)| *key);
        listed
    }

    pub(super) async fn retire_all(&self, identity: &str, except: Option<&Key>, until: Timestamp) -> u64 {
        reply("retire_all", self.store.retire_all("conformance", identity, except, until).await)
    }

    /// Stores a session of `identity`.
    async fn session_of(&self, identity: &str) -> (Key, Record) {
        let record = self.record("theirs").with_identity(identity);
        (self.stored(&record).await, record)
    }

    /// Stores a session of `identity` in another scope.
    async fn session_in_other_scope(&self, identity: &str) -> (Key, Record) {
        let record = self.record("theirs").with_identity(identity).with_scope("elsewhere");
        (self.stored(&record).await, record)
    }

    /// Stores a session of `identity` that expires in a minute.
    async fn brief_session_of(&self, identity: &str) -> Key {
        let expires_at = self.clock.now().plus(MINUTE);
        self.stored(&Record { expires_at, ..self.record("brief").with_identity(identity) }).await
    }
}

/// Returns an identity that no other run of the suite has used. It contains lower-case letters.
fn random_identity() -> String {
    format!("ada {}", random_key().to_hex())
}

pub(super) async fn retired_records_are_not_listed(subject: Subject) {
    let identity = random_identity();
    let (key, _) = subject.session_of(&identity).await;
    assert_eq!(subject.retire(&key, None, subject.moved(random_key())).await, Retire::Retired);
    assert_eq!(subject.listed("conformance", &identity).await, [], "a retired record is listed");
    assert_eq!(
        subject.retire_all(&identity, None, subject.in_an_hour()).await,
        0,
        "a retired record was retired again"
    );
}

pub(super) async fn list(subject: Subject) {
    let identity = random_identity();
    assert_eq!(subject.listed("conformance", &identity).await, [], "list returned sessions of an unknown identity");
    let mut expected = vec![
        subject.session_of(&identity).await,
        subject.session_of(&identity).await,
        subject.session_of(&identity).await,
    ];
    expected.sort_by_key(|(key, _)| *key);
    let upper = identity.to_uppercase();
    let accent = format!("{identity}\u{301}");
    // Strings that a database's collation or pattern may treat as equal.
    for other in [&format!("{identity} "), &format!("{identity}\0"), &identity[1..], &upper, &accent, "%", ""] {
        subject.session_of(other).await;
    }
    let elsewhere = subject.session_in_other_scope(&identity).await;
    subject.stored(&subject.record("nobody's")).await;
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

pub(super) async fn retire_all(subject: Subject) {
    let (identity, other) = (random_identity(), random_identity());
    let expired = subject.brief_session_of(&identity).await;
    subject.clock.advance(MINUTE);
    let (kept, ended, also) =
        (subject.session_of(&identity).await, subject.session_of(&identity).await, subject.session_of(&identity).await);
    let stranger = subject.session_of(&other).await;
    let (moved, tombstone) = subject.retired(&also.1, subject.moved(kept.0)).await;
    let elsewhere = subject.session_in_other_scope(&identity).await;
    let retired = subject.retire_all(&identity, Some(&kept.0), subject.ended().expires_at).await;
    assert_eq!(retired, 2, "wrong number of sessions without the excepted one");
    for (key, record) in [&ended, &also] {
        subject.check_update(key, Lookup::Tombstone(subject.ended()), record.version, record).await;
    }
    for (key, record) in [&kept, &stranger, &elsewhere] {
        subject.holds(key, record).await;
    }
    assert_eq!(subject.load(&moved).await, tombstone, "retire_all changed a tombstone");
    assert_eq!(subject.load(&expired).await, Lookup::Absent, "retire_all revived an expired session");
    assert_eq!(subject.listed("conformance", &identity).await, [kept]);
    assert_eq!(
        subject.retire_all(&identity, None, subject.in_an_hour()).await,
        1,
        "wrong number of sessions without an exception"
    );
    subject.clock.advance(HOUR);
    assert_eq!(subject.load(&ended.0).await, Lookup::Absent, "a tombstone did not expire");
}

/// Gives the session at `old` a new id, as a login does. If the session has ended in the meantime, removes the new record.
async fn rotate(subject: &Subject, (old, record): &(Key, Record)) -> Key {
    let new = random_key();
    let again = Record { version: version(), ..record.clone() };
    assert_eq!(subject.create(&new, &again).await, Create::Created);
    if subject.retire(old, Some(record.version), subject.moved(new)).await != Retire::Retired {
        subject.delete(&new).await;
    }
    new
}

pub(super) async fn retire_all_during_rotation(subject: Subject) {
    const ROUNDS: usize = 12;
    const OTHERS: u64 = 12;
    for _ in 0..ROUNDS {
        let identity = random_identity();
        let rotated = subject.session_of(&identity).await;
        for _ in 0..OTHERS {
            subject.session_of(&identity).await;
        }
        let rotating = subject.clone();
        let rotating = tokio::spawn(async move { rotate(&rotating, &rotated).await });
        let retired = subject.retire_all(&identity, None, subject.ended().expires_at).await;
        assert!(retired >= OTHERS, "retire_all did not end all sessions");
        let new = rotating.await.expect("a rotation does not panic");
        assert!(
            !matches!(subject.load(&new).await, Lookup::Found(_)),
            "retire_all did not end a session that got a new id"
        );
    }
}
