//! The visits example: a counter, a check that the browser accepts cookies, and two ways for a session to expire.

use rocket::figment::Figment;
use rocket::figment::providers::{Format, Toml};
use rocket::response::content::RawHtml;
use rocket::{get, launch, routes};
use rocket_dyn_templates::{Template, context};
use session_rocket::{CrossOriginProtection, Session};
use session_rocket_examples::pages;

/// A site with SQLite serves 1.1 to 1.3 times as many requests with mimalloc as with glibc's allocator
/// (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the site remembers about a visitor.
#[derive(Session)]
struct Visitor {
    num_visits: u32,
}

#[get("/")]
fn index(session: Session<Visitor>) -> String {
    session.set_test_cookie();
    let visits = session.update_num_visits(|visits| {
        *visits += 1;
        *visits
    });
    format!("Visit count: {visits}")
}

#[get("/about")]
fn about(session: Session<Visitor>) -> RawHtml<String> {
    let message = if session.test_cookie_worked() {
        session.delete_test_cookie();
        "Cookie Tested!"
    } else {
        "Cookie not set or not supported"
    };
    RawHtml(format!("About page<br>{message}<br>Current visit count: {}", session.num_visits()))
}

#[get("/reset")]
fn reset(session: Session<Visitor>) -> &'static str {
    session.delete_num_visits();
    "Visit count has been reset to 0"
}

/// The start page. It does not change the session.
#[get("/start")]
fn start(session: Session<Visitor>) -> Template {
    Template::render(
        "start",
        context! {
            num_visits: session.num_visits(),
            minutes: session.expiry_age().as_secs() / 60,
            browser_close: session.expires_at_browser_close(),
        },
    )
}

/// Rocket's configuration, which overrides the profiles in this example's `Rocket.toml`.
fn figment() -> Figment {
    let profiles = Toml::file(concat!(env!("CARGO_MANIFEST_DIR"), "/visits/Rocket.toml"));
    rocket::Config::figment().join(profiles.nested())
}

#[launch]
fn rocket() -> _ {
    rocket::custom(figment())
        .attach(CrossOriginProtection::new())
        .attach(pages("visits"))
        .attach(Session::<Visitor>::fairing())
        .mount("/", routes![index, about, reset, start])
}

#[cfg(test)]
mod browser;
#[cfg(test)]
mod tests;
