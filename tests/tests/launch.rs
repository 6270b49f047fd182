//! A launch with an unusable store fails within the timeout, and logs what to do without logging the password.
#![cfg(unix)]

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rocket::error::ErrorKind;
use rocket::local::asynchronous::Client;
use rocket::tokio::sync::Mutex;
use rocket::{get, routes};
use session_rocket::sqlx::{MySqlPool, PgPool};
use session_rocket::store::Migrate;
use session_rocket::{Config, Session, SessionFairing};
use session_rocket_tests::logs;
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::{MySql, Postgres};
use tokio::net::TcpSocket;

/// The timeout of a launch with a server that replies. Only a busy machine can delay it.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The timeout of a launch with a server that never replies.
const SHORT_TIMEOUT: Duration = Duration::from_secs(4);

/// Serializes the launches, because they share one log.
static LAUNCH_LOCK: Mutex<()> = Mutex::const_new(());

/// A password that must not be logged.
const SECRET: &str = "hunter2";

#[derive(Session)]
struct Visitor {
    count: u32,
}

#[get("/")]
fn index(session: Session<Visitor>) -> String {
    session.count().to_string()
}

fn config(url: &str) -> Config {
    Config::new().store(url).timeout(TIMEOUT)
}

/// Asserts that a launch with this configuration fails and logs `advice`.
async fn assert_launch_fails(config: Config, advice: &str) {
    assert_launch_with_fairing_fails(Session::<Visitor>::fairing().config(config), advice).await;
}

/// Asserts that a launch with this fairing fails and logs `advice`.
async fn assert_launch_with_fairing_fails(fairing: SessionFairing<Visitor>, advice: &str) {
    let _lock = LAUNCH_LOCK.lock().await;
    let figment = rocket::Config::figment().merge(("log_level", "normal"));
    let rocket = logs::rocket(figment).mount("/", routes![index]).attach(fairing);
    let advice_lines = || logs::containing(advice).iter().filter(|line| line.contains("cannot be attached")).count();
    let before = advice_lines();
    let error = Client::untracked(rocket)
        .await
        .err()
        .unwrap_or_else(|| panic!("the site was launched instead of failing with: {advice}"));
    // Rocket's error panics when it is dropped, unless its kind was read.
    assert!(matches!(error.kind(), ErrorKind::FailedFairings(_)), "{error}");
    assert!(advice_lines() > before, "missing advice: {advice}: {:?}", logs::containing("cannot be attached"));
    assert!(logs::containing(SECRET).is_empty(), "the password was logged");
}

/// Returns a port that accepts connections and never replies.
fn silent_port() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let port = listener.local_addr().expect("a bound listener has an address").port();
    (listener, port)
}

/// Checks launches with a server that never replies, with a port that refuses connections, and with an unknown host.
async fn assert_wrong_hosts_fail(scheme: &str, rest: &str) {
    let (_listener, port) = silent_port();
    let url = |host: &str| format!("{scheme}://site:{SECRET}@{host}{rest}");
    let silent = config(&url(&format!("127.0.0.1:{port}"))).timeout(SHORT_TIMEOUT);
    let started = Instant::now();
    assert_launch_fails(silent, "did not reply in time").await;
    assert!(started.elapsed() < SHORT_TIMEOUT * 4, "{:?}", started.elapsed());
    // This socket has the port but does not listen, so connections are refused.
    let closed = TcpSocket::new_v4().expect("a socket can be created");
    closed.bind(([127, 0, 0, 1], 0).into()).expect("a port is free");
    let port = closed.local_addr().expect("a bound socket has an address").port();
    for host in [format!("127.0.0.1:{port}"), format!("nowhere.invalid:{port}")] {
        assert_launch_fails(config(&url(&host)), &format!("at {host}: check that the server is running")).await;
    }
}

#[rocket::async_test]
async fn a_launch_with_an_unusable_postgresql_database_says_what_to_do() {
    if !is_wanted("postgres") {
        return;
    }
    assert_wrong_hosts_fail("postgres", "/postgres").await;
    let server = Postgres::start();
    assert_launch_fails(config(&server.url_for("site", SECRET)), "correct the user name and password in the URL").await;
    let pool = PgPool::connect_lazy(&server.url_for("site", SECRET)).expect("the URL is valid");
    let fairing = Session::<Visitor>::fairing().config(Config::new().timeout(TIMEOUT));
    assert_launch_with_fairing_fails(
        fairing.pool(pool),
        &format!(":{}: correct the user name and password in the URL", server.port()),
    )
    .await;
    assert_launch_fails(config(&server.url().replace("/postgres", "/nothing")), "create the database").await;
    for migrate in [Migrate::Off, Migrate::Check] {
        assert_launch_fails(config(&server.url()).migrate(migrate), "set `migrate = \"auto\"`").await;
    }
    assert_launch_fails(config(&server.url()).table("nothing.sessions"), "create the schema").await;
    assert_missing_rights_fail(&server).await;
}

