//! What the examples share: templates from the examples' own directories, and the layout `page/base`.

use rocket::fairing::AdHoc;
use rocket::form::{self, DataField, FromForm, Options, ValueField};
use rocket::http::Header;
use rocket_dyn_templates::Template;

/// Renders the templates in `examples/`, wherever the program was started: `login/dashboard` is
/// `examples/login/dashboard.html.j2`.
pub fn pages() -> AdHoc {
    AdHoc::on_ignite("Pages", |rocket| async {
        let figment = rocket.figment().clone().merge(("template_dir", env!("CARGO_MANIFEST_DIR")));
        rocket.configure(figment).attach(Template::fairing())
    })
}

/// For sites whose every page is made for one visitor: after the logout, the browser's back button must not show it again.
pub fn nothing_is_cached() -> AdHoc {
    AdHoc::on_response("Nothing is cached", |_, response| {
        Box::pin(async move {
            response.set_header(Header::new("Cache-Control", "no-store"));
        })
    })
}

/// A form that is only a button: what it posts, but for its token, does not matter.
pub struct Button;

#[rocket::async_trait]
impl<'v> FromForm<'v> for Button {
    type Context = ();

    fn init(_: Options) {}

    fn push_value((): &mut (), _: ValueField<'v>) {}

    async fn push_data((): &mut (), _: DataField<'v, '_>) {}

    fn finalize((): ()) -> form::Result<'v, Self> {
        Ok(Self)
    }
}
