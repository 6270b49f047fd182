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