/// The advice for a database user who lacks a right.
const RIGHTS: &str = "grant the user in the URL the rights SELECT, INSERT, UPDATE and DELETE";

/// Creates the session table, as the launch of a site with all rights does.
async fn create_table(url: String) {
    session_rocket::store::open(&session_rocket::store::Options::new(url).timeout(TIMEOUT))
        .await
        .expect("the table is created");
}

/// Checks launches with a PostgreSQL user who lacks a right.
async fn assert_missing_rights_fail(server: &Postgres) {
    server.run("CREATE USER reader PASSWORD 'reader'; GRANT USAGE ON SCHEMA public TO reader").await;
    assert_launch_fails(config(&server.url_for("reader", "reader")), RIGHTS).await;
    create_table(server.url()).await;
    server.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader").await;
    for migrate in [Migrate::Auto, Migrate::Check, Migrate::Off] {
        let config = config(&server.url_for("reader", "reader")).migrate(migrate);
        assert_launch_fails(config, RIGHTS).await;
    }
    server.run("CREATE USER writer PASSWORD 'writer'; GRANT USAGE ON SCHEMA public TO writer").await;
    server.run("GRANT SELECT, INSERT, UPDATE, DELETE ON rocket_session TO writer").await;
    let writer = session_rocket::store::Options::new(server.url_for("writer", "writer")).timeout(TIMEOUT);
    for migrate in [Migrate::Auto, Migrate::Off] {
        session_rocket::store::open(&writer.clone().migrate(migrate))
            .await
            .expect("the user has all rights that a site needs");
    }
    let check = config(&server.url_for("writer", "writer")).migrate(Migrate::Check);
    assert_launch_fails(check, "SELECT on `rocket_session_migrations`").await;
    server.run("ALTER USER site SET default_transaction_read_only = on").await;
    assert_launch_fails(config(&server.url()).migrate(Migrate::Off), RIGHTS).await;
}

#[rocket::async_test]
async fn a_launch_with_an_unusable_mysql_database_says_what_to_do() {
    if !is_wanted("mysql") {
        return;
    }
    assert_wrong_hosts_fail("mysql", "/site").await;
    let server = MySql::start();
    assert_launch_fails(config(&server.url_for("site", SECRET)), "correct the user name and password in the URL").await;
    let pool = MySqlPool::connect_lazy(&server.url_for("site", SECRET)).expect("the URL is valid");
    let fairing = Session::<Visitor>::fairing().config(Config::new().timeout(TIMEOUT));
    assert_launch_with_fairing_fails(
        fairing.pool(pool),
        &format!(":{}: correct the user name and password in the URL", server.port()),
    )
    .await;
    let url_without_database = server.url().strip_suffix("/site").expect("the URL ends with the database").to_owned();
    assert_launch_fails(config(&format!("{url_without_database}/nothing")), "create the database").await;
    assert_launch_fails(config(&url_without_database), "contains no database name").await;
    for migrate in [Migrate::Off, Migrate::Check] {
        assert_launch_fails(config(&server.url()).migrate(migrate), "set `migrate = \"auto\"`").await;
    }
    server
        .run("CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'reader'; GRANT SELECT ON site.* TO reader@'127.0.0.1'")
        .await;
    assert_launch_fails(config(&server.url_for("reader", "reader")), RIGHTS).await;
    create_table(server.url()).await;
    for migrate in [Migrate::Auto, Migrate::Check, Migrate::Off] {
        let config = config(&server.url_for("reader", "reader")).migrate(migrate);
        assert_launch_fails(config, RIGHTS).await;
    }
}

#[rocket::async_test]
async fn a_launch_with_an_unusable_sqlite_file_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory can be created");
    let url = format!("sqlite://{}", directory.path().join("sessions.db").display());
    for migrate in [Migrate::Off, Migrate::Check] {
        assert_launch_fails(config(&url).migrate(migrate), "`migrate = \"auto\"`").await;
    }
    session_rocket::store::open(&session_rocket::store::Options::new(url.as_str()))
        .await
        .expect("the table is created");
    for migrate in [Migrate::Auto, Migrate::Check, Migrate::Off] {
        assert_launch_fails(config(&format!("{url}?mode=ro")).migrate(migrate), "is read-only").await;
    }
}
