//! One route for each method, with a plain-text response.

use std::time::Duration;

use rocket::{Route, get, routes};
use session_rocket::Session;

use crate::{Visitor, python};

pub fn routes() -> Vec<Route> {
    routes![
        set_session_item,
        get_session_item,
        delete_session_item,
        check_session_item,
        session_keys,
        session_items,
        clear_session,
        set_default_session,
        flush_session,
        set_session_expiry,
        get_expiry_age,
        get_expiry_date,
        cycle_session_key,
        set_test_cookie,
        test_cookie_worked,
        delete_test_cookie,
    ]
}

#[get("/set-session-item")]
fn set_session_item(session: Session<Visitor>) -> &'static str {
    session.set_username("JohnDoe");
    "Session item set successfully."
}

#[get("/get-session-item")]
fn get_session_item(session: Session<Visitor>) -> String {
    format!("Hello, {}!", session.username())
}

#[get("/delete-session-item")]
fn delete_session_item(session: Session<Visitor>) -> &'static str {
    session.delete_username();
    "Session item deleted successfully."
}

#[get("/check-session-item")]
fn check_session_item(session: Session<Visitor>) -> &'static str {
    if session.has_username() { "Username exists in session." } else { "Username does not exist in session." }
}

#[get("/session-keys")]
fn session_keys(session: Session<Visitor>) -> String {
    format!("Session Keys: {}", python::list(&session.keys()))
}

#[get("/session-items")]
fn session_items(session: Session<Visitor>) -> String {
    format!("Session Items: {}", python::dict(&session.keys(), &session.items()))
}

#[get("/clear-session")]
fn clear_session(session: Session<Visitor>) -> &'static str {
    session.clear();
    "Session cleared."
}

#[get("/set-default-session")]
fn set_default_session(session: Session<Visitor>) -> String {
    format!("Username is: {}", session.setdefault_username("DefaultUser"))
}

#[get("/flush-session")]
fn flush_session(session: Session<Visitor>) -> &'static str {
    session.flush();
    "Session flushed."
}

#[get("/set-session-expiry")]
fn set_session_expiry(session: Session<Visitor>) -> &'static str {
    session.set_expiry(Duration::from_mins(5));
    "Session expiry set to 5 minutes."
}

#[get("/get-expiry-age")]
fn get_expiry_age(session: Session<Visitor>) -> String {
    format!("Session expires in {} seconds.", session.expiry_age().as_secs())
}

#[get("/get-expiry-date")]
fn get_expiry_date(session: Session<Visitor>) -> String {
    format!("Session expiry date: {}", python::datetime(session.expiry_date()))
}

#[get("/cycle-session-key")]
fn cycle_session_key(session: Session<Visitor>) -> &'static str {
    session.cycle_id();
    "Session key cycled."
}

#[get("/set-test-cookie")]
fn set_test_cookie(session: Session<Visitor>) -> &'static str {
    session.set_test_cookie();
    "Test cookie set."
}

#[get("/test-cookie-worked")]
fn test_cookie_worked(session: Session<Visitor>) -> &'static str {
    if !session.test_cookie_worked() {
        return "Test cookie did not work.";
    }
    session.delete_test_cookie();
    "Test cookie worked."
}

#[get("/delete-test-cookie")]
fn delete_test_cookie(session: Session<Visitor>) -> &'static str {
    session.delete_test_cookie();
    "Test cookie deleted."
}
