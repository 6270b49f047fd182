use session_rocket_tests::chromium::Chromium;
use session_rocket_tests::served::Served;

#[test]
fn the_start_page_links_to_set_get_and_delete() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/"));
    assert_eq!(browser.text_of("h1"), "Django Session Example");
    browser.screenshot("methods-links");
    for (link, text) in [
        ("Get Session", "Hello, Guest!"),
        ("Set Session", "Session data set!"),
        ("Get Session", "Hello, John Doe!"),
        ("Delete Session", "Session data deleted."),
        ("Get Session", "Hello, Guest!"),
    ] {
        browser.click(link);
        assert_eq!((browser.status(), browser.text()), (200, text.into()), "{link}");
        browser.back();
    }
    assert_eq!(browser.cookies(), vec![], "deleting the session removes its cookie");
}

#[test]
fn every_route_of_the_start_page_responds() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/"));
    let routes = browser.script("return Array.from(document.querySelectorAll('td a'), link => link.textContent)");
    let routes: Vec<String> = serde_json::from_value(routes).unwrap();
    assert_eq!(routes.len(), 16);
    for route in routes {
        browser.click(&route);
        assert_eq!((browser.status(), browser.url()), (200, site.url(&route)));
        assert!(!browser.text().is_empty(), "{route}");
        browser.back();
    }
    browser.open(site.url("/set-session-item/"));
    browser.open(site.url("/session-items/"));
    assert_eq!(browser.text(), "Session Items: {'username': 'JohnDoe'}");
    browser.screenshot("methods-items");
}

#[test]
fn pages_show_the_values_of_the_session() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    for (path, shown) in [
        ("get", ["Username: Guest", "Is Logged In: false"]),
        ("set", ["", ""]),
        ("get", ["Username: JohnDoe", "Is Logged In: true"]),
        ("delete", ["", ""]),
        ("get", ["Username: Guest", "Is Logged In: false"]),
    ] {
        browser.open(site.url(&format!("/pages/{path}-session/")));
        let text = browser.text();
        assert!(shown.iter().all(|part| text.to_lowercase().contains(&part.to_lowercase())), "{path}: {text}");
        browser.screenshot(&format!("methods-page-{path}"));
    }
}

#[test]
fn every_change_redirects_to_the_page_that_shows_it() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/redirects/show-session/"));
    for (button, shown) in [
        ("Set", "Hello, john_doe!"),
        ("Delete", "Hello, Guest!"),
        ("Set", "Hello, john_doe!"),
        ("Clear", "Hello, Guest!"),
    ] {
        browser.click(button);
        assert_eq!(browser.text_of("h1"), shown);
        assert_eq!(browser.url().trim_end_matches('/'), site.url("/redirects/show-session"));
    }
    browser.click("Set");
    browser.screenshot("methods-redirects");
}

#[test]
fn the_cookie_lasts_a_little_longer_than_the_session() {
    let site = Served::start(super::rocket());
    let browser = Chromium::start();
    browser.open(site.url("/set-session/"));
    let cookie = browser.cookie("sessionid").unwrap();
    let lasts = cookie.lasts().unwrap().as_secs();
    assert!((300..=360).contains(&lasts), "{lasts} seconds, but the session lasts 300");
    browser.open(site.url("/cycle-session-key/"));
    assert_ne!(browser.cookie("sessionid").unwrap().value, cookie.value);
    browser.open(site.url("/get-session/"));
    assert_eq!(browser.text(), "Hello, John Doe!");
}

#[test]
fn without_cookies_the_site_works_but_stores_nothing() {
    let site = Served::start(super::rocket());
    let browser = Chromium::refusing_cookies();
    for (path, shown) in [("/set-session/", "Session data set!"), ("/get-session/", "Hello, Guest!")] {
        browser.open(site.url(path));
        assert_eq!((browser.status(), browser.text()), (200, shown.into()));
    }
}
