//! Suggests the configuration key that an unknown key was meant to be.

use crate::base::hint::nearest;

/// Names that other frameworks use, and the key that each stands for. Django's are here without `SESSION_`.
const OTHER_NAMES: [(&str, &str); 20] = [
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
];

/// The key that was probably meant by `name`.
pub(super) fn meant<'k>(name: &str, known: &'k [&'static str]) -> Option<&'k str> {
    let name = name.to_lowercase();
    let name = name.strip_prefix("session").map_or(name.as_str(), |rest| rest.trim_start_matches(['_', '-']));
    let others = OTHER_NAMES.iter().map(|(other, _)| *other);
    let nearest = nearest(name, known.iter().copied().chain(others))?;
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == nearest);
    Some(other.map_or(nearest, |(_, key)| *key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 16] = [
        "store",
        "cookie_name",
        "cookie_path",
        "cookie_domain",
        "secure",
        "http_only",
        "same_site",
        "expiry",
        "expire_at_browser_close",
        "max_lifetime",
        "refresh",
        "format",
        "secret_keys",
        "cache",
        "cache_ttl",
        "key_prefix",
    ];

    #[test]
    fn each_setting_of_django_names_the_key() {
        for (django, key) in [
            ("SESSION_ENGINE", "store"),
            ("SESSION_FILE_PATH", "store"),
            ("SESSION_COOKIE_NAME", "cookie_name"),
            ("SESSION_COOKIE_PATH", "cookie_path"),
            ("SESSION_COOKIE_DOMAIN", "cookie_domain"),
            ("SESSION_COOKIE_SECURE", "secure"),
            ("SESSION_COOKIE_HTTPONLY", "http_only"),
            ("SESSION_COOKIE_SAMESITE", "same_site"),
            ("SESSION_COOKIE_AGE", "expiry"),
            ("SESSION_EXPIRE_AT_BROWSER_CLOSE", "expire_at_browser_close"),
            ("SESSION_SAVE_EVERY_REQUEST", "refresh"),
            ("SESSION_SERIALIZER", "format"),
            ("SESSION_CACHE_ALIAS", "cache"),
        ] {
            let short = django.trim_start_matches("SESSION_");
            let spellings = [django, short].map(|name| {
                let camel = name.split('_').map(|word| word[..1].to_owned() + &word[1..].to_lowercase());
                [name.to_owned(), name.to_lowercase(), name.to_lowercase().replace('_', "-"), camel.collect()]
            });
            for spelling in spellings.concat().iter().filter(|spelling| *spelling != key) {
                assert_eq!(meant(spelling, &KEYS), Some(key), "{spelling}");
            }
        }
    }
}
