//! The cookie values of a request that may be its session's.

/// The maximum number of cookies of one name to consider. A browser sends one or a few; an attacker may send many.
pub(crate) const MAX_CANDIDATES: usize = 8;

/// The values of the cookies of one name. A trait object, because a future would hold a type of its own several times.
pub(crate) type CookieValues<'i, 'v> = dyn Iterator<Item = &'v str> + Send + 'i;

/// The well-formed cookie values without duplicates. Values are parsed lazily, because the first is usually the session.
pub(crate) fn candidates<'v, C: Clone + PartialEq>(
    values: &mut CookieValues<'_, 'v>,
    parse: impl Fn(&'v str) -> Option<C>,
) -> impl Iterator<Item = C> {
    let mut seen = Vec::new();
    let new = move |candidate: &C| {
        let new = !seen.contains(candidate);
        if new {
            seen.push(candidate.clone());
        }
        new
    };
    values.filter_map(parse).filter(new).take(MAX_CANDIDATES)
}
