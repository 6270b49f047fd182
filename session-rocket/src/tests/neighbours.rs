//! Sessions that other requests, tasks or releases use concurrently.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fixture::*;
use super::slow::Slow;
use crate::base::error::{Error, ErrorKind};
use crate::base::expiry::{Policy, Refresh};
use crate::commit::sealed::{Kind, Sealer, SecretKey};
use crate::commit::{CookieBounds, CookieEngine, Engine};
use crate::data::codec;
use crate::session::{CookieUpdate, Core, Session};
use crate::state::CommitScope;
use crate::store::memory::MemoryStore;

fn sealed(clock: Arc<crate::ManualClock>, policy: Policy) -> Arc<Engine> {
    let sealer = Sealer::new(Kind::Signed, &SecretKey::new(vec![1; 32]).unwrap(), &[], "session", "sessionid");
    let rules = rules(clock, policy, 4000);
    Arc::new(Engine::Cookie(CookieEngine::new(rules, sealer, CookieBounds { overhead: 100, limit: 4096 })))
}

#[tokio::test]
async fn an_equal_value_renews_a_sealed_session_that_ends_with_the_browser() {
    let time = clock();
    let engine = sealed(time.clone(), Policy { browser_close: true, ..policy() });
    let first = open(&engine, None).await;
    COUNT.set(first.state(), 5);
    let Ok(CookieUpdate::Set { mut value, .. }) = respond(&first, CommitScope::Everything).await else { panic!() };
    for _ in 0..4 {
        time.advance(DAY * 5);
        let state = engine.load(&mut std::iter::once(value.as_str())).await.unwrap();
        let s = Session::<Visitor>::new(Core::new(state, engine.clone()));
        assert!(!s.is_empty(), "the session ended although it is saved every five days");
        COUNT.set(s.state(), 5);
        if let Ok(CookieUpdate::Set { value: v, .. }) = respond(&s, CommitScope::Everything).await {
            value = v;
        }
    }
}

#[tokio::test]
async fn an_equal_value_sends_a_sealed_cookie_once_a_period() {
    let time = clock();
    let engine = sealed(time.clone(), policy());
    let first = open(&engine, None).await;
    COUNT.set(first.state(), 5);
    let Ok(CookieUpdate::Set { value, .. }) = respond(&first, CommitScope::Everything).await else { panic!() };
    for (later, sends) in [(DAY / 24, false), (DAY * 2, true)] {
        time.advance(later);
        let state = engine.load(&mut std::iter::once(value.as_str())).await.unwrap();
        let session = Session::<Visitor>::new(Core::new(state, engine.clone()));
        COUNT.set(session.state(), 5);
        let update = respond(&session, CommitScope::Everything).await.unwrap();
        assert_eq!(matches!(update, CookieUpdate::Set { .. }), sends, "{later:?}");
    }
}

#[tokio::test]
async fn a_value_taken_in_a_logout_is_taken_once() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let session = open(&engine, None).await;
    USER.set(session.state(), 1);
    NAME.set(session.state(), "coupon".into());
    session.save().await.unwrap();
    let id = session.id();
    let a = open(&engine, id.as_ref()).await;
    let b = open(&engine, id.as_ref()).await;
    let one = a.transact(|v| v.name.take()).await.unwrap();
    let two = b
        .transact(|v| {
            v.user = None;
            v.name.take()
        })
        .await;
    assert!(!(one.is_some() && matches!(two, Ok(Some(_)))), "taken twice: {one:?} {two:?}");
}

#[tokio::test]
async fn a_transact_fails_if_a_change_of_user_drops_its_change() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let session = open(&engine, None).await;
    USER.set(session.state(), 1);
    NAME.set(session.state(), "coupon".into());
    session.save().await.unwrap();
    let id = session.id();
    let a = open(&engine, id.as_ref()).await;
    let b = open(&engine, id.as_ref()).await;
    let one = a.transact(|v| v.name.take()).await.unwrap();
    let two = b.transact(|v| v.name.take());
    USER.set(b.state(), 2);
    let two = two.await;
    assert!(!(one.is_some() && matches!(two, Ok(Some(_)))), "taken twice: {one:?} {two:?}");
}

#[tokio::test]
async fn regular_reads_keep_a_session_alive_under_a_lowered_expiry() {
    let time = clock();
    let store = Arc::new(MemoryStore::new(100, time.clone()));
    let old = engine(store.clone(), time.clone());
    let s = open(&old, None).await;
    COUNT.set(s.state(), 5);
    s.save().await.unwrap();
    let id = s.id();
    let lowered = Policy { idle_timeout: DAY, anonymous_idle_timeout: DAY, refresh: Refresh::Always, ..policy() };
    let new = engine_with(store, time.clone(), lowered, (Duration::from_secs(5), 256 * 1024));
    for hour in 0..30 {
        time.advance(DAY / 24);
        let s = open(&new, id.as_ref()).await;
        assert!(!s.is_empty(), "the session ended after {hour} hours although it is read every hour");
        let a = respond(&s, CommitScope::Everything).await;
        assert!(a.is_ok());
        assert!(s.time_left().unwrap() > DAY / 24 * 23, "{hour}");
    }
}

