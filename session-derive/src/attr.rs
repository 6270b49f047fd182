//! Parses `#[session(…)]`. The module `check` checks which attributes can be combined.

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, MacroDelimiter, Meta, Path, Token, token};

use crate::errors::Errors;
use crate::names::{self, ALIAS, CONFIG, CRATE, DEFAULT, EXTRA, FIELDS, IDENTITY, RENAME, SCOPE, SESSION, SKIP, WITH};

/// `#[session(…)]` on the struct.
#[derive(Default)]
pub struct ContainerAttrs {
    pub config: Option<LitStr>,
    pub scope: Option<LitStr>,
    pub fields: Option<Ident>,
    pub krate: Option<Path>,
}

/// `#[session(…)]` on a field. An attribute without a value is kept as an `Ident`, so that an error can point at the attribute.
#[derive(Default)]
pub struct FieldAttrs {
    pub default: Option<DefaultAttr>,
    pub rename: Option<LitStr>,
    pub aliases: Vec<LitStr>,
    pub with: Option<Path>,
    pub skip: Option<Ident>,
    pub identity: Option<Ident>,
    pub extra: Option<Ident>,
}

/// `default` or `default = value`.
pub struct DefaultAttr {
    pub key: Ident,
    pub value: Option<Expr>,
}

impl ContainerAttrs {
    pub fn from_syn(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut parsed = Self::default();
        for item in items(attrs, errors) {
            match item.key.to_string().as_str() {
                CONFIG => set_once(&mut parsed.config, &item.key, item.text("\"admin\"", errors), errors),
                SCOPE => set_once(&mut parsed.scope, &item.key, item.text("\"shop visitors\"", errors), errors),
                FIELDS => set_once(&mut parsed.fields, &item.key, item.type_name(errors), errors),
                CRATE => set_once(&mut parsed.krate, &item.key, item.path(errors), errors),
                word if names::FIELD_ATTRIBUTES.contains(&word) => {
                    errors.at(&item.key, format!("`{word}` belongs on a field, not on the struct"));
                }
                word => errors.at(&item.key, unknown(word, "a session struct", names::CONTAINER_ATTRIBUTES)),
            }
        }
        parsed
    }
}

impl FieldAttrs {
    pub fn from_syn(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut parsed = Self::default();
        for item in items(attrs, errors) {
            match item.key.to_string().as_str() {
                DEFAULT => {
                    let default = DefaultAttr { key: item.key.clone(), value: item.value };
                    set_once(&mut parsed.default, &item.key, Some(default), errors);
                }
                RENAME => set_once(&mut parsed.rename, &item.key, item.text("\"name_in_the_store\"", errors), errors),
                ALIAS => parsed.aliases.extend(item.text("\"former_name\"", errors)),
                WITH => set_once(&mut parsed.with, &item.key, item.module(errors), errors),
                SKIP => set_bare(&mut parsed.skip, item, errors),
                IDENTITY => set_bare(&mut parsed.identity, item, errors),
                EXTRA => set_bare(&mut parsed.extra, item, errors),
                word if names::CONTAINER_ATTRIBUTES.contains(&word) => {
                    errors.at(&item.key, format!("`{word}` belongs on the struct, not on a field"));
                }
                word => errors.at(&item.key, unknown(word, "a session field", names::FIELD_ATTRIBUTES)),
            }
        }
        parsed
    }
}

/// Sets `slot`, or reports that `key` is given twice. `value` is `None` if the value is malformed, which is already
/// reported.
fn set_once<T>(slot: &mut Option<T>, key: &Ident, value: Option<T>, errors: &mut Errors) {
    if slot.is_some() {
        errors.at(key, format!("`{key}` is given twice: remove one of the two"));
    } else {
        *slot = value;
    }
}

fn set_bare(slot: &mut Option<Ident>, item: Item, errors: &mut Errors) {
    let key = item.into_bare_key(errors);
    set_once(slot, &key.clone(), Some(key), errors);
}

fn unknown(word: &str, target: &str, known: &[&str]) -> String {
    match names::nearest(word, known) {
        Some(meant) => format!("unknown attribute `{word}`: did you mean `{meant}`?"),
        None => format!("unknown attribute `{word}`: {target} takes `{}`", known.join("`, `")),
    }
}

/// One attribute in the parentheses of `#[session(…)]`: `key` or `key = value`.
struct Item {
    key: Ident,
    value: Option<Expr>,
}

