//! The cart example: a shop whose visitors may order without a login.

mod cart;
mod catalogue;
mod checkout;
mod fields;
mod order;
mod shop;
mod visitor;

use rocket::http::Status;
use rocket::response::{Redirect, Responder};
use rocket::{Build, Request, Rocket, catch, catchers, launch};
use rocket_dyn_templates::{Template, context};
use serde::Serialize;
use session_rocket::{CrossOriginProtection, Session};

use cart::Cart;
use catalogue::Currency;
use order::{Checkout, Order};
use visitor::Theme;

/// What the shop remembers about a visitor.
#[derive(Session)]
struct Shopper {
    /// The logged-in customer. An anonymous visitor who logs in keeps the cart; a login of another customer empties the
    /// session first.
    #[session(identity)]
    customer: Option<String>,
    cart: Cart,
    theme: Theme,
    currency: Currency,
    checkout: Checkout,
    /// The last order, until the session ends.
    order: Option<Order>,
    /// The number of orders in this session.
    orders: u32,
    /// A message for the next page.
    notice: Option<String>,
}

#[derive(Responder)]
enum Reply {
    Page(Template),
    /// The form with its errors.
    #[response(status = 422)]
    Invalid(Template),
    Redirect(Redirect),
}

impl Reply {
    fn redirect(path: &'static str) -> Self {
        Self::Redirect(Redirect::to(path))
    }
}

/// Renders a template with the values of the layout, and its own values in `page`.
fn page(session: &Session<Shopper>, template: &'static str, page: impl Serialize) -> Template {
    let context = context! {
        theme: session.theme(),
        customer: session.customer(),
        count: session.with_cart(Cart::count),
        notice: session.delete_notice(),
        page,
    };
    Template::render(template, context)
}

#[catch(default)]
fn problem(status: Status, _: &Request<'_>) -> Template {
    let reason = status.reason_lossy();
    Template::render("problem", context! { code: status.code, reason })
}

#[launch]
fn rocket() -> Rocket<Build> {
    rocket::build()
        .attach(CrossOriginProtection::new())
        .attach(session_rocket_examples::pages("cart"))
        .attach(session_rocket_examples::no_caching())
        .attach(Session::<Shopper>::fairing())
        .mount("/", shop::routes())
        .mount("/", visitor::routes())
        .mount("/checkout", checkout::routes())
        .register("/", catchers![problem])
}

#[cfg(test)]
mod browser;
#[cfg(test)]
mod tests;
