//! A site of another package than the program `site`, with a session type of the same name.

use rocket::{Build, Rocket, get, routes};
use session_rocket::{Config, Session};

#[derive(Session)]
struct Hot {
    #[session(identity)]
    user_id: Option<String>,
}

#[get("/login/<user>")]
fn login(session: Session<Hot>, user: &str) {
    session.set_user_id(user);
}

#[get("/whoami")]
fn whoami(session: Session<Hot>) -> String {
    session.user_id().unwrap_or_else(|| "nobody".to_owned())
}

/// The site, with its sessions in `store` and default settings.
pub fn rocket(store: String) -> Rocket<Build> {
    let fairing = Session::<Hot>::fairing().config(Config::new().store(store));
    rocket::build().attach(fairing).mount("/", routes![login, whoami])
}
