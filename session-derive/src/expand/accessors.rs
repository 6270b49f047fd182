//! The accessors of the fields. The body of each accessor is one call to the library.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Type, parse_quote};

use super::fields::static_ident;
use crate::model::{Field, Input};
use crate::names::ACCESSOR_PREFIXES;

/// How the accessors are implemented.
#[derive(Clone, Copy, PartialEq)]
pub enum BodyKind {
    /// Each accessor calls the library.
    Calls,
    /// Each accessor loops forever, which compiles for every type. Used if the struct has a mistake.
    Loops,
}

/// Generates the `impl` that has the accessors of all fields.
pub fn accessors(input: &Input, body_kind: BodyKind) -> TokenStream {
    let ident = &input.fields_ident;
    let mut seen = HashSet::new();
    let methods = input.stored().enumerate().flat_map(|(index, field)| Accessor::all(index, field));
    // If the struct has a mistake, two accessors may have the same name. This clash is already reported, so the second
    // accessor is left out.
    let methods = methods.filter(|method| body_kind == BodyKind::Calls || seen.insert(method.ident().to_string()));
    let methods: Vec<_> = methods.map(|method| method.tokens(input, body_kind)).collect();
    quote! {
        #[automatically_derived]
        impl #ident {
            #(#methods)*
        }
    }
}

struct Accessor<'a> {
    index: usize,
    field: &'a Field,
    prefix: &'static str,
}

/// The signature of an accessor, except the accessor's name.
struct Signature {
    attrs: TokenStream,
    generics: Option<Ident>,
    argument: TokenStream,
    returns: TokenStream,
    /// The arguments that the body passes to the library after the state.
    extra_arguments: TokenStream,
}

impl<'a> Accessor<'a> {
    fn all(index: usize, field: &'a Field) -> impl Iterator<Item = Self> {
        ACCESSOR_PREFIXES.iter().map(move |prefix| Self { index, field, prefix })
    }

    fn ident(&self) -> Ident {
        self.field.accessor(self.prefix)
    }

