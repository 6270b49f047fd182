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

/// Returns how different two words are, or `None` if they are too different. A word that is a part of the other is
/// close.
fn distance(word: &str, name: &str) -> Option<(bool, usize)> {
    const SHORTEST_PART: usize = 4;
    let shorter = word.len().min(name.len());
    let is_part = shorter >= SHORTEST_PART && (name.contains(word) || word.contains(name));
    let distance = strsim::levenshtein(word, name);
    (is_part || distance <= name.len() / 3).then_some((distance > name.len() / 3, distance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_a_distant_one_is_not() {
        let known = ["same_site", "cookie_name", "expiry", "redis", "refresh"];
        let suggested = |word| nearest(word, known);
        assert_eq!(suggested("SameSite"), Some("same_site"));
        assert_eq!(suggested("cooky-name"), Some("cookie_name"));
        assert_eq!(suggested("name"), Some("cookie_name"));
        assert_eq!(suggested("expirey"), Some("expiry"));
        assert_eq!(suggested("redus"), Some("redis"));
        for distant in ["", "r", "red", "mongodb"] {
            assert_eq!(suggested(distant), None, "{distant}");
        }
    }
}
