use rocket::http::Header;
use rocket::local::blocking::Client;

use super::*;

/// The result of [`token`] for a request with these `Authorization` headers.
fn token_of(headers: &[&'static str]) -> std::result::Result<Option<String>, ErrorKind> {
    let client = Client::untracked(rocket::custom(rocket::Config::figment().merge(("log_level", "off")))).unwrap();
    let mut request = client.get("/");
    for value in headers {
        request.add_header(Header::new("Authorization", *value));
    }
    token(request.inner()).map(|token| token.map(str::to_owned)).map_err(|error| error.kind())
}

#[test]
fn the_token_is_what_follows_the_scheme_bearer() {
    for (header, expected) in [
        ("Bearer abc", Some("abc")),
        ("bearer abc", Some("abc")),
        ("BEARER  \tabc ", Some("abc")),
        (" Bearer abc", Some("abc")),
        ("Bearer a b", Some("a b")),
        ("Bearer", Some("")),
        ("Bearer ", Some("")),
        ("Basic YTpi", None),
        ("Bearerabc", None),
        ("Bearer\u{a0}abc", None),
        ("", None),
    ] {
        assert_eq!(token_of(&[header]), Ok(expected.map(str::to_owned)), "{header:?}");
    }
    assert_eq!(token_of(&[]), Ok(None));
}

#[test]
fn several_authorization_headers_are_ambiguous() {
    for headers in [["Bearer abc", "Bearer abc"], ["Basic YTpi", "Bearer abc"], ["Basic YTpi", "Basic YTpi"]] {
        assert_eq!(token_of(&headers), Err(ErrorKind::AmbiguousCredentials), "{headers:?}");
    }
}

#[test]
fn a_header_for_ids_is_a_free_and_well_formed_name() {
    for name in ["X-Session-Id", "session", "X_Session", "a", &"a".repeat(64)] {
        assert!(is_free_header(name), "{name}");
    }
    for name in ["", "a b", "a:", "ä", "a\r\n", &"a".repeat(65), "Set-Cookie", "AUTHORIZATION", "content-type", "Sec-X"]
    {
        assert!(!is_free_header(name), "{name}");
    }
}
