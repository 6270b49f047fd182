//! The catalogue, the cart and the last order.

use rocket::form::{Contextual, FromForm};
use rocket::response::Redirect;
use rocket::{Route, get, post, routes};
use rocket_dyn_templates::{Template, context};
use session_rocket::{CsrfForm, Session};

use crate::cart::MOST;
use crate::catalogue::{ARTICLES, Article};
use crate::{Answer, Shopper, page};

pub fn routes() -> Vec<Route> {
    routes![catalogue, cart, add, change, remove, order]
}

/// How many of an article: when one is added, or when their number is changed.
#[derive(FromForm)]
struct Wish {
    article: Article,
    #[field(validate = with(|number| (1..=MOST).contains(number), "too few or too many"))]
    quantity: u32,
}

#[derive(FromForm)]
struct Removal {
    article: Article,
}

/// A number that cannot be, and the article that it was entered for.
type Wrong<'a> = Option<(&'a str, &'a str)>;

#[get("/")]
fn catalogue(session: Session<Shopper>) -> Template {
    catalogue_page(&session, None)
}

fn catalogue_page(session: &Session<Shopper>, wrong: Wrong<'_>) -> Template {
    let currency = session.currency();
    let articles = ARTICLES.map(|Article { slug, name, price }| {
        context! { slug, name, price: currency.show(price.cents(currency)) }
    });
    page(session, "catalogue", context! { articles, wrong, most: MOST })
}

#[get("/cart")]
fn cart(session: Session<Shopper>) -> Template {
    cart_page(&session, None)
}

fn cart_page(session: &Session<Shopper>, wrong: Wrong<'_>) -> Template {
    let currency = session.currency();
    let (lines, total) = session.with_cart(|cart| (cart.lines(currency), cart.total(currency)));
    page(session, "cart", context! { lines, total: currency.show(total), wrong, most: MOST })
}

#[post("/cart/add", data = "<form>")]
fn add(session: Session<Shopper>, form: CsrfForm<Shopper, Contextual<'_, Wish>>) -> Answer {
    let Some(Wish { article, quantity }) = form.value else {
        return Answer::Again(catalogue_page(&session, wrong(&form)));
    };
    // Not "read, add, set": another tab that adds at the same moment would be lost.
    let wanted = session.update_cart(move |cart| cart.add(article, quantity));
    session.set_notice(match wanted {
        MOST => format!("Your cart has {MOST} × {}. That is the most one can order.", article.name),
        _ => format!("Your cart has {wanted} × {}.", article.name),
    });
    Answer::go_to("/")
}

#[post("/cart/change", data = "<form>")]
fn change(session: Session<Shopper>, form: CsrfForm<Shopper, Contextual<'_, Wish>>) -> Answer {
    let Some(Wish { article, quantity }) = form.value else {
        return Answer::Again(cart_page(&session, wrong(&form)));
    };
    session.update_cart(move |cart| cart.change(article, quantity));
    Answer::go_to("/cart/")
}

#[post("/cart/remove", data = "<form>")]
fn remove(session: Session<Shopper>, form: CsrfForm<Shopper, Removal>) -> Redirect {
    let article = form.article;
    session.update_cart(move |cart| cart.remove(article));
    Redirect::to("/cart/")
}

/// What was entered wrongly; nothing where no page has such a field.
fn wrong<'a>(form: &'a Contextual<'_, Wish>) -> Wrong<'a> {
    let article = form.context.field_value("article")?;
    Some((article, form.context.field_value("quantity").unwrap_or_default()))
}

#[get("/order")]
fn order(session: Session<Shopper>) -> Answer {
    let Some(order) = session.order() else { return Answer::go_to("/") };
    Answer::Page(page(&session, "order", order.summary()))
}
