//! Guesses the name of a visitor's device from the header `User-Agent`.

use std::convert::Infallible;

use rocket::request::{FromRequest, Outcome, Request};

/// A device's name, such as `Firefox on Windows`.
#[derive(Debug, PartialEq, Eq)]
pub struct Device(pub String);

impl Device {
    pub fn from_user_agent(agent: &str) -> Self {
        // Browsers also name the browsers that they are compatible with, so the order matters.
        let browsers = [
            ("Edg/", "Edge"),
            ("OPR/", "Opera"),
            ("Firefox/", "Firefox"),
            ("Chrome/", "Chrome"),
            ("Safari/", "Safari"),
            ("curl/", "curl"),
        ];
        let systems = [
            ("Android", "Android"),
            ("iPhone", "iPhone"),
            ("iPad", "iPad"),
            ("Windows", "Windows"),
            ("Mac OS", "macOS"),
            ("Linux", "Linux"),
        ];
        let find = |names: [(&str, &'static str); 6]| {
            names.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name)
        };
        Self(match (find(browsers), find(systems)) {
            (Some(browser), Some(system)) => format!("{browser} on {system}"),
            (Some(name), None) | (None, Some(name)) => name.to_owned(),
            (None, None) => "Unknown device".to_owned(),
        })
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Device {
    type Error = Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Infallible> {
        let agent = request.headers().get_one("User-Agent").unwrap_or_default();
        Outcome::Success(Self::from_user_agent(agent))
    }
}
