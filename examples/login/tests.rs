use std::path::Path;

use rocket::http::{ContentType, Cookie, Header, Status};
use rocket::local::blocking::{Client, LocalResponse};

const VALID: &str = "username=rajat&password=rajat-learns-rocket";

fn browser(dir: &Path) -> Client {
    let database = format!("sqlite://{}", dir.join("login.db").display());
    let first = rocket::figment::util::map!["username" => "rajat", "password" => "rajat-learns-rocket"];
    let figment = rocket::Config::figment()
        .merge(("database", database))
        .merge(("first_user", first))
        .merge(("log_level", "off"));
    Client::tracked(super::rocket().configure(figment)).unwrap()
}

/// The status, the `Location` header, and the page.
fn read(response: LocalResponse<'_>) -> (Status, String, String) {
    assert_eq!(response.headers().get_one("Cache-Control"), Some("no-store"));
    let location = response.headers().get_one("Location").unwrap_or_default().to_owned();
    (response.status(), location, response.into_string().unwrap_or_default())
}

fn get(browser: &Client, path: &str) -> (Status, String, String) {
    read(browser.get(path.to_owned()).dispatch())
}

/// Gets the dashboard with an earlier cookie.
fn get_with(browser: &Client, cookie: &Cookie<'static>) -> (Status, String, String) {
    read(browser.get("/dashboard/").cookie(cookie.clone()).dispatch())
}

fn post(browser: &Client, path: &str, form: String) -> (Status, String, String) {
    read(browser.post(path.to_owned()).header(ContentType::Form).body(form).dispatch())
}

/// The CSRF token of the login form.
fn token(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"csrf_token\" value=\"").expect("a form");
    rest.split('"').next().unwrap().to_owned()
}

fn cookie(browser: &Client) -> Option<Cookie<'static>> {
    browser.cookies().get("sessionid").cloned()
}

fn log_in(browser: &Client, form: &str) -> (Status, String, String) {
    let token = token(&get(browser, "/login/").2);
    post(browser, "/login/", format!("{form}&csrf_token={token}"))
}

fn redirect_to(path: &str) -> (Status, String, String) {
    (Status::SeeOther, path.to_owned(), String::new())
}

#[test]
fn a_login_leads_to_the_dashboard_and_a_logout_to_the_login_page() {
    let dir = tempfile::tempdir().unwrap();
    let browser = browser(dir.path());
    assert_eq!(get(&browser, "/"), redirect_to("/dashboard/"));
    for path in ["/dashboard/", "/dashboard"] {
        assert_eq!(get(&browser, path), redirect_to("/login/"));
    }
    let (status, _, page) = get(&browser, "/login");
    assert_eq!(status, Status::Ok);
    for part in ["placeholder=\"Username\"", "placeholder=\"Password\"", "type=\"password\"", ">Login</button>"] {
        assert!(page.contains(part), "{page}");
    }
    assert!(!page.contains("Invalid credentials"));
    assert_eq!(log_in(&browser, VALID), redirect_to("/dashboard/"));
    let (status, _, page) = get(&browser, "/dashboard/");
    assert_eq!(status, Status::Ok);
    assert!(page.contains("<h1>Welcome to the Dashboard</h1>") && page.contains("<strong>rajat</strong>"), "{page}");
    assert!(page.contains("action=\"/logout/\"") && page.contains(">Logout</button>"), "{page}");
    assert_eq!(get(&browser, "/login/"), redirect_to("/dashboard/"));
    assert_eq!(post(&browser, "/logout/", String::new()), redirect_to("/login/"));
    assert_eq!(get(&browser, "/dashboard/"), redirect_to("/login/"));
    assert_eq!(get(&browser, "/nowhere").0, Status::NotFound);
}

#[test]
fn a_get_does_not_log_out() {
    let dir = tempfile::tempdir().unwrap();
    let browser = browser(dir.path());
    log_in(&browser, VALID);
    assert_eq!(get(&browser, "/logout/"), redirect_to("/dashboard/"));
    assert_eq!(get(&browser, "/dashboard/").0, Status::Ok);
}

#[test]
fn each_login_gives_a_new_id_and_earlier_ids_become_invalid() {
    let dir = tempfile::tempdir().unwrap();
    let browser = browser(dir.path());
    get(&browser, "/login/");
    assert_eq!(cookie(&browser), None, "the login form starts no session");
    let ids = [(); 2].map(|()| {
        log_in(&browser, VALID);
        let id = cookie(&browser).unwrap();
        assert_eq!(get_with(&self::browser(dir.path()), &id).0, Status::Ok);
        post(&browser, "/logout/", String::new());
        assert_eq!(cookie(&browser), None);
        id
    });
    assert_ne!(ids[0].value(), ids[1].value());
    for id in ids {
        assert_eq!(get_with(&browser, &id), redirect_to("/login/"));
    }
}

#[test]
fn failed_logins_do_not_reveal_which_users_exist() {
    let dir = tempfile::tempdir().unwrap();
    let browser = browser(dir.path());
    let invalid =
        ["rajat&password=wrong", "nobody&password=wrong", "&password=", "rajat&password=", "Rajat'--&password=x"];
    let pages = invalid.map(|form| {
        let (status, _, page) = log_in(&browser, &format!("username={form}"));
        assert_eq!(status, Status::Unauthorized);
        page.replace(&token(&page), "")
    });
    assert!(pages[0].contains("Invalid credentials"), "{}", pages[0]);
    assert!(pages.iter().all(|page| *page == pages[0]));
    assert_eq!(get(&browser, "/dashboard/"), redirect_to("/login/"));
}

