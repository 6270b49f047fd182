//! The checkout: three forms. The session keeps their answers until the order is placed.

use rocket::form::{Contextual, Form, FromForm};
use rocket::{Route, get, post, routes};
use rocket_dyn_templates::{Template, context};
use session_rocket::Session;

use crate::cart::Cart;
use crate::fields::{self, FormState, line};
use crate::order::{Address, Checkout, Delivery, Order, Outcome, Step, place_order};
use crate::{Reply, Shopper, page};

pub fn routes() -> Vec<Route> {
    routes![start, address_page, address, delivery_page, delivery, confirm_page, confirm]
}

#[derive(FromForm)]
struct AddressForm {
    #[field(validate = line(80))]
    name: String,
    #[field(validate = line(80))]
    street: String,
    #[field(validate = fields::postcode())]
    postcode: String,
    #[field(validate = line(80))]
    city: String,
}

#[derive(FromForm)]
struct DeliveryForm {
    delivery: Delivery,
}

#[derive(FromForm)]
struct Confirmation {
    /// The total that the page showed, in cents.
    total: u64,
}

/// Redirects to an earlier step that is not done, or to the cart if it is empty.
fn redirect_from(session: &Session<Shopper>, step: Step) -> Option<Reply> {
    if session.with_cart(Cart::is_empty) {
        return Some(Reply::redirect("/cart/"));
    }
    let next = session.with_checkout(Checkout::next);
    (step > next).then(|| Reply::redirect(next.path()))
}

#[get("/")]
fn start(session: Session<Shopper>) -> Reply {
    let next = session.with_checkout(Checkout::next);
    redirect_from(&session, next).unwrap_or_else(|| Reply::redirect(next.path()))
}

#[get("/address")]
fn address_page(session: Session<Shopper>) -> Reply {
    if let Some(redirect) = redirect_from(&session, Step::Address) {
        return redirect;
    }
    let form = session.with_checkout(|checkout| match &checkout.address {
        Some(Address { name, street, postcode, city }) => {
            FormState::valid([("name", name), ("street", street), ("postcode", postcode), ("city", city)])
        }
        // The name of a logged-in customer is a good default.
        None => FormState::valid([("name", session.customer().as_deref().unwrap_or_default())]),
    });
    Reply::Page(page(&session, "address", form))
}

#[post("/address", data = "<form>")]
fn address(session: Session<Shopper>, form: Form<Contextual<'_, AddressForm>>) -> Reply {
    if let Some(redirect) = redirect_from(&session, Step::Address) {
        return redirect;
    }
    let Contextual { value, context } = form.into_inner();
    let Some(AddressForm { name, street, postcode, city }) = value else {
        return Reply::Invalid(page(&session, "address", FormState::posted(&context)));
    };
    let [name, street, postcode, city] = [name, street, postcode, city].map(|text| text.trim().to_owned());
    session.update_checkout(move |checkout| checkout.address = Some(Address { name, street, postcode, city }));
    Reply::redirect(Step::Delivery.path())
}

#[get("/delivery")]
fn delivery_page(session: Session<Shopper>) -> Reply {
    if let Some(redirect) = redirect_from(&session, Step::Delivery) {
        return redirect;
    }
    let chosen = session.with_checkout(|checkout| checkout.delivery).map_or("", Delivery::slug);
    Reply::Page(delivery_options(&session, FormState::valid([("delivery", chosen)])))
}

#[post("/delivery", data = "<form>")]
fn delivery(session: Session<Shopper>, form: Form<Contextual<'_, DeliveryForm>>) -> Reply {
    if let Some(redirect) = redirect_from(&session, Step::Delivery) {
        return redirect;
    }
    let Contextual { value, context } = form.into_inner();
    let Some(DeliveryForm { delivery }) = value else {
        return Reply::Invalid(delivery_options(&session, FormState::posted(&context)));
    };
    session.update_checkout(move |checkout| checkout.delivery = Some(delivery));
    Reply::redirect(Step::Confirm.path())
}

fn delivery_options(session: &Session<Shopper>, form: FormState) -> Template {
    let currency = session.currency();
    let options = Delivery::ALL.map(|option| {
        let price = currency.show(option.price().cents(currency));
        context! { slug: option.slug(), name: option.name(), price }
    });
    page(session, "delivery", context! { options, form })
}

#[get("/confirm")]
fn confirm_page(session: Session<Shopper>) -> Reply {
    if let Some(redirect) = redirect_from(&session, Step::Confirm) {
        return redirect;
    }
    let summary = Order::draft(&session.get()).map(Order::summary);
    Reply::Page(page(&session, "confirm", summary))
}

#[post("/confirm", data = "<form>")]
fn confirm(session: Session<Shopper>, form: Form<Confirmation>) -> Reply {
    match place_order(&session, form.total) {
        Outcome::Placed => Reply::redirect("/order/"),
        Outcome::TotalChanged => {
            session.set_notice("Your cart has changed. Please check it again.");
            Reply::redirect(Step::Confirm.path())
        }
        // The button was pressed twice.
        Outcome::NothingToOrder if session.has_order() && session.with_cart(Cart::is_empty) => {
            Reply::redirect("/order/")
        }
        Outcome::NothingToOrder => Reply::redirect("/checkout/"),
    }
}
