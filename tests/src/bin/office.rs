//! The site of the package `session-rocket-tests-office` in a process of its own.
//!
//! Configured by `SITE_STORE`; prints its port when it is ready.

use rocket::fairing::AdHoc;
use rocket::launch;

#[launch]
fn rocket() -> _ {
    let store = std::env::var("SITE_STORE").expect("the test sets where sessions are kept");
    session_rocket_tests_office::rocket(store)
        .attach(AdHoc::on_liftoff("port", |rocket| Box::pin(async move { println!("port {}", rocket.config().port) })))
}
