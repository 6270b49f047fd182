//! The configuration of the protection.

use std::borrow::Cow;

use rocket::figment::Figment;
use rocket::figment::value::Dict;
use serde::{Deserialize, Serialize};

use super::origin::Origin;
use super::rules::Rules;
use crate::base::error::Result;
use crate::web::config::{Code, Table};

/// The table of the configuration.
const TABLE: Table<'_> = Table { name: "cross_origin", example: "strict=true", other_names: &[] };

/// The keys of the table.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    pub origin: Option<String>,
    pub trusted_origins: Vec<String>,
    pub strict: bool,
    pub report_only: bool,
}

impl Settings {
    /// Reads the configuration. The figment overrides `self`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if a key is unknown or a value is invalid.
    pub(super) fn resolve(&self, figment: &Figment) -> Result<Rules> {
        let (settings, merged): (Self, _) = TABLE.read(figment, &Code { values: self, unmasked: Dict::new() })?;
        let mut problems = Vec::new();
        let mut parse = |key: &'static str, text: &str| {
            Origin::from_config(text).map_err(|fix| problems.push((key, Cow::Owned(fix)))).ok()
        };
        let own = settings.origin.as_deref().and_then(|text| parse("origin", text));
        let trusted = settings.trusted_origins.iter().filter_map(|text| parse("trusted_origins", text)).collect();
        if own.as_ref().is_some_and(|own| !own.is_web()) {
            problems.push(("origin", "must begin with `http://` or `https://`".into()));
        }
        TABLE.refuse(&merged, problems)?;
        let has_tls = rocket::Config::try_from(figment).is_ok_and(|config| config.tls_enabled());
        Ok(Rules { own, trusted, has_tls, strict: settings.strict, report_only: settings.report_only })
    }
}

#[cfg(test)]
mod tests;
