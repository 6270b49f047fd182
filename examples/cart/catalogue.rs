//! The articles of the shop and their prices.

use rocket::form::{self, FromFormField, ValueField};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Article {
    pub slug: &'static str,
    pub name: &'static str,
    pub price: Price,
}

/// A price in cents for each currency. Prices are not converted, so nothing is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    pub eur: u32,
    pub usd: u32,
}

pub const ARTICLES: [Article; 6] = [
    article("notebook", "Notebook, squared", 4_90, 5_50),
    article("pencil", "Pencil, HB", 1_20, 1_35),
    article("fountain-pen", "Fountain pen", 39_00, 42_00),
    article("ink", "Bottle of ink, blue", 8_45, 9_25),
    article("desk-lamp", "Desk lamp", 64_90, 69_90),
    article("paper", "Paper, 500 sheets", 6_99, 7_49),
];

const fn article(slug: &'static str, name: &'static str, eur: u32, usd: u32) -> Article {
    Article { slug, name, price: Price { eur, usd } }
}

pub fn find(slug: &str) -> Option<Article> {
    ARTICLES.into_iter().find(|article| article.slug == slug)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, rocket::FromFormField)]
#[serde(rename_all = "lowercase")]
pub enum Currency {
    #[default]
    Eur,
    Usd,
}

impl Price {
    pub fn cents(self, currency: Currency) -> u64 {
        u64::from(match currency {
            Currency::Eur => self.eur,
            Currency::Usd => self.usd,
        })
    }
}

impl Currency {
    /// Formats an amount of cents.
    pub fn show(self, cents: u64) -> String {
        let (whole, rest) = (cents / 100, cents % 100);
        match self {
            Self::Eur => format!("{whole}.{rest:02} €"),
            Self::Usd => format!("${whole}.{rest:02}"),
        }
    }
}

/// In a form, an article is its slug.
impl<'v> FromFormField<'v> for Article {
    fn from_value(field: ValueField<'v>) -> form::Result<'v, Self> {
        find(field.value).ok_or_else(|| form::Error::validation("unknown article").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cents_have_two_digits() {
        assert_eq!(Currency::Eur.show(1_05), "1.05 €");
        assert_eq!(Currency::Usd.show(9), "$0.09");
        assert_eq!(Currency::Usd.show(u64::MAX), "$184467440737095516.15");
    }

    #[test]
    fn every_article_is_found_by_its_slug_and_not_by_its_name() {
        for article in ARTICLES {
            assert_eq!(find(article.slug), Some(article));
        }
        assert_eq!(find("Notebook"), None);
    }
}
