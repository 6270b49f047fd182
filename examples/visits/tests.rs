use rocket::http::{Cookie, Status};
use rocket::local::blocking::{Client, LocalResponse};
use session_rocket::time::Duration;

/// A browser, and a site launched in `profile` with its sessions in memory.
fn browser(profile: &str) -> Client {
    let figment = super::figment().select(profile).merge(("session.store", "memory:")).merge(("log_level", "off"));
    Client::tracked(super::rocket().configure(figment)).unwrap()
}

fn ok(response: LocalResponse<'_>) -> String {
    assert_eq!(response.status(), Status::Ok);
    response.into_string().unwrap()
}

/// The session cookie that the first visit sets.
fn cookie(profile: &str) -> Cookie<'static> {
    let browser = browser(profile);
    browser.get("/").dispatch().cookies().get("sessionid").unwrap().clone().into_owned()
}

#[test]
fn visits_are_counted_and_reset() {
    let browser = browser("debug");
    for visits in 1..=3 {
        assert_eq!(ok(browser.get("/").dispatch()), format!("Visit count: {visits}"));
    }
    for path in ["/reset", "/reset/"] {
        assert_eq!(ok(browser.get(path).dispatch()), "Visit count has been reset to 0");
        assert_eq!(ok(browser.get("/").dispatch()), "Visit count: 1");
    }
}

#[test]
fn the_test_cookie_works_once() {
    for path in ["/about", "/about/"] {
        let browser = browser("debug");
        let about = || ok(browser.get(path).dispatch());
        assert_eq!(about(), "About page<br>Cookie not set or not supported<br>Current visit count: 0");
        ok(browser.get("/").dispatch());
        assert_eq!(about(), "About page<br>Cookie Tested!<br>Current visit count: 1");
        assert_eq!(about(), "About page<br>Cookie not set or not supported<br>Current visit count: 1");
    }
}

#[test]
fn about_is_html_and_sets_no_cookie_for_a_new_visitor() {
    let browser = browser("debug");
    let response = browser.get("/about/").dispatch();
    assert!(response.content_type().unwrap().is_html());
    assert_eq!(response.cookies().iter().count(), 0);
}

#[test]
fn the_cookie_lasts_a_fifth_longer_than_thirty_minutes() {
    let cookie = cookie("thirty_minutes");
    assert_eq!(cookie.max_age(), Some(Duration::minutes(36)));
    assert_eq!((cookie.secure(), cookie.http_only(), cookie.path()), (None, Some(true), Some("/")));
}

#[test]
fn with_browser_close_the_cookie_has_no_expiry() {
    let cookie = cookie("browser_close");
    assert_eq!((cookie.max_age(), cookie.expires()), (None, None));
}

#[test]
fn by_default_the_cookie_lasts_a_fifth_longer_than_two_weeks() {
    assert_eq!(cookie("debug").max_age(), Some(Duration::seconds(1_451_520)));
}

#[test]
fn the_start_page_links_to_every_route_and_does_not_count() {
    let browser = browser("thirty_minutes");
    ok(browser.get("/").dispatch());
    for path in ["/start", "/start/"] {
        let page = ok(browser.get(path).dispatch());
        assert!(page.contains(r#"<p class="big">1</p>"#) && page.contains("for 30 minutes"), "{page}");
        for link in ["/", "/about/", "/reset/"] {
            assert!(page.contains(&format!("href=\"{link}\"")), "{page}");
        }
    }
}
