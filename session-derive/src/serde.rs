//! Reports `#[serde(…)]` on a field, because the attribute has no effect on the session, and says what to write instead.
//!
//! `#[serde(…)]` on the struct is allowed, because the struct may also derive serde's traits.

use syn::punctuated::Punctuated;
use syn::{Attribute, Ident, Meta, Token};

use crate::attr::string_literal;
use crate::errors::Errors;

pub fn check_attributes(attrs: &[Attribute], errors: &mut Errors) {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
        match attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) {
            Ok(items) if !items.is_empty() => items.iter().for_each(|item| errors.at(item, message(item))),
            _ => errors.at(attr, "`#[serde(…)]` does not apply to a session field: remove it"),
        }
    }
}

fn message(item: &Meta) -> String {
    let word = item.path().get_ident().map(Ident::to_string).unwrap_or_default();
    format!("serde's `{word}` does not apply to a session field: {}", instead(&word, value(item)))
}

fn instead(word: &str, value: Option<String>) -> String {
    match (word, value) {
        ("rename" | "alias", value) => {
            format!("write `#[session({word} = \"{}\")]`", value.as_deref().unwrap_or("…"))
        }
        ("default", Some(function)) => format!("write `#[session(default = {function}())]`"),
        ("default", None) => "write `#[session(default)]`".to_owned(),
        ("skip" | "skip_serializing" | "skip_deserializing", _) => {
            "write `#[session(skip)]`, or remove the attribute to store the field".to_owned()
        }
        ("with", Some(module)) => format!("write `#[session(with = \"{module}\")]`"),
        ("with" | "serialize_with" | "deserialize_with", _) => {
            "write `#[session(with = \"…\")]` with a module that has the functions `serialize` and `deserialize`"
                .to_owned()
        }
        ("flatten", _) => {
            "write `#[session(extra)]` on a field of the type `serde_json::Map<String, serde_json::Value>`".to_owned()
        }
        ("skip_serializing_if", _) => "remove it, because a field is stored only after it is set".to_owned(),
        _ => "remove it".to_owned(),
    }
}

fn value(item: &Meta) -> Option<String> {
    let Meta::NameValue(pair) = item else { return None };
    string_literal(&pair.value).map(syn::LitStr::value)
}
