//! An event stream that ends at the logout, and JSON errors for scripts.

use rocket::http::Status;
use rocket::response::content::RawJson;
use rocket::response::stream::{Event, EventStream};
use rocket::{Catcher, Request, Route, Shutdown, catch, catchers, get, routes};
use serde_json::json;
use session_rocket::CurrentUser;

use crate::users::User;

pub fn routes() -> Vec<Route> {
    routes![events]
}

pub fn catchers() -> Vec<Catcher> {
    catchers![failure]
}

/// Sends the event `ended` when the session ends, even if another device or process ends it.
#[get("/events")]
fn events(user: CurrentUser<User>, shutdown: Shutdown) -> EventStream![] {
    EventStream! {
        let has_ended = rocket::tokio::select! {
            () = user.session().ended() => true,
            () = shutdown => false,
        };
        if has_ended {
            yield Event::data("").event("ended");
        }
    }
}

/// Scripts get this JSON instead of a redirect to the login page.
#[catch(default)]
fn failure(status: Status, _: &Request<'_>) -> RawJson<String> {
    RawJson(json!({ "error": status.reason_lossy() }).to_string())
}
