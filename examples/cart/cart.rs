//! The cart: which article how often.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalogue::{self, Article, Currency};

/// How often one article can be in a cart.
pub const MOST: u32 = 99;

/// Articles by slug, and how often each is wanted. It takes articles of the catalogue only, so it has no more entries
/// than that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cart(BTreeMap<String, u32>);

/// An article in the cart, ready to be shown.
#[derive(Serialize)]
pub struct Line {
    pub slug: &'static str,
    pub name: &'static str,
    pub quantity: u32,
    pub price: String,
    pub sum: String,
}

impl Cart {
    /// Adds so many, up to [`MOST`] in all; the number that is in it then.
    pub fn add(&mut self, article: Article, quantity: u32) -> u32 {
        let wanted = self.0.entry(article.slug.to_owned()).or_default();
        *wanted = wanted.saturating_add(quantity).min(MOST);
        *wanted
    }

    /// Changes how many of an article are wanted. One that was removed in another tab stays removed.
    pub fn change(&mut self, article: Article, quantity: u32) {
        if let Some(wanted) = self.0.get_mut(article.slug) {
            *wanted = quantity.min(MOST);
        }
    }

    pub fn remove(&mut self, article: Article) {
        self.0.remove(article.slug);
    }

    /// What is in it, but for articles that are not sold any more.
    fn goods(&self) -> impl Iterator<Item = (Article, u32)> {
        self.0.iter().filter_map(|(slug, quantity)| Some((catalogue::find(slug)?, *quantity)))
    }

    pub fn is_empty(&self) -> bool {
        self.goods().next().is_none()
    }

    pub fn count(&self) -> u64 {
        self.goods().map(|(_, quantity)| u64::from(quantity)).sum()
    }

    /// The sum in cents. It cannot overflow: prices and quantities are 32 bits wide, and the articles few.
    pub fn total(&self, currency: Currency) -> u64 {
        self.goods().map(|(article, quantity)| sum(article, quantity, currency)).fold(0, u64::saturating_add)
    }

    pub fn lines(&self, currency: Currency) -> Vec<Line> {
        let line = |(article, quantity): (Article, u32)| Line {
            slug: article.slug,
            name: article.name,
            quantity,
            price: currency.show(article.price.cents(currency)),
            sum: currency.show(sum(article, quantity, currency)),
        };
        self.goods().map(line).collect()
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
    fn quantities_are_bounded_and_sums_exact() {
        let mut cart = Cart::default();
        let [notebook, pencil, ..] = ARTICLES;
        assert_eq!(cart.add(notebook, 3), 3);
        assert_eq!(cart.add(pencil, u32::MAX), MOST);
        assert_eq!(cart.add(pencil, 1), MOST);
        assert_eq!(cart.total(Currency::Eur), 3 * 4_90 + 99 * 1_20);
        assert_eq!(cart.total(Currency::Usd), 3 * 5_50 + 99 * 1_35);
        cart.change(notebook, 1);
        assert_eq!(cart.count(), 100);
        cart.remove(notebook);
        cart.change(notebook, 5);
        assert_eq!(cart.count(), 99);
    }

    #[test]
    fn what_an_older_release_left_neither_breaks_nor_overflows() {
        let stored = r#"{"gone": 7, "desk-lamp": 4294967295, "ink": 4294967295}"#;
        let cart: Cart = serde_json::from_str(stored).unwrap();
        assert_eq!(cart.lines(Currency::Eur).len(), 2);
        assert_eq!(cart.total(Currency::Eur), u64::from(u32::MAX) * (64_90 + 8_45));
    }
}
