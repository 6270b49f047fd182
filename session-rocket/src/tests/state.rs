//! The changes of a request before its commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::fixture::{COUNT, GREETING, NAME, TAGS, USER, Visitor, VisitorFields};
use crate::EndReason;
use crate::data::codec::Format;
use crate::data::values::Values;
use crate::session::{SessionData, SessionFields};
use crate::state::{CommitScope, Committed, CookieEffect, Lifecycle, SessionStatus, State};

fn loaded(payload: &'static str) -> State {
    let values = Values::load(Visitor::schema(), &Bytes::from_static(payload.as_bytes()), None).unwrap();
    State::new(SessionStatus::New { replaces: None }, values, Vec::new())
}

/// The payload that a commit would store.
fn stored(state: &State) -> String {
    let mut values = state.snapshot().1;
    values.encode().unwrap();
    String::from_utf8(values.payload(Format::Json).to_vec()).unwrap()
}

#[test]
fn the_accessors_of_an_optional_field_read_and_change_it() {
    let state = loaded("j{}");
    assert_eq!(NAME.get(&state), None);
    assert!(!NAME.has(&state));
    assert_eq!(NAME.setdefault(&state, "a".into()), "a");
    assert_eq!(NAME.setdefault(&state, "b".into()), "a");
    assert!(NAME.update(&state, |name| name.as_mut().map(|name| name.push('!')).is_some()));
    assert_eq!(NAME.with(&state, |name| name.map(String::len)), Some(2));
    assert_eq!(NAME.delete(&state).as_deref(), Some("a!"));
    assert_eq!(NAME.delete(&state), None);
    NAME.update(&state, |name| *name = Some("c".into()));
    NAME.update(&state, |name| *name = None);
    assert!(!NAME.has(&state));
    assert_eq!(stored(&state), "j{}");
}

#[test]
fn the_accessors_of_a_field_with_a_default_read_and_change_it() {
    let state = loaded("j{}");
    assert_eq!((COUNT.get(&state), COUNT.has(&state)), (0, false));
    assert_eq!(GREETING.get(&state), "hello");
    assert_eq!(GREETING.with(&state, String::len), 5);
    assert_eq!(COUNT.update(&state, |count| std::mem::replace(count, 7)), 0);
    assert_eq!(COUNT.delete(&state), Some(7));
    assert_eq!(COUNT.setdefault(&state, 3), 3);
    GREETING.set(&state, "hey".into());
    assert_eq!(stored(&state), r#"j{"count":3,"hi":"hey"}"#);
}

#[test]
fn accessors_can_be_called_inside_closures() {
    let state = loaded(r#"j{"count":1}"#);
    let inner = state.clone();
    COUNT.update(&state, move |count| {
        NAME.set(&inner, "inside".into());
        COUNT.set(&inner, 10);
        *count += 1;
    });
    // The inner write is applied first, and the outer one increments its result.
    assert_eq!((COUNT.get(&state), NAME.get(&state).as_deref()), (11, Some("inside")));
    let inner = state.clone();
    state.edit(move |edit| {
        NAME.set(&inner, "inside the whole struct".into());
        let count = COUNT.read(&mut edit.view);
        COUNT.write(edit, count + 1);
    });
    assert_eq!((COUNT.get(&state), NAME.get(&state).as_deref()), (12, Some("inside the whole struct")));
    COUNT.with(&state, |count| assert_eq!(*count, COUNT.get(&state)));
}

#[test]
fn an_update_runs_again_if_a_save_finished_meanwhile() {
    for (has_unsaved, sets_again) in [(false, false), (false, true), (true, false), (true, true)] {
        let state = loaded("j{}");
        if has_unsaved {
            NAME.set(&state, "unsaved".into());
        }
        let (saved, inner, finished) = (loaded(r#"j{"count":5}"#), state.clone(), AtomicBool::new(false));
        state.edit(move |edit| {
            let count = COUNT.read(&mut edit.view);
            if !finished.swap(true, Ordering::SeqCst) {
                let status = SessionStatus::New { replaces: None };
                inner.finish_commit(Committed::new(status, saved.snapshot().1, CookieEffect::None));
                if sets_again {
                    NAME.set(&inner, "set again".into());
                }
            }
            COUNT.write(edit, count + 1);
        });
        assert_eq!(COUNT.get(&state), 6, "{has_unsaved} {sets_again}");
    }
}

#[test]
fn concurrent_updates_of_one_field_by_several_threads_are_all_counted() {
    let state = loaded("j{}");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..250).for_each(|_| COUNT.update(&state, |count| *count += 1)));
        }
    });
    assert_eq!(COUNT.get(&state), 1000);
}

