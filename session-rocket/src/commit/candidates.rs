//! The cookie values of a request that may be its session id or sealed session.

/// The maximum number of candidates to try, because an attacker may plant many cookies.
pub(crate) const MAX_CANDIDATES: usize = 8;

/// The values of the cookies of one name.
///
/// A trait object, because the future that loads a session would store a generic type several times.
pub(crate) type CookieValues<'i, 'v> = dyn Iterator<Item = &'v str> + Send + 'i;

/// Returns the first [`MAX_CANDIDATES`] well-formed cookie values, without duplicates.
///
/// Values are parsed lazily, because the first value is usually the session.
pub(crate) fn candidates<'v, C: Clone + PartialEq>(
    values: &mut CookieValues<'_, 'v>,
    parse: impl Fn(&'v str) -> Option<C>,
) -> impl Iterator<Item = C> {
    // The last candidate is not in `seen`, so that a single cookie allocates nothing.
    let (mut last, mut seen) = (None, Vec::new());
    let is_new = move |candidate: &C| {
        let is_new = last.as_ref() != Some(candidate) && !seen.contains(candidate);
        if is_new {
            seen.extend(last.replace(candidate.clone()));
        }
        is_new
    };
    values.filter_map(parse).filter(is_new).take(MAX_CANDIDATES)
}
