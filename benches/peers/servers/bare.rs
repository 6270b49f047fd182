//! Rocket without sessions, to measure what Rocket itself costs: `bare PORT`.

#[path = "../allocator.rs"]
mod allocator;

use rocket::{Config, get, launch, routes};

#[get("/plain")]
fn plain() -> &'static str {
    "hello"
}

#[get("/get")]
fn get() -> &'static str {
    "1"
}

#[get("/count")]
fn count() -> &'static str {
    "1"
}

#[launch]
fn rocket() -> _ {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("usage: bare PORT");
    rocket::custom(Config::figment().merge(("port", port))).mount("/", routes![plain, get, count])
}
