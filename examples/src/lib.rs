//! What the example applications share: pages from templates, in one layout.

use std::path::Path;

use rocket::fairing::AdHoc;
use rocket::http::Header;
use rocket_dyn_templates::minijinja::AutoEscape;
use rocket_dyn_templates::{Engines, Template};

/// The layout that the pages of all examples extend.
const LAYOUT: (&str, &str) = ("base", include_str!("../page/base.html.j2"));

/// Renders the templates in `examples/<app>/templates`, from whichever directory the example is started.
///
/// A `template_dir` that is configured wins.
pub fn pages(app: &'static str) -> AdHoc {
    AdHoc::on_ignite("Pages", move |rocket| async move {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(app).join("templates");
        let figment = rocket.figment().clone().join(("template_dir", directory));
        rocket.configure(figment).attach(Template::try_custom(|engines| Ok(prepare(engines)?)))
    })
}

fn prepare(engines: &mut Engines) -> Result<(), rocket_dyn_templates::minijinja::Error> {
    // Rocket's rule goes by file names, and the layout has none. Everything here is a page: escape it all.
    engines.minijinja.set_auto_escape_callback(|_| AutoEscape::Html);
    engines.minijinja.add_template(LAYOUT.0, LAYOUT.1)
}

/// For sites whose every page is made for one visitor: after the logout, the browser's back button must not show it again.
pub fn nothing_is_cached() -> AdHoc {
    AdHoc::on_response("Nothing is cached", |_, response| {
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
    fn pages_have_the_layout_and_escape_what_they_show() {
        let figment = rocket::Config::figment().merge(("log_level", "off"));
        let client = Client::tracked(rocket::custom(figment).attach(pages("methods"))).unwrap();
        let script = "<script>alert('me')</script>";
        let page = Template::show(client.rocket(), "show_session", context! { username: script }).unwrap();
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
        assert!(page.contains("<!doctype html>") && page.contains("</main>"), "no layout: {page}");
    }
}
