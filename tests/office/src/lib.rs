//! A site whose session type has the same name as that of the program `site`, but belongs to another package.

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

/// Builds the site with default settings and its sessions in `store`.
pub fn rocket(store: String) -> Rocket<Build> {
    let fairing = Session::<Hot>::fairing().config(Config::new().store(store));
    rocket::build().attach(fairing).mount("/", routes![login, whoami])
}