#[tokio::test]
async fn a_retried_logout_ends_all_presented_sessions() {
    let slow = Slow::new(Arc::new(MemoryStore::new(100, clock())));
    let engine = engine(slow.clone(), clock());
    let mut ids = Vec::new();
    for user in [1, 2] {
        let s = open(&engine, None).await;
        USER.set(s.state(), user);
        s.save().await.unwrap();
        ids.push(s.id().unwrap());
    }
    let s = open_all(&engine, &ids).await;
    s.flush();
    slow.fail.store(true, Ordering::SeqCst);
    assert!(s.save().await.is_err());
    slow.fail.store(false, Ordering::SeqCst);
    s.flush();
    s.save().await.unwrap();
    for id in &ids {
        assert!(open(&engine, Some(id)).await.is_empty(), "{:?}", ids.iter().position(|i| i == id));
    }
}

#[tokio::test]
async fn each_kind_of_logout_ends_all_presented_sessions() {
    let logouts: [fn(&Session<Visitor>); 4] =
        [|s| s.flush(), |s| s.clear(), |s| assert_eq!(USER.delete(s.state()), Some(1)), |s| USER.set(s.state(), 3)];
    for (index, logout) in logouts.into_iter().enumerate() {
        let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
        let mut ids = Vec::new();
        for user in [1, 2] {
            let s = open(&engine, None).await;
            USER.set(s.state(), user);
            s.save().await.unwrap();
            ids.push(s.id().unwrap());
        }
        let s = open_all(&engine, &ids).await;
        logout(&s);
        s.save().await.unwrap();
        for id in &ids {
            assert!(open(&engine, Some(id)).await.is_empty(), "logout {index}: {:?}", ids.iter().position(|i| i == id));
        }
    }
}

#[tokio::test]
async fn saves_fail_in_a_request_whose_cookie_was_withheld() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let open = || Session::<Visitor>::new(Core::new(engine.withheld(), engine.clone()));
    let s = open();
    s.flush();
    let flush = s.save().await.map_err(|e| e.kind());
    let s = open();
    let taken = s.transact(|v| v.name.take()).await.map_err(|e| e.kind());
    let s = open();
    let plain = s.save().await.map_err(|e| e.kind());
    let s = open();
    let cycle = {
        s.cycle_id();
        s.save().await.map_err(|e| e.kind())
    };
    assert_eq!(
        (flush, taken, plain, cycle),
        (Err(ErrorKind::Withheld), Err(ErrorKind::Withheld), Err(ErrorKind::Withheld), Err(ErrorKind::Withheld))
    );
}

fn payload(user: &str) -> bytes::Bytes {
    let fields = [("user", codec::Raw::encode(user).unwrap())];
    codec::join(fields.iter().map(|(name, raw)| (*name, raw)), codec::Format::Json)
}

/// A newer release stores users as strings, which this release cannot decode.
#[tokio::test]
async fn two_identities_that_cannot_be_decoded_are_different_users() {
    let memory = Arc::new(MemoryStore::new(100, clock()));
    let engine = engine(memory.clone(), clock());
    let session = open(&engine, None).await;
    NAME.set(session.state(), "cart".into());
    session.save().await.unwrap();
    let id = session.id().unwrap();
    change_record(&memory, &id.key("session"), |record| {
        record.payload = payload("ada");
        record.identity = Some("ada".into());
    })
    .await;
    let late = open(&engine, Some(&id)).await;
    // In the newer release, Bob logs in with the same browser, which rotates the id.
    let rotation = open(&engine, Some(&id)).await;
    rotation.cycle_id();
    rotation.save().await.unwrap();
    let new = rotation.id().unwrap();
    change_record(&memory, &new.key("session"), |record| {
        record.payload = payload("bob");
        record.identity = Some("bob".into());
    })
    .await;
    NAME.set(late.state(), "of ada".into());
    let saved = late.save().await.map_err(|e: Error| e.kind());
    let bobs = open(&engine, Some(&new)).await;
    assert_eq!((saved, NAME.get(bobs.state())), (Err(ErrorKind::Ended), None));
}

/// The replay changes the id, but after the response head no cookie can be sent.
#[tokio::test]
async fn after_the_head_a_replay_that_logs_in_is_an_error() {
    let engine = engine(Slow::new(Arc::new(MemoryStore::new(100, clock()))), clock());
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 5);
    session.save().await.unwrap();
    let old = session.id().unwrap();
    let stream: Session<Visitor> = open(&engine, Some(&old)).await;
    respond(&stream, CommitScope::Everything).await.unwrap();
    stream.update(|visitor| {
        visitor.tags.push("seen".into());
        if visitor.count == 6 {
            visitor.user = Some(1);
        }
    });
    let other = open(&engine, Some(&old)).await;
    COUNT.set(other.state(), 6);
    other.save().await.unwrap();
    let saved = stream.save().await.map_err(|e| e.kind());
    let exists = COUNT.get(open(&engine, Some(&old)).await.state());
    assert_eq!((saved, exists), (Err(ErrorKind::TooLate), 6), "the browser never receives the new id");
}
