//! The index of identities.

use super::{Bench, Broken, Checked, HOUR, Verdict, ensure};
use crate::error::ErrorKind;
use crate::id::Key;
use crate::record::{Fate, Record, Tombstone};
use crate::store::{Lookup, Update};

/// Identities that a database's collation may take for one: case, accents, trailing blanks, forms of Unicode.
const NEIGHBOURS: &[&str] = &["ada", "Ada", "ADA", "ada ", " ada", "adá", "ada\u{301}", "ada\0", "ad", "adaa", "%", "_", ""];

/// Whether the store keeps an index; it keeps both halves of it or neither.
async fn is_indexed(bench: &Bench) -> Checked<bool> {
    let listed = bench.store.list(&bench.scope, "nobody").await.map(|found| found.len());
    let ended = bench.store.retire_all(&bench.scope, "nobody", None, bench.now().plus(HOUR)).await;
    match (listed, ended) {
        (Ok(0), Ok(0)) => Ok(true),
        (Ok(found), Ok(ended)) => Err(Broken(format!("nobody has {found} sessions, of which {ended} were ended"))),
        (Err(one), Err(other)) if [&one, &other].iter().all(|e| e.kind() == ErrorKind::Unsupported) => Ok(false),
        (Err(error), Err(_)) if error.kind() != ErrorKind::Unsupported => Err(error.into()),
        (_, Err(error)) | (Err(error), _) => {
            Err(Broken(format!("one of list and retire_all answers, the other does not: {error}")))
        }
    }
}

async fn stored(bench: &Bench, scope: &str, identity: Option<&str>) -> Checked<(Key, Record)> {
    let (key, mut record) = (Bench::key()?, bench.record("payload")?);
    record.scope = scope.to_owned();
    record.identity = identity.map(str::to_owned);
    bench.create(&key, &record).await?;
    Ok((key, record))
}

/// That the sessions of `identity` are these, in any order.
async fn lists(bench: &Bench, identity: &str, expected: &[&(Key, Record)], when: &str) -> Checked<()> {
    let mut found = bench.store.list(&bench.scope, identity).await?;
    let mut expected: Vec<_> = expected.iter().map(|&pair| pair.clone()).collect();
    found.sort_by_key(|(key, _)| *key);
    expected.sort_by_key(|(key, _)| *key);
    ensure!(found.len() == expected.len(), "{when}: list finds {} instead of {}", found.len(), expected.len());
    ensure!(found == expected, "{when}: list finds other keys or records than were stored");
    Ok(())
}

pub(super) async fn list_finds_the_sessions_of_one_identity(bench: Bench) -> Checked {
    if !is_indexed(&bench).await? {
        return Ok(Verdict::Unsupported);
    }
    let mut all = Vec::new();
    for identity in NEIGHBOURS {
        all.push(stored(&bench, &bench.scope, Some(identity)).await?);
    }
    let second = stored(&bench, &bench.scope, Some("ada")).await?;
    stored(&bench, &bench.scope, None).await?;
    for scope in [format!("{} ", bench.scope), bench.scope.to_uppercase(), String::new()] {
        stored(&bench, &scope, Some("ada")).await?;
    }
    let ended = stored(&bench, &bench.scope, Some("ada")).await?;
    bench.store.retire(&ended.0, None, bench.tombstone(Fate::Ended)).await?;
    for (identity, pair) in NEIGHBOURS.iter().zip(&all) {
        let expected = if *identity == "ada" { vec![pair, &second] } else { vec![pair] };
        lists(&bench, identity, &expected, &format!("the sessions of {identity:?}")).await?;
    }
    Ok(Verdict::Kept)
}

pub(super) async fn the_index_follows_updates(bench: Bench) -> Checked {
    if !is_indexed(&bench).await? {
        return Ok(Verdict::Unsupported);
    }
    let (key, mut record) = stored(&bench, &bench.scope, None).await?;
    for identity in [Some("ada"), Some("bob"), None, Some("bob")] {
        let mut next = bench.record("payload")?;
        next.identity = identity.map(str::to_owned);
        let done = bench.store.update(&key, record.version, &next).await?;
        ensure!(done == Update::Updated, "update with the expected version: {done:?}");
        record = next;
        let pair = (key, record.clone());
        for name in ["ada", "bob"] {
            let expected: &[_] = if identity == Some(name) { &[&pair] } else { &[] };
            lists(&bench, name, expected, &format!("after an update to {identity:?}, of {name:?}")).await?;
        }
    }
    bench.store.delete(&key).await?;
    lists(&bench, "bob", &[], "after delete").await?;
    let (key, record) = stored(&bench, &bench.scope, Some("bob")).await?;
    bench.clock.advance(HOUR);
    // What took the expired record's place has no share in its identity.
    bench.create(&key, &bench.record("anew")?).await?;
    lists(&bench, "bob", &[], "after a create in the place of an expired record").await?;
    let done = bench.store.update(&key, record.version, &record).await?;
    ensure!(matches!(done, Update::Conflict(_)), "update with the version of an expired record: {done:?}");
    Ok(Verdict::Kept)
}

pub(super) async fn retire_all_ends_the_sessions_of_one_identity(bench: Bench) -> Checked {
    if !is_indexed(&bench).await? {
        return Ok(Verdict::Unsupported);
    }
    let until = bench.now().plus(HOUR / 60);
    let mine = [
        stored(&bench, &bench.scope, Some("ada")).await?,
        stored(&bench, &bench.scope, Some("ada")).await?,
        stored(&bench, &bench.scope, Some("ada")).await?,
    ];
    let elsewhere = format!("{} other", bench.scope);
    let others = [
        stored(&bench, &bench.scope, Some("Ada")).await?,
        stored(&bench, &bench.scope, None).await?,
        stored(&bench, &elsewhere, Some("ada")).await?,
    ];
    let moving = bench.tombstone(Fate::Moved(mine[0].0));
    bench.store.retire(&mine[2].0, None, moving).await?;

    let ended = bench.store.retire_all(&bench.scope, "ada", Some(&mine[0].0), until).await?;
    ensure!(ended == 1, "one session besides the exception, and {ended} were ended");
    bench.holds_record(&mine[0].0, &mine[0].1, "the exception").await?;
    let tombstone = Lookup::Tombstone(Tombstone { fate: Fate::Ended, expires_at: until });
    bench.holds(&mine[1].0, &tombstone, "a session that was ended").await?;
    bench.holds(&mine[2].0, &Lookup::Tombstone(moving), "a tombstone that was there").await?;

    let ended = bench.store.retire_all(&bench.scope, "ada", None, until).await?;
    ensure!(ended == 1, "one session is left, and {ended} were ended");
    bench.holds(&mine[0].0, &tombstone, "a session that was ended").await?;
    for (key, record) in &others {
        bench.holds_record(key, record, "another identity's session").await?;
    }
    lists(&bench, "ada", &[], "after all were ended").await?;
    Ok(Verdict::Kept)
}
