//! The rules for a parsed struct. Each rule is a function, and the function's comment gives the reason for the rule.

use std::collections::HashMap;

use proc_macro2::Ident;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{LitStr, Type};

use crate::errors::Errors;
use crate::model::{Field, Input, option_of, reference_in};
use crate::names::{self, ACCESSOR_PREFIXES};

/// The maximum length of a scope, in bytes. Every store accepts a scope of this length.
const MAX_SCOPE: usize = 200;

/// Checks all rules, so that all mistakes are reported at once.
pub fn check(input: &Input, errors: &mut Errors) {
    check_generated_name(input, errors);
    check_scope(input, errors);
    input.fields.iter().for_each(|field| check_skip(field, errors));
    for field in input.stored() {
        check_references(input, field, errors);
        check_nested_option(field, errors);
        check_default(field, errors);
        check_identity(field, errors);
        check_extra(field, errors);
        check_hidden_accessors(field, errors);
        check_reserved_names(field, errors);
    }
    check_accessor_clashes(input, errors);
    check_stored_names(input, errors);
    check_single(input, names::IDENTITY, |field| field.attrs.identity.as_ref(), errors);
    check_single(input, names::EXTRA, |field| field.attrs.extra.as_ref(), errors);
}

/// The generated struct is in the same module as the session struct, so the generated struct needs a different name.
fn check_generated_name(input: &Input, errors: &mut Errors) {
    if input.fields_ident == input.ident {
        let message = format!(
            "`{0}` is the name of the session struct itself: write another name, such as `\"{0}Fields\"`",
            input.ident
        );
        errors.at(&input.fields_ident, message);
    }
}

/// A store may refuse a scope longer than `MAX_SCOPE`. A control character in a scope is probably a mistake.
fn check_scope(input: &Input, errors: &mut Errors) {
    let Some(scope) = &input.scope else { return check_default_scope(input, errors) };
    let text = scope.value();
    if text.len() > MAX_SCOPE {
        let message = format!("the scope has {} bytes: write a scope of at most {MAX_SCOPE} bytes", text.len());
        errors.at(scope, message);
    }
    if text.contains(char::is_control) {
        errors.at(scope, "the scope contains a control character, such as a line break: remove it");
    }
}

fn check_default_scope(input: &Input, errors: &mut Errors) {
    // If `CARGO_PKG_NAME` is missing, rustc reports an error in the generated code, which also reads the variable.
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let scope = format!("{package}::{}", input.ident.unraw());
    if scope.len() > MAX_SCOPE {
        let message = format!(
            "the default scope, made of the names of package and struct, has {} bytes, more than {MAX_SCOPE}: write a \
             shorter scope, such as `#[session(scope = \"shop visitors\")]`",
            scope.len()
        );
        errors.at(&input.ident, message);
    }
}

/// A skipped field is never stored, so `default` is the only other attribute that has an effect.
fn check_skip(field: &Field, errors: &mut Errors) {
    let attrs = &field.attrs;
    let Some(skip) = &attrs.skip else { return };
    let mut conflict = |at: &dyn ToTokens, word: &str| {
        errors.at(at, format!("a field with `{skip}` is not stored, so it takes no `{word}`: remove one of the two"));
    };
    attrs.rename.iter().for_each(|rename| conflict(rename, names::RENAME));
    attrs.with.iter().for_each(|with| conflict(with, names::WITH));
    attrs.aliases.iter().for_each(|alias| conflict(alias, names::ALIAS));
    attrs.identity.iter().for_each(|identity| conflict(identity, names::IDENTITY));
    attrs.extra.iter().for_each(|extra| conflict(extra, names::EXTRA));
}

/// A decoded value cannot borrow from the bytes of the store. A field with a `with` module is not checked, because the
/// module may return a `'static` reference.
fn check_references(input: &Input, field: &Field, errors: &mut Errors) {
    // If the struct has a lifetime parameter, the module `model` has already reported it, with the same advice.
    if field.attrs.with.is_some() || input.generics.lifetimes().next().is_some() {
        return;
    }
    let Some(reference) = reference_in(&field.ty) else { return };
    let owned = match &*reference.elem {
        Type::Path(path) if path.path.is_ident("str") => "`String`".to_owned(),
        Type::Slice(slice) => format!("`Vec<{}>`", slice.elem.to_token_stream()),
        other => format!("`{}`", other.to_token_stream()),
    };
    let message = format!("a session is decoded from the store, so a field cannot borrow its value: write {owned}");
    errors.at(reference, message);
}

/// The outer `None` means that no value is stored. `serde_json` writes the inner `None` as `null`, and reads `null` as
/// the outer `None`.
fn check_nested_option(field: &Field, errors: &mut Errors) {
    if field.optional && option_of(&field.value).is_some() {
        let message = format!(
            "`Option<Option<_>>` has two different `None` values: write `Option<_>`; `delete_{}` makes it `None`",
            field.name()
        );
        errors.at(&field.value, message);
    }
}

/// An `Option` without a stored value is `None`. With a default, the field could never be `None`.
fn check_default(field: &Field, errors: &mut Errors) {
    let Some(default) = &field.attrs.default else { return };
    if field.optional {
        let value = field.value.to_token_stream().to_string();
        let message = format!(
            "an `Option` field is `None` until it is set: remove `default`, or declare the field as `{}: {value}`",
            field.ident
        );
        errors.at(&default.key, message);
    }
}

/// A new session has no user, which only `None` can represent.
fn check_identity(field: &Field, errors: &mut Errors) {
    if field.attrs.identity.is_some() && field.attrs.extra.is_none() && !field.optional {
        let ty = field.ty.to_token_stream();
        let message =
            format!("the identity is `None` while nobody is logged in: write `{}: Option<{ty}>`", field.ident);
        errors.at(&field.ty, message);
    }
}

