//! Suggestions for misspelled words.

/// Returns the known word that `word` is probably a misspelling of, if one is close enough.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = normalized(word);
    let measured = known.into_iter().filter_map(|name| Some((distance(&word, &normalized(name))?, name)));
    measured.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Normalizes a word for the comparison: lower case, without separators.
fn normalized(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Returns how different two words are, or `None` if they are too different.
///
/// Words that differ in few letters sort first, with `false`. Words that differ more are close only if one contains the
/// other, and sort after them, with `true`.
fn distance(word: &str, name: &str) -> Option<(bool, usize)> {
    const SHORTEST_PART: usize = 4;
    let shorter = word.len().min(name.len());
    let is_part = shorter >= SHORTEST_PART && (name.contains(word) || word.contains(name));
    let distance = strsim::levenshtein(word, name);
    (is_part || distance <= name.len() / 3).then_some((distance > name.len() / 3, distance))
}

#[cfg(test)]
mod tests;
