//! The checkout: three forms, whose answers wait in the session until the last is given.

use rocket::form::{Contextual, FromForm};
use rocket::{Route, get, post, routes};
use rocket_dyn_templates::{Template, context};
use session_rocket::{CsrfForm, Session};

use crate::cart::Cart;
use crate::fields::{self, Shown, line};
use crate::order::{Address, Checkout, Delivery, Order, Placed, Step, place};
use crate::{Answer, Shopper, page};

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

/// Where a visitor has to go instead: nobody skips a step, or checks out with nothing.
fn detour(session: &Session<Shopper>, step: Step) -> Option<Answer> {
    if session.with_cart(Cart::is_empty) {
        return Some(Answer::go_to("/cart/"));
    }
    let next = session.with_checkout(Checkout::next);
    (step > next).then(|| Answer::go_to(next.path()))
}

#[get("/")]
fn start(session: Session<Shopper>) -> Answer {
    let next = session.with_checkout(Checkout::next);
    detour(&session, next).unwrap_or_else(|| Answer::go_to(next.path()))
}

#[get("/address")]
fn address_page(session: Session<Shopper>) -> Answer {
    if let Some(elsewhere) = detour(&session, Step::Address) {
        return elsewhere;
    }
    let shown = session.with_checkout(|checkout| match &checkout.address {
        Some(Address { name, street, postcode, city }) => {
            Shown::known([("name", name), ("street", street), ("postcode", postcode), ("city", city)])
        }
        // The name of a customer who is logged in is a good guess.
        None => Shown::known([("name", session.customer().as_deref().unwrap_or_default())]),
    });
    Answer::Page(page(&session, "address", shown))
}

#[post("/address", data = "<form>")]
fn address(session: Session<Shopper>, form: CsrfForm<Shopper, Contextual<'_, AddressForm>>) -> Answer {
    if let Some(elsewhere) = detour(&session, Step::Address) {
        return elsewhere;
    }
    let Contextual { value, context } = form.into_inner();
    let Some(AddressForm { name, street, postcode, city }) = value else {
        return Answer::Again(page(&session, "address", Shown::posted(&context)));
    };
    let [name, street, postcode, city] = [name, street, postcode, city].map(|text| text.trim().to_owned());
    session.update_checkout(move |checkout| checkout.address = Some(Address { name, street, postcode, city }));
    Answer::go_to(Step::Delivery.path())
}

#[get("/delivery")]
fn delivery_page(session: Session<Shopper>) -> Answer {
    if let Some(elsewhere) = detour(&session, Step::Delivery) {
        return elsewhere;
    }
    let chosen = session.with_checkout(|checkout| checkout.delivery).map_or("", Delivery::slug);
    Answer::Page(choice(&session, Shown::known([("delivery", chosen)])))
}

#[post("/delivery", data = "<form>")]
fn delivery(session: Session<Shopper>, form: CsrfForm<Shopper, Contextual<'_, DeliveryForm>>) -> Answer {
    if let Some(elsewhere) = detour(&session, Step::Delivery) {
        return elsewhere;
    }
    let Contextual { value, context } = form.into_inner();
    let Some(DeliveryForm { delivery }) = value else {
        return Answer::Again(choice(&session, Shown::posted(&context)));
    };
    session.update_checkout(move |checkout| checkout.delivery = Some(delivery));
    Answer::go_to(Step::Confirm.path())
}

fn choice(session: &Session<Shopper>, shown: Shown) -> Template {
    let currency = session.currency();
    let ways = Delivery::ALL.map(|way| {
        let price = currency.show(way.price().cents(currency));
        context! { slug: way.slug(), name: way.name(), price }
    });
    page(session, "delivery", context! { ways, shown })
}

#[get("/confirm")]
fn confirm_page(session: Session<Shopper>) -> Answer {
    if let Some(elsewhere) = detour(&session, Step::Confirm) {
        return elsewhere;
    }
    let summary = Order::draft(&session.get()).map(Order::summary);
    Answer::Page(page(&session, "confirm", summary))
}

#[post("/confirm", data = "<form>")]
fn confirm(session: Session<Shopper>, form: CsrfForm<Shopper, Confirmation>) -> Answer {
    match place(&session, form.total) {
        Placed::Done => Answer::go_to("/order/"),
        Placed::Changed => {
            session.set_notice("Your cart has changed meanwhile. Please look at it once more.");
            Answer::go_to(Step::Confirm.path())
        }
        // The button was pressed twice: the order stands.
        Placed::Nothing if session.has_order() && session.with_cart(Cart::is_empty) => Answer::go_to("/order/"),
        Placed::Nothing => Answer::go_to("/checkout/"),
    }
}
