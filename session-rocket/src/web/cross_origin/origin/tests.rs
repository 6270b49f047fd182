use super::*;

#[test]
fn origins_are_parsed_as_browsers_write_them() {
    for (text, scheme, host, port) in [
        ("https://shop.example", "https", "shop.example", Some(443)),
        ("http://shop.example", "http", "shop.example", Some(80)),
        ("HTTP://Shop.Example:8000", "HTTP", "Shop.Example", Some(8000)),
        ("http://127.0.0.1:80", "http", "127.0.0.1", Some(80)),
        ("https://[::1]", "https", "[::1]", Some(443)),
        ("https://[::ffff:1.2.3.4]:8443", "https", "[::ffff:1.2.3.4]", Some(8443)),
        ("capacitor://localhost", "capacitor", "localhost", None),
        ("chrome-extension://abcdef", "chrome-extension", "abcdef", None),
    ] {
        assert_eq!(Origin::parse(text), Some(Origin { scheme, host, port }), "{text}");
    }
}

#[test]
fn malformed_origins_are_not_parsed() {
    for text in [
        "",
        "null",
        "*",
        "shop.example",
        "//shop.example",
        "://shop.example",
        "https:shop.example",
        "https://",
        "https://:443",
        "https://shop.example/",
        "https://shop.example/path",
        "https://shop.example?query",
        "https://shop.example#fragment",
        "https://user@shop.example",
        "https://shop.example:",
        "https://shop.example:+443",
        "https://shop.example:65536",
        "https://shop.example:443:443",
        "https://*.shop.example",
        "https://shop.example, https://other.example",
        "https://shop.example https://other.example",
        " https://shop.example",
        "https://b\u{fc}cher.example",
        "https://[::1",
        "https://::1",
        "https://[]",
        "1https://shop.example",
        "https://shop%2eexample",
    ] {
        assert_eq!(Origin::parse(text), None, "{text}");
    }
}

#[test]
fn origins_are_equal_if_scheme_host_and_port_are() {
    let is_same = |configured: &str, text: &str| {
        Origin::from_config(configured).unwrap().is_same_as(Origin::parse(text).unwrap())
    };
    for (configured, text) in [
        ("https://shop.example", "https://shop.example"),
        ("https://Shop.Example:443", "https://shop.example"),
        ("https://shop.example", "https://shop.example:443"),
        ("http://shop.example:80", "http://SHOP.example"),
        ("capacitor://localhost", "capacitor://localhost"),
    ] {
        assert!(is_same(configured, text), "{configured} {text}");
    }
    for (configured, text) in [
        ("https://shop.example", "http://shop.example"),
        ("https://shop.example", "https://shop.example:8443"),
        ("https://shop.example", "https://www.shop.example"),
        ("https://shop.example", "https://shop.example.evil.test"),
        ("http://shop.example", "http://shop.example:443"),
        ("capacitor://localhost", "http://localhost"),
    ] {
        assert!(!is_same(configured, text), "{configured} {text}");
    }
}

#[test]
fn an_origin_is_compared_with_the_host() {
    let is_origin_of = |origin, host, needs_https| {
        Origin::parse(origin).unwrap().is_origin_of(&Host::parse(host).unwrap(), needs_https)
    };
    for (origin, host, needs_https) in [
        ("https://shop.example", "shop.example", true),
        ("https://shop.example", "Shop.Example:443", true),
        ("http://shop.example", "shop.example:80", false),
        ("https://shop.example", "shop.example", false),
        ("http://[::1]:8000", "[::1]:8000", false),
    ] {
        assert!(is_origin_of(origin, host, needs_https), "{origin} {host}");
    }
    for (origin, host, needs_https) in [
        ("http://shop.example", "shop.example", true),
        ("https://shop.example", "shop.example:80", true),
        ("http://shop.example:8000", "shop.example", false),
        ("http://shop.example", "shop.example:8000", false),
        ("http://www.shop.example", "shop.example", false),
        ("capacitor://shop.example", "shop.example", false),
    ] {
        assert!(!is_origin_of(origin, host, needs_https), "{origin} {host}");
    }
}

#[test]
fn an_origin_is_shown_as_browsers_write_it() {
    for (text, shown) in [
        ("HTTPS://Shop.Example:443", "https://shop.example"),
        ("http://shop.example:8000", "http://shop.example:8000"),
        ("capacitor://localhost", "capacitor://localhost"),
    ] {
        assert_eq!(Origin::from_config(text).unwrap().to_string(), shown);
    }
}
