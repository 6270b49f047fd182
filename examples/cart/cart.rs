//! The cart: articles and their quantities.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalogue::{self, Article, Currency};

/// The largest quantity of one article.
pub const MAX_QUANTITY: u32 = 99;

/// Quantities by article slug. Only articles of the catalogue can be added, so the size is limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cart(BTreeMap<String, u32>);

/// An article in the cart, formatted for a page.
#[derive(Serialize)]
pub struct Line {
    pub slug: &'static str,
    pub name: &'static str,
    pub quantity: u32,
    pub price: String,
    pub sum: String,
}

impl Cart {
    /// Adds a quantity, up to [`MAX_QUANTITY`] in total. Returns the new quantity.
    pub fn add(&mut self, article: Article, quantity: u32) -> u32 {
        let total = self.0.entry(article.slug.to_owned()).or_default();
        *total = total.saturating_add(quantity).min(MAX_QUANTITY);
        *total
    }

    /// Changes a quantity. An article that another tab removed stays removed.
    pub fn change(&mut self, article: Article, quantity: u32) {
        if let Some(current) = self.0.get_mut(article.slug) {
            *current = quantity.min(MAX_QUANTITY);
        }
    }

    pub fn remove(&mut self, article: Article) {
        self.0.remove(article.slug);
    }

    /// The articles in the cart that are still in the catalogue.
    fn articles(&self) -> impl Iterator<Item = (Article, u32)> {
        self.0.iter().filter_map(|(slug, quantity)| Some((catalogue::find(slug)?, *quantity)))
    }

    pub fn is_empty(&self) -> bool {
        self.articles().next().is_none()
    }

    pub fn count(&self) -> u64 {
        self.articles().map(|(_, quantity)| u64::from(quantity)).sum()
    }

    /// The sum in cents. It cannot overflow, because prices and quantities have 32 bits, and articles are few.
    pub fn total(&self, currency: Currency) -> u64 {
        self.articles().map(|(article, quantity)| sum(article, quantity, currency)).fold(0, u64::saturating_add)
    }

    pub fn lines(&self, currency: Currency) -> Vec<Line> {
        let line = |(article, quantity): (Article, u32)| Line {
            slug: article.slug,
            name: article.name,
            quantity,
            price: currency.show(article.price.cents(currency)),
            sum: currency.show(sum(article, quantity, currency)),
        };
        self.articles().map(line).collect()
    }
}

fn sum(article: Article, quantity: u32, currency: Currency) -> u64 {
    article.price.cents(currency) * u64::from(quantity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::ARTICLES;

    #[test]
    fn quantities_are_limited_and_sums_are_exact() {
        let mut cart = Cart::default();
        let [notebook, pencil, ..] = ARTICLES;
        assert_eq!(cart.add(notebook, 3), 3);
        assert_eq!(cart.add(pencil, u32::MAX), MAX_QUANTITY);
        assert_eq!(cart.add(pencil, 1), MAX_QUANTITY);
        assert_eq!(cart.total(Currency::Eur), 3 * 4_90 + 99 * 1_20);
        assert_eq!(cart.total(Currency::Usd), 3 * 5_50 + 99 * 1_35);
        cart.change(notebook, 1);
        assert_eq!(cart.count(), 100);
        cart.remove(notebook);
        cart.change(notebook, 5);
        assert_eq!(cart.count(), 99);
    }

    #[test]
    fn a_stored_cart_with_unknown_articles_or_huge_quantities_can_be_read() {
        let stored = r#"{"gone": 7, "desk-lamp": 4294967295, "ink": 4294967295}"#;
        let cart: Cart = serde_json::from_str(stored).unwrap();
        assert_eq!(cart.lines(Currency::Eur).len(), 2);
        assert_eq!(cart.total(Currency::Eur), u64::from(u32::MAX) * (64_90 + 8_45));
    }
}
