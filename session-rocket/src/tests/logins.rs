//! Requests that have loaded a session before somebody logs in with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fixture::{
    COUNT, DAY, NAME, TAGS, USER, Visitor, clock, engine, engine_with, open, open_all, policy, respond,
};
use super::slow::{Slow, spawn_save};
use crate::base::error::ErrorKind;
use crate::base::expiry::Policy;
use crate::data::csrf::CsrfSecret;
use crate::session::{CookieUpdate, Core, Session, SessionData};
use crate::state::{CommitScope, SessionStatus};
use crate::store::memory::MemoryStore;

#[tokio::test]
async fn changes_of_a_request_that_loaded_the_session_before_a_login_are_dropped() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 5);
    session.save().await.unwrap();
    let planted = session.id();
    let victim = open(&engine, planted.as_ref()).await;
    let held = async || open(&engine, planted.as_ref()).await;
    let [counts, cycles, clears, expires, flushes, reads] =
        [held().await, held().await, held().await, held().await, held().await, held().await];
    USER.set(victim.state(), 7);
    NAME.set(victim.state(), "secret".into());
    victim.save().await.unwrap();
    let token = victim.csrf_token();
    victim.save().await.unwrap();

    COUNT.update(counts.state(), |count| *count += 1);
    cycles.cycle_id();
    clears.clear();
    expires.set_expiry(1);
    for held in [&counts, &cycles, &clears, &expires] {
        assert_eq!(held.save().await.unwrap_err().kind(), ErrorKind::Ended);
        assert!(matches!(respond(held, CommitScope::Everything).await, Ok(CookieUpdate::None)));
        assert!(matches!(held.core().state.status(), SessionStatus::Ended) && held.is_empty());
    }
    flushes.flush();
    assert!(matches!(respond(&flushes, CommitScope::Everything).await, Ok(CookieUpdate::None)));
    assert!(!reads.reload().await.unwrap() && reads.is_empty() && reads.id().is_none());
    let session = open(&engine, victim.id().as_ref()).await;
    assert_eq!((USER.get(session.state()), NAME.get(session.state())), (Some(7), Some("secret".into())));
    assert!(session.verify_csrf_token(token.as_str()));
    assert_eq!(COUNT.get(session.state()), 5);
}

#[tokio::test]
async fn whoever_knows_the_id_before_a_login_cannot_compute_the_tokens_after_it() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 5);
    session.save().await.unwrap();
    let id = session.id().unwrap();
    let known = CsrfSecret::of(&id.key(Visitor::SCOPE));
    let session = open(&engine, Some(&id)).await;
    USER.set(session.state(), 7);
    assert!(!known.verifies(session.csrf_token().as_str()));
    let session = open(&engine, Some(&id)).await;
    assert!(known.verifies(session.csrf_token().as_str()), "without a login, requests at once share one secret");
}

#[tokio::test]
async fn a_login_drops_all_changes_of_a_group_that_it_overtakes() {
    let slow = Slow::new(Arc::new(MemoryStore::new(100, clock())));
    let engine = engine(slow.clone(), clock());
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 5);
    session.save().await.unwrap();
    let id = session.id();
    let opened = async || open(&engine, id.as_ref()).await;
    let [turn, one, other, login] = [opened().await, opened().await, opened().await, opened().await];
    USER.set(login.state(), 7);
    login.save().await.unwrap();

    slow.hold.store(true, Ordering::SeqCst);
    let mut saves = Vec::new();
    for queued in [&turn, &one, &other] {
        NAME.set(queued.state(), "x".into());
        saves.push(spawn_save(queued));
        if saves.len() == 1 {
            slow.is_held().await;
        }
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
    slow.release.add_permits(1);
    for save in saves {
        assert_eq!(save.await.unwrap().unwrap_err().kind(), ErrorKind::Ended);
    }
    assert_eq!(NAME.get(open(&engine, login.id().as_ref()).await.state()), None);
}

