use super::super::names::{OTHER_NAMES, suggest_key};
use super::KEYS;

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
            assert_eq!(suggest_key(spelling, &KEYS, &OTHER_NAMES), Some(key), "{spelling}");
        }
    }
}