/// The `extra` field has no stored name and no encoding of its own. Each key in the field is stored under the key's
/// own name, next to the other fields.
fn check_extra(field: &Field, errors: &mut Errors) {
    let Some(extra) = &field.attrs.extra else { return };
    let conflict =
        |word: &str| format!("`{extra}` holds the keys that no field declares, so it takes no `{word}`: remove it");
    if field.optional {
        let message =
            "an `extra` field without keys is empty, not `None`: write `serde_json::Map<String, serde_json::Value>`";
        errors.at(&field.ty, message);
    }
    if let Some(identity) = &field.attrs.identity {
        errors.at(identity, conflict(names::IDENTITY));
    }
    if let Some(with) = &field.attrs.with {
        errors.at(with, conflict(names::WITH));
    }
    if let (Some(default), false) = (&field.attrs.default, field.optional) {
        errors.at(&default.key, conflict(names::DEFAULT));
    }
    if let Some(rename) = &field.attrs.rename {
        errors.at(rename, conflict(names::RENAME));
    }
    for alias in &field.attrs.aliases {
        errors.at(alias, conflict(names::ALIAS));
    }
}

/// `Session<T>` dereferences to the accessors, so a method of `Session<T>` hides an accessor of the same name.
fn check_hidden_accessors(field: &Field, errors: &mut Errors) {
    let name = field.name();
    for prefix in ACCESSOR_PREFIXES {
        let accessor = format!("{prefix}{name}");
        if names::is_session_method(&accessor) {
            let message = format!(
                "`Session` has a method `{accessor}`, which hides the accessor of this field: rename the field; \
                 `#[session(rename = \"{name}\")]` keeps its stored name"
            );
            errors.at(&field.ident, message);
            return;
        }
    }
}

/// Fields `a` and `set_a` would both have an accessor `set_a`.
fn check_accessor_clashes(input: &Input, errors: &mut Errors) {
    let mut owners: HashMap<String, &Ident> = HashMap::new();
    for (prefix, field) in ACCESSOR_PREFIXES.iter().flat_map(|prefix| input.stored().map(move |field| (prefix, field)))
    {
        let accessor = format!("{prefix}{}", field.name());
        match owners.get(&accessor) {
            // rustc reports a field that is declared twice.
            Some(first) if **first == field.ident => {}
            Some(first) => {
                let (longer, shorter) = if prefix.is_empty() { (&field.ident, *first) } else { (*first, &field.ident) };
                let message = format!(
                    "`{accessor}` is already an accessor of the field `{shorter}`: choose another name for this field"
                );
                errors.at(longer, message);
            }
            None => drop(owners.insert(accessor, &field.ident)),
        }
    }
}

/// The library reserves stored names that start with `_` for its own data, for example `_test_cookie`.
fn check_reserved_names(field: &Field, errors: &mut Errors) {
    let reserved = |name: &str| {
        let free = name.trim_start_matches('_');
        let free = if free.is_empty() { "name" } else { free };
        format!("stored names that start with `_` are reserved for the library: write `{free}` instead of `{name}`")
    };
    for text in field.attrs.rename.iter().chain(&field.attrs.aliases) {
        if text.value().starts_with('_') {
            errors.at(text, reserved(&text.value()));
        }
    }
    let name = field.name();
    if field.attrs.rename.is_none() && field.attrs.extra.is_none() && name.starts_with('_') {
        errors.at(&field.ident, reserved(&name));
    }
}

/// Two fields with the same stored name would overwrite each other.
fn check_stored_names(input: &Input, errors: &mut Errors) {
    let stored: Vec<&Field> = input.stored().filter(|field| field.attrs.extra.is_none()).collect();
    let mut owners: HashMap<String, &Ident> = HashMap::new();
    for field in &stored {
        let name = field.stored_name();
        match owners.get(&name) {
            Some(owner) if **owner == field.ident => {}
            Some(owner) => {
                let message = format!("the field `{owner}` is already stored as `{name}`: choose another stored name");
                match &field.attrs.rename {
                    Some(rename) => errors.at(rename, message),
                    None => errors.at(&field.ident, message),
                }
            }
            None => drop(owners.insert(name, &field.ident)),
        }
    }
    // Aliases are checked after all stored names, so that a clash between an alias and a stored name is reported at the
    // alias.
    for (field, alias) in stored.iter().flat_map(|field| field.attrs.aliases.iter().map(move |alias| (field, alias))) {
        match owners.get(&alias.value()) {
            Some(owner) => errors.at(alias, alias_clash(alias, &field.ident, owner)),
            None => drop(owners.insert(alias.value(), &field.ident)),
        }
    }
}

fn alias_clash(alias: &LitStr, field: &Ident, owner: &Ident) -> String {
    let name = alias.value();
    if field == owner {
        format!("this field is already read from `{name}`: remove the alias")
    } else {
        format!("the field `{owner}` is already read from `{name}`: remove this alias or write another name")
    }
}

/// At most one field can be the identity, and at most one can be the `extra` field.
fn check_single<'a>(input: &'a Input, word: &str, find: impl Fn(&'a Field) -> Option<&'a Ident>, errors: &mut Errors) {
    let mut marked = input.fields.iter().filter_map(|field| find(field).map(|key| (field, key)));
    let Some((first, _)) = marked.next() else { return };
    for (_, key) in marked {
        errors.at(
            key,
            format!("only one field can be marked `{word}`, and `{}` already is: remove one of the two", first.ident),
        );
    }
}
