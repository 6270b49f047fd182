//! Suggestions for misspelled words.

/// The known word that `word` is a misspelling of, if one is close enough.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = squashed(word);
    let measured = known.into_iter().filter_map(|name| Some((slips(&word, &squashed(name))?, name)));
    measured.min_by_key(|(slips, _)| *slips).map(|(_, name)| name)
}

/// The letters and digits that matter when two words are compared.
fn squashed(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// How far `word` is from `name`; `None` if they are too far apart. A word that is a part of the other is close.
fn slips(word: &str, name: &str) -> Option<(bool, usize)> {
    const SHORTEST_PART: usize = 4;
    let shorter = word.len().min(name.len());
    let is_part = shorter >= SHORTEST_PART && (name.contains(word) || word.contains(name));
    let distance = distance(word, name);
    (is_part || distance <= name.len() / 3).then_some((distance > name.len() / 3, distance))
}

/// The Levenshtein distance: the number of bytes to insert, remove or replace.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
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

    #[test]
    fn an_insertion_a_removal_and_a_replacement_each_count_once() {
        assert_eq!([distance("", "abc"), distance("abc", ""), distance("kitten", "sitting")], [3, 3, 3]);
    }
}
