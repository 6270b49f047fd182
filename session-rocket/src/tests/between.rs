//! Changes by another request, thread or release between a load and a save.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use super::fixture::{
    COUNT, DAY, NAME, USER, Visitor, change_record, clock, engine, engine_with, load, open, policy, respond,
};
use super::slow::{Slow, spawn_save};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, ErrorKind};
use crate::base::expiry::{Policy, Refresh};
use crate::base::id::SessionId;
use crate::commit::sealed::{Content, Kind, Sealer, SecretKey};
use crate::commit::{CookieBounds, CookieEngine, Engine};
use crate::data::codec;
use crate::data::csrf::CsrfSecret;
use crate::session::{CookieUpdate, Core, Session};
use crate::state::change::Change;
use crate::state::{CommitScope, Live, SessionStatus, State};
use crate::store::Store;
use crate::store::memory::MemoryStore;

#[tokio::test]
async fn the_values_of_the_last_save_are_not_mistaken_for_the_stored_values() {
    let memory = Arc::new(MemoryStore::new(100, clock()));
    let slow = Slow::new(memory.clone());
    let (here, elsewhere) = (engine(slow.clone(), clock()), engine(memory, clock()));
    let session = open(&here, None).await;
    NAME.set(session.state(), "zero".into());
    session.save().await.unwrap();
    let id = session.id().unwrap();

    slow.hold.store(true, Ordering::SeqCst);
    let first = open(&here, Some(&id)).await;
    NAME.set(first.state(), "one".into());
    let first = spawn_save(&first);
    slow.is_held().await;
    let other = open(&elsewhere, Some(&id)).await;
    NAME.set(other.state(), "two".into());
    other.save().await.unwrap();
    let last = open(&here, Some(&id)).await;
    assert_eq!(NAME.get(last.state()).as_deref(), Some("two"));
    NAME.set(last.state(), "one".into());
    let last = spawn_save(&last);
    // The last save waits for the first, whose values contain "one".
    tokio::task::yield_now().await;
    slow.release.add_permits(1);
    first.await.unwrap().unwrap();
    last.await.unwrap().unwrap();
    assert_eq!(NAME.get(open(&here, Some(&id)).await.state()).as_deref(), Some("one"));
}

#[tokio::test]
async fn a_save_continues_if_its_caller_drops_it_while_it_waits_for_another_save() {
    let slow = Slow::new(Arc::new(MemoryStore::new(100, clock())));
    let engine = engine(slow.clone(), clock());
    let session = open(&engine, None).await;
    slow.hold.store(true, Ordering::SeqCst);
    NAME.set(session.state(), "one".into());
    let first = spawn_save(&session);
    slow.is_held().await;
    COUNT.set(session.state(), 1);
    {
        let mut dropped = pin!(session.save());
        assert!(poll_fn(|context| Poll::Ready(dropped.as_mut().poll(context).is_pending())).await);
    }
    slow.release.add_permits(1);
    first.await.unwrap().unwrap();
    let id = session.id().unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(COUNT.get(open(&engine, Some(&id)).await.state()), 1);
}

#[tokio::test]
async fn a_failed_commit_fails_every_save_whose_changes_it_contained() {
    let slow = Slow::new(Arc::new(MemoryStore::new(100, clock())));
    let engine = engine(slow.clone(), clock());
    let session = open(&engine, None).await;
    NAME.set(session.state(), "zero".into());
    session.save().await.unwrap();
    slow.fail.store(true, Ordering::SeqCst);
    let first = async {
        COUNT.set(session.state(), 1);
        session.save().await
    };
    let second = async {
        NAME.set(session.state(), "one".into());
        session.save().await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err() && second.is_err());
    // Both saves returned the error, so the handler decides about the response.
    assert!(respond(&session, CommitScope::Everything).await.is_ok());
}

#[tokio::test]
async fn a_response_succeeds_if_the_handler_received_the_error_of_each_save() {
    let slow = Slow::new(Arc::new(MemoryStore::new(100, clock())));
    let engine = engine(slow.clone(), clock());
    let session = open(&engine, None).await;
    slow.fail.store(true, Ordering::SeqCst);
    for count in 1..3 {
        COUNT.set(session.state(), count);
        session.save().await.unwrap_err();
    }
    respond(&session, CommitScope::Everything).await.unwrap();
}

