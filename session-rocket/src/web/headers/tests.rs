use super::*;

/// Returns the values of a header.
fn all<'r>(response: &'r Response<'_>, name: &str) -> Vec<&'r str> {
    response.headers().get(name).collect()
}

#[test]
fn a_logout_clears_the_storage_besides_what_the_handler_clears() {
    for (before, after) in [
        (&[][..], &["\"storage\""][..]),
        (&["\"cookies\""], &["\"cookies\"", "\"storage\""]),
        (&["\"cache\", \"storage\""], &["\"cache\", \"storage\""]),
        (&["\"*\""], &["\"*\""]),
    ] {
        let mut response = Response::new();
        for value in before {
            response.adjoin_raw_header("Clear-Site-Data", *value);
        }
        clear_storage(&mut response);
        assert_eq!(all(&response, "Clear-Site-Data"), after);
        assert_eq!(all(&response, "Cache-Control"), ["no-store"]);
    }
}

#[test]
fn a_response_is_cacheable_unless_a_directive_forbids_it() {
    for (header, cacheable) in [
        (None, false),
        (Some("max-age=60"), true),
        (Some("public, max-age=60"), true),
        (Some("max-age=60, Private"), false),
        (Some("No-Store"), false),
        (Some("no-cache"), false),
    ] {
        let mut response = Response::new();
        if let Some(header) = header {
            response.set_raw_header("Cache-Control", header);
        }
        assert_eq!(is_cacheable(&response), cacheable, "{header:?}");
    }
}

#[test]
fn vary_is_merged() {
    for (before, after) in [
        (&[][..], &["Cookie"][..]),
        (&["Accept-Encoding"], &["Accept-Encoding, Cookie"]),
        (&["Origin", "Accept , Accept-Language"], &["Origin, Accept, Accept-Language, Cookie"]),
        (&["Accept, cookie"], &["Accept, cookie"]),
        (&["*"], &["*"]),
    ] {
        let mut response = Response::new();
        for value in before {
            response.adjoin_raw_header("Vary", *value);
        }
        vary(&mut response, "Cookie");
        vary(&mut response, "Cookie");
        assert_eq!(all(&response, "Vary"), after);
    }
    let mut response = Response::new();
    vary(&mut response, "Cookie, Authorization");
    vary(&mut response, "Authorization");
    assert_eq!(all(&response, "Vary"), ["Cookie, Authorization"]);
}

struct Upgraded;

#[rocket::async_trait]
impl rocket::data::IoHandler for Upgraded {
    async fn io(self: std::pin::Pin<Box<Self>>, _: rocket::data::IoStream) -> std::io::Result<()> {
        Ok(())
    }
}

fn full() -> Response<'static> {
    let mut response = Response::new();
    response.set_status(Status::SeeOther);
    response.set_sized_body(2, std::io::Cursor::new("ok"));
    response.add_upgrade("websocket", Upgraded);
    for name in ["Location", "ETag", "Last-Modified", "Content-Type", "Content-Language", "Clear-Site-Data"] {
        response.set_raw_header(name, "gone");
    }
    response.adjoin_raw_header("Set-Cookie", "sessionid=x");
    response.adjoin_raw_header("Set-Cookie", "theme=dark");
    response.set_raw_header("X-Frame-Options", "SAMEORIGIN");
    response.set_raw_header("Content-Security-Policy", "default-src 'self'");
    response.set_raw_header("Access-Control-Allow-Origin", "*");
    response.set_raw_header("Cache-Control", "max-age=60");
    response.adjoin_raw_header("Link", "a");
    response.adjoin_raw_header("Link", "b");
    response
}

#[test]
fn a_failed_save_leaves_nothing_of_the_success() {
    let mut response = full();
    replace_with_error(&mut response, Status::ServiceUnavailable);
    assert_eq!(response.status(), Status::ServiceUnavailable);
    assert!(response.body().is_none());
    assert!(response.upgrade("websocket").is_none());
    let mut headers: Vec<String> = response.headers().iter().map(|header| header.to_string()).collect();
    headers.sort();
    let expected = [
        "Access-Control-Allow-Origin: *",
        "Cache-Control: no-store",
        "Content-Security-Policy: default-src 'self'",
        "Link: a",
        "Link: b",
        "Retry-After: 5",
        "X-Frame-Options: SAMEORIGIN",
    ];
    assert_eq!(headers, expected);
}

#[test]
fn only_a_503_says_when_to_try_again() {
    let mut response = full();
    replace_with_error(&mut response, Status::InternalServerError);
    assert_eq!(response.status(), Status::InternalServerError);
    assert!(all(&response, "Retry-After").is_empty());
    assert_eq!(all(&response, "Cache-Control"), ["no-store"]);
}

#[test]
fn a_marked_response_keeps_its_body() {
    let mut response = Response::new();
    response.set_status(Status::ServiceUnavailable);
    response.set_sized_body(2, std::io::Cursor::new("ok"));
    set_error_headers(&mut response);
    assert!(response.body().is_some());
    assert_eq!((all(&response, "Retry-After"), all(&response, "Cache-Control")), (vec!["5"], vec!["no-store"]));
}
