//! Runs the app on every store, selected by an environment variable.

use figment::Jail;
use rocket::http::Status;
use rocket::local::blocking::Client;
use session_rocket_tests::report::is_wanted;
use session_rocket_tests::servers::{Memcached, MySql, Postgres, Redis, RedisCluster};

/// Checks that the app works with this `ROCKET_SESSION`.
#[allow(clippy::result_large_err, reason = "the jail requires figment's error")]
fn check(session: &str) {
    Jail::expect_with(|jail| {
        jail.set_env("ROCKET_SESSION", session);
        jail.set_env("ROCKET_LOG_LEVEL", "off");
        let browser = Client::tracked(super::rocket()).expect("cannot launch the app");
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
fn the_app_works_on_stores_without_a_server() {
    for session in [
        "{store=\"memory:\"}",
        "{store=\"sqlite:school.db\"}",
        "{store=\"file:school\"}",
        "{store=\"sqlite:school.db\",cache=\"memory:\"}",
        "{store=\"cookie+encrypted:\"}",
    ] {
        check(session);
    }
}

#[test]
fn the_app_works_on_postgres() {
    if is_wanted("postgres") {
        let server = Postgres::start();
        check(&format!("{{store=\"{}\"}}", server.url()));
    }
}

#[test]
fn the_app_works_on_mysql() {
    if is_wanted("mysql") {
        let server = MySql::start();
        check(&format!("{{store=\"{}\"}}", server.url()));
    }
}

#[test]
fn the_app_works_on_redis() {
    if is_wanted("redis") {
        let server = Redis::start();
        check(&format!("{{store=\"{}\"}}", server.url()));
    }
}

#[test]
fn the_app_works_on_a_redis_cluster() {
    if is_wanted("redis-cluster") {
        let server = RedisCluster::start();
        check(&format!("{{store=\"{}\"}}", server.url()));
    }
}

#[test]
fn the_app_works_on_memcached() {
    if is_wanted("memcached") {
        let server = Memcached::start();
        check(&format!("{{store=\"{}\"}}", server.url()));
    }
}

#[test]
fn the_app_works_on_a_database_with_a_cache() {
    if is_wanted("cached") {
        let (database, cache) = (Postgres::start(), Redis::start());
        check(&format!("{{store=\"{}\",cache=\"{}\"}}", database.url(), cache.url()));
    }
}
