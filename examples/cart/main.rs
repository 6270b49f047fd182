//! The cart example: what a shop remembers about visitors who may never log in.

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
use session_rocket::Session;

use cart::Cart;
use catalogue::Currency;
use order::{Checkout, Order};
use visitor::Theme;

/// What the shop remembers about a visitor.
#[derive(Session)]
struct Shopper {
    /// Who is logged in. A visitor who logs in keeps the cart; for another customer the session is emptied first.
    #[session(identity)]
    customer: Option<String>,
    /// What is in the cart.
    cart: Cart,
    /// How the pages look.
    theme: Theme,
    /// Which prices count.
    currency: Currency,
    /// How far the checkout has come.
    checkout: Checkout,
    /// The last order, until the session ends.
    order: Option<Order>,
    /// How often this visitor has ordered.
    orders: u32,
    /// What the next page tells, once.
    notice: Option<String>,
}

/// What a route answers.
#[derive(Responder)]
enum Answer {
    Page(Template),
    /// The page of a form once more, with what is wrong in it.
    #[response(status = 422)]
    Again(Template),
    GoTo(Redirect),
}

impl Answer {
    fn go_to(path: &'static str) -> Self {
        Self::GoTo(Redirect::to(path))
    }
}

/// A page of the shop: the layout's own needs, and what this page shows.
fn page(session: &Session<Shopper>, template: &'static str, page: impl Serialize) -> Template {
    let context = context! {
        theme: session.theme(),
        customer: session.customer(),
        count: session.with_cart(Cart::count),
        notice: session.delete_notice(),
        csrf_token: session.csrf_token(),
        page,
    };
    Template::render(template, context)
}

/// Whatever went wrong. A 403 is a form without a valid token: most often one that was open while its visitor logged in
/// or out in another tab.
#[catch(default)]
fn problem(status: Status, _: &Request<'_>) -> Template {
    let reason = status.reason_lossy();
    Template::render("problem", context! { code: status.code, reason, forged: status == Status::Forbidden })
}

#[launch]
fn rocket() -> Rocket<Build> {
    rocket::build()
        .attach(session_rocket_examples::pages("cart"))
        .attach(session_rocket_examples::nothing_is_cached())
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