#[test]
fn a_value_that_cannot_be_decoded_reads_as_absent_and_is_kept_until_overwritten() {
    let state = loaded(r#"j{"count":"many","name":7,"other":[1]}"#);
    assert_eq!((COUNT.get(&state), COUNT.has(&state), NAME.get(&state)), (0, false, None));
    NAME.set(&state, "x".into());
    assert_eq!(stored(&state), r#"j{"name":"x","count":"many","other":[1]}"#);
    COUNT.update(&state, |count| *count += 1);
    assert_eq!(stored(&state), r#"j{"name":"x","count":1,"other":[1]}"#);
}

#[test]
fn an_alias_is_read_and_kept_until_the_field_is_written() {
    let state = loaded(r#"j{"labels":["a"],"x":1}"#);
    assert_eq!(TAGS.get(&state), ["a"]);
    assert_eq!(stored(&state), r#"j{"labels":["a"],"x":1}"#);
    TAGS.update(&state, |tags| tags.push("b".into()));
    assert_eq!(stored(&state), r#"j{"tags":["a","b"],"x":1}"#);

    for payload in [r#"j{"labels":["old"],"tags":["new"]}"#, r#"j{"tags":["new"],"labels":["old"]}"#] {
        let both = loaded(payload);
        assert_eq!(TAGS.get(&both), ["new"]);
        assert_eq!(stored(&both), r#"j{"tags":["new"],"labels":["old"]}"#);
        TAGS.delete(&both);
        assert_eq!((TAGS.has(&both), stored(&both).as_str()), (false, "j{}"));
    }
}

#[test]
fn unchanged_values_are_written_back_byte_for_byte() {
    let state = loaded(r#"j{"count": 1e0 ,"hi":"\u0061"}"#);
    assert_eq!(GREETING.get(&state), "a");
    assert_eq!(stored(&state), r#"j{"count":1e0,"hi":"\u0061"}"#);
}

#[test]
fn replace_sets_and_deletes_only_the_fields_that_differ() {
    for (payload, user, replaced) in [
        (r#"j{"name":"a","count":1,"tags":["a"]}"#, None, r#"j{"count":2,"tags":["a"]}"#),
        (r#"j{"name":"a","count":1,"tags":["a"],"user":1}"#, Some(1), r#"j{"count":2,"tags":["a"],"user":1}"#),
    ] {
        let state = loaded(payload);
        let name = Some("a".to_owned());
        let before = Visitor { name, count: 1, greeting: "hello".into(), tags: vec!["a".into()], user };
        state.replace(|edit| before.clone().replace(edit));
        assert!(!state.is_modified());
        state.replace(|edit| Visitor { name: None, count: 2, ..before }.replace(edit));
        let pending = state.take(CommitScope::Everything).unwrap();
        assert_eq!(pending.changes.len(), 2);
        assert_eq!(stored(&state), replaced);
    }
}

#[test]
fn a_login_of_another_user_empties_the_session() {
    let state = loaded(r#"j{"name":"cart","user":1}"#);
    USER.set(&state, 1);
    assert_eq!(NAME.get(&state).as_deref(), Some("cart"));
    COUNT.set(&state, 5);
    USER.set(&state, 2);
    NAME.set(&state, "after".into());
    let pending = state.take(CommitScope::Everything).unwrap();
    assert_eq!((pending.lifecycle, pending.login, pending.flushed), (Lifecycle::End, true, false));
    assert_eq!(stored(&state), r#"j{"name":"after","user":2}"#);
}

#[test]
fn a_login_keeps_the_visitors_data_and_rotates_the_id() {
    let state = loaded(r#"j{"name":"cart"}"#);
    USER.set(&state, 1);
    let pending = state.take(CommitScope::Everything).unwrap();
    assert_eq!((pending.lifecycle, pending.login), (Lifecycle::Cycle, true));
    assert_eq!(NAME.get(&state).as_deref(), Some("cart"));
}

#[test]
fn every_way_to_remove_the_user_empties_the_session() {
    for leave in [
        (|state: &State| _ = USER.delete(state)) as fn(&State),
        |state| USER.update(state, |user| *user = None),
        |state| state.clear(),
        |state| state.replace(|edit| USER.write(edit, None)),
    ] {
        let state = loaded(r#"j{"name":"cart","user":1,"unknown":1}"#);
        leave(&state);
        let pending = state.take(CommitScope::Everything).unwrap();
        assert_eq!((pending.lifecycle, pending.login), (Lifecycle::End, false));
        assert_eq!(stored(&state), "j{}");
    }
}

#[test]
fn a_5xx_keeps_flush_and_cycle_and_drops_other_changes() {
    let state = loaded(r#"j{"count":1}"#);
    COUNT.set(&state, 2);
    USER.set(&state, 1);
    assert!(state.take(CommitScope::LifecycleOnly).is_none());
    assert_eq!((COUNT.get(&state), USER.get(&state), state.is_modified()), (1, None, false));

    COUNT.set(&state, 2);
    state.cycle_id();
    let pending = state.take(CommitScope::LifecycleOnly).unwrap();
    assert_eq!(
        (pending.lifecycle, pending.login, pending.changes.len()),
        (Lifecycle::Cycle, false, 1),
        "the rotation also replaces the CSRF token"
    );
    state.flush(EndReason::UserGone);
    COUNT.set(&state, 9);
    let pending = state.take(CommitScope::LifecycleOnly).unwrap();
    assert_eq!((pending.lifecycle, pending.flushed, pending.values.is_blank()), (Lifecycle::End, true, true));
    assert_eq!(pending.reason, EndReason::UserGone);
}

#[test]
fn fields_share_the_state_of_their_session() {
    let fields = VisitorFields::new(loaded("j{}"));
    COUNT.set(fields.state(), 1);
    assert!(fields.state().is_modified());
    let _ = Arc::new(fields);
}