#[tokio::test]
async fn an_early_save_does_not_replace_a_newer_id_in_the_browser() {
    for late_change in [None, Some("y".repeat(150_000)), Some("small".into())] {
        let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
        let session = open(&engine, None).await;
        COUNT.set(session.state(), 5);
        session.save().await.unwrap();
        let [early, login] = [open(&engine, session.id().as_ref()).await, open(&engine, session.id().as_ref()).await];
        COUNT.update(early.state(), |count| *count += 1);
        early.save().await.unwrap();
        USER.set(login.state(), 7);
        NAME.set(login.state(), "x".repeat(150_000));
        login.save().await.unwrap();
        if let Some(text) = late_change {
            TAGS.set(early.state(), vec![text]);
        }
        assert!(matches!(early.core().respond(CommitScope::Everything, true).await.0, CookieUpdate::None));
    }
}

#[tokio::test]
async fn a_clear_removes_what_another_request_saved_meanwhile() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let session = open(&engine, None).await;
    NAME.set(session.state(), "cart".into());
    session.save().await.unwrap();
    let id = session.id();
    let [clears, other] = [open(&engine, id.as_ref()).await, open(&engine, id.as_ref()).await];
    COUNT.set(other.state(), 5);
    other.save().await.unwrap();
    clears.clear();
    clears.save().await.unwrap();
    assert!(open(&engine, id.as_ref()).await.is_empty());
}

#[tokio::test]
async fn a_visitors_clear_changes_nothing_of_the_user_who_logged_in_meanwhile() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let session = open(&engine, None).await;
    NAME.set(session.state(), "cart".into());
    session.save().await.unwrap();
    let old = session.id().unwrap();
    let clears = open(&engine, Some(&old)).await;
    let login = open(&engine, Some(&old)).await;
    USER.set(login.state(), 1);
    login.save().await.unwrap();
    clears.clear();
    assert_eq!(clears.save().await.unwrap_err().kind(), ErrorKind::Ended);
    let session = open(&engine, login.id().as_ref()).await;
    assert_eq!((USER.get(session.state()), NAME.get(session.state())), (Some(1), Some("cart".into())));
}

#[tokio::test]
async fn a_logout_ends_every_session_the_request_presented() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let mut ids = Vec::new();
    for user in [1, 1, 2] {
        let session = open(&engine, None).await;
        USER.set(session.state(), user);
        session.save().await.unwrap();
        ids.push(session.id().unwrap());
    }
    let session = open_all(&engine, &ids).await;
    assert_eq!(session.id(), Some(ids[0].clone()), "the first id of a live session is used");
    session.flush();
    session.save().await.unwrap();
    for id in &ids {
        assert!(open(&engine, Some(id)).await.is_empty());
    }
}

#[tokio::test]
async fn an_id_that_ended_over_ten_seconds_ago_starts_a_new_session_and_a_recent_one_drops_changes() {
    let time = clock();
    let engine = engine(Arc::new(MemoryStore::new(100, time.clone())), time.clone());
    for rotates in [false, true] {
        let session = open(&engine, None).await;
        USER.set(session.state(), 1);
        session.save().await.unwrap();
        let old = session.id();
        if rotates {
            session.cycle_id();
        } else {
            session.flush();
        }
        session.save().await.unwrap();
        time.advance(Duration::from_secs(10));
        let early = open(&engine, old.as_ref()).await;
        NAME.set(early.state(), "dropped".into());
        assert_eq!(early.save().await.unwrap_err().kind(), ErrorKind::Ended);
        time.advance(Duration::from_millis(1));
        let late = open(&engine, old.as_ref()).await;
        NAME.set(late.state(), "kept".into());
        late.save().await.unwrap();
        assert!(late.id().is_some_and(|id| Some(id) != old));
        // A logout removes the cookie of such a browser.
        let flushes = open(&engine, old.as_ref()).await;
        flushes.flush();
        assert!(matches!(respond(&flushes, CommitScope::Everything).await, Ok(CookieUpdate::Remove)));
        time.advance(Duration::from_secs(120));
    }
}

