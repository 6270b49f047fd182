//! The account example: several devices per user, a password prompt before important changes, and an audit log.

mod api;
mod audit;
mod device;
mod devices;
mod live;
mod login;
mod pages;
mod password;
#[path = "../login/passwords.rs"]
mod passwords;
mod user;
mod users;

use std::sync::Arc;

use rocket::{Build, Rocket, launch};
use session_rocket::{Clock, Config, CrossOriginProtection, Session, SystemClock, Transport};

use audit::Audit;
use user::Account;

#[launch]
fn rocket() -> Rocket<Build> {
    site(SystemClock)
}

/// Builds the site with a clock that tests can move.
fn site(clock: impl Clock) -> Rocket<Build> {
    let audit = Arc::new(Audit::default());
    let log = audit.clone();
    // The sessions are in memory, because the users are.
    let config = Config::new().store("memory:").max_sessions(3);
    let config = config.transport(Transport::CookieOrBearer).new_id_header("X-Session-Id");
    let sessions = Session::<Account>::fairing().config(config).clock(clock).on_event(move |event| log.record(event));
    rocket::build()
        .attach(CrossOriginProtection::new())
        .attach(session_rocket_examples::pages("account"))
        .attach(session_rocket_examples::no_caching())
        .attach(users::fairing())
        .attach(sessions)
        .manage(audit)
        .mount("/", pages::routes())
        .mount("/", login::routes())
        .mount("/", devices::routes())
        .mount("/", password::routes())
        .mount("/", live::routes())
        .mount("/", api::routes())
        .mount("/", audit::routes())
        .register("/", pages::catchers())
        .register("/api", live::catchers())
        .register("/events", live::catchers())
}

#[cfg(test)]
mod browser;
#[cfg(test)]
mod tests;
