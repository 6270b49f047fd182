//! Every word the derive knows: attribute names, accessor names, the method names of `Session`, and the search for the
//! word a user probably meant.

/// The attribute itself, `#[session(…)]`.
pub const SESSION: &str = "session";

pub const DEFAULT: &str = "default";
pub const RENAME: &str = "rename";
pub const ALIAS: &str = "alias";
pub const IDENTITY: &str = "identity";
pub const EXTRA: &str = "extra";
/// What `#[session(…)]` takes on a field, in the order in which the documentation lists it.
pub const FIELD_ATTRIBUTES: &[&str] = &[DEFAULT, RENAME, ALIAS, IDENTITY, EXTRA];

pub const CONFIG: &str = "config";
pub const FIELDS: &str = "fields";
pub const CRATE: &str = "crate";
/// What `#[session(…)]` takes on the struct.
pub const CONTAINER_ATTRIBUTES: &[&str] = &[CONFIG, FIELDS, CRATE];

/// The prefixes that, with the field's name, make the names of its accessors; the getter has none.
pub const ACCESSOR_PREFIXES: &[&str] = &["", "set_", "setdefault_", "update_", "with_", "has_", "delete_"];

/// The method names of `Session<T>`. `Session<T>` dereferences to the accessors, so a method of its own hides an
/// accessor of the same name.
const SESSION_METHODS: &[&str] = &[
    // There now.
    "get",
    "replace",
    "update",
    "keys",
    "items",
    "clear",
    "flush",
    "cycle_id",
    "set_expiry",
    "expiry_age",
    "expiry_date",
    "expires_at_browser_close",
    "set_test_cookie",
    "test_cookie_worked",
    "delete_test_cookie",
    "id",
    "is_empty",
    "is_new",
    "is_modified",
    "save",
    "csrf_token",
    "verify_csrf_token",
    "fairing",
    // Planned.
    "flash",
    "csrf",
    "user",
    "login",
    "logout",
    "revoke",
    "list",
    "label",
    "touch",
    // From the traits it implements.
    "clone",
    "into",
    "try_into",
    "to_owned",
    "fmt",
    "deref",
    "serialize",
];

/// Whether `Session<T>` has, or will have, a method of this name.
pub fn is_session_method(name: &str) -> bool {
    SESSION_METHODS.contains(&name)
}

/// The one of `known` that is `word` but for a slip or two of the keyboard.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let slips = (word.chars().count() / 3).clamp(1, 2);
    let measured = known.iter().map(|name| (distance(word, name), *name));
    measured.filter(|(distance, _)| *distance <= slips).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Levenshtein's distance: how many characters to insert, delete or replace.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        assert_eq!(nearest("renam", FIELD_ATTRIBUTES), Some("rename"));
        assert_eq!(nearest("defualt", FIELD_ATTRIBUTES), Some("default"));
        assert_eq!(nearest("aliases", FIELD_ATTRIBUTES), Some("alias"));
        assert_eq!(nearest("field", CONTAINER_ATTRIBUTES), Some("fields"));
        assert_eq!(nearest("skip", FIELD_ATTRIBUTES), None);
        assert_eq!(nearest("", FIELD_ATTRIBUTES), None);
    }
}
