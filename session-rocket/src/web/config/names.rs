//! Suggestions for unknown configuration keys.

use crate::base::hint::nearest;

/// Names that other frameworks use, each with the corresponding key. Django's names omit the prefix `SESSION_`.
pub(super) const OTHER_NAMES: [(&str, &str); 22] = [
    ("ENGINE", "store"),
    ("FILE_PATH", "store"),
    ("COOKIE_NAME", "cookie_name"),
    ("COOKIE_PATH", "cookie_path"),
    ("COOKIE_DOMAIN", "cookie_domain"),
    ("COOKIE_SECURE", "secure"),
    ("COOKIE_HTTPONLY", "http_only"),
    ("COOKIE_SAMESITE", "same_site"),
    ("COOKIE_AGE", "expiry"),
    ("EXPIRE_AT_BROWSER_CLOSE", "expire_at_browser_close"),
    ("SAVE_EVERY_REQUEST", "refresh"),
    ("SERIALIZER", "format"),
    ("CACHE_ALIAS", "cache"),
    ("SECRET_KEY", "secret_keys"),
    ("SECRET_KEY_FALLBACKS", "secret_keys"),
    ("MAX_ENTRIES", "capacity"),
    ("MAX_AGE", "expiry"),
    ("IDLE_TIMEOUT", "expiry"),
    ("ABSOLUTE_TIMEOUT", "max_lifetime"),
    ("LIFETIME", "expiry"),
    // Spring Security.
    ("MAXIMUM_SESSIONS", "max_sessions"),
    ("MAX_SESSIONS_PREVENTS_LOGIN", "when_full"),
];

/// Returns the key that `name` probably means: a `known` key, or the key that corresponds to one of the `other` names.
pub(super) fn suggest_key<'k>(name: &str, known: &'k [&'static str], other: &'k [(&str, &str)]) -> Option<&'k str> {
    let name = name.to_lowercase();
    let name = name.strip_prefix("session").map_or(name.as_str(), |rest| rest.trim_start_matches(['_', '-']));
    let nearest = nearest(name, known.iter().copied().chain(other.iter().map(|(other, _)| *other)))?;
    let corresponding = other.iter().find(|(other, _)| *other == nearest);
    Some(corresponding.map_or(nearest, |(_, key)| *key))
}
