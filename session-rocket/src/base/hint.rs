//! Suggestions for misspelled words.

/// Returns the known word of which `word` is probably a misspelling, if any.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = normalized(word);
    let measured = known.into_iter().filter_map(|name| Some((distance(&word, &normalized(name))?, name)));
    measured.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Converts a word to lower case and removes separators.
fn normalized(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Returns how different two words are, or `None` if one is not a plausible misspelling of the other.
///
/// The result starts with `false` if the words differ in few letters, and with `true` if they differ more but one word
/// contains the other. So words that differ in few letters sort first.
fn distance(word: &str, name: &str) -> Option<(bool, usize)> {
    const SHORTEST_PART: usize = 4;
    let shorter = word.len().min(name.len());
    let is_part = shorter >= SHORTEST_PART && (name.contains(word) || word.contains(name));
    let distance = strsim::levenshtein(word, name);
    (is_part || distance <= name.len() / 3).then_some((distance > name.len() / 3, distance))
}

#[cfg(test)]
mod tests;
