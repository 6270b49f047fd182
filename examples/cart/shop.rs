//! The catalogue, the cart and the last order.

use rocket::form::{Contextual, Form, FromForm};
use rocket::response::Redirect;
use rocket::{Route, get, post, routes};
use rocket_dyn_templates::{Template, context};
use session_rocket::Session;

use crate::cart::MAX_QUANTITY;
use crate::catalogue::{ARTICLES, Article};
use crate::{Reply, Shopper, page};

pub fn routes() -> Vec<Route> {
    routes![catalogue, cart, add, change, remove, order]
}

/// The form that adds an article or changes its quantity.
#[derive(FromForm)]
struct QuantityForm {
    article: Article,
    #[field(validate = with(|number| (1..=MAX_QUANTITY).contains(number), "out of range"))]
    quantity: u32,
}

#[derive(FromForm)]
struct RemovalForm {
    article: Article,
}

/// The article and the invalid quantity that was entered for it.
type InvalidQuantity<'a> = Option<(&'a str, &'a str)>;

#[get("/")]
fn catalogue(session: Session<Shopper>) -> Template {
    catalogue_page(&session, None)
}

fn catalogue_page(session: &Session<Shopper>, invalid: InvalidQuantity<'_>) -> Template {
    let currency = session.currency();
    let articles = ARTICLES.map(|Article { slug, name, price }| {
        context! { slug, name, price: currency.show(price.cents(currency)) }
    });
    page(session, "catalogue", context! { articles, invalid, max: MAX_QUANTITY })
}

#[get("/cart")]
fn cart(session: Session<Shopper>) -> Template {
    cart_page(&session, None)
}

fn cart_page(session: &Session<Shopper>, invalid: InvalidQuantity<'_>) -> Template {
    let currency = session.currency();
    let (lines, total) = session.with_cart(|cart| (cart.lines(currency), cart.total(currency)));
    page(session, "cart", context! { lines, total: currency.show(total), invalid, max: MAX_QUANTITY })
}

#[post("/cart/add", data = "<form>")]
fn add(session: Session<Shopper>, form: Form<Contextual<'_, QuantityForm>>) -> Reply {
    let Some(QuantityForm { article, quantity }) = form.value else {
        return Reply::Invalid(catalogue_page(&session, invalid_quantity(&form)));
    };
    // Reading and then setting the cart would lose an article that another tab adds at the same time.
    let quantity = session.update_cart(move |cart| cart.add(article, quantity));
    session.set_notice(match quantity {
        MAX_QUANTITY => format!("Your cart has {MAX_QUANTITY} × {}, the maximum.", article.name),
        _ => format!("Your cart has {quantity} × {}.", article.name),
    });
    Reply::redirect("/")
}

#[post("/cart/change", data = "<form>")]
fn change(session: Session<Shopper>, form: Form<Contextual<'_, QuantityForm>>) -> Reply {
    let Some(QuantityForm { article, quantity }) = form.value else {
        return Reply::Invalid(cart_page(&session, invalid_quantity(&form)));
    };
    session.update_cart(move |cart| cart.change(article, quantity));
    Reply::redirect("/cart/")
}

#[post("/cart/remove", data = "<form>")]
fn remove(session: Session<Shopper>, form: Form<RemovalForm>) -> Redirect {
    let article = form.article;
    session.update_cart(move |cart| cart.remove(article));
    Redirect::to("/cart/")
}

/// The invalid quantity, if the form has an article.
fn invalid_quantity<'a>(form: &'a Contextual<'_, QuantityForm>) -> InvalidQuantity<'a> {
    let article = form.context.field_value("article")?;
    Some((article, form.context.field_value("quantity").unwrap_or_default()))
}

#[get("/order")]
fn order(session: Session<Shopper>) -> Reply {
    let Some(order) = session.order() else { return Reply::redirect("/") };
    Reply::Page(page(&session, "order", order.summary()))
}