impl Item {
    /// Returns the value as a non-empty string, or reports an error that shows `example`.
    fn text(&self, example: &str, errors: &mut Errors) -> Option<LitStr> {
        let key = &self.key;
        match self.value.as_ref().map(ungroup) {
            Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) if text.value().is_empty() => {
                errors.at(
                    text,
                    format!("`{key}` is empty: write a name, such as `{key} = {example}`, or remove the attribute"),
                );
                None
            }
            Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => Some(text.clone()),
            Some(other) => {
                errors.at(other, format!("`{key}` takes a string literal: write `{key} = {example}`"));
                None
            }
            None => {
                errors.at(key, format!("`{key}` needs a value: write `{key} = {example}`"));
                None
            }
        }
    }

    /// Returns the quoted value as the name of a type that the derive generates.
    fn type_name(&self, errors: &mut Errors) -> Option<Ident> {
        self.parsed("a valid type name", "\"StudentFields\"", LitStr::parse, errors)
    }

    /// Returns the quoted value as the path of a module.
    fn module(&self, errors: &mut Errors) -> Option<Path> {
        self.parsed("a valid module path", "\"my_module\"", |text| text.parse_with(Path::parse_mod_style), errors)
    }

    /// Parses the quoted value, or reports that the value is not `what`.
    fn parsed<T>(
        &self,
        what: &str,
        example: &str,
        parse: impl FnOnce(&LitStr) -> syn::Result<T>,
        errors: &mut Errors,
    ) -> Option<T> {
        let text = self.text(example, errors)?;
        let parsed = parse(&text).ok();
        if parsed.is_none() {
            errors.at(&text, format!("`{}` is not {what}: write a name such as `{example}`", text.value()));
        }
        parsed
    }

    /// Returns the unquoted value as a path.
    fn path(&self, errors: &mut Errors) -> Option<Path> {
        match self.value.as_ref().map(ungroup) {
            Some(Expr::Path(path)) if path.qself.is_none() => Some(path.path.clone()),
            Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => {
                errors.at(text, format!("`crate` takes a path without quotes: write `crate = {}`", text.value()));
                None
            }
            Some(other) => {
                errors.at(other, "`crate` takes the path of the library: write `crate = ::session_rocket`");
                None
            }
            None => {
                errors.at(&self.key, "`crate` needs a value: write `crate = ::session_rocket`");
                None
            }
        }
    }

    /// Returns the key of an attribute that takes no value.
    fn into_bare_key(self, errors: &mut Errors) -> Ident {
        if let Some(value) = &self.value {
            errors.at(value, format!("`{0}` takes no value: write `#[session({0})]`", self.key));
        }
        self.key
    }
}

/// Returns the items of all `#[session(…)]` in `attrs`. Reports and skips malformed items.
fn items(attrs: &[Attribute], errors: &mut Errors) -> Vec<Item> {
    let mut items = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident(SESSION)) {
        let list = match &attr.meta {
            Meta::List(list) if matches!(list.delimiter, MacroDelimiter::Paren(_)) => list,
            other => {
                errors.at(other, "`session` takes its attributes in parentheses, such as `#[session(default)]`");
                continue;
            }
        };
        let parsed = list.parse_args_with(|input: ParseStream| {
            parse_items(input, &mut items, errors);
            Ok(())
        });
        if let Err(error) = parsed {
            errors.add(error);
        }
    }
    items
}

/// Parses all items. Continues after the next comma if an item is malformed.
fn parse_items(input: ParseStream, items: &mut Vec<Item>, errors: &mut Errors) {
    while !input.is_empty() {
        match parse_item(input) {
            Ok(item) => items.push(item),
            Err(error) => errors.add(error),
        }
        while !input.is_empty() && input.parse::<Option<Token![,]>>().is_ok_and(|comma| comma.is_none()) {
            // Tokens before the comma are the rest of a malformed item.
            let _skipped: syn::Result<TokenTree> = input.parse();
        }
    }
}

fn parse_item(input: ParseStream) -> syn::Result<Item> {
    // Accepts keywords, because `crate` is a keyword. For another keyword, the caller's error names the keyword.
    let Ok(key) = input.call(Ident::parse_any) else {
        return Err(error_at_next_token(input, "expected an attribute, such as `#[session(default)]`".to_owned()));
    };
    let value = if input.peek(Token![=]) {
        let equals: Token![=] = input.parse()?;
        if input.is_empty() || input.peek(Token![,]) {
            return Err(syn::Error::new_spanned(equals, format!("expected a value after `{key} =`")));
        }
        Some(input.parse()?)
    } else {
        None
    };
    if input.peek(token::Paren) && value.is_none() {
        return Err(error_at_next_token(input, format!("`{key}` takes no parentheses: write `{key} = …`")));
    }
    if !input.is_empty() && !input.peek(Token![,]) {
        let expected = if value.is_some() { "`,`" } else { "`=` or `,`" };
        return Err(error_at_next_token(input, format!("expected {expected} after the attribute `{key}`")));
    }
    Ok(Item { key, value })
}

/// Returns an error at the next token, without consuming the token.
fn error_at_next_token(input: ParseStream, message: String) -> syn::Error {
    let next: Option<TokenTree> = input.fork().parse().ok();
    match next {
        Some(token) => syn::Error::new_spanned(TokenStream::from(token), message),
        None => input.error(message),
    }
}

/// Removes the invisible groups that `macro_rules` puts around an expression.
fn ungroup(mut expr: &Expr) -> &Expr {
    while let Expr::Group(group) = expr {
        expr = &group.expr;
    }
    expr
}

/// Returns the string literal, or `None` if the expression is not a string literal.
pub fn string_literal(expr: &Expr) -> Option<&LitStr> {
    match ungroup(expr) {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text),
        _ => None,
    }
}
