use std::time::{Duration, SystemTime};

use rocket::http::Status;
use rocket::local::blocking::{Client, LocalResponse};
use session_rocket::time::{Duration as Span, OffsetDateTime};

fn browser() -> Client {
    let figment = rocket::Config::figment().merge(("session.store", "memory:")).merge(("log_level", "off"));
    Client::tracked(super::rocket().configure(figment)).unwrap()
}

fn ok(response: LocalResponse<'_>) -> String {
    assert_eq!(response.status(), Status::Ok);
    response.into_string().unwrap()
}

fn read(browser: &Client, path: &str) -> String {
    ok(browser.get(path.to_owned()).dispatch())
}

/// Asserts the response of `path`, with and without a trailing slash.
#[track_caller]
fn assert_text(browser: &Client, path: &str, text: &str) {
    assert_eq!(read(browser, path), text);
    assert_eq!(read(browser, path.trim_end_matches('/')), text);
}

fn id(browser: &Client) -> Option<String> {
    browser.cookies().get("sessionid").map(|cookie| cookie.value().to_owned())
}

#[test]
fn an_item_is_set_read_checked_and_deleted() {
    let browser = browser();
    assert_text(&browser, "/get-session-item/", "Hello, Guest!");
    assert_text(&browser, "/check-session-item/", "Username does not exist in session.");
    assert_eq!(id(&browser), None);
    assert_text(&browser, "/set-session-item/", "Session item set successfully.");
    assert_text(&browser, "/get-session-item/", "Hello, JohnDoe!");
    assert_text(&browser, "/check-session-item/", "Username exists in session.");
    assert_text(&browser, "/delete-session-item/", "Session item deleted successfully.");
    assert_text(&browser, "/get-session-item/", "Hello, Guest!");
    assert_text(&browser, "/check-session-item/", "Username does not exist in session.");
}

#[test]
fn keys_and_items_are_printed_as_python_prints_them() {
    let browser = browser();
    assert_text(&browser, "/session-keys/", "Session Keys: []");
    assert_text(&browser, "/session-items/", "Session Items: {}");
    read(&browser, "/set-session-item/");
    assert_text(&browser, "/session-keys/", "Session Keys: ['username']");
    assert_text(&browser, "/session-items/", "Session Items: {'username': 'JohnDoe'}");
    read(&browser, "/pages/set-session/");
    assert_text(&browser, "/session-keys/", "Session Keys: ['username', 'is_logged_in']");
    assert_text(&browser, "/session-items/", "Session Items: {'username': 'JohnDoe', 'is_logged_in': True}");
    assert_text(&browser, "/clear-session/", "Session cleared.");
    assert_text(&browser, "/session-keys/", "Session Keys: []");
}

#[test]
fn quotes_are_escaped_as_python_does() {
    let keys = ["it's".to_owned(), r"a\b".to_owned()];
    assert_eq!(super::python::list(&keys), r"['it\'s', 'a\\b']");
}

#[test]
fn setdefault_keeps_an_existing_value() {
    let browser = browser();
    assert_text(&browser, "/set-default-session/", "Username is: DefaultUser");
    assert_text(&browser, "/get-session-item/", "Hello, DefaultUser!");
    read(&browser, "/set-session-item/");
    assert_text(&browser, "/set-default-session/", "Username is: JohnDoe");
}

#[test]
fn clear_keeps_the_id_and_flush_ends_the_session() {
    let browser = browser();
    read(&browser, "/set-session-item/");
    let first = id(&browser);
    assert_text(&browser, "/clear-session/", "Session cleared.");
    assert!(first.is_some() && id(&browser) == first);
    assert_text(&browser, "/flush-session/", "Session flushed.");
    assert_eq!(id(&browser), None);
    assert_text(&browser, "/get-session-item/", "Hello, Guest!");
}

#[test]
fn set_expiry_changes_the_expiry_and_the_cookie() {
    let browser = browser();
    assert_text(&browser, "/get-expiry-age/", "Session expires in 1209600 seconds.");
    let response = browser.get("/set-session-expiry/").dispatch();
    assert_eq!(response.cookies().get("sessionid").unwrap().max_age(), Some(Span::minutes(6)));
    assert_eq!(ok(response), "Session expiry set to 5 minutes.");
    assert_text(&browser, "/set-session-expiry/", "Session expiry set to 5 minutes.");
    assert_text(&browser, "/get-expiry-age/", "Session expires in 300 seconds.");
}

#[test]
fn the_expiry_date_is_five_minutes_from_now() {
    let browser = browser();
    read(&browser, "/set-session-expiry/");
    let expected = || {
        let at = super::python::datetime(OffsetDateTime::from(SystemTime::now() + Duration::from_mins(5)));
        format!("Session expiry date: {at}")
    };
    for path in ["/get-expiry-date/", "/get-expiry-date"] {
        let (before, text, after) = (expected(), read(&browser, path), expected());
        assert!(before <= text && text <= after, "{before}, {text}, {after}");
    }
    let new_year = OffsetDateTime::from_unix_timestamp(1_767_225_605).unwrap();
    assert_eq!(super::python::datetime(new_year), "2026-01-01 00:00:05+00:00");
}

