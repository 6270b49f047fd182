//! Masks secrets in store URLs.

/// Masks the secrets in a store's URL: the password, and the values of all parameters that are not known to be harmless.
///
/// A password may contain any character, even without percent-encoding. So this function masks everything from the first
/// `:` after the scheme to the last `@`. If a `?` precedes that `@`, masks everything after the scheme.
///
/// ```
/// use session_rocket::store::mask_url;
///
/// assert_eq!(mask_url("postgres://school:secret@db.example/school"), "postgres://school:***@db.example/school");
/// ```
pub fn mask_url(url: &str) -> String {
    const HARMLESS: [&str; 8] = ["mode", "cache", "synchronous", "sslmode", "ssl-mode", "charset", "db", "protocol"];
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, _)) if user.contains('?') => return format!("{scheme}***"),
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => (format!("{name}:***@"), host),
            None => (format!("{user}@"), host),
        },
        None => (String::new(), rest),
    };
    let Some((host, query)) = host.split_once('?') else { return format!("{scheme}{user}{host}") };
    let query = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, _)) if !HARMLESS.contains(&key) => format!("{key}=***"),
        _ => pair.to_owned(),
    });
    format!("{scheme}{user}{host}?{}", query.collect::<Vec<_>>().join("&"))
}
