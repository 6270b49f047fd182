//! Requests that are under way with an id while somebody logs in with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::fixture::{COUNT, DAY, NAME, TAGS, USER, clock, engine, open, respond};
use super::slow::{Slow, spawn_save};
use crate::clock::Timestamp;
use crate::session::Answer;
use crate::state::{Carrier, Scope};
use crate::store::memory::MemoryStore;

#[tokio::test]
async fn who_held_the_id_before_a_login_writes_to_the_session_but_sees_nothing_of_it() {
    let engine = engine(Arc::new(MemoryStore::new(100, clock())), clock());
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 5);
    session.save().await.unwrap();
    let planted = session.id().unwrap();
    let [held, flushes, cycles] = [open(&engine, Some(&planted)).await, open(&engine, Some(&planted)).await, session];
    let victim = open(&engine, Some(&planted)).await;
    USER.set(victim.state(), 7);
    NAME.set(victim.state(), "secret".into());
    victim.save().await.unwrap();
    let token = victim.csrf_token();
    victim.save().await.unwrap();

    for (held, count) in [(&held, 6), (&cycles, 7), (&held, 8)] {
        if count == 7 {
            held.cycle_id();
        }
        COUNT.update(held.state(), |count| *count += 1);
        assert!(matches!(respond(held, Scope::Everything).await, Ok(Answer::Nothing)));
        assert_eq!((USER.get(held.state()), NAME.get(held.state()), held.id()), (None, None, None));
        assert!(!held.verify_csrf_token(token.as_str()));
        let session = open(&engine, victim.id().as_ref()).await;
        assert_eq!(session.get().count, count, "no update is lost");
        assert!(!session.verify_csrf_token(held.csrf_token().as_str()));
    }
    flushes.flush();
    assert!(matches!(respond(&flushes, Scope::Everything).await, Ok(Answer::Nothing)));
    let session = open(&engine, victim.id().as_ref()).await;
    assert_eq!((USER.get(session.state()), NAME.get(session.state())), (Some(7), Some("secret".into())));
}

#[tokio::test]
async fn who_held_the_id_before_a_login_has_a_minute_and_no_say_in_its_lifetime() {
    let now = clock();
    let engine = engine(Arc::new(MemoryStore::new(100, now.clone())), now.clone());
    let session = open(&engine, None).await;
    COUNT.set(session.state(), 5);
    session.save().await.unwrap();
    let planted = session.id();
    let held = open(&engine, planted.as_ref()).await;
    let victim = open(&engine, planted.as_ref()).await;
    USER.set(victim.state(), 7);
    victim.save().await.unwrap();
    let token = victim.csrf_token();
    victim.save().await.unwrap();
    let found = async || open(&engine, victim.id().as_ref()).await;

    for step in 0..2 {
        held.set_expiry(Timestamp::from_millis(0).to_date());
        held.set_test_cookie();
        held.cycle_id();
        if step == 1 {
            COUNT.update(held.state(), |count| *count += 1);
        }
        held.save().await.unwrap();
        let session = found().await;
        assert!(session.verify_csrf_token(token.as_str()) && !session.test_cookie_worked());
        assert_eq!((session.get().user, session.get().count), (Some(7), 5 + step));
        assert_eq!(session.expiry_age(), DAY * 14);
    }
    now.advance(std::time::Duration::from_secs(60));
    COUNT.update(held.state(), |count| *count += 1);
    held.save().await.unwrap();
    assert!(matches!(held.core().state.carrier(), Carrier::Ended) && held.is_empty());
    assert_eq!(found().await.get().count, 6);
}

#[tokio::test]
async fn two_who_held_the_id_before_a_login_see_nothing_of_each_other_either() {
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
    NAME.set(one.state(), "x".into());
    TAGS.set(one.state(), vec!["of one".into()]);
    one.save().await.unwrap();
    let login = open(&engine, login.id().as_ref()).await;
    NAME.set(login.state(), "of the user".into());
    login.save().await.unwrap();

    COUNT.update(turn.state(), |count| *count += 1);
    slow.hold.store(true, Ordering::SeqCst);
    let first = spawn_save(&turn);
    slow.is_held().await;
    let mut saves = vec![first];
    for queued in [&one, &other] {
        NAME.set(queued.state(), "x".into());
        saves.push(spawn_save(queued));
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
    slow.release.add_permits(1);
    for save in saves {
        save.await.unwrap().unwrap();
    }
    assert_eq!(NAME.get(open(&engine, login.id().as_ref()).await.state()).as_deref(), Some("x"));
    assert_eq!((TAGS.get(other.state()), COUNT.get(other.state())), (Vec::<String>::new(), 5));
}

#[tokio::test]
async fn an_early_save_does_not_take_a_newer_id_from_the_browser() {
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
        assert!(matches!(early.core().respond(Scope::Everything).await.0, Answer::Nothing));
    }
}

#[tokio::test]
async fn a_visitors_clear_does_not_log_out_whoever_logged_in_meanwhile() {
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
    clears.save().await.unwrap();
    let session = open(&engine, login.id().as_ref()).await;
    assert_eq!((USER.get(session.state()), NAME.get(session.state())), (Some(1), None));
}