#[tokio::test]
async fn after_a_logout_by_field_the_visit_continues_under_a_new_id() {
    for leave in [
        (|session: &Session<Visitor>| _ = USER.delete(session.state())) as fn(&Session<Visitor>),
        |session| session.clear(),
        |session| session.update(|visitor| visitor.user = None),
    ] {
        let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
        let session = open(&engine, None).await;
        USER.set(session.state(), 7);
        session.save().await.unwrap();
        let old = session.id().unwrap();
        let session = open(&engine, Some(&old)).await;
        leave(&session);
        let CookieUpdate::Set { value, .. } = respond(&session, CommitScope::Everything).await.unwrap() else {
            panic!("the response does not send the new id");
        };
        let id = SessionId::parse(&value).unwrap();
        assert!(id != old && matches!(open(&engine, Some(&old)).await.state().status(), SessionStatus::Ended));
        let next = open(&engine, Some(&id)).await;
        NAME.set(next.state(), "kept".into());
        next.save().await.unwrap();
        assert_eq!(NAME.get(open(&engine, Some(&id)).await.state()).as_deref(), Some("kept"));
    }
}

#[tokio::test]
async fn an_identity_that_cannot_be_decoded_is_another_user_and_stays_in_the_index() {
    let memory = Arc::new(MemoryStore::new(100, clock()));
    let engine = engine(memory.clone(), clock());
    let session = open(&engine, None).await;
    NAME.set(session.state(), "cart".into());
    session.save().await.unwrap();
    let id = session.id().unwrap();
    let key = id.key("session");
    change_record(&memory, &key, |record| {
        let fields = [("name", codec::Raw::encode("cart").unwrap()), ("user", codec::Raw::encode("ada").unwrap())];
        record.payload = codec::join(fields.iter().map(|(name, raw)| (*name, raw)), codec::Format::Json);
        record.identity = Some("ada".into());
    })
    .await;

    let session = open(&engine, Some(&id)).await;
    COUNT.set(session.state(), 1);
    session.save().await.unwrap();
    assert_eq!(memory.list("session", "ada").await.unwrap().len(), 1);

    let session = open(&engine, Some(&id)).await;
    USER.set(session.state(), 1);
    assert_eq!(NAME.get(session.state()), None, "the user sees the cart of another user");
}

#[tokio::test]
async fn an_outage_after_an_early_save_is_an_error_and_sends_no_renewal() {
    let now = clock();
    let slow = Slow::new(Arc::new(MemoryStore::new(100, now.clone())));
    let engine = engine(slow.clone(), now.clone());
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 5);
    session.save().await.unwrap();
    // By now, a save renews the cookie.
    now.advance(DAY * 2);
    let session = open(&engine, session.id().as_ref()).await;
    COUNT.set(session.state(), 6);
    session.save().await.unwrap();
    slow.fail.store(true, Ordering::SeqCst);
    COUNT.set(session.state(), 7);
    assert!(matches!(session.core().respond(CommitScope::Everything, true).await, (CookieUpdate::None, Err(_))));
}

#[tokio::test]
async fn a_request_whose_changes_cannot_be_saved_renews_nothing() {
    let now = clock();
    let policy = Policy { refresh: Refresh::Always, ..policy() };
    let engine = engine_with(Arc::new(MemoryStore::new(100, now.clone())), now.clone(), policy, (DAY, 1000));
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 5);
    session.save().await.unwrap();
    now.advance(DAY * 2);
    let session = open(&engine, session.id().as_ref()).await;
    NAME.set(session.state(), "x".repeat(2000));
    assert!(matches!(session.core().respond(CommitScope::Everything, true).await, (CookieUpdate::None, Err(_))));
}

#[tokio::test]
async fn a_renewal_after_an_early_save_is_sent_if_the_session_still_exists() {
    let now = clock();
    let engine = engine(Arc::new(MemoryStore::new(100, now.clone())), now.clone());
    for is_ended in [false, true] {
        let session = open(&engine, None).await;
        COUNT.set(session.state(), 5);
        session.save().await.unwrap();
        let id = session.id();
        now.advance(DAY * 2);
        let session = open(&engine, id.as_ref()).await;
        COUNT.set(session.state(), 6);
        session.save().await.unwrap();
        if is_ended {
            let other = open(&engine, id.as_ref()).await;
            other.flush();
            other.save().await.unwrap();
        }
        let update = respond(&session, CommitScope::Everything).await.unwrap();
        assert_eq!(matches!(update, CookieUpdate::Set { .. }), !is_ended);
    }
}

