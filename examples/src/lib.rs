//! Code that the examples share: pages from templates with one layout.

use std::path::Path;

use rocket::fairing::AdHoc;
use rocket::http::Header;
use rocket_dyn_templates::minijinja::AutoEscape;
use rocket_dyn_templates::{Engines, Template};

const LAYOUT: (&str, &str) = ("base", include_str!("../page/base.html.j2"));

/// Renders the templates in `examples/<app>/templates`, whatever the current directory is.
///
/// A configured `template_dir` overrides that folder.
pub fn pages(app: &'static str) -> AdHoc {
    AdHoc::on_ignite("Pages", move |rocket| async move {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(app).join("templates");
        let figment = rocket.figment().clone().join(("template_dir", directory));
        rocket.configure(figment).attach(Template::try_custom(|engines| Ok(prepare(engines)?)))
    })
}

fn prepare(engines: &mut Engines) -> Result<(), rocket_dyn_templates::minijinja::Error> {
    // Rocket escapes by file name, but the layout has no file name. All templates here are pages, so escape everything.
    engines.minijinja.set_auto_escape_callback(|_| AutoEscape::Html);
    engines.minijinja.add_template(LAYOUT.0, LAYOUT.1)
}

/// Disables caching, so that the browser's back button shows no page of a user after the logout.
pub fn no_caching() -> AdHoc {
    AdHoc::on_response("No caching", |_, response| {
        Box::pin(async move {
            response.set_header(Header::new("Cache-Control", "no-store"));
        })
    })
}

#[cfg(test)]
mod tests {
    use rocket::local::blocking::Client;
    use rocket_dyn_templates::context;

    use super::*;

    #[test]
    fn pages_have_the_layout_and_escape_values() {
        let figment = rocket::Config::figment().merge(("log_level", "off"));
        let client = Client::tracked(rocket::custom(figment).attach(pages("methods"))).unwrap();
        let script = "<script>alert('me')</script>";
        let page = Template::show(client.rocket(), "show_session", context! { username: script }).unwrap();
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
        assert!(page.contains("<!doctype html>") && page.contains("</main>"), "missing layout: {page}");
    }
}
