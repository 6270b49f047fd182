//! The names that the derive knows: attributes, prefixes of accessors, and the methods of `Session`. Also finds the
//! name that a misspelled one probably means.

/// The attribute itself, `#[session(…)]`.
pub const SESSION: &str = "session";

pub const DEFAULT: &str = "default";
pub const RENAME: &str = "rename";
pub const ALIAS: &str = "alias";
pub const IDENTITY: &str = "identity";
pub const EXTRA: &str = "extra";
pub const WITH: &str = "with";
pub const SKIP: &str = "skip";
/// The attributes of `#[session(…)]` on a field, in the order of the documentation.
pub const FIELD_ATTRIBUTES: &[&str] = &[DEFAULT, RENAME, ALIAS, WITH, SKIP, IDENTITY, EXTRA];

pub const CONFIG: &str = "config";
pub const SCOPE: &str = "scope";
pub const FIELDS: &str = "fields";
pub const CRATE: &str = "crate";
/// The attributes of `#[session(…)]` on the struct.
pub const CONTAINER_ATTRIBUTES: &[&str] = &[CONFIG, SCOPE, FIELDS, CRATE];

/// The prefixes of the names of accessors. The field's name follows. The getter has no prefix.
pub const ACCESSOR_PREFIXES: &[&str] = &["", "set_", "setdefault_", "update_", "with_", "has_", "delete_"];

/// The inherent methods of `Session<T>`, which hide accessors of the same name, because `Session<T>` dereferences to
/// the accessors.
const SESSION_METHODS: &[&str] = &[
    "get",
    "replace",
    "update",
    "transact",
    "keys",
    "items",
    "clear",
    "flush",
    "cycle_id",
    "set_expiry",
    "expiry_age",
    "expiry_date",
    "time_left",
    "set_max_lifetime",
    "expires_at_browser_close",
    "set_test_cookie",
    "test_cookie_worked",
    "delete_test_cookie",
    "id",
    "handle",
    "is_empty",
    "is_new",
    "is_modified",
    "save",
    "reload",
    "csrf_token",
    "verify_csrf_token",
    "fields",
    "fairing",
];

/// The methods of the traits that `Session<T>` implements.
const TRAIT_METHODS: &[&str] = &["clone", "into", "try_into", "to_owned", "fmt", "deref", "serialize"];

/// Whether `Session<T>` has a method of this name.
pub fn is_session_method(name: &str) -> bool {
    SESSION_METHODS.contains(&name) || TRAIT_METHODS.contains(&name)
}

/// Returns the known word that differs from `word` by at most one or two typing errors, if there is one.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let max_typos = (word.chars().count() / 3).clamp(1, 2);
    let measured = known.iter().map(|name| (strsim::levenshtein(word, name), *name));
    measured.filter(|(distance, _)| *distance <= max_typos).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use syn::{ImplItem, Item, ItemImpl, Type, Visibility};

    use super::*;

    /// The names of the public inherent methods of `Session<T>` in the files below `folder`.
    fn methods_of_session(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("the folder of the library's sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                methods_of_session(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).expect("a source file");
                let items = syn::parse_file(&source).expect("valid Rust").items;
                found.extend(items.iter().flat_map(public_methods));
            }
        }
    }

    fn public_methods(item: &Item) -> Vec<String> {
        let Item::Impl(ItemImpl { trait_: None, self_ty, items, .. }) = item else { return Vec::new() };
        let Type::Path(ty) = &**self_ty else { return Vec::new() };
        if ty.path.segments.last().is_none_or(|segment| segment.ident != "Session") {
            return Vec::new();
        }
        let public = items.iter().filter_map(|item| match item {
            ImplItem::Fn(method) if matches!(method.vis, Visibility::Public(_)) => Some(method.sig.ident.to_string()),
            _ => None,
        });
        public.collect()
    }

    #[test]
    fn the_reserved_names_are_the_methods_of_session() {
        let mut found = BTreeSet::new();
        methods_of_session(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../session-rocket/src"), &mut found);
        let listed: BTreeSet<String> = SESSION_METHODS.iter().map(ToString::to_string).collect();
        assert_eq!(listed, found, "`SESSION_METHODS` in this file must list the methods of `Session<T>`");
    }

    #[test]
    fn a_typo_finds_its_word_and_a_different_word_finds_none() {
        assert_eq!(nearest("renam", FIELD_ATTRIBUTES), Some("rename"));
        assert_eq!(nearest("defualt", FIELD_ATTRIBUTES), Some("default"));
        assert_eq!(nearest("aliases", FIELD_ATTRIBUTES), Some("alias"));
        assert_eq!(nearest("field", CONTAINER_ATTRIBUTES), Some("fields"));
        assert_eq!(nearest("flatten", FIELD_ATTRIBUTES), None);
        assert_eq!(nearest("", FIELD_ATTRIBUTES), None);
    }
}
