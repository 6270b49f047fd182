//! A site whose SQLite database is locked, missing or damaged responds with 503. The site works again when the lock is
//! released or the damage is repaired. If the file was moved, the site needs a restart.

use std::path::Path;
use std::time::{Duration, Instant};

use rocket::http::Status;
use rocket::local::asynchronous::Client;
use rocket::{get, routes};
use session_rocket::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool};
use session_rocket::sqlx::{self, ConnectOptions};
use session_rocket::{Config, Session};
use session_rocket_tests::browser::{Browser, Response};
use session_rocket_tests::logs;

const TIMEOUT: Duration = Duration::from_secs(8);

#[derive(Session)]
struct Visitor {
    count: u32,
}

#[get("/count")]
fn count(session: Session<Visitor>) -> String {
    session.update_count(|count| *count += 1);
    session.count().to_string()
}

#[get("/show")]
fn show(session: Session<Visitor>) -> String {
    session.count().to_string()
}

async fn site(database: &Path) -> Client {
    let config = Config::new().store(format!("sqlite://{}", database.display())).timeout(TIMEOUT);
    let rocket =
        logs::rocket(rocket::Config::figment().merge(("log_level", "normal"))).mount("/", routes![count, show]);
    Client::untracked(rocket.attach(Session::<Visitor>::fairing().config(config))).await.expect("the site launches")
}

async fn connect(database: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(database).connect().await.expect("the database opens")
}

/// Asserts that the response is a 503 without a cookie.
fn assert_unavailable(response: &Response, what: &str) {
    assert_eq!(
        (response.status, response.set_cookie()),
        (Status::ServiceUnavailable, None),
        "{what}: {}",
        response.body
    );
    assert_eq!(response.header("retry-after"), Some("5"));
}

#[rocket::async_test]
async fn while_another_process_has_the_write_lock_a_save_is_503_within_the_timeout() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("sessions.db");
    let client = site(&database).await;
    let mut browser = Browser::default();
    browser.get(&client, "/count").await;

    let mut other = connect(&database).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let started = Instant::now();
    let response = browser.send(&client, "/count").await;
    assert!(started.elapsed() < TIMEOUT * 2, "{:?}", started.elapsed());
    assert_unavailable(&response, "a save under a lock");
    assert_unavailable(&Browser::default().send(&client, "/count").await, "a new session under a lock");
    assert_eq!(browser.get(&client, "/show").await.body, "1", "readers do not wait for writers");
    assert!(!logs::containing("cannot save a session of type `Visitor`").is_empty());

    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(browser.get(&client, "/count").await.body, "2", "a refused increment was saved later");
}

#[rocket::async_test]
async fn while_the_directory_is_missing_every_request_is_503() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let client = site(&data.join("sessions.db")).await;
    let mut browser = Browser::default();
    browser.get(&client, "/count").await;

    let moved = directory.path().join("moved");
    std::fs::rename(&data, &moved).unwrap();
    for path in ["/count", "/show"] {
        assert_unavailable(&browser.send(&client, path).await, path);
    }
    assert_unavailable(&Browser::default().send(&client, "/count").await, "a new session");
    std::fs::rename(&moved, &data).unwrap();
    assert_unavailable(&browser.send(&client, "/count").await, "before a restart");
    assert!(!logs::containing("restart the site").is_empty());
    drop(client);
    let client = site(&data.join("sessions.db")).await;
    assert_eq!(browser.get(&client, "/count").await.body, "2", "a refused increment was saved later");
}

#[rocket::async_test]
async fn while_the_database_is_damaged_every_request_is_503() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("sessions.db");
    let client = site(&database).await;
    let mut browser = Browser::default();
    browser.get(&client, "/count").await;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connect(&database).await).await.unwrap();

    let original = std::fs::read(&database).unwrap();
    std::fs::write(&database, vec![0x5a; original.len()]).unwrap();
    for path in ["/count", "/show"] {
        assert_unavailable(&browser.send(&client, path).await, path);
    }
    std::fs::write(&database, original).unwrap();
    assert_eq!(browser.get(&client, "/count").await.body, "2");
}

#[rocket::async_test]
async fn sessions_in_an_applications_pool_work_again_after_the_application_releases_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(directory.path().join("app.db")).create_if_missing(true);
    let pool = SqlitePool::connect_with(options.busy_timeout(TIMEOUT / 10)).await.unwrap();
    let figment = rocket::Config::figment().merge(("log_level", "normal")).merge(("session.timeout", "8 s"));
    let fairing = Session::<Visitor>::fairing().pool(pool.clone());
    let rocket = logs::rocket(figment).mount("/", routes![count, show]).attach(fairing);
    let client = Client::untracked(rocket).await.expect("the site launches");
    let mut browser = Browser::default();
    browser.get(&client, "/count").await;

    let mut application = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("CREATE TABLE of_the_application (x)").execute(&mut *application).await.unwrap();
    assert_unavailable(&browser.send(&client, "/count").await, "the application has the write lock");
    application.commit().await.unwrap();
    assert_eq!(browser.get(&client, "/count").await.body, "2");
}
