//! Headers of requests and responses that concern more than the session cookie.

use rocket::http::{Header, Status};
use rocket::{Request, Response};

/// Whether the request is for a part of a page: a style sheet, a script, an image, a font, audio or video.
pub(super) fn is_subresource(request: &Request<'_>) -> bool {
    const PARTS: [&str; 7] = ["script", "style", "image", "font", "audio", "video", "track"];
    request.headers().get_one("Sec-Fetch-Dest").is_some_and(|destination| PARTS.contains(&destination))
}

/// Whether the response's headers allow caches to store it.
pub(super) fn is_cacheable(response: &Response<'_>) -> bool {
    let mut directives = list_elements(response, "Cache-Control").peekable();
    directives.peek().is_some() && !directives.any(|token| is_private(token) || token.eq_ignore_ascii_case("no-cache"))
}

/// Prevents caches from storing the response. If the handler has set `private`, only shared caches are prevented.
pub(super) fn prevent_storing(response: &mut Response<'_>) {
    if !list_elements(response, "Cache-Control").any(is_private) {
        response.set_raw_header("Cache-Control", "no-store");
    }
}

/// Tells the browser to delete what scripts of the site stored.
///
/// The header has no other values, because `"cache"` blocks Chromium for seconds, and `"cookies"` also removes the
/// cookies of other hosts of the site.
pub(super) fn clear_storage(response: &mut Response<'_>) {
    const STORAGE: &str = "\"storage\"";
    if !list_elements(response, "Clear-Site-Data").any(|kind| kind == STORAGE || kind == "\"*\"") {
        response.adjoin_raw_header("Clear-Site-Data", STORAGE);
    }
    prevent_storing(response);
}

/// Whether a directive of `Cache-Control` prevents shared caches from storing the response.
fn is_private(directive: &str) -> bool {
    let name = directive.split('=').next().unwrap_or_default().trim();
    name.eq_ignore_ascii_case("private") || name.eq_ignore_ascii_case("no-store")
}

/// Adds `names` to `Vary`: the request headers on which the response depends, separated by `, `.
pub(super) fn vary(response: &mut Response<'_>, names: &'static str) {
    if !response.headers().iter().any(|header| header.name == "Vary") {
        response.set_raw_header("Vary", names);
        return;
    }
    let mut merged: Vec<&str> = list_elements(response, "Vary").collect();
    for name in names.split(", ") {
        if !merged.iter().any(|token| *token == "*" || token.eq_ignore_ascii_case(name)) {
            merged.push(name);
        }
    }
    let merged = merged.join(", ");
    response.set_raw_header("Vary", merged);
}

/// Returns the elements of a list header.
fn list_elements<'h>(response: &'h Response<'_>, name: &'h str) -> impl Iterator<Item = &'h str> {
    let lists = response.headers().get(name).flat_map(|list| list.split(','));
    lists.map(str::trim).filter(|token| !token.is_empty())
}

/// Replaces a response by an empty one with `status`, because a failed save must not look like a success.
///
/// Removes all cookies and all headers that describe, locate or cache the removed content. Keeps the other headers.
pub(super) fn replace_with_error(response: &mut Response<'_>, status: Status) {
    let remaining: Vec<Header<'static>> = response
        .headers()
        .iter()
        .filter(|header| !is_about_content(header.name.as_str()))
        .map(|header| Header::new(header.name.as_str().to_owned(), header.value.into_owned()))
        .collect();
    // Rocket cannot remove an upgrade handler from a response, so the headers move to a new response.
    *response = Response::new();
    for header in remaining {
        response.adjoin_header(header);
    }
    response.set_status(status);
    set_error_headers(response);
}

/// Forbids caches to store an error response, and tells the client when to retry after a 503.
pub(super) fn set_error_headers(response: &mut Response<'_>) {
    response.set_raw_header("Cache-Control", "no-store");
    if response.status() == Status::ServiceUnavailable {
        response.set_raw_header("Retry-After", "5");
    }
}

/// Whether a header describes the content, and so must be removed together with the content.
fn is_about_content(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "Location",
        "Refresh",
        "ETag",
        "Last-Modified",
        "Expires",
        "Accept-Ranges",
        "Transfer-Encoding",
        "Connection",
        "Upgrade",
        "Trailer",
        "Set-Cookie",
        "Clear-Site-Data",
        // A proxy would replace the response by the file that one of these two headers names.
        "X-Accel-Redirect",
        "X-Sendfile",
    ];
    let name = name.to_ascii_lowercase();
    (name.starts_with("content-") && !name.starts_with("content-security-policy"))
        || NAMES.iter().any(|other| other.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests;
