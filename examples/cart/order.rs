//! The state of a checkout, and the order that it creates.

use serde::{Deserialize, Serialize};
use session_rocket::Session;

use crate::Shopper;
use crate::cart::{Cart, Line};
use crate::catalogue::{Currency, Price};

/// The answers of the checkout so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Checkout {
    pub address: Option<Address>,
    pub delivery: Option<Delivery>,
}

/// A step of the checkout. Later steps compare as greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Address,
    Delivery,
    Confirm,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Address {
    pub name: String,
    pub street: String,
    pub postcode: String,
    pub city: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, rocket::FromFormField)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    Standard,
    Express,
    Pickup,
}

/// An order, with the currency and address that the customer had at that time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub number: u32,
    pub cart: Cart,
    pub address: Address,
    pub delivery: Delivery,
    pub currency: Currency,
}

/// An order or a draft, formatted for a page.
#[derive(Serialize)]
pub struct Summary {
    number: u32,
    lines: Vec<Line>,
    address: Address,
    delivery: &'static str,
    postage: String,
    total: String,
    /// The total in cents. The confirmation sends it back, and a different total is rejected.
    cents: u64,
}

/// The outcome of a confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Placed,
    /// The total differs from the confirmed one, because another tab changed the order.
    TotalChanged,
    /// The cart is empty, or a step of the checkout is missing.
    NothingToOrder,
}

impl Checkout {
    /// The first step that is not done.
    pub fn next(&self) -> Step {
        match (&self.address, self.delivery) {
            (None, _) => Step::Address,
            (Some(_), None) => Step::Delivery,
            (Some(_), Some(_)) => Step::Confirm,
        }
    }
}

impl Step {
    pub fn path(self) -> &'static str {
        match self {
            Self::Address => "/checkout/address/",
            Self::Delivery => "/checkout/delivery/",
            Self::Confirm => "/checkout/confirm/",
        }
    }
}

impl Delivery {
    pub const ALL: [Self; 3] = [Self::Standard, Self::Express, Self::Pickup];

    pub fn slug(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Express => "express",
            Self::Pickup => "pickup",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "Standard, three days",
            Self::Express => "Express, tomorrow",
            Self::Pickup => "I collect it in the shop",
        }
    }

    pub fn price(self) -> Price {
        match self {
            Self::Standard => Price { eur: 3_90, usd: 4_50 },
            Self::Express => Price { eur: 9_90, usd: 11_50 },
            Self::Pickup => Price { eur: 0, usd: 0 },
        }
    }
}

impl Order {
    /// The order that this visitor can place, if every step is done.
    pub fn draft(shopper: &Shopper) -> Option<Self> {
        if shopper.cart.is_empty() {
            return None;
        }
        Some(Self {
            number: shopper.orders.saturating_add(1),
            cart: shopper.cart.clone(),
            address: shopper.checkout.address.clone()?,
            delivery: shopper.checkout.delivery?,
            currency: shopper.currency,
        })
    }

    fn total(&self) -> u64 {
        self.cart.total(self.currency).saturating_add(self.delivery.price().cents(self.currency))
    }

    pub fn summary(self) -> Summary {
        let (currency, cents) = (self.currency, self.total());
        Summary {
            number: self.number,
            lines: self.cart.lines(currency),
            address: self.address,
            delivery: self.delivery.name(),
            postage: currency.show(self.delivery.price().cents(currency)),
            total: currency.show(cents),
            cents,
        }
    }
}

/// Orders the cart and empties the cart and the checkout, unless the total differs from the confirmed one.
///
/// A single update does this, so a cart is ordered once, however often the button is pressed.
pub fn place_order(session: &Session<Shopper>, confirmed_total: u64) -> Outcome {
    session.update(move |shopper| {
        let Some(order) = Order::draft(shopper) else { return Outcome::NothingToOrder };
        if order.total() != confirmed_total {
            return Outcome::TotalChanged;
        }
        shopper.orders = order.number;
        shopper.order = Some(order);
        shopper.cart = Cart::default();
        shopper.checkout = Checkout::default();
        Outcome::Placed
    })
}
