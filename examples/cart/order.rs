//! The state of a checkout, and the order that comes out of it.

use serde::{Deserialize, Serialize};
use session_rocket::Session;

use crate::Shopper;
use crate::cart::{Cart, Line};
use crate::catalogue::{Currency, Price};

/// What the checkout has asked so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Checkout {
    pub address: Option<Address>,
    pub delivery: Option<Delivery>,
}

/// A step of the checkout; the later, the greater.
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

/// What was ordered, for whom and for how much, as it was then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub number: u32,
    pub cart: Cart,
    pub address: Address,
    pub delivery: Delivery,
    pub currency: Currency,
}

/// An order, or one to be, ready to be shown.
#[derive(Serialize)]
pub struct Summary {
    number: u32,
    lines: Vec<Line>,
    address: Address,
    delivery: &'static str,
    postage: String,
    total: String,
    /// What the confirmation is for: it is refused when the total has become another.
    cents: u64,
}

/// What became of a confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    Done,
    /// The visitor confirmed another total than this one: the cart was changed in another tab.
    Changed,
    /// There is nothing that could be ordered, or not any more.
    Nothing,
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
    /// The order that this visitor could place now.
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

/// Orders what is in the cart, if it costs what the visitor was shown, and empties cart and checkout.
///
/// All in one update: however often and in how many tabs the button is pressed, a cart is ordered once.
pub fn place(session: &Session<Shopper>, shown: u64) -> Placed {
    session.update(move |shopper| {
        let Some(order) = Order::draft(shopper) else { return Placed::Nothing };
        if order.total() != shown {
            return Placed::Changed;
        }
        shopper.orders = order.number;
        shopper.order = Some(order);
        shopper.cart = Cart::default();
        shopper.checkout = Checkout::default();
        Placed::Done
    })
}