#[test]
fn cycle_id_changes_the_id_and_keeps_the_data() {
    let browser = browser();
    read(&browser, "/set-session-item/");
    let mut ids = vec![id(&browser)];
    for path in ["/cycle-session-key/", "/cycle-session-key"] {
        assert_eq!(read(&browser, path), "Session key cycled.");
        assert!(!ids.contains(&id(&browser)));
        ids.push(id(&browser));
        assert_eq!(read(&browser, "/get-session-item/"), "Hello, JohnDoe!");
    }
}

#[test]
fn the_test_cookie_works_until_it_is_deleted() {
    let browser = browser();
    assert_text(&browser, "/test-cookie-worked/", "Test cookie did not work.");
    assert_text(&browser, "/set-test-cookie/", "Test cookie set.");
    assert_eq!(read(&browser, "/test-cookie-worked/"), "Test cookie worked.");
    assert_text(&browser, "/test-cookie-worked/", "Test cookie did not work.");
    assert_text(&browser, "/set-test-cookie/", "Test cookie set.");
    assert_text(&browser, "/delete-test-cookie/", "Test cookie deleted.");
    assert_text(&browser, "/test-cookie-worked/", "Test cookie did not work.");
}

#[test]
fn a_name_is_set_read_and_deleted_with_its_session() {
    let browser = browser();
    assert_text(&browser, "/get-session/", "Hello, Guest!");
    let response = browser.get("/set-session/").dispatch();
    assert_eq!(response.cookies().get("sessionid").unwrap().max_age(), Some(Span::seconds(360)));
    assert_eq!(ok(response), "Session data set!");
    assert_text(&browser, "/set-session/", "Session data set!");
    assert_text(&browser, "/get-session/", "Hello, John Doe!");
    assert_text(&browser, "/delete-session/", "Session data deleted.");
    assert_eq!(id(&browser), None);
    assert_text(&browser, "/get-session/", "Hello, Guest!");
}

#[test]
fn pages_set_show_and_delete_values() {
    let browser = browser();
    let assert_shows = |path: &str, texts: &[&str]| {
        for path in [path, path.trim_end_matches('/')] {
            let page = read(&browser, path);
            assert!(texts.iter().all(|text| page.contains(text)), "{path}: {page}");
        }
    };
    assert_shows("/pages/get-session/", &["<h1>Session Information</h1>", "Username: Guest<", "Is Logged In: False<"]);
    assert_shows("/pages/set-session/", &["<h1>Session Set</h1>"]);
    assert_shows("/pages/get-session/", &["<title>Session Data</title>", "Username: JohnDoe<", "Is Logged In: True<"]);
    assert_shows("/pages/delete-session/", &["<h1>Session Deleted</h1>"]);
    assert_shows("/pages/get-session/", &["Username: Guest<", "Is Logged In: False<"]);
}

#[test]
fn each_change_redirects_to_the_page_that_shows_it() {
    let browser = browser();
    let assert_redirects = |path: &str, greeting: &str| {
        let response = browser.get(path.to_owned()).dispatch();
        let location = response.headers().get_one("location").unwrap();
        assert_eq!((response.status(), location), (Status::SeeOther, "/redirects/show-session"));
        for shown in [location, "/redirects/show-session/"] {
            assert!(read(&browser, shown).contains(greeting), "{path}");
        }
    };
    assert!(read(&browser, "/redirects/show-session").contains("Hello, Guest!"));
    for slash in ["", "/"] {
        assert_redirects(&format!("/redirects/set-session{slash}"), "Hello, john_doe!");
        assert_redirects(&format!("/redirects/delete-session{slash}"), "Hello, Guest!");
        assert_redirects(&format!("/redirects/set-session{slash}"), "Hello, john_doe!");
        assert_redirects(&format!("/redirects/clear-session{slash}"), "Hello, Guest!");
        assert_eq!(id(&browser), None);
    }
}

#[test]
fn the_start_page_links_to_every_route() {
    let browser = browser();
    let page = read(&browser, "/");
    assert!(page.contains("<h1>Django Session Example</h1>"), "{page}");
    let links: Vec<&str> = page.split("href=\"/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let is_linked =
        |route: &rocket::Route| links.iter().any(|link| route.uri.path() == format!("/{}", link.trim_end_matches('/')));
    for route in super::rocket().routes() {
        let is_on_another_page = ["/pages", "/redirects"].iter().any(|base| route.uri.path().starts_with(base));
        assert!(is_on_another_page || is_linked(route), "{} is not linked", route.uri);
    }
    for link in links {
        read(&browser, &format!("/{link}"));
    }
}

#[test]
fn the_readme_lists_every_route() {
    let readme = include_str!("README.md");
    for route in super::rocket().routes() {
        let path = format!("`{}/`", route.uri.path().trim_end_matches('/'));
        assert!(readme.contains(&path), "{path} is not in the README");
    }
}