    fn tokens(&self, input: &Input, body_kind: BodyKind) -> TokenStream {
        let Field { vis, deprecated, .. } = self.field;
        let Signature { attrs, generics, argument, returns, extra_arguments } = self.signature();
        let (ident, docs) = (self.ident(), self.docs());
        let lifetimes = input.lifetimes();
        let generics = (generics.is_some() || !lifetimes.is_empty()).then(|| quote! { <#(#lifetimes,)* #generics> });
        let body = match body_kind {
            BodyKind::Loops => quote! { loop {} },
            BodyKind::Calls => {
                let description = static_ident(self.index, self.field);
                let verb = Ident::new(self.verb(), Span::call_site());
                quote! { #description.#verb(&self.__session_state #extra_arguments) }
            }
        };
        quote! {
            #docs
            #deprecated
            #attrs
            #vis fn #ident #generics(&self #argument) #returns {
                #body
            }
        }
    }

    /// Returns the name of the method of the library's `Field` that the accessor calls.
    fn verb(&self) -> &'static str {
        if self.prefix.is_empty() { "get" } else { self.prefix.trim_end_matches('_') }
    }

    fn signature(&self) -> Signature {
        let Field { value, optional, .. } = self.field;
        let stored: Type = if *optional { parse_quote!(::core::option::Option<#value>) } else { value.clone() };
        let looked_at: Type =
            if *optional { parse_quote!(::core::option::Option<&#value>) } else { parse_quote!(&#value) };
        let result = closure_result(value);
        let tracked = quote! { #[track_caller] };
        let none = TokenStream::new;
        let simple =
            |attrs, returns| Signature { attrs, generics: None, argument: none(), returns, extra_arguments: none() };
        let stores = |returns| {
            let (argument, extra_arguments) = self.new_value();
            Signature { attrs: tracked.clone(), generics: None, argument, returns, extra_arguments }
        };
        match self.prefix {
            "set_" => stores(none()),
            "setdefault_" => stores(quote! { -> #value }),
            "update_" => Signature {
                argument: quote! {
                    , op: impl ::core::ops::FnOnce(&mut #stored) -> #result
                        + ::core::clone::Clone + ::core::marker::Send + 'static
                },
                returns: quote! { -> #result },
                generics: Some(result),
                extra_arguments: quote! { , op },
                attrs: tracked,
            },
            "with_" => Signature {
                argument: quote! { , look: impl ::core::ops::FnOnce(#looked_at) -> #result },
                returns: quote! { -> #result },
                generics: Some(result),
                extra_arguments: quote! { , look },
                attrs: none(),
            },
            "has_" => simple(quote! { #[must_use] }, quote! { -> bool }),
            "delete_" => simple(tracked, quote! { -> ::core::option::Option<#value> }),
            _ => simple(quote! { #[must_use] }, quote! { -> #stored }),
        }
    }

    /// Generates the argument for a new value, and the expression that passes it to the library.
    fn new_value(&self) -> (TokenStream, TokenStream) {
        let value = &self.field.value;
        if self.field.is_string() {
            (quote! { , value: impl ::core::convert::Into<#value> }, quote! { , ::core::convert::Into::into(value) })
        } else {
            (quote! { , value: #value }, quote! { , value })
        }
    }

    /// Generates the doc comment, because the user's crate may forbid missing doc comments. A getter has the field's doc
    /// comment, if the field has one.
    fn docs(&self) -> TokenStream {
        let Field { docs, optional, .. } = self.field;
        let name = self.field.name();
        let text = match self.prefix {
            "" if !docs.is_empty() => return quote! { #(#docs)* },
            "" if *optional => format!("Returns `{name}`, or `None` if no value is stored."),
            "" => format!("Returns `{name}`, or its default if no value is stored."),
            "set_" => set_doc(&name),
            "setdefault_" => format!("Returns `{name}`. If no value is stored, stores and returns `value`."),
            "update_" => update_doc(&name, &self.field.ident),
            "with_" => {
                format!("Calls `look` with a reference to `{name}` and returns its result. Does not clone the value.")
            }
            "has_" => format!("Returns whether a value of `{name}` is stored."),
            _ => format!("Deletes `{name}` and returns the deleted value, or `None` if no value was stored."),
        };
        let effects = self.field.attrs.identity.as_ref().map_or_else(String::new, |_| self.effects(&name));
        let text = text + &effects;
        quote! { #[doc = #text] }
    }

    /// Returns the part of the doc comment that says how a change of the identity affects the session.
    fn effects(&self, name: &str) -> String {
        match self.prefix {
            "set_" => format!(
                "\n\nThis logs a user in. Each call gives the session a new id, restarts its `max_lifetime` and \
                 invalidates earlier CSRF tokens. The session keeps data that was stored while nobody was logged in. \
                 If another user was logged in before, the session loses all data except `{name}` and values that are set \
                 after this call."
            ),
            "setdefault_" => format!("\n\nIf this call stores `value`, it logs a user in, as `set_{name}` does."),
            "update_" => {
                format!(
                    "\n\nThis logs a user in, as `set_{name}` does. If `op` sets it to `None`, this logs the user out, as \
                     `delete_{name}` does."
                )
            }
            "delete_" => {
                "\n\nThis logs the user out. The session loses all data, and gets a new id. Earlier CSRF tokens become \
                          invalid."
                    .to_owned()
            }
            _ => String::new(),
        }
    }
}

fn set_doc(name: &str) -> String {
    format!(
        "Sets `{name}`.\n\n\
         If another request changes `{name}` at the same time, the later save overwrites the earlier one. Use \
         `update_{name}` if the new value depends on the old one."
    )
}

fn update_doc(name: &str, ident: &Ident) -> String {
    format!(
        "Changes `{name}` in place, without losing a concurrent change, and returns the result of `op`.\n\n\
         If another request has changed `{name}` since this request loaded the session, a clone of `op` runs again on the \
         newer value when the session is saved. The returned result is that of the first run. `op` cannot borrow from the \
         request: clone the data that `op` uses, and move the clone into `op`.\n\n\
         ```text\n\
         let own = borrowed.to_owned();\n\
         session.update_{name}(move |{ident}| /* use `own` */);\n\
         ```"
    )
}

/// Returns the name of the type parameter for a closure's result: `R`, unless the field's type contains the name `R`.
fn closure_result(value: &Type) -> Ident {
    let name = if mentions_r(value.to_token_stream()) { "__SessionR" } else { "R" };
    Ident::new(name, Span::call_site())
}

fn mentions_r(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "R",
        TokenTree::Group(group) => mentions_r(group.stream()),
        _ => false,
    })
}
