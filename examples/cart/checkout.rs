//! The checkout: three forms, whose answers wait in the session until the last is given.

use rocket::form::{Contextual, FromForm};
use rocket::http::Status;
use rocket::response::Redirect;
use rocket::{Route, get, post, routes};
use rocket_dyn_templates::{Template, context};
use session_rocket::{CsrfForm, Session};

use crate::fields::{self, Shown, line};
use crate::order::{Address, Delivery, Order, Placed, Step, place};
use crate::{Shopper, page};

pub fn routes() -> Vec<Route> {
    routes![start, address_page, address, delivery_page, delivery, confirm_page, confirm]
}

/// A page, or the way to the step that comes first.
type Answer = Result<(Status, Template), Redirect>;

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

/// Lets nobody skip a step, or check out with nothing.
fn reach(session: &Session<Shopper>, step: Step) -> Result<(), Redirect> {
    if session.with_cart(|cart| cart.is_empty()) {
        return Err(Redirect::to("/cart/"));
    }
    let next = session.with_checkout(|checkout| checkout.next());
    if step <= next { Ok(()) } else { Err(Redirect::to(next.path())) }
}

#[get("/")]
fn start(session: Session<Shopper>) -> Redirect {
    let next = session.with_checkout(|checkout| checkout.next());
    reach(&session, next).map_or_else(|elsewhere| elsewhere, |()| Redirect::to(next.path()))
}

#[get("/address")]
fn address_page(session: Session<Shopper>) -> Answer {
    reach(&session, Step::Address)?;
    let shown = session.with_checkout(|checkout| match &checkout.address {
        Some(Address { name, street, postcode, city }) => {
            Shown::known([("name", name), ("street", street), ("postcode", postcode), ("city", city)])
        }
        // The name of a customer who is logged in is a good guess.
        None => Shown::known([("name", session.customer().as_deref().unwrap_or_default())]),
    });
    Ok((Status::Ok, page(&session, "cart/address", shown)))
}

#[post("/address", data = "<form>")]
fn address(session: Session<Shopper>, form: CsrfForm<Shopper, Contextual<'_, AddressForm>>) -> Answer {
    reach(&session, Step::Address)?;
    let Contextual { value, context } = form.into_inner();
    let Some(AddressForm { name, street, postcode, city }) = value else {
        return Ok((Status::UnprocessableEntity, page(&session, "cart/address", Shown::posted(&context))));
    };
    let [name, street, postcode, city] = [name, street, postcode, city].map(|text| text.trim().to_owned());
    session.update_checkout(move |checkout| checkout.address = Some(Address { name, street, postcode, city }));
    Err(Redirect::to(Step::Delivery.path()))
}

#[get("/delivery")]
fn delivery_page(session: Session<Shopper>) -> Answer {
    reach(&session, Step::Delivery)?;
    let chosen = session.with_checkout(|checkout| checkout.delivery).map_or("", Delivery::slug);
    Ok((Status::Ok, choice(&session, Shown::known([("delivery", chosen)]))))
}

#[post("/delivery", data = "<form>")]
fn delivery(session: Session<Shopper>, form: CsrfForm<Shopper, Contextual<'_, DeliveryForm>>) -> Answer {
    reach(&session, Step::Delivery)?;
    let Contextual { value, context } = form.into_inner();
    let Some(DeliveryForm { delivery }) = value else {
        return Ok((Status::UnprocessableEntity, choice(&session, Shown::posted(&context))));
    };
    session.update_checkout(move |checkout| checkout.delivery = Some(delivery));
    Err(Redirect::to(Step::Confirm.path()))
}

fn choice(session: &Session<Shopper>, shown: Shown) -> Template {
    let currency = session.currency();
    let ways = Delivery::ALL.map(|way| {
        let price = currency.show(way.price().cents(currency));
        context! { slug: way.slug(), name: way.name(), price }
    });
    page(session, "cart/delivery", context! { ways, shown })
}

#[get("/confirm")]
fn confirm_page(session: Session<Shopper>) -> Answer {
    reach(&session, Step::Confirm)?;
    let summary = Order::draft(&session.get()).map(Order::summary);
    Ok((Status::Ok, page(&session, "cart/confirm", summary)))
}

#[post("/confirm", data = "<form>")]
fn confirm(session: Session<Shopper>, form: CsrfForm<Shopper, Confirmation>) -> Redirect {
    match place(&session, form.total) {
        Placed::Done => Redirect::to("/order/"),
        Placed::Changed => {
            session.set_notice("Your cart has changed meanwhile. Please look at it once more.");
            Redirect::to(Step::Confirm.path())
        }
        // The button was pressed twice: the order stands.
        Placed::Nothing if session.has_order() && session.with_cart(|cart| cart.is_empty()) => Redirect::to("/order/"),
        Placed::Nothing => Redirect::to("/checkout/"),
    }
}
