//! The same app on every back-end: one environment variable apart.

use figment::Jail;
use rocket::http::Status;
use rocket::local::blocking::Client;
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::{Memcached, MySql, Postgres, Redis, RedisCluster};

/// Runs the app with `ROCKET_SESSION` set, and nothing else.
#[allow(clippy::result_large_err, reason = "figment's error, which the jail asks for")]
fn serves(session: &str) {
    Jail::expect_with(|jail| {
        jail.set_env("ROCKET_SESSION", session);
        jail.set_env("ROCKET_LOG_LEVEL", "off");
        let browser = Client::tracked(super::rocket()).expect("the app starts");
        let get = |path: &'static str| {
            let response = browser.get(path).dispatch();
            (response.status(), response.into_string().unwrap_or_default())
        };
        assert_eq!(get("/student/ssession"), (Status::Ok, "session is set".into()), "{session}");
        assert_eq!(get("/student/gsession"), (Status::Ok, "rajat rajat@example.com".into()), "{session}");
        assert_eq!(get("/student/gsession").0, Status::NotFound, "{session}");
        Ok(())
    });
}

#[test]
fn without_a_server() {
    for session in [
        "{store=\"memory:\"}",
        "{store=\"sqlite:school.db\"}",
        "{store=\"file:school\"}",
        "{store=\"sqlite:school.db\",cache=\"memory:\"}",
        "{store=\"cookie+encrypted:\"}",
    ] {
        serves(session);
    }
}

#[test]
fn on_postgres() {
    if is_wanted("postgres") {
        let server = Postgres::start();
        serves(&format!("{{store=\"{}\"}}", server.url()));
    }
}

#[test]
fn on_mysql() {
    if is_wanted("mysql") {
        let server = MySql::start();
        serves(&format!("{{store=\"{}\"}}", server.url()));
    }
}

#[test]
fn on_redis() {
    if is_wanted("redis") {
        let server = Redis::start();
        serves(&format!("{{store=\"{}\"}}", server.url()));
    }
}

#[test]
fn on_a_redis_cluster() {
    if is_wanted("redis-cluster") {
        let server = RedisCluster::start();
        serves(&format!("{{store=\"{}\"}}", server.url()));
    }
}

#[test]
fn on_memcached() {
    if is_wanted("memcached") {
        let server = Memcached::start();
        serves(&format!("{{store=\"{}\"}}", server.url()));
    }
}

#[test]
fn on_a_database_behind_a_cache() {
    if is_wanted("cached") {
        let (database, cache) = (Postgres::start(), Redis::start());
        serves(&format!("{{store=\"{}\",cache=\"{}\"}}", database.url(), cache.url()));
    }
}