#[test]
fn a_login_form_without_a_token_of_this_browser_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (browser, other) = (browser(dir.path()), browser(dir.path()));
    let foreign = token(&get(&other, "/login/").2);
    let stale = token(&get(&browser, "/login/").2);
    let assert_refused = |token: &str| {
        let (status, _, page) = post(&browser, "/login/", format!("{VALID}{token}"));
        assert_eq!(status, Status::Forbidden);
        assert!(page.contains("This form has expired"), "{page}");
    };
    for token in ["", "&csrf_token=", &format!("&csrf_token={foreign}")] {
        assert_refused(token);
    }
    assert_eq!(get(&browser, "/dashboard/"), redirect_to("/login/"));
    log_in(&browser, VALID);
    assert_refused(&format!("&csrf_token={stale}"));
}

#[test]
fn requests_of_other_sites_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let browser = browser(dir.path());
    let post_from_another_site = |path: &str, form: String| {
        let request = browser.post(path.to_owned()).header(ContentType::Form).body(form);
        let request = request.header(Header::new("Sec-Fetch-Site", "cross-site"));
        read(request.header(Header::new("Origin", "https://evil.example")).dispatch()).0
    };
    let token = token(&get(&browser, "/login/").2);
    assert_eq!(post_from_another_site("/login/", format!("{VALID}&csrf_token={token}")), Status::Forbidden);
    assert_eq!(get(&browser, "/dashboard/"), redirect_to("/login/"));
    log_in(&browser, VALID);
    assert_eq!(post_from_another_site("/logout/", String::new()), Status::Forbidden);
    assert_eq!(get(&browser, "/dashboard/").0, Status::Ok);
}

#[test]
fn remember_me_sets_the_expiry_of_the_session_and_its_cookie() {
    let dir = tempfile::tempdir().unwrap();
    for (remember, text, days) in [("", "until you close the browser", None), ("&remember=on", "for 30 days", Some(36))]
    {
        let browser = browser(dir.path());
        log_in(&browser, &format!("{VALID}{remember}"));
        assert_eq!(cookie(&browser).unwrap().max_age().map(rocket::time::Duration::whole_days), days);
        assert!(get(&browser, "/dashboard/").2.contains(text));
    }
}

#[test]
fn users_and_sessions_survive_a_restart_and_a_deleted_user_is_logged_out() {
    let dir = tempfile::tempdir().unwrap();
    let earlier = {
        let browser = browser(dir.path());
        log_in(&browser, VALID);
        cookie(&browser).unwrap()
    };
    let browser = browser(dir.path());
    assert_eq!(get_with(&browser, &earlier).0, Status::Ok);
    query(dir.path(), "DELETE FROM users");
    assert_eq!(get_with(&browser, &earlier), redirect_to("/login/"));
    assert_eq!(query(dir.path(), "SELECT CAST(count(*) AS TEXT) FROM rocket_session WHERE identity NOTNULL"), "0");
}

#[test]
fn the_database_contains_no_password() {
    let dir = tempfile::tempdir().unwrap();
    let browser = browser(dir.path());
    log_in(&browser, "username=rajat&password=mistyped-secret");
    log_in(&browser, VALID);
    let sessions = query(dir.path(), "SELECT count(*) || group_concat(CAST(payload AS TEXT)) FROM rocket_session");
    assert!(sessions.contains("is_logged_in") && !sessions.contains("argon2"), "{sessions}");
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in ["rajat-learns-rocket", "mistyped-secret"] {
            assert!(!bytes.windows(secret.len()).any(|found| found == secret.as_bytes()), "{secret}");
        }
    }
}

#[test]
fn a_user_name_is_escaped() {
    let dir = tempfile::tempdir().unwrap();
    let browser = browser(dir.path());
    query(dir.path(), "UPDATE users SET username = '<script>alert(1)</script>'");
    log_in(&browser, "username=<script>alert(1)</script>&password=rajat-learns-rocket");
    let (_, _, page) = get(&browser, "/dashboard/");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>alert"), "{page}");
}

#[test]
fn the_demo_user_exists_only_in_the_debug_profile() {
    let dir = tempfile::tempdir().unwrap();
    for (profile, users) in [("release", "0"), ("debug", "1")] {
        let database = format!("sqlite://{}", dir.path().join(profile).display());
        let figment =
            rocket::Config::figment().select(profile).merge(("database", database)).merge(("log_level", "off"));
        drop(Client::tracked(super::rocket().configure(figment)).unwrap());
        assert_eq!(query(&dir.path().join(profile), "SELECT CAST(count(*) AS TEXT) FROM users"), users);
    }
}

/// Queries one string from the database in a directory, or from a database file.
fn query(path: &Path, sql: &'static str) -> String {
    use session_rocket::sqlx::{self, Connection, SqliteConnection};
    let file = if path.is_dir() { path.join("login.db") } else { path.to_owned() };
    rocket::execute(async {
        let mut database = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
        let text: Option<Option<String>> = sqlx::query_scalar(sql).fetch_optional(&mut database).await.unwrap();
        text.flatten().unwrap_or_default()
    })
}