#[tokio::test]
async fn the_browser_gets_the_id_that_was_saved_before_a_failure() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let session = open(&engine, None).await;
    NAME.set(session.state(), "cart".into());
    session.save().await.unwrap();
    let session = open(&engine, session.id().as_ref()).await;
    USER.set(session.state(), 7);
    session.save().await.unwrap();
    NAME.set(session.state(), "x".repeat(300_000));
    let (CookieUpdate::Set { value, .. }, Err(error)) = session.core().respond(CommitScope::Everything, true).await
    else {
        panic!("expected the new id and the error");
    };
    assert_eq!((error.kind(), Some(value)), (ErrorKind::TooLarge, session.id().map(|id| id.expose())));
}

#[tokio::test]
async fn a_flush_takes_effect_even_if_later_changes_cannot_be_saved() {
    let sealer = Sealer::new(Kind::Signed, &SecretKey::new(vec![1; 32]).unwrap(), &[], "session", "sessionid");
    let rules = super::fixture::rules(clock(), policy(), 1000);
    let sealed =
        Arc::new(Engine::Cookie(CookieEngine::new(rules, sealer, CookieBounds { overhead: 100, limit: 4096 })));
    let stored = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    for engine in [sealed, stored] {
        let first = open(&engine, None).await;
        USER.set(first.state(), 7);
        let Ok(CookieUpdate::Set { value, .. }) = respond(&first, CommitScope::Everything).await else {
            panic!("the session is not saved")
        };
        let load = async || {
            let state = engine.load(&mut std::iter::once(value.as_str())).await.unwrap();
            Session::<Visitor>::new(Core::new(state, engine.clone()))
        };
        let session = load().await;
        session.flush();
        NAME.set(session.state(), "x".repeat(300_000));
        let (CookieUpdate::Remove, Err(error)) = session.core().respond(CommitScope::Everything, true).await else {
            panic!("expected the removal and the error");
        };
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(session.is_empty());
        // Another user's session that cannot be saved does not end this one.
        let (session, engine) = (open(&engine, None).await, engine.clone());
        USER.set(session.state(), 7);
        session.save().await.unwrap();
        USER.set(session.state(), 8);
        NAME.set(session.state(), "x".repeat(300_000));
        assert_eq!(session.save().await.unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(USER.get(session.state()), Some(7));
        if let Some(id) = session.id() {
            assert_eq!(USER.get(open(&engine, Some(&id)).await.state()), Some(7));
        }
    }
}

#[test]
fn replacing_the_struct_without_a_user_empties_a_session_of_an_unknown_user() {
    let payload = bytes::Bytes::from_static(br#"j{"user":"ada","name":"ada's","count":3}"#);
    let schema = <Visitor as crate::SessionData>::schema();
    let values = crate::data::values::Values::load(schema, &payload, Some("ada".into())).ok().unwrap();
    let state = crate::state::State::new(SessionStatus::New { replaces: None }, values, Vec::new());
    let visitor = Visitor { name: None, count: 5, greeting: "hello".into(), tags: Vec::new(), user: None };
    state.replace(|edit| crate::SessionData::replace(visitor, edit));
    assert_eq!((NAME.get(&state), COUNT.get(&state)), (None, 5));
    assert!(state.snapshot().1.owner() == crate::data::values::Owner::Nobody);
}

#[test]
fn replacing_the_struct_with_another_user_writes_all_fields() {
    let visitor =
        |user| Visitor { name: Some("same".into()), count: 5, greeting: "hello".into(), tags: Vec::new(), user };
    for (first, second) in [(Some(1), Some(2)), (Some(1), None), (None, Some(1)), (Some(1), Some(1))] {
        let values = crate::data::values::Values::empty(<Visitor as crate::SessionData>::schema());
        let state = crate::state::State::new(SessionStatus::New { replaces: None }, values, Vec::new());
        for user in [first, second] {
            state.replace(|edit| crate::SessionData::replace(visitor(user), edit));
            assert_eq!((NAME.get(&state), COUNT.get(&state), USER.get(&state)), (Some("same".into()), 5, user));
        }
    }
}

#[tokio::test]
async fn a_sealed_session_of_an_unknown_format_is_unavailable_and_a_damaged_one_is_replaced() {
    let sealer = || Sealer::new(Kind::Signed, &SecretKey::new(vec![1; 32]).unwrap(), &[], "session", "sessionid");
    let rules = super::fixture::rules(clock(), policy(), 1000);
    let engine = Engine::Cookie(CookieEngine::new(rules, sealer(), CookieBounds { overhead: 100, limit: 4096 }));
    let load = async |payload: &'static str| {
        let [issued_at, created_at, expires_at] = [0, 0, i64::MAX].map(Timestamp::from_millis);
        let content = Content { issued_at, created_at, expires_at, payload: payload.into() };
        let cookie = sealer().seal(&content).unwrap();
        let state = engine.load(&mut std::iter::once(cookie.as_str())).await?;
        Ok::<_, Error>((state.status(), state.snapshot().1.is_blank()))
    };
    assert!(matches!(load(r#"j{"count":1}"#).await, Ok((SessionStatus::Sealed(_), false))));
    assert_eq!(load("z{}").await.err().unwrap().kind(), ErrorKind::Unavailable);
    for damaged in ["", "j", r#"j{"count":"#, "m"] {
        assert!(matches!(load(damaged).await, Ok((SessionStatus::New { replaces: None }, true))), "{damaged}");
    }
}

#[tokio::test]
async fn a_sealed_session_cannot_be_saved_after_the_response_head() {
    let sealer = Sealer::new(Kind::Signed, &SecretKey::new(vec![1; 32]).unwrap(), &[], "session", "sessionid");
    let rules = super::fixture::rules(clock(), policy(), 1000);
    let engine = Engine::Cookie(CookieEngine::new(rules, sealer, CookieBounds { overhead: 100, limit: 4096 }));
    let session = open(&Arc::new(engine), None).await;
    NAME.set(session.state(), "in time".into());
    assert!(matches!(respond(&session, CommitScope::Everything).await, Ok(CookieUpdate::Set { .. })));
    session.save().await.expect("there are no changes to save");
    NAME.set(session.state(), "too late".into());
    assert_eq!(session.save().await.unwrap_err().kind(), ErrorKind::TooLate);
}

#[tokio::test]
async fn a_replayed_change_that_logs_in_changes_the_id() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 5);
    session.save().await.unwrap();
    let old = session.id().unwrap();
    let session = open(&engine, Some(&old)).await;
    session.update(|visitor| {
        visitor.tags.push("seen".into());
        if visitor.count == 6 {
            visitor.user = Some(1);
        }
    });
    let other = open(&engine, Some(&old)).await;
    COUNT.set(other.state(), 6);
    other.save().await.unwrap();
    session.save().await.unwrap();
    let new = session.id().unwrap();
    assert!(new != old && matches!(open(&engine, Some(&old)).await.state().status(), SessionStatus::Ended));
    assert_eq!(open(&engine, Some(&new)).await.get().user, Some(1));
}

#[test]
fn two_threads_that_set_a_default_get_the_same_value() {
    for _ in 0..2000 {
        let values = crate::data::values::Values::empty(<Visitor as crate::SessionData>::schema());
        let state = crate::state::State::new(SessionStatus::New { replaces: None }, values, Vec::new());
        let given = std::thread::scope(|scope| {
            ["a", "b"]
                .map(|name| scope.spawn(|| NAME.setdefault(&state, name.into())))
                .map(|thread| thread.join().unwrap())
        });
        assert_eq!(given[0], given[1]);
        assert_eq!(NAME.get(&state), Some(given[0].clone()));
    }
}

#[test]
fn of_two_csrf_secrets_that_requests_draw_at_once_the_first_stays() {
    let mut values = crate::data::values::Values::empty(<Visitor as crate::SessionData>::schema());
    let [first, second] = [CsrfSecret::random().unwrap(), CsrfSecret::random().unwrap()];
    Change::Csrf(first).apply(&mut values);
    Change::Csrf(second).apply(&mut values);
    assert!(values.csrf() == Some(first));
}

#[tokio::test]
async fn a_change_during_a_refresh_is_applied_once() {
    let slow = Slow::new(Arc::new(MemoryStore::new(100, clock())));
    let now = clock();
    let policy = Policy { refresh: Refresh::Always, ..policy() };
    let engine = engine_with(slow.clone(), now.clone(), policy, (DAY, 1000));
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 0);
    session.save().await.unwrap();
    let id = session.id().unwrap();
    now.advance(DAY);
    let session = open(&engine, Some(&id)).await;
    slow.hold.store(true, Ordering::SeqCst);
    let responds = {
        let session = session.clone();
        tokio::spawn(async move { respond(&session, CommitScope::Everything).await.is_ok() })
    };
    slow.is_held().await;
    COUNT.update(session.state(), |count| *count += 1);
    slow.release.add_permits(1);
    assert!(responds.await.unwrap());
    session.save().await.unwrap();
    respond(&session, CommitScope::Everything).await.expect("nothing has failed");
    assert_eq!(COUNT.get(open(&engine, Some(&id)).await.state()), 1);
}

#[tokio::test]
async fn a_change_during_a_save_keeps_the_saved_values() {
    let slow = Slow::new(Arc::new(MemoryStore::new(100, clock())));
    let engine = engine(slow.clone(), clock());
    let session = open(&engine, None).await;
    NAME.set(session.state(), "saved".into());
    slow.hold.store(true, Ordering::SeqCst);
    let save = spawn_save(&session);
    slow.is_held().await;
    COUNT.set(session.state(), 1);
    slow.release.add_permits(1);
    save.await.unwrap().unwrap();
    assert_eq!((NAME.get(session.state()).as_deref(), COUNT.get(session.state())), (Some("saved"), 1));
    session.save().await.unwrap();
    let next = open(&engine, session.id().as_ref()).await;
    assert_eq!((NAME.get(next.state()).as_deref(), COUNT.get(next.state())), (Some("saved"), 1));
}

#[tokio::test]
async fn a_logout_during_a_save_ends_the_saved_session() {
    let slow = Slow::new(Arc::new(MemoryStore::new(100, clock())));
    let engine = engine(slow.clone(), clock());
    let session = open(&engine, None).await;
    NAME.set(session.state(), "saved".into());
    slow.hold.store(true, Ordering::SeqCst);
    let save = spawn_save(&session);
    slow.is_held().await;
    session.flush();
    slow.release.add_permits(1);
    save.await.unwrap().unwrap();
    assert!(session.is_empty());
    let SessionStatus::Live(saved) = session.state().status() else { panic!("the session is not saved") };
    session.save().await.unwrap();
    assert!(session.is_new());
    assert!(matches!(open(&engine, saved.id.as_ref()).await.state().status(), SessionStatus::Ended));
}

#[tokio::test]
async fn a_logout_after_another_request_rotated_the_id_leaves_the_newer_cookie_to_the_browser() {
    for is_used_again in [false, true] {
        let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
        let session = open(&engine, None).await;
        COUNT.set(session.state(), 5);
        session.save().await.unwrap();
        let logout = open(&engine, session.id().as_ref()).await;
        let other = open(&engine, session.id().as_ref()).await;
        other.cycle_id();
        other.save().await.unwrap();
        logout.flush();
        if is_used_again {
            NAME.set(logout.state(), "after".into());
        }
        let update = respond(&logout, CommitScope::Everything).await.unwrap();
        assert!(matches!(open(&engine, other.id().as_ref()).await.state().status(), SessionStatus::Ended));
        match update {
            CookieUpdate::Set { .. } => assert!(is_used_again),
            CookieUpdate::None => assert!(!is_used_again),
            CookieUpdate::Remove => panic!("the response removes the cookie of the other response"),
        }
    }
}

#[tokio::test]
async fn a_save_that_follows_a_rotation_by_another_request_sends_no_cookie() {
    let (now, idle_timeout) = (clock(), Duration::from_secs(100));
    let policy = Policy { idle_timeout, anonymous_idle_timeout: idle_timeout, ..policy() };
    let engine = engine_with(Arc::new(MemoryStore::new(100, now.clone())), now.clone(), policy, (DAY, 1000));
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 5);
    session.save().await.unwrap();
    let late = open(&engine, session.id().as_ref()).await;
    let other = open(&engine, session.id().as_ref()).await;
    other.cycle_id();
    other.save().await.unwrap();
    // By now, a save renews the cookie.
    now.advance(idle_timeout / 5);
    COUNT.set(late.state(), 6);
    assert!(matches!(respond(&late, CommitScope::Everything).await, Ok(CookieUpdate::None)));
    assert_eq!(COUNT.get(open(&engine, other.id().as_ref()).await.state()), 6);
}

