//! The names of attributes, of accessors and of the methods of `Session`. Also finds the known name that a
//! misspelled name probably means.

/// The name of the attribute `#[session(…)]` itself.
pub const SESSION: &str = "session";

pub const DEFAULT: &str = "default";
pub const RENAME: &str = "rename";
pub const ALIAS: &str = "alias";
pub const IDENTITY: &str = "identity";
pub const EXTRA: &str = "extra";
pub const WITH: &str = "with";
pub const SKIP: &str = "skip";
/// The attributes in `#[session(…)]` on a field, in the order of the documentation.
pub const FIELD_ATTRIBUTES: &[&str] = &[DEFAULT, RENAME, ALIAS, WITH, SKIP, IDENTITY, EXTRA];

pub const CONFIG: &str = "config";
pub const SCOPE: &str = "scope";
pub const FIELDS: &str = "fields";
pub const CRATE: &str = "crate";
/// The attributes in `#[session(…)]` on the struct.
pub const CONTAINER_ATTRIBUTES: &[&str] = &[CONFIG, SCOPE, FIELDS, CRATE];

/// The prefixes of accessor names. The getter has no prefix.
pub const ACCESSOR_PREFIXES: &[&str] = &["", "set_", "setdefault_", "update_", "with_", "has_", "delete_"];

/// The inherent methods of `Session<T>`, which hide accessors of the same name.
const SESSION_METHODS: &[&str] = &[
    "get",
    "replace",
    "update",
    "transact",
    "keys",
    "items",
    "clear",
    "flush",
    "cycle_id",
    "set_expiry",
    "expiry_age",
    "expiry_date",
    "time_left",
    "set_max_lifetime",
    "expires_at_browser_close",
    "set_test_cookie",
    "test_cookie_worked",
    "delete_test_cookie",
    "id",
    "handle",
    "is_empty",
    "is_new",
    "is_modified",
    "save",
    "reload",
    "ended",
    "csrf_token",
    "verify_csrf_token",
    "fields",
    "fairing",
];

/// The methods of the traits that `Session<T>` implements.
const TRAIT_METHODS: &[&str] = &["clone", "into", "try_into", "to_owned", "fmt", "deref", "serialize"];

pub fn is_session_method(name: &str) -> bool {
    SESSION_METHODS.contains(&name) || TRAIT_METHODS.contains(&name)
}

/// Returns the known word that is closest to `word`, if the two words differ by at most two typing errors, or one if
/// `word` has fewer than six characters.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let max_typos = (word.chars().count() / 3).clamp(1, 2);
    let measured = known.iter().map(|name| (strsim::levenshtein(word, name), *name));
    measured.filter(|(distance, _)| *distance <= max_typos).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