#[tokio::test]
async fn a_save_renews_the_cookie_after_a_tenth_of_its_lifetime() {
    let time = clock();
    let engine = engine(Arc::new(MemoryStore::new(100, time.clone())), time.clone());
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 0);
    assert!(matches!(respond(&session, CommitScope::Everything).await, Ok(CookieUpdate::Set { .. })));
    let id = session.id();
    let mut sent = 0;
    for _ in 0..14 {
        for _ in 0..10 {
            time.advance(DAY / 10);
            let session = open(&engine, id.as_ref()).await;
            COUNT.update(session.state(), |count| *count += 1);
            sent += u32::from(matches!(respond(&session, CommitScope::Everything).await, Ok(CookieUpdate::Set { .. })));
        }
    }
    assert_eq!(sent, 10, "the cookie is sent once for each tenth of 14 days");
    let session = open(&engine, id.as_ref()).await;
    session.set_expiry(0);
    assert!(matches!(respond(&session, CommitScope::Everything).await, Ok(CookieUpdate::Set { age: None, .. })));
    time.advance(DAY * 13);
    let session = open(&engine, id.as_ref()).await;
    COUNT.update(session.state(), |count| *count += 1);
    assert!(
        matches!(respond(&session, CommitScope::Everything).await, Ok(CookieUpdate::None)),
        "a cookie that ends with the browser is not renewed"
    );
}

#[tokio::test]
async fn a_value_that_several_requests_take_is_given_to_one() {
    let slow = Slow::new(Arc::new(MemoryStore::new(100, clock())));
    let engine = engine(slow.clone(), clock());
    let session = open(&engine, None).await;
    NAME.set(session.state(), "state".into());
    session.save().await.unwrap();
    let id = session.id();
    let requests =
        [open(&engine, id.as_ref()).await, open(&engine, id.as_ref()).await, open(&engine, id.as_ref()).await];
    let mut taken = Vec::new();
    for request in &requests {
        taken.push(request.transact(|visitor| visitor.name.take()).await.unwrap());
    }
    assert_eq!(taken, [Some("state".into()), None, None]);
    // A `transact` that changes nothing also returns the stored value.
    let stale = open(&engine, id.as_ref()).await;
    NAME.set(session.state(), "fresh".into());
    session.save().await.unwrap();
    assert_eq!(stale.transact(|visitor| visitor.name.clone()).await.unwrap().as_deref(), Some("fresh"));
}

#[tokio::test]
async fn of_two_logins_that_take_the_same_value_only_one_succeeds() {
    for first in [None, Some(1)] {
        let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
        let session = open(&engine, None).await;
        if let Some(user) = first {
            USER.set(session.state(), user);
        }
        NAME.set(session.state(), "state".into());
        session.save().await.unwrap();
        let id = session.id();
        let [one, other] = [open(&engine, id.as_ref()).await, open(&engine, id.as_ref()).await];
        let login = |visitor: &mut Visitor| {
            let state = visitor.name.take()?;
            visitor.user = Some(2);
            Some(state)
        };
        assert_eq!(one.transact(login).await.unwrap().as_deref(), Some("state"));
        assert!(!other.transact(login).await.is_ok_and(|state| state.is_some()), "{first:?}");
    }
}

#[tokio::test]
async fn a_save_of_an_equal_value_checks_the_stored_value_and_renews_the_session() {
    let time = clock();
    let engine = engine(Arc::new(MemoryStore::new(100, time.clone())), time.clone());
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 5);
    session.save().await.unwrap();
    let id = session.id();
    // This handle has read 5 and another request sets 7. Setting 5 again must store 5.
    let other = open(&engine, id.as_ref()).await;
    COUNT.set(other.state(), 7);
    other.save().await.unwrap();
    COUNT.set(session.state(), 5);
    session.save().await.unwrap();
    assert_eq!(COUNT.get(open(&engine, id.as_ref()).await.state()), 5);
    time.advance(DAY * 10);
    let again = open(&engine, id.as_ref()).await;
    COUNT.set(again.state(), 5);
    again.save().await.unwrap();
    assert_eq!(again.time_left(), Some(DAY * 14));
    time.advance(DAY * 10);
    assert_eq!(open(&engine, id.as_ref()).await.time_left(), Some(DAY * 4));
}