#[tokio::test]
async fn a_request_keeps_its_id_if_it_saves_together_with_a_change_of_all_sessions_of_a_user() {
    let slow = Slow::new(Arc::new(MemoryStore::new(100, clock())));
    let engine = engine(slow.clone(), clock());
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 5);
    session.save().await.unwrap();
    let request = open(&engine, session.id().as_ref()).await;
    // `Sessions::update` does not know the id of a session.
    let SessionStatus::Live(live) = session.state().status() else { panic!("the session is not stored") };
    let listed = State::new(SessionStatus::Live(Live { id: None, ..live }), session.state().snapshot().1, Vec::new());
    let listed = Session::<Visitor>::new(Core::new(listed, engine.clone()));
    NAME.set(listed.state(), "changed".into());
    slow.hold.store(true, Ordering::SeqCst);
    let update = spawn_save(&listed);
    slow.is_held().await;
    COUNT.set(request.state(), 6);
    let save = spawn_save(&request);
    tokio::task::yield_now().await;
    slow.release.add_permits(1);
    update.await.unwrap().unwrap();
    save.await.unwrap().unwrap();
    assert_eq!((request.id(), NAME.get(request.state()).as_deref()), (session.id(), Some("changed")));
}

#[tokio::test]
async fn a_login_counts_as_an_authentication_before_it_is_saved() {
    let clock = clock();
    let engine = engine(Arc::new(MemoryStore::new(100, clock.clone())), clock.clone());
    let session = open(&engine, None).await;
    USER.set(session.state(), 7);
    session.save().await.unwrap();
    let logged_in = session.authenticated_at();
    clock.advance(DAY);
    let session = open(&engine, session.id().as_ref()).await;
    assert_eq!(session.authenticated_at(), logged_in);
    USER.set(session.state(), 7);
    assert_eq!(session.authenticated_at(), logged_in.plus(DAY));
}

