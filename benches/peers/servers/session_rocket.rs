//! The site on this library: `session-rocket PORT STORE`. STORE is a URL as in `Rocket.toml`.

#[path = "../allocator.rs"]
mod allocator;
#[path = "../barrier.rs"]
mod barrier;

use std::env;

use rocket::{get, launch, routes};
use session_rocket::{Config, Session};

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[derive(Session)]
struct Visits {
    num_visits: u32,
}

#[get("/plain")]
fn plain() -> &'static str {
    "hello"
}

#[get("/get")]
fn get(session: Session<Visits>) -> String {
    session.num_visits().to_string()
}

#[get("/count")]
fn count(session: Session<Visits>) -> String {
    let number = session.update_num_visits(|visits| {
        *visits += 1;
        *visits
    });
    number.to_string()
}

#[get("/logout")]
fn logout(session: Session<Visits>) {
    session.flush();
}

#[get("/slow/<port>")]
async fn slow(session: Session<Visits>, port: u16) -> String {
    let number = session.num_visits() + 1;
    barrier::wait(port).await;
    session.set_num_visits(number);
    number.to_string()
}

#[launch]
fn rocket() -> _ {
    let args: Vec<String> = env::args().skip(1).collect();
    let [port, store] = args.as_slice() else { panic!("usage: session-rocket PORT STORE") };
    let port: u16 = port.parse().expect("PORT must be a number");
    // Enough for the measurement of memory.
    let mut sessions = Config::new().store(store).capacity(2_000_000);
    if store.starts_with("postgres") || store.starts_with("sqlite") {
        sessions = sessions.max_connections(8);
    }
    if store.starts_with("cookie") {
        sessions = sessions.secret_keys([SECRET]);
    }
    rocket::custom(rocket::Config::figment().merge(("port", port)))
        .attach(Session::<Visits>::fairing().config(sessions))
        .mount("/", routes![plain, get, count, logout, slow])
}
