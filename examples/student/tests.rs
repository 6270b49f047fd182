use std::path::Path;

use rocket::http::Status;
use rocket::local::blocking::{Client, LocalResponse};

/// A browser with its cookies. The site's sessions are in a new database.
fn browser(dir: &Path) -> Client {
    let store = format!("sqlite://{}", dir.join("sessions.db").display());
    let figment = rocket::Config::figment().merge(("session.store", store)).merge(("log_level", "off"));
    Client::tracked(super::rocket().configure(figment)).unwrap()
}

fn text(response: LocalResponse<'_>) -> (Status, String) {
    (response.status(), response.into_string().unwrap_or_default())
}

#[test]
fn a_student_can_be_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let browser = browser(dir.path());
    let get = |path: &'static str| text(browser.get(path).dispatch());
    assert_eq!(get("/student/ssession"), (Status::Ok, "session is set".into()));
    assert_eq!(get("/student/gsession"), (Status::Ok, "rajat rajat@example.com".into()));
    let (status, advice) = get("/student/gsession");
    assert_eq!(status, Status::NotFound);
    assert!(advice.contains("visit /student/ssession first"), "{advice}");
    assert_eq!(get("/student/ssession").0, Status::Ok);
    assert_eq!(get("/student/gsession").0, Status::Ok);
}

#[test]
fn a_new_visitor_reads_defaults_and_gets_no_cookie() {
    let dir = tempfile::tempdir().unwrap();
    let browser = browser(dir.path());
    for (path, status) in [("/student/hello", Status::Ok), ("/student/gsession", Status::NotFound)] {
        let response = browser.get(path).dispatch();
        assert_eq!((response.status(), response.cookies().iter().count()), (status, 0));
    }
    assert_eq!(text(browser.get("/student/hello").dispatch()).1, "Hello, Guest!");
}

#[test]
fn a_session_survives_a_restart_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let cookie = {
        let browser = browser(dir.path());
        let response = browser.get("/student/ssession").dispatch();
        response.cookies().get("sessionid").unwrap().clone().into_owned()
    };
    let again = browser(dir.path());
    assert_eq!(text(again.get("/student/gsession").cookie(cookie).dispatch()).1, "rajat rajat@example.com");
}

#[test]
fn the_start_page_counts_visits() {
    let dir = tempfile::tempdir().unwrap();
    let browser = browser(dir.path());
    for visits in 1..=3 {
        let (_, page) = text(browser.get("/").dispatch());
        assert!(page.contains(&format!("Visits of this page: {visits}<")), "{page}");
        assert!(page.contains("href='/student/ssession'") && page.contains("href='/student/gsession'"), "{page}");
    }
}

#[test]
fn the_readme_shows_this_program() {
    let program = include_str!("main.rs");
    let (_, program) = program.split_once("\n\n").unwrap();
    let (program, _) = program.split_once("\n#[cfg(test)]").unwrap();
    assert!(include_str!("../../README.md").contains(program), "README.md shows another program");
}