#[tokio::test]
async fn a_change_by_another_thread_is_kept_if_changes_are_replayed_at_the_same_time() {
    let slow = Slow::new(Arc::new(MemoryStore::new(100, clock())));
    let engine = engine(slow.clone(), clock());
    let session = open(&engine, None).await;
    NAME.set(session.state(), "saved".into());
    slow.hold.store(true, Ordering::SeqCst);
    let save = spawn_save(&session);
    slow.is_held().await;
    let (runs, state) = (Arc::new(AtomicU32::new(0)), session.state().clone());
    COUNT.update(session.state(), move |count| {
        *count += 1;
        if runs.fetch_add(1, Ordering::SeqCst) == 1 {
            std::thread::scope(|scope| _ = scope.spawn(|| NAME.set(&state, "changed".into())));
        }
    });
    slow.release.add_permits(1);
    save.await.unwrap().unwrap();
    assert_eq!((NAME.get(session.state()).as_deref(), COUNT.get(session.state())), (Some("changed"), 1));
}

#[tokio::test]
async fn a_replayed_change_that_panics_does_not_undo_the_save() {
    let slow = Slow::new(Arc::new(MemoryStore::new(100, clock())));
    let engine = engine(slow.clone(), clock());
    let session = open(&engine, None).await;
    NAME.set(session.state(), "saved".into());
    slow.hold.store(true, Ordering::SeqCst);
    let save = spawn_save(&session);
    slow.is_held().await;
    let runs = Arc::new(AtomicU32::new(0));
    COUNT.update(session.state(), move |_| assert_eq!(runs.fetch_add(1, Ordering::SeqCst), 0, "a replay that panics"));
    slow.release.add_permits(1);
    assert_eq!(save.await.unwrap().unwrap_err().kind(), ErrorKind::Panicked);
    let id = session.id().expect("the session is saved and has its id");
    assert_eq!(NAME.get(open(&engine, Some(&id)).await.state()).as_deref(), Some("saved"));
}

#[tokio::test]
async fn changes_that_need_no_cookie_succeed_after_the_response_head() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let session = open(&engine, None).await;
    respond(&session, CommitScope::Everything).await.unwrap();
    session.cycle_id();
    session.save().await.unwrap();
    USER.delete(session.state());
    session.save().await.unwrap();
}

#[tokio::test]
async fn if_there_are_several_ids_the_live_one_is_used() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let mut ids = Vec::new();
    for _ in 0..2 {
        let session = open(&engine, None).await;
        COUNT.set(session.state(), 1);
        session.save().await.unwrap();
        ids.push(session.id().unwrap());
    }
    let session = open(&engine, Some(&ids[0])).await;
    session.flush();
    session.save().await.unwrap();
    assert!(matches!(load(&engine, &ids).await.unwrap().status(), SessionStatus::Live(_)));
    assert!(matches!(load(&engine, &ids[..1]).await.unwrap().status(), SessionStatus::Ended));
}