#[tokio::test]
async fn a_save_without_changes_fails_if_the_session_has_ended() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let session = open(&engine, None).await;
    session.save().await.unwrap();
    assert!(session.reload().await.unwrap(), "an empty session has not ended");
    USER.set(session.state(), 1);
    session.save().await.unwrap();
    let stream = open(&engine, session.id().as_ref()).await;
    stream.save().await.unwrap();
    session.cycle_id();
    session.save().await.unwrap();
    NAME.set(stream.state(), "on top".into());
    assert!(stream.reload().await.unwrap());
    assert_eq!((NAME.get(stream.state()).as_deref(), stream.id()), (Some("on top"), None));
    assert_eq!(stream.handle(), session.handle());
    stream.save().await.unwrap();
    session.flush();
    session.save().await.unwrap();
    assert_eq!(stream.save().await.unwrap_err().kind(), ErrorKind::Ended);
    assert!(!stream.reload().await.unwrap() && USER.get(stream.state()).is_none());
}

#[tokio::test]
async fn the_id_is_none_after_a_change_of_id_until_the_next_save() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    for rotate in [
        (|session| session.cycle_id()) as fn(&Session<Visitor>),
        |session| USER.set(session.state(), 1),
        |session| session.flush(),
    ] {
        let session = open(&engine, None).await;
        COUNT.set(session.state(), 1);
        session.save().await.unwrap();
        assert!(session.id().is_some() && session.handle().is_some());
        rotate(&session);
        assert_eq!((session.id(), session.handle()), (None, None));
    }
    let session = open(&engine, None).await;
    NAME.delete(session.state());
    USER.delete(session.state());
    assert!(!session.is_modified(), "there was no value to delete");
}

#[tokio::test]
async fn a_request_whose_cookie_was_withheld_stores_nothing_unless_it_logs_in() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let opened = || Session::<Visitor>::new(Core::new(engine.withheld(), engine.clone()));
    let session = opened();
    COUNT.set(session.state(), 1);
    let (update, saved) = session.core().respond(CommitScope::Everything, true).await;
    assert!(matches!(update, CookieUpdate::None));
    assert_eq!(saved.unwrap_err().kind(), ErrorKind::Withheld);
    let session = opened();
    session.flush();
    let (update, saved) = session.core().respond(CommitScope::Everything, true).await;
    assert!(matches!(update, CookieUpdate::None) && saved.is_err(), "the logout must fail");
    let session = opened();
    COUNT.set(session.state(), 1);
    USER.set(session.state(), 7);
    assert!(matches!(respond(&session, CommitScope::Everything).await, Ok(CookieUpdate::Set { .. })));
    assert_eq!(COUNT.get(open(&engine, session.id().as_ref()).await.state()), 1);
}

#[tokio::test]
async fn lowered_limits_apply_to_saved_sessions_unless_a_session_has_its_own_limits() {
    let time = clock();
    let store = Arc::new(MemoryStore::new(100, time.clone()));
    let before = engine(store.clone(), time.clone());
    let policy = Policy { max_lifetime: Some(DAY), ..policy() };
    let after = engine_with(store, time.clone(), policy, (Duration::from_secs(5), 1000));
    let [ordinary, remembered] = [open(&before, None).await, open(&before, None).await];
    for session in [&ordinary, &remembered] {
        USER.set(session.state(), 1);
    }
    remembered.set_max_lifetime(Some(DAY * 30));
    for session in [&ordinary, &remembered] {
        session.save().await.unwrap();
    }
    time.advance(DAY);
    let late = open(&after, ordinary.id().as_ref()).await;
    assert!(late.is_new() && late.is_empty());
    assert!(!open(&after, remembered.id().as_ref()).await.is_new());
    NAME.set(late.state(), "anew".into());
    late.save().await.unwrap();
    assert!(late.id() != ordinary.id());
    assert!(open(&before, ordinary.id().as_ref()).await.is_empty(), "the new session ends the old record");
}
