//! A launch on a store that cannot be used ends within the timeout and says what to do, without the password.
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

const TIMEOUT: Duration = Duration::from_secs(4);

/// One launch at a time: there is one log.
static TURN: Mutex<()> = Mutex::const_new(());

/// What no log may show.
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

/// Launches a site that must not start, and looks for `advice` in its log.
async fn refused(config: Config, advice: &str) {
    refused_with(Session::<Visitor>::fairing().config(config), advice).await;
}

async fn refused_with(fairing: SessionFairing<Visitor>, advice: &str) {
    let _turn = TURN.lock().await;
    // Before the first Rocket, which would log by itself; and after, for it sets how much is logged.
    logs::keep();
    let figment = rocket::Config::figment().merge(("log_level", "normal"));
    let rocket = rocket::custom(figment).mount("/", routes![index]).attach(fairing);
    let told = || logs::with(advice).iter().filter(|line| line.contains("cannot be attached")).count();
    let (before, started) = (told(), Instant::now());
    let error = Client::untracked(rocket).await.err().unwrap_or_else(|| panic!("it must not start: {advice}"));
    let took = started.elapsed();
    // Rocket's error is a panic unless somebody looks at it.
    assert!(matches!(error.kind(), ErrorKind::FailedFairings(_)), "{error}");
    logs::keep();
    assert!(took < TIMEOUT + TIMEOUT / 2, "it took {took:?}: {advice}");
    assert!(told() > before, "no advice: {advice}: {:?}", logs::with("cannot be attached"));
    assert!(logs::with(SECRET).is_empty(), "a password was logged");
}

/// A port that takes connections and never answers.
fn silent() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("a bound listener has an address").port();
    (listener, port)
}

/// A host that answers nothing, a port that refuses connections, and an unknown host.
async fn wrong_hosts(scheme: &str, rest: &str) {
    let (_listener, port) = silent();
    let url = |place: &str| format!("{scheme}://site:{SECRET}@{place}{rest}");
    refused(config(&url(&format!("127.0.0.1:{port}"))), "did not answer in time").await;
    // No other program listens on the port, because this socket has it and does not listen.
    let closed = TcpSocket::new_v4().expect("a socket");
    closed.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let port = closed.local_addr().expect("a bound socket has an address").port();
    for place in [format!("127.0.0.1:{port}"), format!("nowhere.invalid:{port}")] {
        refused(config(&url(&place)), &format!("at {place}: is the server running")).await;
    }
}

#[rocket::async_test]
async fn on_postgres() {
    if !is_wanted("postgres") {
        return;
    }
    wrong_hosts("postgres", "/postgres").await;
    let server = Postgres::start();
    refused(config(&server.url_of("site", SECRET)), "the user name or the password is wrong").await;
    let pool = PgPool::connect_lazy(&server.url_of("site", SECRET)).expect("a URL");
    let fairing = Session::<Visitor>::fairing().config(Config::new().timeout(TIMEOUT));
    refused_with(fairing.pool(pool), &format!(":{}: the user name or the password is wrong", server.port())).await;
    refused(config(&server.url().replace("/postgres", "/nothing")), "create the database").await;
    for migrate in [Migrate::Off, Migrate::Check] {
        refused(config(&server.url()).migrate(migrate), "set `migrate = \"auto\"`").await;
    }
    refused(config(&server.url()).table("nothing.sessions"), "create the schema").await;
    server.run("CREATE USER reader PASSWORD 'reader'; GRANT USAGE ON SCHEMA public TO reader").await;
    refused(config(&server.url_of("reader", "reader")), "grant its user SELECT, INSERT, UPDATE and DELETE").await;
    session_rocket::store::open(&session_rocket::store::Options::new(server.url())).await.expect("a table");
    server.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader").await;
    for migrate in [Migrate::Auto, Migrate::Check, Migrate::Off] {
        let config = config(&server.url_of("reader", "reader")).migrate(migrate);
        refused(config, "grant its user SELECT, INSERT, UPDATE and DELETE").await;
    }
    server.run("CREATE USER writer PASSWORD 'writer'; GRANT USAGE ON SCHEMA public TO writer").await;
    server.run("GRANT SELECT, INSERT, UPDATE, DELETE ON rocket_session TO writer").await;
    let writer = session_rocket::store::Options::new(server.url_of("writer", "writer"));
    for migrate in [Migrate::Auto, Migrate::Off] {
        session_rocket::store::open(&writer.clone().migrate(migrate)).await.expect("all the rights that serving takes");
    }
    let check = config(&server.url_of("writer", "writer")).migrate(Migrate::Check);
    refused(check, "SELECT on `rocket_session_migrations`").await;
    server.run("ALTER USER site SET default_transaction_read_only = on").await;
    refused(config(&server.url()).migrate(Migrate::Off), "grant its user SELECT, INSERT, UPDATE and DELETE").await;
}

#[rocket::async_test]
async fn on_mysql() {
    if !is_wanted("mysql") {
        return;
    }
    wrong_hosts("mysql", "/site").await;
    let server = MySql::start();
    refused(config(&server.url_of("site", SECRET)), "the user name or the password is wrong").await;
    let pool = MySqlPool::connect_lazy(&server.url_of("site", SECRET)).expect("a URL");
    let fairing = Session::<Visitor>::fairing().config(Config::new().timeout(TIMEOUT));
    refused_with(fairing.pool(pool), &format!(":{}: the user name or the password is wrong", server.port())).await;
    let without = server.url().strip_suffix("/site").expect("its database").to_owned();
    refused(config(&format!("{without}/nothing")), "create the database").await;
    refused(config(&without), "names no database").await;
    for migrate in [Migrate::Off, Migrate::Check] {
        refused(config(&server.url()).migrate(migrate), "set `migrate = \"auto\"`").await;
    }
    server
        .run("CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'reader'; GRANT SELECT ON site.* TO reader@'127.0.0.1'")
        .await;
    refused(config(&server.url_of("reader", "reader")), "grant its user SELECT, INSERT, UPDATE and DELETE").await;
    session_rocket::store::open(&session_rocket::store::Options::new(server.url())).await.expect("a table");
    for migrate in [Migrate::Auto, Migrate::Check, Migrate::Off] {
        let config = config(&server.url_of("reader", "reader")).migrate(migrate);
        refused(config, "grant its user SELECT, INSERT, UPDATE and DELETE").await;
    }
}

#[rocket::async_test]
async fn on_sqlite() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}", directory.path().join("sessions.db").display());
    for migrate in [Migrate::Off, Migrate::Check] {
        refused(config(&url).migrate(migrate), "`migrate = \"auto\"`").await;
    }
    session_rocket::store::open(&session_rocket::store::Options::new(url.as_str())).await.expect("a table");
    for migrate in [Migrate::Auto, Migrate::Check, Migrate::Off] {
        refused(config(&format!("{url}?mode=ro")).migrate(migrate), "is read-only").await;
    }
}
